// Peers against a model; doors that are somebody else's; a ROUTER that is talked to for real.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "daemon/loop/uv_loop.hpp"
#include "daemon/transport/admission.hpp"
#include "daemon/transport/frontend.hpp"
#include "daemon/transport/listen.hpp"
#include "daemon/transport/peers.hpp"

namespace headgate {
namespace {

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/hg-transport-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

TEST(Peers, AgainstAModel) {
  std::mt19937 random(5);
  Peers peers(3000);
  std::map<std::uint32_t, Peer*> model;
  std::set<PeerId> dead;
  for (int step = 0; step < 100'000; ++step) {
    const std::uint32_t routing = random() % 4000 * (step % 2 == 0 ? 1 : 4096);
    Peer* p = peers.by_routing(routing);
    const auto known = model.find(routing);
    ASSERT_EQ(p, known == model.end() ? nullptr : known->second);
    if (p != nullptr) {
      const PeerId id = p->id();
      ASSERT_EQ(peers.by_id(id), p);
      peers.forget_routing(*p);
      peers.free(*p);
      model.erase(known);
      ASSERT_EQ(peers.by_id(id), nullptr);
      dead.insert(id);
    } else if (Peer* made = peers.add(routing)) {
      model[routing] = made;
      ASSERT_EQ(dead.count(made->id()), 0u);  // never the number of an earlier one
    } else {
      ASSERT_EQ(model.size(), 3000u);
    }
    ASSERT_EQ(peers.size(), model.size());
  }
}

TEST(IpcListener, IsOursAlone) {
  Folder f;
  const std::string path = f.path + "/hg.sock";
  auto first = IpcListener::open(path, 0660);
  ASSERT_TRUE(first) << first.error();
  struct stat s {};
  ASSERT_EQ(::stat(path.c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 07777, 0660u);
  const auto second = IpcListener::open(path, 0660);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("another headgated"), std::string::npos);
  *first = IpcListener();
  EXPECT_NE(::stat(path.c_str(), &s), 0);
  EXPECT_TRUE(IpcListener::open(path, 0600));
}

TEST(IpcListener, RefusesWhatItCannotBeSureOf) {
  Folder f;
  EXPECT_FALSE(IpcListener::open(f.path + "/" + std::string(120, 'x'), 0660));
  EXPECT_FALSE(IpcListener::open("/proc/nothing/hg.sock", 0660));
  ::chmod(f.path.c_str(), 0777);
  const auto open = IpcListener::open(f.path + "/hg.sock", 0660);
  ASSERT_FALSE(open);
  EXPECT_NE(open.error().find("can be written by others"), std::string::npos);
  ::chmod(f.path.c_str(), 01777);  // like /tmp: others cannot remove ours
  EXPECT_TRUE(IpcListener::open(f.path + "/hg.sock", 0660));
}

TEST(Loopback, IsToldFromOtherAddresses) {
  for (const char* yes :
       {"tcp://127.0.0.1:1", "tcp://127.8.9.1:1", "tcp://[::1]:1", "tcp://localhost:1"}) {
    EXPECT_TRUE(is_loopback(yes)) << yes;
  }
  for (const char* no : {"tcp://0.0.0.0:1", "tcp://10.127.0.1:1", "tcp://*:1", "ipc://127.0.0.1",
                         "tcp://[::]:1", "tcp://localhost.evil.example:1"}) {
    EXPECT_FALSE(is_loopback(no)) << no;
  }
}

// A receiver that echoes, on a real loop.
struct Echo : Receiver, Admission, Intake {
  UvLoop loop;
  NoLog log;
  Folder folder;
  std::unique_ptr<Frontend> frontend;
  std::map<PeerId, std::string> peers;
  std::size_t reply_bytes = 0;  // 0: the frame itself
  std::uint64_t gone = 0;
  bool known = true;

  explicit Echo(FrontendSettings s = {}) {
    s.ipc_path = folder.path + "/hg.sock";
    auto opened = Frontend::open(loop, log, *this, *this, std::move(s));
    if (!opened) throw std::runtime_error(opened.error());
    frontend = std::move(*opened);
    loop.set_intake(this);
  }
  ~Echo() override { loop.set_intake(nullptr); }
  bool knows(std::string_view) const override { return known; }
  void take_in() override { frontend->take_in(); }
  bool restless() const override { return frontend->restless(); }
  bool on_peer(PeerId p, const PeerInfo& i) override {
    peers[p] = i.user;
    return known;
  }
  void on_frame(PeerId p, Frame f) override {
    if (reply_bytes == 0) {
      frontend->send(p, f.bytes(), proto::Bytes{});
      return;
    }
    ReplyBuffer b(reply_bytes);
    std::memset(b.reserve(reply_bytes), 7, reply_bytes);
    b.commit(reply_bytes);
    frontend->send(p, f.bytes(), std::move(b));
  }
  void on_gone(PeerId p) override {
    peers.erase(p);
    ++gone;
  }
  // Turns the loop until it is true, five seconds at most.
  bool until(const std::function<bool()>& condition) {
    struct Look : Timer {
      Echo* e = nullptr;
      const std::function<bool()>* condition = nullptr;
      TimePoint end{};
      bool came = false;
      void fire() override {
        came = (*condition)();
        if (came || e->loop.now() > end) {
          e->loop.stop();
        } else {
          e->loop.arm(*this, e->loop.now() + std::chrono::milliseconds(1));
        }
      }
    } look;
    look.e = this;
    look.condition = &condition;
    look.end = loop.now() + std::chrono::seconds(5);
    loop.arm(look, loop.now());
    loop.run();
    return look.came;
  }
};

struct Dealer {
  void* context = zmq_ctx_new();
  void* s = zmq_socket(context, ZMQ_DEALER);
  explicit Dealer(const Echo& e, int rcvhwm = 1000) {
    const int none = 0;
    const int never = -1;
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(s, ZMQ_RCVHWM, &rcvhwm, sizeof rcvhwm);
    zmq_connect(s, ("ipc://" + e.folder.path + "/hg.sock").c_str());
  }
  ~Dealer() { close(); }
  void close() {
    if (s == nullptr) return;
    zmq_close(s);
    zmq_ctx_term(context);
    s = nullptr;
  }
  void send(std::string_view text) { zmq_send(s, text.data(), text.size(), ZMQ_DONTWAIT); }
  int receive(std::vector<char>* out) {
    out->resize(4 << 20);
    const int n = zmq_recv(s, out->data(), out->size(), ZMQ_DONTWAIT);
    if (n >= 0) out->resize(static_cast<std::size_t>(n));
    return n;
  }
};

TEST(Router, EchoesFramesOfEverySize) {
  Echo e;
  Dealer d(e);
  std::vector<char> got;
  for (const std::size_t n : {1u, 33u, 34u, 63u, 64u, 5000u, 300'000u}) {
    const std::string text(n, 'x');
    d.send(text);
    ASSERT_TRUE(e.until([&] { return d.receive(&got) >= 0; })) << n;
    EXPECT_EQ(std::string(got.begin(), got.end()), text);
  }
  EXPECT_EQ(e.peers.begin()->second, "uid:" + std::to_string(::geteuid()));
  d.close();
  EXPECT_TRUE(e.until([&] { return e.gone == 1; }));
  EXPECT_EQ(e.frontend->counts().peers, 0u);
}

TEST(Router, LargeRepliesLeaveWithoutACopyAndInOrder) {
  FrontendSettings settings;
  settings.parked_max = 64'000'000;
  Echo e(std::move(settings));
  e.reply_bytes = 1'000'000;
  Dealer d(e);
  for (int i = 0; i < 50; ++i) d.send("#" + std::to_string(i));
  std::vector<char> got;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(e.until([&] { return d.receive(&got) >= 0; }))
        << i << " peers " << e.frontend->counts().peers << " parked "
        << e.frontend->counts().parked_bytes << " in " << e.frontend->counts().frames_in;
    const std::string head = "#" + std::to_string(i);
    ASSERT_EQ(got.size(), head.size() + 1'000'000);
    ASSERT_EQ(std::string(got.begin(), got.begin() + static_cast<long>(head.size())), head);
    ASSERT_EQ(got.back(), 7);
  }
}

TEST(Router, ParksForASlowReaderAndCutsOneThatNeverReads) {
  FrontendSettings s;
  s.parked_max = 40'000'000;
  Echo e(std::move(s));
  e.reply_bytes = 1'000'000;
  Dealer d(e, 1);
  for (int i = 0; i < 40; ++i) d.send("#");
  ASSERT_TRUE(e.until([&] { return e.frontend->counts().parked_bytes > 10'000'000; }));
  std::vector<char> got;
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(e.until([&] { return d.receive(&got) >= 0; })) << i;
  }
  EXPECT_EQ(e.frontend->counts().parked_bytes, 0u);
  EXPECT_EQ(e.gone, 0u);
  for (int i = 0; i < 200; ++i) d.send("#");
  EXPECT_TRUE(e.until([&] { return e.gone == 1; }));
  EXPECT_EQ(e.frontend->counts().parked_bytes, 0u);
}

TEST(Router, RevokesAPeerThatNobodyKnowsAnyMore) {
  Echo e;
  Dealer d(e);
  std::vector<char> got;
  d.send("x");
  ASSERT_TRUE(e.until([&] { return d.receive(&got) >= 0; }));
  e.known = false;
  e.frontend->revoke();
  EXPECT_TRUE(e.until([&] { return e.gone == 1; }));
  Dealer again(e);
  again.send("x");
  EXPECT_TRUE(e.until([&] { return e.frontend->counts().refused_logins > 0; }));
  EXPECT_TRUE(e.peers.empty());
}

TEST(Router, ConnectionsAboveTheLimitAreClosedAndOthersLive) {
  FrontendSettings s;
  s.clients_max = 10;
  Echo e(std::move(s));
  Dealer first(e);
  std::vector<char> got;
  first.send("x");
  ASSERT_TRUE(e.until([&] { return first.receive(&got) >= 0; }));
  {
    std::vector<std::unique_ptr<Dealer>> many;
    for (int i = 0; i < 30; ++i) many.push_back(std::make_unique<Dealer>(e));
    EXPECT_TRUE(e.until([&] { return e.frontend->counts().refused_connections >= 21; }));
    first.send("x");
    ASSERT_TRUE(e.until([&] { return first.receive(&got) >= 0; }));
    EXPECT_LE(e.frontend->counts().connections, 10u);
  }
  EXPECT_TRUE(e.until([&] { return e.frontend->counts().connections == 1; }));
}

}  // namespace
}  // namespace headgate
