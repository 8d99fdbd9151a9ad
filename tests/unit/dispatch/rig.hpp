// A dispatcher over nothing: frames are recorded, stores are scripts, time stands still.
#pragma once
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/dispatch/dispatcher.hpp"
#include "daemon/pool/attempts.hpp"

namespace headgate {

struct StillLoop final : Loop {
  TimePoint time{1'000'000'000};
  std::vector<Timer*> armed;
  TimePoint now() const override { return time; }
  void arm(Timer& t, TimePoint at) override {
    t.at_ = at;
    t.heap_index_ = 0;
    for (Timer* x : armed) {
      if (x == &t) return;
    }
    armed.push_back(&t);
  }
  void disarm(Timer& t) override {
    std::erase(armed, &t);
    t.heap_index_ = Timer::kNone;
  }
  void watch(Watcher&, int, std::uint32_t) override {}
  void post(Task& t) override { t.run(); }
  void defer(Task& t) override { t.run(); }
  // Passes time and fires what is due.
  void pass(Micros d) {
    time = time + d;
    for (Timer* t : std::vector<Timer*>(armed)) {
      if (t->at_ > time) continue;
      disarm(*t);
      t->fire();
    }
  }
};

struct Recorder final : Frames {
  bool keep = true;
  std::uint64_t sent = 0;
  std::map<PeerId, std::vector<std::vector<std::uint8_t>>> frames;
  std::map<PeerId, std::string> cuts;
  Sent send(PeerId peer, proto::Bytes head, proto::Bytes body) override {
    ++sent;
    if (!keep) return Sent::sent;
    std::vector<std::uint8_t> f(head.begin(), head.end());
    f.insert(f.end(), body.begin(), body.end());
    frames[peer].push_back(std::move(f));
    return Sent::sent;
  }
  Sent send(PeerId peer, proto::Bytes head, ReplyBuffer body) override {
    return send(peer, head, body.view());
  }
  void cut(PeerId peer, std::string_view reason) override { cuts[peer] = reason; }
};

// A store whose calls wait until the test says how they end.
struct Script final : pool::Attempts {
  Answers* answers = nullptr;
  std::vector<Call*> calls;
  std::vector<std::string> uploads;
  std::vector<std::uint64_t> gone;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> credits;
  bool leases_held = false;
  void end(Call& c, Code code) {
    std::erase(calls, &c);
    Answer a;
    a.code = a.fault.code = code;
    a.outcome = code == Code::ok ? Outcome::applied : Outcome::rejected;
    answers->answer(c, std::move(a));
  }
  void start(Call& c) override { calls.push_back(&c); }
  void give_up(Call& c, Code why, std::string_view) override { end(c, why); }
  void credit(Call& c, std::uint64_t n) override { credits.emplace_back(c.request_id, n); }
  void upload(Call&, std::vector<std::uint8_t> piece, bool) override {
    uploads.emplace_back(piece.begin(), piece.end());
  }
  void peer_gone(std::uint64_t peer) override { gone.push_back(peer); }
  bool has_leases(std::uint64_t) const override { return leases_held; }
  void drain() override {}
  void end_leases() override {}
  bool drained() const override { return calls.empty(); }
  void warm() override {}
  void apply(const pool::Settings&, std::uint32_t) override {}
  void close() override {}
  bool closed() const override { return true; }
  std::vector<pool::PoolRow> rows() const override { return {}; }
  std::vector<pool::LeaseRow> leases() const override { return {}; }
};

// A Frame over bytes of its own.
inline Frame frame_of(const std::vector<std::uint8_t>& bytes) {
  static const Frame::Ops kOps = {
      [](void* from, void* to) { std::memcpy(to, from, sizeof(void*)); },
      [](void* storage) {
        void* p = nullptr;
        std::memcpy(&p, storage, sizeof p);
        std::free(p);
      }};
  Frame f;
  void* copy = std::malloc(bytes.size() + 1);
  std::memcpy(copy, bytes.data(), bytes.size());
  std::memcpy(f.storage(), &copy, sizeof copy);
  f.adopt(&kOps, {static_cast<std::uint8_t*>(copy), bytes.size()});
  return f;
}

template <class F>
std::vector<std::uint8_t> encoded(const F& f) {
  proto::VectorOut out;
  proto::Writer w(&out);
  proto::encode(w, f);
  return {out.view().begin(), out.view().end()};
}

struct Rig {
  StillLoop loop;
  NoLog log;
  Recorder frames;
  Script script;
  StoreEntry builtin, store;
  access::UsageBook usage;
  access::PolicyInput input;
  std::unique_ptr<Dispatcher> d;

  explicit Rig(DispatchSettings settings = {}) {
    builtin.index = 0;
    builtin.name = "headgate";
    builtin.kind = "admin";
    builtin.verbs = access::VerbTable({{"ping", Access::read}, {"show", Access::read}});
    builtin.builtin = [](const Call&) { return Answer{}; };
    store.index = 1;
    store.name = "orders";
    store.kind = "sql";
    store.verbs = access::VerbTable({{"query", Access::read, true},
                                     {"execute", Access::write},
                                     {"copy_in", Access::write, false, true},
                                     {"blpop", Access::write, false, false, true}});
    d = std::make_unique<Dispatcher>(loop, log, settings);
    script.answers = d.get();
    store.attempts = &script;
    d->set_frames(&frames);
    d->set_stores({&builtin, &store});
    input.services = {{"app", 1, 1, {"uid:1"}}, {"reader", 2, 1, {"uid:2"}}};
    input.stores = {{"headgate", &builtin.verbs}, {"orders", &store.verbs}};
    input.own_user = "uid:9";
    grant("app", Access::write);
    grant("reader", Access::read);
    apply();
  }
  void grant(const std::string& service, Access a, access::Limits limits = {}) {
    access::Rule r;
    r.access = a;
    r.limits = limits;
    r.place = "f:1";
    input.grants.push_back({service, "orders", r});
  }
  void apply() { d->set_policy(std::make_shared<access::Policy>(input, usage)); }

  PeerId peer(std::uint32_t slot, const char* user = "uid:1", bool hello = true) {
    const PeerId id = (1ull << 32) | slot;
    if (!d->on_peer(id, {user, 1, "ipc"})) return 0;
    if (hello) {
      proto::Hello h;
      h.id = 1;
      h.name = "test";
      h.version = "1";
      h.pongs = true;
      give(id, h);
      frames.frames[id].clear();
    }
    return id;
  }
  template <class F>
  void give(PeerId p, const F& f) {
    d->on_frame(p, frame_of(encoded(f)));
  }
  proto::Request request(std::uint64_t id, const char* store_name, const char* verb) {
    static const std::uint8_t kEmpty[] = {0x80};
    proto::Request r;
    r.id = id;
    r.sent_us = static_cast<std::uint64_t>(loop.time.us);
    r.store = store_name;
    r.verb = verb;
    r.body = kEmpty;
    return r;
  }
  // The last frame that went to a peer.
  proto::Reply last(PeerId p) {
    if (frames.frames[p].empty()) return {};
    const auto m = proto::decode(frames.frames[p].back(), proto::From::daemon);
    const auto* r = m ? std::get_if<proto::Reply>(&*m) : nullptr;
    return r != nullptr ? *r : proto::Reply{};
  }
};

}  // namespace headgate
