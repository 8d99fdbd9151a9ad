// A call's way: queue, batch, attempts, deadline.
#include "tests/unit/pool/fixture.hpp"

namespace headgate::pool {
namespace {

TEST_F(PoolTest, ACallOpensAConnectionAndIsAnswered) {
  make();
  Call& c = start("get");
  FakeLink& l = accept();
  ASSERT_EQ(l.batches.size(), 1u);
  Done d;
  d.has_rows_affected = true;
  d.rows_affected = 7;
  complete(l, d);
  EXPECT_EQ(answer_of(c).code, Code::ok);
  EXPECT_EQ(answer_of(c).outcome, Outcome::applied);
  EXPECT_EQ(answer_of(c).rows_affected, 7);
  EXPECT_EQ(c.attempts, 1u);
}

TEST_F(PoolTest, AllCallsOfATurnAreOneSubmit) {
  store.lanes_[0].max_inflight = store.lanes_[0].max_batch = 64;
  store.lanes_[0].connections = 1;
  make();
  (void)start("get");
  FakeLink& l = accept();
  for (int i = 0; i < 10; ++i) pools->start(call("get"));
  EXPECT_EQ(l.batches.size(), 1u);
  loop.end_turn();
  ASSERT_EQ(l.batches.size(), 2u);
  EXPECT_EQ(l.batches[1].size(), 10u);
  while (!l.open.empty()) complete(l);
}

TEST_F(PoolTest, BatchesAreCutAtMaxBatchAndInFlightIsBounded) {
  store.lanes_[0].max_inflight = 6;
  store.lanes_[0].max_batch = 4;
  store.lanes_[0].connections = 1;
  make();
  for (int i = 0; i < 10; ++i) pools->start(call("get"));
  loop.end_turn();
  FakeLink& l = accept();
  ASSERT_EQ(l.batches.size(), 2u);
  EXPECT_EQ(l.batches[0].size(), 4u);
  EXPECT_EQ(l.batches[1].size(), 2u);
  complete(l);
  EXPECT_EQ(l.open.size(), 6u);
  while (!l.open.empty()) complete(l);
}

TEST_F(PoolTest, WhatWantsToBeAloneIs) {
  store.lanes_[0].max_inflight = store.lanes_[0].max_batch = 64;
  store.lanes_[0].connections = 1;
  store.routes["slow"].alone = true;
  make();
  (void)start("get");
  FakeLink& l = accept();
  (void)start("slow");
  (void)start("get");
  EXPECT_EQ(l.open.size(), 1u) << "the queue waits for the connection to drain";
  complete(l);
  ASSERT_EQ(l.open.size(), 1u);
  EXPECT_EQ(l.open[0]->call->verb, "slow");
  complete(l);
  EXPECT_EQ(l.open[0]->call->verb, "get");
  complete(l);
}

TEST_F(PoolTest, RepeatsAfterAPauseAndTellsTheAttempts) {
  make();
  Call& c = start("put");
  FakeLink& l = accept();
  complete(l, failed(Outcome::rejected, Retry::backoff));
  EXPECT_FALSE(is_answered(c));
  pass(100ms);
  EXPECT_EQ(store.last_attempt, 2u);
  complete(l, failed(Outcome::rolled_back, Retry::backoff));
  pass(100ms);
  complete(l, failed(Outcome::rolled_back, Retry::backoff, Code::conflict));
  EXPECT_EQ(answer_of(c).code, Code::conflict);
  EXPECT_EQ(answer_of(c).outcome, Outcome::rolled_back);
  EXPECT_TRUE(answer_of(c).retryable);
  EXPECT_GT(answer_of(c).retry_after_ms, 0u);
  EXPECT_EQ(c.attempts, 3u);
}

TEST_F(PoolTest, AnUnknownWriteIsNotSentAgainAnIdempotentOneIs) {
  make();
  Call& put = start("put");
  complete(accept(), failed(Outcome::unknown, Retry::new_connection));
  EXPECT_EQ(answer_of(put).outcome, Outcome::unknown);
  EXPECT_EQ(put.attempts, 1u);
  finish_closing();
  Call& set = start("set");
  complete(accept(), failed(Outcome::unknown, Retry::new_connection));
  EXPECT_FALSE(is_answered(set));
  finish_closing();
  loop.end_turn();
  complete(accept(), failed(Outcome::rejected, Retry::never));
  EXPECT_EQ(answer_of(set).outcome, Outcome::unknown) << "the first attempt may have been applied";
}

TEST_F(PoolTest, AReceiptTurnsARepeatIntoAQuestion) {
  make();
  Call& c = start("put");
  Done d = failed(Outcome::unknown, Retry::new_connection);
  d.receipt = "xid 7";
  complete(accept(), d);
  finish_closing();
  loop.end_turn();
  FakeLink& l = accept();
  EXPECT_EQ(store.last_receipt, "xid 7");
  complete(l, failed(Outcome::rolled_back, Retry::never));
  EXPECT_EQ(answer_of(c).outcome, Outcome::rolled_back);
}

TEST_F(PoolTest, WhatTheWorkerHasNotBegunWasNotSent) {
  make();
  Call& c = start("put", 0, 100ms);
  FakeLink& l = accept();
  l.queued = true;
  pass(100ms);
  EXPECT_EQ(answer_of(c).code, Code::deadline);
  EXPECT_EQ(answer_of(c).outcome, Outcome::not_sent);
  EXPECT_TRUE(answer_of(c).retryable);
  EXPECT_TRUE(l.cancelled.empty()) << "a cancel would hold up the others, for nothing";
  pass(60s);
  EXPECT_FALSE(l.closing) << "what runs before it may take its time";
  complete(l, failed(Outcome::not_sent, Retry::never));
  start("put");
  EXPECT_EQ(l.batches.size(), 2u) << "and the connection serves on";
}

TEST_F(PoolTest, TheDeadlineAnswersEvenIfTheStoreNeverDoes) {
  make();
  Call& c = start("put", 0, 100ms);
  FakeLink& l = accept();
  Call& next = start("put", 0, 10s);
  FakeLink& second = accept();
  pass(100ms);
  EXPECT_EQ(answer_of(c).code, Code::deadline);
  EXPECT_EQ(answer_of(c).outcome, Outcome::unknown);
  ASSERT_EQ(l.cancelled.size(), 1u);
  EXPECT_EQ(l.abandoned.size(), 1u);
  Call& third = start("put", 0, 10s);
  EXPECT_EQ(l.batches.size(), 1u) << "nothing is handed over while a cancel is under way";
  complete(l);
  EXPECT_EQ(pools->counters().late, 1u);
  EXPECT_EQ(l.batches.size(), 1u);
  store.events->cancel_returned(l.request.ticket);
  loop.end_turn();
  ASSERT_EQ(l.open.size(), 1u);
  EXPECT_EQ(l.open[0]->purpose, plugin::Purpose::reset) << "cancelled: cleaned before it serves";
  complete(l);
  EXPECT_EQ(l.batches.size(), 2u);
  complete(l);
  complete(second);
  (void)answer_of(next);
  (void)answer_of(third);
}

TEST_F(PoolTest, AStuckConnectionIsReplaced) {
  store.lanes_[0].cancel = false;
  store.lanes_[0].event = true;
  store.lanes_[0].connections = 1;
  store.lanes_[0].max_inflight = 64;
  make();
  (void)start("get", 0, 100ms);
  FakeLink& l = accept();
  pass(100ms);
  Call& c = start("get", 0, 20s);
  EXPECT_EQ(l.batches.size(), 1u) << "nothing is put behind what hangs";
  pass(5s);
  EXPECT_TRUE(l.closing);
  finish_closing();
  loop.end_turn();
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(PoolTest, QueueTimeoutHasItsOwnCode) {
  store.lanes_[0].connections = 1;
  make();
  (void)start("get");
  FakeLink& l = accept();
  Call& c = start("get", 0, 50ms);
  pass(50ms);
  EXPECT_EQ(answer_of(c).code, Code::queue_timeout);
  EXPECT_EQ(answer_of(c).outcome, Outcome::not_sent);
  EXPECT_TRUE(answer_of(c).retryable);
  complete(l);
}

TEST_F(PoolTest, RetryPastTheDeadlineGivesTheLastRealOutcome) {
  make();
  Call& c = start("put", 0, 200ms);
  Done d = failed(Outcome::rejected, Retry::backoff, Code::unavailable);
  d.fault.retry_after_ms = 500;
  complete(accept(), d);
  EXPECT_EQ(answer_of(c).code, Code::unavailable);
  EXPECT_EQ(answer_of(c).outcome, Outcome::rejected);
}

TEST_F(PoolTest, QueueIsBoundedForEachService) {
  settings.queue_calls_max = 2;
  store.lanes_[0].connections = 1;
  make();
  (void)start("get");
  FakeLink& l = accept();
  (void)start("get");
  (void)start("get");
  EXPECT_EQ(answer_of(start("get")).code, Code::overloaded);
  Call& other = start("get", 1);
  EXPECT_FALSE(is_answered(other)) << "another service has a queue of its own";
  while (!l.open.empty()) complete(l);
}

TEST_F(PoolTest, AFloodOfOneServiceCostsAnotherOneTurn) {
  store.lanes_[0].connections = 1;
  make();
  (void)start("get");
  FakeLink& l = accept();
  for (int i = 0; i < 20; ++i) (void)start("get");
  for (int i = 0; i < 5; ++i) complete(l);
  Call& other = start("get", 1);
  complete(l);
  complete(l);
  complete(l);
  EXPECT_TRUE(is_answered(other));
  while (!l.open.empty()) complete(l);
}

TEST_F(PoolTest, GiveUpTellsWhatIsKnown) {
  store.lanes_[0].connections = 1;
  make();
  Call& runs = start("put");
  FakeLink& l = accept();
  Call& waits = start("put");
  pools->give_up(waits, Code::cancelled, "by the caller");
  EXPECT_EQ(answer_of(waits).outcome, Outcome::not_sent);
  pools->give_up(runs, Code::cancelled, "by the caller");
  EXPECT_EQ(answer_of(runs).code, Code::cancelled);
  EXPECT_EQ(answer_of(runs).outcome, Outcome::unknown);
  EXPECT_EQ(l.cancelled.size(), 1u);
  store.events->cancel_returned(l.request.ticket);
  complete(l);
  complete(l);
  Call& staged = call("put");
  pools->start(staged);
  pools->give_up(staged, Code::cancelled, "in the same turn");
  EXPECT_EQ(answer_of(staged).outcome, Outcome::not_sent);
  loop.end_turn();
  EXPECT_TRUE(l.open.empty());
}

TEST_F(PoolTest, WaitingVerbsAreWokenOldestFirst) {
  store.lanes_[0].connections = 1;
  make();
  Done nothing = failed(Outcome::rejected, Retry::wait);
  nothing.fault.wait_token = 9;
  Call& first = start("brpop", 0, 10s);
  FakeLink& l = accept();
  complete(l, nothing);
  pass(1ms);
  Call& second = start("brpop", 0, 10s);
  complete(l, nothing);
  EXPECT_TRUE(l.open.empty());
  store.events->wake(8);
  loop.end_turn();
  EXPECT_TRUE(l.open.empty()) << "another token";
  store.events->wake(9);
  loop.end_turn();
  ASSERT_EQ(l.open.size(), 1u);
  EXPECT_EQ(l.open[0]->call, &first);
  complete(l);
  EXPECT_EQ(l.open[0]->call, &second);
  store.events->wake(9);  // while it runs: must not be lost
  complete(l, nothing);
  ASSERT_EQ(l.open.size(), 1u);
  complete(l);
  EXPECT_EQ(answer_of(second).code, Code::ok);
  EXPECT_EQ(second.attempts, 1u) << "waiting is no attempt";
  Call& third = start("brpop", 0, 1s);
  nothing.fault.retry_after_ms = 300;
  complete(l, nothing);
  pass(300ms);
  EXPECT_EQ(l.open.size(), 1u) << "asked again after its own pause";
  complete(l, nothing);
  pass(300ms);
  complete(l, nothing);
  nothing.fault.retry_after_ms = 0;
  pass(300ms);
  complete(l, nothing);
  pass(300ms);
  EXPECT_EQ(answer_of(third).code, Code::deadline);
  EXPECT_EQ(answer_of(third).outcome, Outcome::rejected);
}

TEST_F(PoolTest, RerouteFollowsFiveHopsAndNoMore) {
  store.lanes_.push_back(store.lanes_[0]);
  store.lanes_[1].name = "other";
  store.rerouted["get"].lane = 1;
  make();
  Call& c = start("get");
  complete(accept(), failed(Outcome::rejected, Retry::reroute));
  FakeLink& l = accept();
  EXPECT_EQ(l.request.lane, 1u);
  for (std::uint32_t hop = 1; hop < 5; ++hop) {
    EXPECT_EQ(store.routed_hops, hop);
    complete(l, failed(Outcome::rejected, Retry::reroute));
    ASSERT_FALSE(is_answered(c));
  }
  complete(l, failed(Outcome::rejected, Retry::reroute));
  EXPECT_EQ(answer_of(c).outcome, Outcome::rejected);
}

TEST_F(PoolTest, StreamLivesByProgress) {
  settings.stall_store = 2s;
  settings.stall_caller = 3s;
  make();
  Call& c = call("query", 0, 1s);
  c.fetch = 10;
  c.credit = 1;
  pools->start(c);
  loop.end_turn();
  FakeLink& l = accept();
  store.events->part(*l.open[0], 1, {});
  EXPECT_EQ(parts[&c], 1u);
  pass(2900ms);
  EXPECT_FALSE(is_answered(c)) << "past its timeout: it lives by the caller's progress now";
  pools->credit(c, 2);
  EXPECT_EQ(l.credited, 2u);
  pass(1900ms);
  EXPECT_FALSE(is_answered(c));
  pass(200ms);
  EXPECT_EQ(answer_of(c).code, Code::deadline) << "the store had credit and sent nothing";
  store.events->part(*l.open[0], 2, {});
  EXPECT_EQ(parts[&c], 1u) << "a late part is dropped";
  store.events->cancel_returned(l.request.ticket);
  complete(l);
}

TEST_F(PoolTest, OnlyAReloadGivesASubscriptionAnEnd) {
  settings.stream_max = 10s;
  settings.stall_store = 2s;
  store.routes["listen"].subscription = true;
  store.lanes_[0].max_inflight = store.lanes_[0].max_batch = 4;
  make();
  Call& listens = call("listen");
  Call& reads = call("query");
  for (Call* c : {&listens, &reads}) {
    c->fetch = 10;
    c->credit = 1000;
    pools->start(*c);
  }
  loop.end_turn();
  FakeLink& l = accept();
  std::uint64_t sequence = 0;
  const auto a_second = [&] {
    ++sequence;
    for (std::size_t i = 0; i < l.open.size(); ++i) store.events->part(*l.open[i], sequence, {});
    pass(1s);
  };
  for (int i = 0; i < 10; ++i) a_second();
  EXPECT_EQ(answer_of(reads).code, Code::deadline) << "any other stream ends";
  for (int i = 0; i < 100; ++i) a_second();
  ASSERT_FALSE(is_answered(listens));
  pools->apply(settings, 0);
  for (int i = 0; i < 5; ++i) a_second();
  pools->apply(settings, 0);
  for (int i = 0; i < 4; ++i) a_second();
  ASSERT_FALSE(is_answered(listens));
  a_second();
  EXPECT_EQ(answer_of(listens).code, Code::deadline) << "what let it in may be gone";
  store.events->cancel_returned(l.request.ticket);
  while (!l.open.empty()) complete(l);
}

TEST_F(PoolTest, NoAttemptAfterAPartHasLeft) {
  store.lanes_[0].read_only = true;
  make();
  Call& c = call("query");
  c.fetch = 10;
  c.credit = 4;
  pools->start(c);
  loop.end_turn();
  FakeLink& l = accept();
  store.events->part(*l.open[0], 1, {});
  complete(l, failed(Outcome::unknown, Retry::new_connection));
  EXPECT_EQ(answer_of(c).outcome, Outcome::unknown);
}

TEST_F(PoolTest, UploadTimeoutBeginsAtItsLastPiece) {
  settings.stall_caller = 3s;
  make();
  Call& c = start_upload(1s);
  FakeLink& l = accept();
  store.events->upload_credit(*l.open[0], 4);
  EXPECT_EQ(upload_credits[&c], 4u);
  for (int i = 0; i < 5; ++i) {
    pass(2500ms);
    ASSERT_FALSE(is_answered(c));
    pools->upload(c, {1}, false);
  }
  pass(2500ms);
  pools->upload(c, {}, true);
  EXPECT_TRUE(l.last);
  pass(900ms);
  ASSERT_FALSE(is_answered(c));
  pass(200ms);
  EXPECT_EQ(answer_of(c).code, Code::deadline);
  EXPECT_EQ(answer_of(c).outcome, Outcome::unknown);
  store.events->cancel_returned(l.request.ticket);
  complete(l);
  Call& stalls = start_upload(60s);
  pass(3s);
  complete(l);  // the reset
  pass(3s);
  EXPECT_EQ(answer_of(stalls).code, Code::cancelled);
  EXPECT_EQ(answer_of(stalls).outcome, Outcome::rolled_back) << "it never came to its end";
}

TEST_F(PoolTest, AnUploadThatNeverEndsMeetsItsTotal) {
  settings.stall_caller = 3s;
  settings.stream_max = 10s;
  make();
  Call& c = start_upload(1s);
  FakeLink& l = accept();
  store.events->upload_credit(*l.open[0], 4);
  for (int i = 0; i < 10 && !is_answered(c); ++i) {
    pass(2s);
    if (!is_answered(c)) pools->upload(c, {1}, false);
  }
  EXPECT_EQ(answer_of(c).code, Code::deadline);
  EXPECT_EQ(answer_of(c).outcome, Outcome::rolled_back);
}

TEST_F(PoolTest, DrainAnswersNewCallsAndLetsOthersFinish) {
  make();
  Call& runs = start("get");
  FakeLink& l = accept();
  pools->drain();
  EXPECT_FALSE(pools->drained());
  EXPECT_EQ(answer_of(start("get")).code, Code::draining);
  complete(l);
  EXPECT_EQ(answer_of(runs).code, Code::ok);
  EXPECT_TRUE(pools->drained());
}

TEST_F(PoolTest, OutOfOperationsWaitsInsteadOfFailing) {
  store.operations_max = 1;
  make();
  Call& a = start("get");
  Call& b = start("get");
  FakeLink& l = accept();
  FakeLink& l2 = accept();
  EXPECT_EQ(l.open.size() + l2.open.size(), 1u);
  complete(l.open.empty() ? l2 : l);
  complete(l.open.empty() ? l2 : l);
  (void)answer_of(a);
  (void)answer_of(b);
}

TEST_F(PoolTest, TheBudgetEndsRepeats) {
  settings.budget_floor = 2;
  make();
  FakeLink* l = nullptr;
  for (int i = 0; i < 2; ++i) {
    (void)start("put");
    if (l == nullptr) l = &accept();
    complete(*l, failed(Outcome::rejected, Retry::same_connection));
    complete(*l);
  }
  Call& c = start("put");
  complete(*l, failed(Outcome::rejected, Retry::same_connection));
  EXPECT_EQ(answer_of(c).code, Code::store_error);
  EXPECT_EQ(pools->counters().budget_spent, 1u);
}

}  // namespace
}  // namespace headgate::pool
