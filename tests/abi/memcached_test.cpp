// An event lane over a real socket: the example plugin (built outside the tree, against the
// installed SDK) and a memcached of the test's own, which slices, cuts, stalls and lies on request.
// What must hold: a caller whose reply was complete has it, and everybody else is told the truth.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <fstream>

#include "examples/plugin-memcached/protocol.hpp"
#include "tests/abi/rig.hpp"

namespace headgate::testing {
namespace {

// Serves one socket path, a thread a connection. The switches hold for connections made after them.
class Server {
 public:
  Server() {
    char name[] = "/tmp/hg-memcached-XXXXXX";
    EXPECT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    path = directory_ + "/s";
    listen_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    path.copy(a.sun_path, sizeof a.sun_path - 1);
    EXPECT_EQ(::bind(listen_, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    EXPECT_EQ(::listen(listen_, 64), 0);
    accept_ = std::thread([this] {
      for (int fd; (fd = ::accept(listen_, nullptr, nullptr)) >= 0;) {
        std::lock_guard lock(mutex);
        fds_.push_back(fd);
        threads_.emplace_back([this, fd] { serve(fd); });
      }
    });
  }
  ~Server() {
    ::shutdown(listen_, SHUT_RDWR);
    accept_.join();
    ::close(listen_);
    hang_up();
    for (std::thread& t : threads_) t.join();
    for (const int fd : fds_) ::close(fd);
    ::unlink(path.c_str());
    ::rmdir(directory_.c_str());
  }
  void hang_up() {
    std::lock_guard lock(mutex);
    for (const int fd : fds_) ::shutdown(fd, SHUT_RDWR);
  }

  std::string path;
  std::atomic<bool> slice{false};          // replies leave a byte at a time
  std::atomic<std::int64_t> cut{-1};       // the connection ends after so many bytes of replies
  std::atomic<bool> deaf{false};           // reads, and never answers
  std::atomic<bool> blind{false};          // does not even read
  std::atomic<const char*> says{nullptr};  // answers this to everything
  std::atomic<int> reads{0};               // recv calls that brought something
  std::mutex mutex;
  std::map<std::string, std::string> values;
  std::vector<std::string> executed;  // keys, in order

 private:
  void serve(int fd) {
    while (blind) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::string in;
    std::int64_t left = cut;
    char block[4096];
    for (ssize_t n; (n = ::recv(fd, block, sizeof block, 0)) > 0;) {
      ++reads;
      in.append(block, static_cast<std::size_t>(n));
      std::string out;
      while (one(in, out)) {
      }
      if (deaf) continue;
      if (const char* s = says; s != nullptr) out = s;
      const bool ends = left >= 0 && static_cast<std::int64_t>(out.size()) >= left;
      if (ends) out.resize(static_cast<std::size_t>(left));
      if (left >= 0) left -= static_cast<std::int64_t>(out.size());
      for (std::size_t at = 0; at < out.size();) {
        const std::size_t step = slice ? 1 : out.size();
        ::send(fd, out.data() + at, step, MSG_NOSIGNAL);
        at += step;
        if (slice && at % 7 == 0) std::this_thread::yield();
      }
      if (ends) break;
    }
    ::shutdown(fd, SHUT_RDWR);
  }
  // Executes one complete command of `in`.
  bool one(std::string& in, std::string& out) {
    const std::size_t end = in.find("\r\n");
    if (end == std::string::npos) return false;
    std::vector<std::string> words;
    for (std::size_t at = 0; at < end;) {
      const std::size_t space = std::min(in.find(' ', at), end);
      words.push_back(in.substr(at, space - at));
      at = space + 1;
    }
    std::size_t used = end + 2;
    std::string data;
    const std::string& verb = words.at(0);
    if (verb == "set" || verb == "add" || verb == "replace") {
      const std::size_t size = std::stoul(words.at(4));
      if (in.size() < used + size + 2) return false;
      data = in.substr(used, size);
      used += size + 2;
    }
    in.erase(0, used);
    std::lock_guard lock(mutex);
    if (words.size() > 1) executed.push_back(words[1]);
    const auto it = words.size() > 1 ? values.find(words[1]) : values.end();
    const bool there = it != values.end();
    if (verb == "get") {
      if (there)
        out += "VALUE " + words[1] + " 0 " + std::to_string(it->second.size()) + "\r\n" +
               it->second + "\r\n";
      out += "END\r\n";
    } else if (verb == "version") {
      out += "VERSION 1.6-test\r\n";
    } else if (verb == "delete") {
      out += there ? "DELETED\r\n" : "NOT_FOUND\r\n";
      if (there) values.erase(it);
    } else if (verb == "incr") {
      if (!there) {
        out += "NOT_FOUND\r\n";
      } else if (it->second.find_first_not_of("0123456789") != std::string::npos) {
        out += "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
      } else {
        it->second = std::to_string(std::stoull(it->second) + std::stoull(words.at(2)));
        out += it->second + "\r\n";
      }
    } else if ((verb == "add" && there) || (verb == "replace" && !there)) {
      out += "NOT_STORED\r\n";
    } else {
      values[words[1]] = data;
      out += "STORED\r\n";
    }
    return true;
  }

  std::string directory_;
  int listen_;
  std::thread accept_;
  std::vector<std::thread> threads_;
  std::vector<int> fds_;
};

class Memcached : public ::testing::Test {
 protected:
  void start(std::int64_t stall_ms = 10'000) {
    rig = std::make_unique<Rig>();
    StoreSettings s;
    s.name = "cache";
    s.kind = "key_value";
    s.endpoints = {server.path};
    s.options = BodyMap().add("stall_ms", stall_ms).take();
    rig->load(HEADGATE_OUTSIDE_PLUGINS, "memcached", std::move(s));
    ASSERT_TRUE(rig->store->open_driver_now());
    link = rig->open(0, ++ticket);
    ASSERT_NE(link, nullptr);
  }
  TestCall* get(std::string_view key) {
    return rig->prepare("get", BodyMap().add("key", key).take());
  }
  TestCall* set(std::string_view key, std::string_view value) {
    return rig->prepare("set", BodyMap().add("key", key).add("value", value).take());
  }
  void submit(const std::vector<TestCall*>& calls) {
    std::vector<Operation*> operations;
    for (TestCall* t : calls) operations.push_back(t->operation);
    link->submit(operations);
  }
  bool all_done(const std::vector<TestCall*>& calls) {
    return rig->loop.run_until([&] {
      return std::all_of(calls.begin(), calls.end(),
                         [](const TestCall* t) { return t->completions > 0; });
    });
  }
  static std::string value_of(const TestCall* t) {
    proto::Cursor c((Bytes(t->reply)));
    c.read_map();
    c.read_str();
    return c.read_nil() ? "(nil)" : std::string(proto::text_of(c.read_bin()));
  }
  Server server;
  std::unique_ptr<Rig> rig;
  Link* link = nullptr;
  Ticket ticket = 0;
};

TEST_F(Memcached, ManyCallersShareOneConnectionAndEachGetsItsOwn) {
  start();
  std::vector<TestCall*> all;
  for (int i = 0; i < 500; ++i)
    all.push_back(set("k" + std::to_string(i), "v" + std::to_string(i * 7)));
  submit(all);
  ASSERT_TRUE(all_done(all));
  EXPECT_LT(server.reads, 20) << "500 commands in one write, not one by one";
  all.clear();
  for (int i = 499; i >= 0; --i) all.push_back(get("k" + std::to_string(i)));
  submit(all);
  ASSERT_TRUE(all_done(all));
  for (int i = 0; i < 500; ++i) EXPECT_EQ(value_of(all[i]), "v" + std::to_string((499 - i) * 7));
  EXPECT_EQ(value_of(rig->ask(link, "get", BodyMap().add("key", "none").take())), "(nil)");
}

TEST_F(Memcached, VerbsAndTheirErrors) {
  start();
  const auto ask = [&](const char* verb, BodyMap& b) { return rig->ask(link, verb, b.take()); };
  EXPECT_TRUE(ask("ping", *std::make_unique<BodyMap>())->done.ok);
  EXPECT_EQ(ask("increment", BodyMap().add("key", "n"))->done.fault.code, Code::not_found);
  ask("set", BodyMap().add("key", "n").add("value", "41"));
  const TestCall* t = ask("increment", BodyMap().add("key", "n"));
  proto::Cursor c((Bytes(t->reply)));
  c.read_map();
  c.read_str();
  EXPECT_EQ(c.read_int(), 42);
  ask("set", BodyMap().add("key", "n").add("value", "word"));
  t = ask("increment", BodyMap().add("key", "n"));
  EXPECT_EQ(t->done.fault.code, Code::invalid);
  EXPECT_EQ(t->done.fault.outcome, Outcome::rejected);
  const std::string long_key(251, 'k');
  for (const std::string& key :
       {std::string("two words"), std::string("a\r\ndelete b"), std::string(), long_key})
    EXPECT_EQ(rig->prepare("get", BodyMap().bin("key", key).take())->done.fault.code, Code::invalid)
        << key;
  EXPECT_EQ(rig->prepare("flush_all", BodyMap().take())->done.fault.code, Code::unsupported);
  const std::string binary("\0\r\nEND\r\n\xff", 9);
  t = rig->ask(link, "set", BodyMap().add("key", "b").bin("value", binary).take());
  EXPECT_TRUE(t->done.ok);
  EXPECT_EQ(value_of(rig->ask(link, "get", BodyMap().add("key", "b").take())), binary);
}

TEST_F(Memcached, RepliesInSlicesOfOneByte) {
  server.slice = true;
  start();
  std::vector<TestCall*> all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(set("key", std::string(static_cast<std::size_t>(i), 'x')));
    all.push_back(get("key"));
  }
  submit(all);
  ASSERT_TRUE(all_done(all));
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(value_of(all[2 * i + 1]).size(), static_cast<std::size_t>(i));
}

// A batch of calls, and the connection cut after every possible number of reply bytes.
TEST_F(Memcached, CutAtEveryByte) {
  start();
  rig->ask(link, "set", BodyMap().add("key", "seed").add("value", "12345").take());
  rig->close(ticket);
  const std::vector<std::size_t> reply_sizes = {8, 28, 5, 8, 11, 28};  // as below
  std::size_t whole = 0;
  for (const std::size_t n : reply_sizes) whole += n;
  for (std::size_t k = 0; k <= whole; ++k) {
    SCOPED_TRACE(k);
    server.cut = static_cast<std::int64_t>(k);
    {
      std::lock_guard lock(server.mutex);
      server.executed.clear();
      server.values = {{"seed", "12345"}};
    }
    link = rig->open(0, ++ticket);
    ASSERT_NE(link, nullptr);
    const std::vector<TestCall*> all = {set("a", "1"),
                                        get("seed"),
                                        get("none"),
                                        set("b", "2"),
                                        rig->prepare("delete", BodyMap().add("key", "none").take()),
                                        get("seed")};
    submit(all);
    ASSERT_TRUE(all_done(all));
    std::size_t end = 0;
    for (std::size_t i = 0; i < all.size(); ++i) {
      end += reply_sizes[i];
      const TestCall* t = all[i];
      EXPECT_EQ(t->completions, 1);
      if (end <= k) {
        EXPECT_TRUE(t->done.ok) << i << ": its reply was complete: " << t->done.fault.message;
        EXPECT_TRUE((i != 1 && i != 5) || value_of(t) == "12345");
      } else {
        EXPECT_EQ(t->done.fault.outcome, Outcome::unknown) << i;
        EXPECT_EQ(t->done.fault.code, Code::unavailable);
        EXPECT_EQ(t->done.connection, ConnState::broken);
      }
    }
    rig->close(ticket);
  }
}

TEST_F(Memcached, AStalledServerIsGivenUpAndOthersAreServed) {
  start(100);
  server.deaf = true;
  Link* stalled = rig->open(0, 77);
  ASSERT_NE(stalled, nullptr);
  server.deaf = false;
  TestCall* lost = rig->prepare("set", BodyMap().add("key", "a").add("value", "1").take());
  server.deaf = true;
  stalled->submit({&lost->operation, 1});
  ASSERT_TRUE(rig->loop.run_until([&] { return server.reads > 0; }));
  ::usleep(20'000);
  server.deaf = false;
  EXPECT_TRUE(rig->ask(link, "get", BodyMap().add("key", "b").take())->done.ok);
  EXPECT_EQ(lost->completions, 0);
  ASSERT_TRUE(rig->loop.run_until([&] { return lost->completions == 1; }));
  EXPECT_EQ(lost->done.fault.outcome, Outcome::unknown)
      << "and the server has it: that is what unknown means";
  EXPECT_EQ(server.values.count("a"), 1u);
  EXPECT_TRUE(rig->ask(link, "get", BodyMap().add("key", "b").take())->done.ok);
}

TEST_F(Memcached, WhatWasNeverHandedOverIsNotSent) {
  server.blind = true;
  start(300);
  std::vector<TestCall*> all;
  const std::string big(100'000, 'x');
  for (int i = 0; i < 40; ++i) all.push_back(set("k" + std::to_string(i), big));
  submit(all);
  ASSERT_TRUE(all_done(all));
  EXPECT_EQ(all.front()->done.fault.outcome, Outcome::unknown);
  EXPECT_EQ(all.back()->done.fault.outcome, Outcome::not_sent);
  bool turned = false;
  for (const TestCall* t : all) {
    const bool not_sent = t->done.fault.outcome == Outcome::not_sent;
    EXPECT_FALSE(turned && !not_sent) << "sent after one that was not";
    turned = turned || not_sent;
  }
  rig->close(ticket);
  server.blind = false;
  server.hang_up();
  ASSERT_TRUE(rig->loop.run_until([] { return false; }, std::chrono::milliseconds(50)) == false);
  std::lock_guard lock(server.mutex);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool not_sent = all[i]->done.fault.outcome == Outcome::not_sent;
    const bool executed = server.values.count("k" + std::to_string(i)) > 0;
    EXPECT_FALSE(not_sent && executed) << "said not_sent, and was executed";
  }
}

TEST_F(Memcached, AServerThatSpeaksSomethingElse) {
  for (const char* nonsense :
       {"HTTP/1.1 400 Bad Request\r\n", "VALUE other 0 3\r\nabc\r\nEND\r\n",
        "VALUE k 0 99999999999999999999\r\n", "VALUE k 0 2\r\nabcd\r\nEND\r\n", "\r\n"}) {
    SCOPED_TRACE(nonsense);
    server.says = nullptr;
    if (!rig)
      start();
    else
      link = rig->open(0, ++ticket);
    server.says = nonsense;
    TestCall* t = rig->ask(link, "get", BodyMap().add("key", "k").take());
    EXPECT_EQ(t->done.fault.outcome, Outcome::unknown);
    EXPECT_EQ(t->done.connection, ConnState::broken);
    rig->close(ticket);
  }
}

TEST_F(Memcached, AnIdleConnectionThatDiesIsReported) {
  start();
  rig->ask(link, "get", BodyMap().add("key", "k").take());
  server.hang_up();
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->losses.size() == 1; }));
  EXPECT_EQ(rig->losses[0].code, Code::unavailable);
}

TEST_F(Memcached, CloseWithCallsInFlight) {
  server.deaf = true;
  start();
  const std::vector<TestCall*> all = {set("a", "1"), get("a")};
  submit(all);
  rig->close(ticket);
  for (const TestCall* t : all) {
    EXPECT_EQ(t->completions, 1);
    EXPECT_EQ(t->done.fault.outcome, Outcome::unknown);
  }
}

TEST_F(Memcached, NobodyListens) {
  start();
  ::unlink(server.path.c_str());
  EXPECT_EQ(rig->open(0, 9), nullptr);
  EXPECT_EQ(rig->open_faults.at(0).code, Code::unavailable);
  EXPECT_EQ(rig->open_faults[0].outcome, Outcome::not_sent);
  EXPECT_EQ(rig->open_faults[0].retry, Retry::backoff);
}

TEST(MemcachedProtocol, EveryPrefixWaitsAndNothingBehindIsRead) {
  using memcached::Command;
  using Kind = memcached::Reply::Kind;
  struct Case {
    Command command;
    std::string text;
    Kind kind;
  };
  for (const Case& c :
       std::vector<Case>{{Command::get, "VALUE k 5 3\r\nabc\r\nEND\r\n", Kind::value},
                         {Command::get, "END\r\n", Kind::miss},
                         {Command::set, "STORED\r\n", Kind::stored},
                         {Command::increment, "18446744073709551615\r\n", Kind::number},
                         {Command::remove, "SERVER_ERROR out of memory\r\n", Kind::failed}}) {
    for (std::size_t n = 0; n < c.text.size(); ++n)
      EXPECT_FALSE(memcached::read_reply(c.text.substr(0, n), c.command, "k"))
          << c.text.substr(0, n);
    const auto r = memcached::read_reply(c.text + "END\r\n", c.command, "k");
    ASSERT_TRUE(r);
    EXPECT_EQ(r->kind, c.kind);
    EXPECT_EQ(r->size, c.text.size());
  }
  EXPECT_EQ(memcached::read_reply(std::string(4096, 'x'), Command::get, "k")->kind, Kind::nonsense);
}

}  // namespace
}  // namespace headgate::testing
