// A store made of lists: the test sees every connect and every operation, and ends each as it
// likes.
#pragma once
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/pool/attempts.hpp"
#include "tests/simulator/virtual_loop.hpp"

namespace headgate::pool {

using namespace std::chrono_literals;
using plugin::ConnState;
using plugin::Done;
using plugin::LeaseState;
using plugin::Operation;

struct FakeStore;

struct FakeLink final : plugin::Link {
  explicit FakeLink(FakeStore& s) : store(s) {}
  ~FakeLink() override { EXPECT_TRUE(closed); }
  void submit(std::span<Operation* const> ops) override;
  void cancel(Operation& op) override { cancelled.push_back(&op); }
  void reset(Operation& op) override { open.push_back(&op); }
  void ping(Operation& op) override { open.push_back(&op); }
  bool abandon(Operation& op) override {
    abandoned.push_back(&op);
    return queued;
  }
  void credit(Operation&, std::uint64_t n) override { credited = n; }
  void upload(Operation&, std::vector<std::uint8_t> piece, bool end) override {
    pieces.push_back(std::move(piece));
    last = last || end;
  }
  void close() override;

  FakeStore& store;
  plugin::OpenRequest request;
  std::vector<std::vector<Operation*>> batches;
  std::vector<Operation*> open, cancelled, abandoned;
  std::vector<std::vector<std::uint8_t>> pieces;
  std::uint64_t credited = 0;
  bool last = false, closing = false, closed = false;
  bool queued = false;  // what it was given has not begun
};

struct FakeStore final : plugin::Store {
  const std::vector<plugin::LaneInfo>& lanes() const override { return lanes_; }
  Result<plugin::Route> route(const Call& call, std::uint32_t hops, const Fault*) override {
    routed_hops = hops;
    plugin::Route r = routes[std::string(call.verb)];
    if (hops > 0 && rerouted.count(std::string(call.verb)) > 0)
      r = rerouted[std::string(call.verb)];
    return r;
  }
  void open(const plugin::OpenRequest& r) override { opening.push_back(r); }
  Operation* begin(Call* call, plugin::Purpose purpose, const plugin::Route&, std::uint32_t attempt,
                   std::uint64_t lease, std::string_view receipt) override {
    if (live >= operations_max) return nullptr;
    operations.push_back(std::make_unique<Operation>());
    Operation* op = operations.back().get();
    op->id = operations.size();
    op->purpose = purpose;
    op->call = call;
    last_attempt = attempt, last_lease = lease, last_receipt = std::string(receipt);
    ++live;
    return op;
  }
  void end(Operation&) override { --live; }
  void set_events(plugin::LinkEvents* e) override { events = e; }

  // Lets the oldest connect succeed, or fail.
  FakeLink& accept() {
    EXPECT_FALSE(opening.empty());
    auto link = std::make_unique<FakeLink>(*this);
    link->request = opening.front();
    opening.pop_front();
    FakeLink& l = *link;
    links.push_back(&l);
    events->opened(l.request.ticket, std::move(link));
    return l;
  }
  void refuse(Fault f) {
    const auto ticket = opening.front().ticket;
    opening.pop_front();
    events->open_failed(ticket, f);
  }
  void complete(FakeLink& l, Operation& op, Done d = {}) {
    std::erase(l.open, &op);
    op.done = std::move(d);
    events->completed(op);
  }

  std::vector<plugin::LaneInfo> lanes_;
  std::map<std::string, plugin::Route> routes, rerouted;
  std::deque<plugin::OpenRequest> opening;
  std::vector<FakeLink*> links;
  std::vector<std::unique_ptr<Operation>> operations;
  std::uint32_t routed_hops = 0, last_attempt = 0, live = 0, operations_max = 1000;
  std::uint64_t last_lease = 0;
  std::string last_receipt;
  plugin::LinkEvents* events = nullptr;
};

inline void FakeLink::submit(std::span<Operation* const> ops) {
  batches.emplace_back(ops.begin(), ops.end());
  open.insert(open.end(), ops.begin(), ops.end());
}
inline void FakeLink::close() { closing = true; }

struct Seeded final : Random {
  std::uint64_t next() override {
    return state = state * 6364136223846793005ull + 1442695040888963407ull;
  }
  std::uint64_t state = 42;
};

struct PoolTest : testing::Test, Answers {
  PoolTest() {
    plugin::LaneInfo lane;
    lane.name = "main";
    lane.connections = lane.connections_max = 2;
    lane.lease = lane.cancel = true;
    store.lanes_ = {lane};
    plugin::Route begin;
    begin.lease = true;
    store.routes["begin"] = begin;
    plugin::Route set;
    set.idempotent = true;
    store.routes["set"] = set;
    settings.store = "orders";
  }
  ~PoolTest() override {
    if (pools == nullptr) return;
    pools->drain();
    pools->close();
    // A store that is well ends everything when it is told to close.
    for (int i = 0; i < 100 && !pools->closed(); ++i) {
      while (!store.opening.empty()) store.refuse(down());
      finish_closing();
      loop.end_turn();
    }
    EXPECT_TRUE(pools->closed());
    EXPECT_EQ(store.live, 0u) << "an operation was not given back";
    for (auto& c : calls) EXPECT_EQ(answered[c.get()], 1) << c->verb;
    pools.reset();
    EXPECT_EQ(loop.timers(), 0u);
  }
  void finish_closing() {
    for (FakeLink*& l : store.links) {
      if (l == nullptr || !l->closing) continue;
      while (!l->open.empty()) store.complete(*l, *l->open.front(), failed(Outcome::unknown));
      l->closed = true;
      auto ticket = l->request.ticket;
      l = nullptr;
      store.events->closed(ticket);
    }
  }
  void make() { pools = make_attempts(loop, random, store, *this, settings); }

  Call& call(std::string_view verb, std::uint32_t service = 0, Micros timeout = 5s) {
    calls.push_back(std::make_unique<Call>());
    Call& c = *calls.back();
    c.id = c.request_id = calls.size();
    c.peer = 1;
    c.share.service = service;
    c.verb = verb;
    c.received = loop.now();
    c.deadline = timeout == Micros::max() ? kNever : loop.now() + timeout;
    return c;
  }
  Call& start(std::string_view verb, std::uint32_t service = 0, Micros timeout = 5s) {
    Call& c = call(verb, service, timeout);
    pools->start(c);
    loop.end_turn();
    return c;
  }
  Call& start_upload(Micros timeout) {
    Call& c = call("copy_in", 0, timeout);
    c.upload = true;
    pools->start(c);
    loop.end_turn();
    return c;
  }
  Call& start_in(const Call& begin, std::string_view verb, Micros timeout = 5s) {
    Call& c = call(verb, 0, timeout);
    c.tx = begin.request_id;
    pools->start(c);
    loop.end_turn();
    return c;
  }
  void complete(FakeLink& l, Done d = {}) {
    ASSERT_FALSE(l.open.empty());
    store.complete(l, *l.open.front(), std::move(d));
    loop.end_turn();
  }
  FakeLink& accept() {
    FakeLink& l = store.accept();
    loop.end_turn();
    return l;
  }
  void pass(Micros d) { loop.run_until(loop.now() + d); }
  // Refuses one connect after another; `at_most` of them until the call is answered.
  void refuse_until_answered(Call& c, const Fault& why, int at_most) {
    for (int tries = 0; !is_answered(c);) {
      while (store.opening.empty()) pass(std::chrono::milliseconds(5));
      store.refuse(why);
      loop.end_turn();
      ASSERT_LE(++tries, at_most);
    }
  }
  static Done with_lease(LeaseState s) {
    Done d;
    d.lease = s;
    return d;
  }
  static Done failed(Outcome o, Retry r = Retry::never, Code c = Code::store_error) {
    Done d;
    d.ok = false;
    d.fault.outcome = o;
    d.fault.retry = r;
    d.fault.code = c;
    d.fault.message = "as told";
    if (o == Outcome::unknown) d.connection = ConnState::broken;
    return d;
  }
  static Fault down(Retry r = Retry::backoff) {
    Fault f;
    f.code = Code::unavailable;
    f.retry = r;
    f.message = "refused";
    return f;
  }
  Answer& answer_of(Call& c) {
    EXPECT_EQ(answered[&c], 1) << "not answered: " << c.verb;
    return answers[&c];
  }
  bool is_answered(Call& c) { return answered[&c] > 0; }

  void answer(Call& c, Answer a) override {
    EXPECT_EQ(++answered[&c], 1) << "answered twice: " << c.verb;
    answers[&c] = std::move(a);
  }
  void part(Call& c, std::uint64_t sequence, ReplyBuffer) override { parts[&c] = sequence; }
  void upload_credit(Call& c, std::uint64_t sequence) override { upload_credits[&c] = sequence; }

  simulator::VirtualLoop loop;
  Seeded random;
  FakeStore store;
  Settings settings;
  std::vector<std::unique_ptr<Call>> calls;
  std::map<Call*, int> answered;
  std::map<Call*, Answer> answers;
  std::map<Call*, std::uint64_t> parts, upload_credits;
  std::unique_ptr<Attempts> pools;
};

}  // namespace headgate::pool
