// In its steady state a pool allocates nothing for a call: counted, over a store that allocates
// nothing either.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "daemon/pool/attempts.hpp"
#include "tests/simulator/virtual_loop.hpp"

namespace {
std::uint64_t allocations = 0;
void* counted(std::size_t n) {
  ++allocations;
  void* p = std::malloc(n);
  if (p == nullptr) std::abort();
  return p;
}
}  // namespace

void* operator new(std::size_t n) { return counted(n); }
void* operator new[](std::size_t n) { return counted(n); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace headgate::pool {
namespace {

constexpr int kCalls = 64;

struct Store final : plugin::Store {
  struct Link final : plugin::Link {
    void submit(std::span<plugin::Operation* const> ops) override {
      for (plugin::Operation* op : ops) open[count++] = op;
      ++submits;
    }
    void cancel(plugin::Operation&) override {}
    void reset(plugin::Operation& op) override { open[count++] = &op; }
    void ping(plugin::Operation& op) override { open[count++] = &op; }
    bool abandon(plugin::Operation&) override { return false; }
    void credit(plugin::Operation&, std::uint64_t) override {}
    void upload(plugin::Operation&, std::vector<std::uint8_t>, bool) override {}
    void close() override { closing = true; }
    plugin::Operation* open[2 * kCalls];
    int count = 0, submits = 0;
    bool closing = false;
  };
  Store() {
    plugin::LaneInfo lane;
    lane.name = "main";
    lane.max_inflight = lane.max_batch = kCalls;
    lane.lease = true;
    lanes_.push_back(lane);
    for (auto& op : operations) free[free_count++] = &op;
  }
  const std::vector<plugin::LaneInfo>& lanes() const override { return lanes_; }
  Result<plugin::Route> route(const Call& call, std::uint32_t, const Fault*) override {
    plugin::Route r;
    r.lease = call.verb == "begin";
    return r;
  }
  void open(const plugin::OpenRequest& r) override {
    ticket = r.ticket;
    auto l = std::make_unique<Link>();
    link = l.get();
    events->opened(ticket, std::move(l));
  }
  plugin::Operation* begin(Call* call, plugin::Purpose purpose, const plugin::Route&, std::uint32_t,
                           std::uint64_t, std::string_view) override {
    plugin::Operation* op = free[--free_count];
    op->call = call;
    op->purpose = purpose;
    return op;
  }
  void end(plugin::Operation& op) override { free[free_count++] = &op; }
  void set_events(plugin::LinkEvents* e) override { events = e; }
  void complete_all(plugin::LeaseState lease = plugin::LeaseState::none) {
    while (link->count > 0) {
      plugin::Operation& op = *link->open[--link->count];
      op.done.lease = lease;
      events->completed(op);
    }
  }

  std::vector<plugin::LaneInfo> lanes_;
  plugin::Operation operations[2 * kCalls];
  plugin::Operation* free[2 * kCalls];
  int free_count = 0;
  plugin::Ticket ticket = 0;
  Link* link = nullptr;
  plugin::LinkEvents* events = nullptr;
};

struct Count final : Answers {
  void answer(Call&, Answer a) override {
    ++answered;
    ok += a.code == Code::ok;
  }
  void part(Call&, std::uint64_t, ReplyBuffer) override {}
  void upload_credit(Call&, std::uint64_t) override {}
  int answered = 0, ok = 0;
};

struct Zero final : Random {
  std::uint64_t next() override { return 0; }
};

TEST(Allocation, NoneForACallInSteadyState) {
  simulator::VirtualLoop loop;
  Zero zero;
  Store store;
  Count count;
  auto pools = make_attempts(loop, zero, store, count, {});
  auto calls = std::make_unique<Call[]>(kCalls);
  const auto round = [&] {
    for (int i = 0; i < kCalls; ++i) {
      Call& c = calls[static_cast<std::size_t>(i)];
      c.verb = "get";
      c.share.service = static_cast<std::uint32_t>(i % 5);
      c.attempts = 0;
      c.received = loop.now();
      c.deadline = loop.now() + std::chrono::seconds(5);
      pools->start(c);
    }
    loop.end_turn();
    loop.end_turn();
    store.complete_all();
    loop.run_until(loop.now() + Micros(100));
  };
  const auto transaction = [&] {
    Call& c = calls[0];
    c.verb = "begin";
    c.peer = 1;
    c.request_id = 7;
    c.deadline = loop.now() + std::chrono::seconds(5);
    pools->start(c);
    loop.end_turn();
    store.complete_all(plugin::LeaseState::open);
    Call& commit = calls[1];
    commit.verb = "commit";
    commit.peer = 1;
    commit.tx = 7;
    commit.deadline = loop.now() + std::chrono::seconds(5);
    pools->start(commit);
    loop.end_turn();
    store.complete_all();
    loop.end_turn();
    store.complete_all();  // the reset
    commit.tx = 0;
  };
  for (int i = 0; i < 20; ++i) round(), transaction();
  const std::uint64_t before = allocations;
  const int answered = count.answered;
  for (int i = 0; i < 200; ++i) round(), transaction();
  EXPECT_EQ(allocations - before, 0u);
  EXPECT_EQ(count.answered - answered, 200 * (kCalls + 2));
  EXPECT_EQ(count.ok, count.answered);
  EXPECT_LE(store.link->submits, 2 * 220 * 3) << "one submit a turn";
  pools->drain();
  pools->close();
  store.complete_all();
  store.events->closed(store.ticket);
  loop.end_turn();
  EXPECT_TRUE(pools->closed());
}

}  // namespace
}  // namespace headgate::pool
