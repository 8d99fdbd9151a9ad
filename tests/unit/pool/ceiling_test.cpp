// What pools make of a store that has no room for another connection.
#include "tests/unit/pool/fixture.hpp"

namespace headgate::pool {
namespace {

class Lines final : public Log {
 public:
  void flush() override {}
  [[nodiscard]] std::uint64_t dropped() const override { return 0; }
  std::vector<std::string> all;

 protected:
  void write(Level, std::string_view event, Fields f) override {
    std::string line(event);
    for (const LogField& x : f) {
      if (x.kind == LogField::Kind::natural)
        line += " " + std::string(x.key) + "=" + std::to_string(x.natural);
    }
    all.push_back(line);
  }
};

struct CeilingTest : PoolTest {
  CeilingTest() {
    store.lanes_[0].connections = 8;
    settings.connections_max = 8;
  }
  void make() { pools = make_attempts(loop, random, store, *this, settings, &log); }
  static Fault full() {
    Fault f = down();
    f.full = true;
    f.message = "too many clients already";
    return f;
  }
  // The server has room for `room` of ours, those that close included; whoever asks for more is
  // refused, and counted.
  void settle_connects(std::size_t room) {
    while (!store.opening.empty()) {
      std::size_t held = 0;
      for (FakeLink* l : store.links) held += l != nullptr;
      if (held < room) {
        store.accept();
      } else {
        store.refuse(full());
        ++refusals;
      }
      loop.end_turn();
    }
  }
  // Callers that always want more than there is, for so long; each call takes 100 ms.
  void load(Micros span, std::size_t room, std::size_t callers = 20) {
    for (const TimePoint end = loop.now() + span; loop.now() < end; pass(100ms)) {
      while (!waiting.empty() && is_answered(*waiting.front())) waiting.pop_front();
      while (waiting.size() < callers) waiting.push_back(&start("get", 0, 60s));
      settle_connects(room);
      for (std::size_t i = 0; i < store.links.size(); ++i) {
        if (store.links[i] != nullptr && !store.links[i]->open.empty()) complete(*store.links[i]);
      }
      finish_closing();
      loop.end_turn();
    }
  }
  [[nodiscard]] std::size_t failures() {
    std::size_t n = 0;
    for (auto& c : calls) n += is_answered(*c) && answers[c.get()].code != Code::ok;
    return n;
  }
  [[nodiscard]] std::uint32_t ceiling(std::size_t pool = 0) const {
    return pools->rows().at(pool).ceiling;
  }

  Lines log;
  std::deque<Call*> waiting;  // of load(); the oldest is served first
  std::size_t refusals = 0;
};

TEST_F(CeilingTest, AFullStoreServesOverWhatThereIsWithoutAStorm) {
  make();
  load(1s, 3);
  EXPECT_EQ(ceiling(), 3u);
  const std::size_t first = refusals;
  EXPECT_GE(first, 1u);
  EXPECT_LE(first, 2u) << "those that were under way; nobody asks again at once";
  load(20s, 3);
  EXPECT_EQ(refusals, first);
  load(280s, 3, 5);
  EXPECT_EQ(ceiling(), 3u);
  EXPECT_GE(refusals, 9u) << "now and then one more is tried";
  EXPECT_LE(refusals, 15u);
  EXPECT_EQ(failures(), 0u);
  EXPECT_GT(calls.size(), 8000u);
}

TEST_F(CeilingTest, WhenThereIsRoomAgainItGrowsOneByOneAndIsForgotten) {
  make();
  load(1s, 3);
  load(31s, 8);
  EXPECT_EQ(pools->rows()[0].connections, 8u) << "each success lets one more try";
  EXPECT_EQ(ceiling(), 8u);
  EXPECT_LE(refusals, 2u);
  ASSERT_GE(log.all.size(), 2u);
  EXPECT_EQ(log.all[0], "pool_ceiling_lowered connections=3 before=8");
  EXPECT_EQ(log.all[1], "pool_ceiling_raised connections=4 before=3");
  EXPECT_EQ(log.all.back(), "pool_ceiling_raised connections=8 before=7");
  EXPECT_EQ(log.all.size(), 6u) << "each change is told once";
}

TEST_F(CeilingTest, WithNothingAtAllItIsAnOrdinaryFailureAndHeals) {
  make();
  Call& c = start("get");
  ASSERT_NO_FATAL_FAILURE(refuse_until_answered(c, full(), 3));
  EXPECT_EQ(answer_of(c).code, Code::unavailable);
  EXPECT_EQ(answer_of(c).outcome, Outcome::not_sent);
  EXPECT_EQ(ceiling(), 1u);
  EXPECT_EQ(log.all.size(), 1u);
  load(20s, 1);
  EXPECT_EQ(pools->rows()[0].connections, 1u);
  EXPECT_EQ(refusals, 0u) << "it asks for no second one";
}

TEST_F(CeilingTest, ALateComerIsCountedAsRoom) {
  make();
  for (int i = 0; i < 8; ++i) (void)start("get");
  accept();
  ASSERT_EQ(store.opening.size(), 2u);
  store.refuse(full());
  loop.end_turn();
  EXPECT_EQ(ceiling(), 1u);
  accept();  // was under way
  EXPECT_EQ(ceiling(), 2u);
  EXPECT_TRUE(store.opening.empty());
  load(5s, 2);
  EXPECT_EQ(failures(), 0u);
}

struct TwoLanes : CeilingTest {
  TwoLanes() {
    store.lanes_.push_back(store.lanes_[0]);
    store.lanes_[1].name = "side";
    store.routes["side"].lane = 1;
  }
};

TEST_F(TwoLanes, APoolThatHasNoneTakesAnIdleOne) {
  make();
  (void)start("get");
  (void)start("get");
  FakeLink& a = accept();
  FakeLink& b = accept();
  complete(a);
  complete(b);
  Call& side = start("side", 0, 20s);
  settle_connects(2);
  EXPECT_EQ(refusals, 1u);
  EXPECT_EQ(a.closing + b.closing, 1);
  EXPECT_TRUE(store.opening.empty()) << "not before the other is gone";
  finish_closing();
  loop.end_turn();
  while (!is_answered(side)) {
    settle_connects(2);
    for (FakeLink* l : store.links)
      if (l != nullptr && !l->open.empty()) complete(*l);
    pass(10ms);
  }
  EXPECT_EQ(answer_of(side).code, Code::ok);
  EXPECT_EQ(ceiling(), 2u);
}

TEST_F(TwoLanes, BothAreServedWhileEachWantsAllThereIs) {
  make();
  load(1s, 3);
  for (int round = 0; round < 50; ++round) {
    Call& side = start("side", 0, 10s);
    for (int i = 0; i < 50 && !is_answered(side); ++i) load(100ms, 3);
    ASSERT_TRUE(is_answered(side)) << round;
    EXPECT_EQ(answer_of(side).code, Code::ok);
  }
  EXPECT_EQ(failures(), 0u);
  EXPECT_EQ(ceiling(0), 3u);
  EXPECT_LE(refusals, 6u);
}

TEST_F(TwoLanes, AtTheConfiguredMaximumTooAPoolThatHasNoneIsServed) {
  settings.connections_max = 3;
  make();
  load(1s, 3);
  for (int round = 0; round < 50; ++round) {
    Call& side = start("side", 0, 10s);
    for (int i = 0; i < 50 && !is_answered(side); ++i) load(100ms, 3);
    ASSERT_TRUE(is_answered(side)) << round;
    EXPECT_EQ(answer_of(side).code, Code::ok);
  }
  EXPECT_EQ(refusals, 0u);
}

TEST_F(TwoLanes, APlaceThatWasJustGivenUpMayNotBeFreeYet) {
  make();
  load(1s, 3);
  ASSERT_EQ(ceiling(), 3u);
  Call& side = start("side", 0, 20s);
  pass(150ms);  // long enough to take a busy one's place
  for (FakeLink* l : store.links)
    if (l != nullptr && !l->open.empty()) complete(*l);
  finish_closing();
  loop.end_turn();
  ASSERT_EQ(store.opening.size(), 1u);
  store.refuse(full());  // the server has not let go of the old one
  loop.end_turn();
  EXPECT_EQ(ceiling(), 3u);
  EXPECT_TRUE(store.opening.empty()) << "a pause, or it is a storm";
  pass(500ms);
  ASSERT_EQ(store.opening.size(), 1u);
  EXPECT_EQ(store.opening.front().lane, 1u);
  accept();
  load(1s, 3);
  EXPECT_EQ(answer_of(side).code, Code::ok);
}

TEST_F(CeilingTest, OtherCredentialsAndReadEndpointsHaveRoomOfTheirOwn) {
  settings.endpoints = 2;
  settings.read_endpoints = 1;
  settings.credentials.by_service = {{0, 0, 0, 0}, {1, 1, 1, 1}};
  settings.connections_max = 16;
  make();
  load(1s, 3);
  ASSERT_EQ(ceiling(), 3u);
  std::vector<Call*> others;
  for (int i = 0; i < 4; ++i) others.push_back(&start("get", 1));
  for (int i = 0; i < 4; ++i) {
    Call& c = call("get");
    c.access = Access::read;
    pools->start(c);
    others.push_back(&c);
  }
  loop.end_turn();
  while (!store.opening.empty()) accept();
  for (FakeLink* l : store.links)
    while (l != nullptr && !l->open.empty()) complete(*l);
  for (Call* c : others) EXPECT_EQ(answer_of(*c).code, Code::ok);
  EXPECT_EQ(ceiling(0), 3u);
  EXPECT_EQ(ceiling(1), 8u);
  EXPECT_EQ(ceiling(2), 8u);
}

TEST_F(CeilingTest, ANewCredentialBeginsAnew) {
  make();
  load(1s, 3);
  ASSERT_EQ(ceiling(), 3u);
  pools->apply(settings, 1);
  EXPECT_EQ(ceiling(), 8u);
  load(5s, 8);
  EXPECT_EQ(pools->rows()[0].connections, 8u);
}

TEST_F(CeilingTest, ALowerMaximumAfterAReloadHolds) {
  make();
  load(1s, 6);
  ASSERT_EQ(ceiling(), 6u);
  settings.connections_max = 4;
  pools->apply(settings, 0);
  load(3s, 6);
  EXPECT_LE(pools->rows()[0].connections, 6u);
  EXPECT_EQ(ceiling(), 4u);
}

}  // namespace
}  // namespace headgate::pool
