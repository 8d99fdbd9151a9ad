// Connections: how many, where to, how long, and what callers learn when there are none.
#include "tests/unit/pool/fixture.hpp"

namespace headgate::pool {
namespace {

TEST_F(PoolTest, ConnectsAreBoundedAndProvedOneByOneFirst) {
  store.lanes_[0].connections = 8;
  make();
  for (int i = 0; i < 20; ++i) (void)start("get");
  EXPECT_EQ(store.opening.size(), 1u) << "nobody knows yet that the store is well";
  std::vector<FakeLink*> links{&accept()};
  EXPECT_EQ(store.opening.size(), 2u) << "two at once";
  while (!store.opening.empty()) links.push_back(&accept());
  EXPECT_EQ(links.size(), 8u);
  for (int round = 0; round < 20; ++round) {
    for (FakeLink* l : links) {
      if (!l->open.empty()) complete(*l);
    }
  }
}

TEST_F(PoolTest, AClosedDoorIsToldQuicklyAndHealsByItself) {
  make();
  Call& c = start("get");
  ASSERT_NO_FATAL_FAILURE(refuse_until_answered(c, down(), 3));
  EXPECT_EQ(answer_of(c).code, Code::unavailable);
  EXPECT_EQ(answer_of(c).outcome, Outcome::not_sent);
  EXPECT_EQ(answer_of(c).fault.message, "refused");
  EXPECT_GT(answer_of(c).retry_after_ms, 0u);
  Call& at_once = start("get");
  EXPECT_EQ(answer_of(at_once).code, Code::unavailable);
  pass(200ms);
  Call& later = start("get");
  complete(accept());
  EXPECT_EQ(answer_of(later).code, Code::ok);
}

TEST_F(PoolTest, WhatNoPauseCanMendIsToldAtOnce) {
  make();
  Call& c = start("get");
  Call& d = start("get");
  store.refuse(down(Retry::never));
  EXPECT_EQ(answer_of(c).code, Code::unavailable);
  EXPECT_EQ(answer_of(d).code, Code::unavailable);
}

TEST_F(PoolTest, ARefusedLoginIsTriedTwiceThenProbedSlowly) {
  make();
  Fault wrong = down();
  wrong.sqlstate = "28P01";
  Call& c = start("get");
  store.refuse(wrong);
  loop.end_turn();
  ASSERT_EQ(store.opening.size(), 1u) << "one more try";
  EXPECT_FALSE(is_answered(c));
  store.refuse(wrong);
  loop.end_turn();
  EXPECT_EQ(answer_of(c).code, Code::unavailable);
  for (int i = 0; i < 100; ++i) {
    Call& refused = start("get");
    ASSERT_TRUE(is_answered(refused));
    pass(200ms);
  }
  EXPECT_TRUE(store.opening.empty()) << "the account must not be locked";
  pass(11s);
  (void)start("get");
  EXPECT_EQ(store.opening.size(), 1u);
  store.refuse(wrong);
  pools->apply(settings, 1);
  Call& mended = start("get");
  complete(accept());
  EXPECT_EQ(answer_of(mended).code, Code::ok) << "the credential's source has changed";
}

TEST_F(PoolTest, AStaleConnectionIsReplacedAtOnceAndItsNeighboursAreAsked) {
  make();
  (void)start("get");
  (void)start("get");
  FakeLink& a = accept();
  FakeLink& b = accept();
  complete(a);
  complete(b);
  Call& c = start("put");
  FakeLink& used = a.open.empty() ? b : a;
  FakeLink& other = a.open.empty() ? a : b;
  Done stale = failed(Outcome::not_sent, Retry::new_connection);
  stale.connection = ConnState::broken;
  pass(1ms);
  complete(used, stale);
  EXPECT_TRUE(used.closing);
  ASSERT_EQ(other.open.size(), 1u);
  EXPECT_EQ(other.open[0]->purpose, plugin::Purpose::ping);
  complete(other);
  EXPECT_EQ(other.open[0]->call, &c);
  complete(other);
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(PoolTest, IdleForLongMeansAskedFirst) {
  settings.check_after = 30s;
  make();
  (void)start("get");
  FakeLink& l = accept();
  complete(l);
  pass(29s);
  (void)start("get");
  EXPECT_EQ(l.open[0]->purpose, plugin::Purpose::call);
  complete(l);
  pass(31s);
  Call& c = start("get");
  ASSERT_EQ(l.open[0]->purpose, plugin::Purpose::ping);
  Done dead = failed(Outcome::unknown);
  complete(l, dead);
  EXPECT_TRUE(l.closing);
  finish_closing();
  loop.end_turn();
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
  EXPECT_EQ(c.attempts, 1u);
}

TEST_F(PoolTest, AHangingCheckOrResetClosesItsConnection) {
  settings.check_after = 1s;
  settings.connect_timeout = 2s;
  make();
  (void)start("get");
  FakeLink& l = accept();
  complete(l);
  pass(2s);
  (void)start("get");
  pass(2s);
  EXPECT_TRUE(l.closing);
  complete(accept());
}

TEST_F(PoolTest, IdleAndOldConnectionsGoMinStays) {
  settings.idle_max = 10s;
  settings.lifetime_max = 100s;
  settings.connections_min = 1;
  make();
  pools->warm();
  loop.end_turn();
  FakeLink& first = accept();
  (void)start("get");
  (void)start("get");
  FakeLink& second = accept();
  complete(first);
  complete(second);
  pass(12s);
  EXPECT_NE(first.closing, second.closing) << "one is kept warm";
  FakeLink& kept = first.closing ? second : first;
  finish_closing();
  pass(77s);
  EXPECT_FALSE(kept.closing);
  pass(13s);
  EXPECT_TRUE(kept.closing) << "past its lifetime";
  finish_closing();
  pass(2s);
  EXPECT_EQ(store.opening.size(), 1u) << "and replaced";
}

TEST_F(PoolTest, ABusyPoolTakesAQuietOnesIdleConnection) {
  settings.connections_max = 2;
  store.lanes_.push_back(store.lanes_[0]);
  store.lanes_[1].name = "other";
  store.routes["other"].lane = 1;
  make();
  (void)start("get");
  (void)start("get");
  FakeLink& a = accept();
  FakeLink& b = accept();
  complete(a);
  complete(b);
  Call& c = start("other");
  EXPECT_TRUE(store.opening.empty()) << "the store's maximum holds";
  EXPECT_NE(a.closing, b.closing);
  finish_closing();
  loop.end_turn();
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(PoolTest, APoolWithNothingIsNotStarvedByOneThatIsNeverIdle) {
  settings.connections_max = 1;
  store.lanes_.push_back(store.lanes_[0]);
  store.lanes_[1].name = "other";
  store.routes["other"].lane = 1;
  make();
  (void)start("get");
  FakeLink& a = accept();
  Call& c = start("other");
  for (int i = 0; i < 20 && !a.closing; ++i) {
    (void)start("get");
    pass(20ms);
    complete(a);
  }
  EXPECT_TRUE(a.closing);
  finish_closing();
  loop.end_turn();
  // Both pools have no connection now; each gets its turn.
  for (int i = 0; i < 50 && !is_answered(c); ++i) {
    FakeLink* l = store.opening.empty() ? nullptr : &accept();
    while (l != nullptr && !l->open.empty()) complete(*l);
    pass(50ms);
    finish_closing();
    loop.end_turn();
  }
  EXPECT_EQ(answer_of(c).code, Code::ok);
  for (int i = 0; i < 50; ++i) {
    FakeLink* l = store.opening.empty() ? nullptr : &accept();
    while (l != nullptr && !l->open.empty()) complete(*l);
    pass(50ms);
    finish_closing();
    loop.end_turn();
  }
}

TEST_F(PoolTest, AMovedPrimaryIsFoundOnAnotherEndpoint) {
  settings.endpoints = 2;
  make();
  Call& c = start("put");
  FakeLink& l = accept();
  EXPECT_EQ(l.request.endpoint, 0);
  complete(l, failed(Outcome::rejected, Retry::other_endpoint));
  EXPECT_TRUE(l.closing);
  FakeLink& other = accept();
  EXPECT_EQ(other.request.endpoint, 1);
  complete(other);
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(PoolTest, AFailedConnectGoesOnToTheNextEndpoint) {
  settings.endpoints = 3;
  make();
  Call& c = start("put");
  store.refuse(down());
  loop.end_turn();
  store.refuse(down());
  loop.end_turn();
  FakeLink& l = accept();
  EXPECT_EQ(l.request.endpoint, 2);
  complete(l);
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(PoolTest, TheBreakerOpensAndClosesAgain) {
  settings.breaker_min_calls = 4;
  make();
  FakeLink* l = nullptr;
  for (int i = 0; i < 3; ++i) {  // and the connect, which was the fourth
    (void)start("put");
    if (l == nullptr) l = &accept();
    Done d = failed(Outcome::rejected);
    d.fault.breaker = true;
    complete(*l, d);
  }
  Call& refused = start("put");
  EXPECT_EQ(answer_of(refused).code, Code::unavailable);
  EXPECT_GT(answer_of(refused).retry_after_ms, 0u);
  EXPECT_EQ(pools->rows()[0].breaker, "open");
  pass(1100ms);
  for (int i = 0; i < 3; ++i) {
    Call& probe = start("put");
    complete(*l);
    EXPECT_EQ(answer_of(probe).code, Code::ok);
  }
  EXPECT_EQ(pools->rows()[0].breaker, "closed");
}

TEST_F(PoolTest, ANewGenerationReplacesConnectionsWithoutLosingACall) {
  make();
  Call& c = start("get");
  FakeLink& l = accept();
  pools->apply(settings, 7);
  EXPECT_FALSE(l.closing);
  complete(l);
  EXPECT_EQ(answer_of(c).code, Code::ok);
  EXPECT_TRUE(l.closing);
  (void)start("get");
  EXPECT_EQ(store.opening.front().generation, 7u);
  complete(accept());
}

TEST_F(PoolTest, EachCredentialHasPoolsOfItsOwn) {
  settings.credentials.by_service = {{0, 0, 0, 0}, {0, 1, 2, 2}};
  make();
  Call& theirs = start("get", 1);
  EXPECT_EQ(store.opening.front().credential, 2u);
  FakeLink& a = accept();
  Call& ours = start("get", 0);
  ASSERT_EQ(store.opening.size(), 1u);
  EXPECT_EQ(store.opening.front().credential, 0u);
  FakeLink& b = accept();
  ASSERT_EQ(a.open.size(), 1u);
  EXPECT_EQ(a.open[0]->call, &theirs);
  EXPECT_EQ(b.open[0]->call, &ours);
  complete(a);
  complete(b);
  Call& again = start("get", 1);
  EXPECT_EQ(a.open.size(), 1u) << "the idle one of the other credential is left alone";
  complete(a);
  EXPECT_EQ(answer_of(again).code, Code::ok);
  EXPECT_EQ(pools->rows()[0].credential, 2u);
}

TEST_F(PoolTest, ACredentialThatChangedDrainsItsOwnConnectionsAlone) {
  settings.credentials.by_service = {{0, 0, 0, 0}, {1, 1, 1, 1}};
  settings.credentials.generations = {0, 0};
  make();
  (void)start("get", 0);
  FakeLink& a = accept();
  Call& running = start("get", 1);
  FakeLink& b = accept();
  complete(a);
  Call& waiting = start("begin", 1);
  EXPECT_EQ(store.opening.size(), 1u);
  settings.credentials.generations = {0, 1};
  pools->apply(settings, 0);
  EXPECT_FALSE(a.closing);
  EXPECT_FALSE(b.closing) << "what runs ends first";
  complete(b);
  EXPECT_TRUE(b.closing);
  EXPECT_EQ(answer_of(running).code, Code::ok);
  FakeLink& late = accept();
  EXPECT_TRUE(late.closing) << "it logged in with what was in force before";
  finish_closing();
  pass(1ms);
  ASSERT_EQ(store.opening.size(), 1u);
  EXPECT_EQ(store.opening.front().generation, 1u);
  complete(accept(), with_lease(LeaseState::none));
  EXPECT_EQ(answer_of(waiting).code, Code::ok);
}

TEST_F(PoolTest, ARefusedLoginOfOneCredentialLeavesTheOthersAlone) {
  settings.credentials.by_service = {{0, 0, 0, 0}, {1, 1, 1, 1}};
  make();
  Fault wrong = down();
  wrong.sqlstate = "28P01";
  Call& bad = start("get", 1);
  EXPECT_FALSE(store.opening[0].fresh);
  store.refuse(wrong);
  loop.end_turn();
  ASSERT_EQ(store.opening.size(), 1u);
  EXPECT_TRUE(store.opening[0].fresh) << "its source is read again";
  store.refuse(wrong);
  loop.end_turn();
  EXPECT_EQ(answer_of(bad).code, Code::unavailable);
  Call& good = start("get", 0);
  complete(accept());
  EXPECT_EQ(answer_of(good).code, Code::ok);
}

TEST_F(PoolTest, ReadPoolsUseTheReadEndpointsAndThePrimaryWhileNoneCanBeHad) {
  settings.endpoints = 2;
  settings.read_endpoints = 1;
  make();
  const auto read = [&]() -> Call& {
    Call& c = call("get");
    c.access = Access::read;
    pools->start(c);
    loop.end_turn();
    return c;
  };
  (void)start("put");
  EXPECT_EQ(store.opening.front().endpoint, 0);
  complete(accept());
  Call& first = read();
  ASSERT_EQ(store.opening.size(), 1u);
  EXPECT_EQ(store.opening.front().endpoint, 1);
  store.refuse(down());
  loop.end_turn();
  ASSERT_EQ(store.opening.size(), 1u) << "at once: nobody waits for a standby";
  EXPECT_EQ(store.opening.front().endpoint, 0);
  FakeLink& primary = accept();
  complete(primary);
  EXPECT_EQ(answer_of(first).code, Code::ok);
  pass(6s);
  ASSERT_EQ(store.opening.size(), 1u) << "tried again beside it";
  EXPECT_EQ(store.opening.front().endpoint, 1);
  EXPECT_FALSE(primary.closing);
  FakeLink& standby = accept();
  EXPECT_TRUE(primary.closing);
  Call& later = read();
  complete(standby);
  EXPECT_EQ(answer_of(later).code, Code::ok);
}

TEST_F(PoolTest, PinnedCallsHaveConnectionsOfTheirOwn) {
  settings.endpoints = 3;
  store.routes["slot"].endpoint = 2;
  make();
  (void)start("get");
  (void)start("slot");
  ASSERT_EQ(store.opening.size(), 2u);
  EXPECT_EQ(store.opening[0].endpoint, 0);
  EXPECT_EQ(store.opening[1].endpoint, 2);
  complete(accept());
  complete(accept());
}

TEST_F(PoolTest, ASlowConnectIsToldAndStillCounts) {
  settings.connect_timeout = 1s;
  make();
  Call& c = start("get", 0, 20s);
  pass(10s);
  EXPECT_FALSE(store.opening.empty());
  EXPECT_EQ(store.opening.size(), 1u) << "a hung resolver does not breed others";
  EXPECT_FALSE(is_answered(c));
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

}  // namespace
}  // namespace headgate::pool
