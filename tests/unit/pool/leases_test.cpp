// Transactions and streams: one connection, one caller, and an end that is always told.
#include "tests/unit/pool/fixture.hpp"

namespace headgate::pool {
namespace {

struct LeaseTest : PoolTest {
  FakeLink* l = nullptr;
  Call* tx = nullptr;

  void begin() {
    make();
    tx = &start("begin");
    l = &accept();
    complete(*l, with_lease(LeaseState::open));
    ASSERT_TRUE(answer_of(*tx).lease_open);
  }
  bool resetting() { return !l->open.empty() && l->open[0]->purpose == plugin::Purpose::reset; }
};

TEST_F(LeaseTest, OneCallAtATimeAndResetBeforeReuse) {
  begin();
  Call& a = start_in(*tx, "put");
  EXPECT_NE(store.last_lease, 0u);
  EXPECT_EQ(answer_of(start_in(*tx, "put")).code, Code::conflict);
  complete(*l, with_lease(LeaseState::open));
  (void)answer_of(a);
  Call& commit = start_in(*tx, "commit");
  complete(*l, with_lease(LeaseState::none));
  EXPECT_EQ(answer_of(commit).code, Code::ok);
  EXPECT_TRUE(resetting());
  Call& after = start_in(*tx, "put");
  EXPECT_EQ(answer_of(after).code, Code::transaction_expired);
  EXPECT_EQ(answer_of(after).outcome, Outcome::not_sent) << "it was committed: nothing is undone";
  complete(*l);
}

TEST_F(LeaseTest, OthersDoNotGetItsConnection) {
  store.lanes_[0].connections = 1;
  begin();
  Call& other = start("get");
  EXPECT_TRUE(l->open.empty());
  EXPECT_TRUE(pools->has_leases(1));
  EXPECT_EQ(pools->leases().size(), 1u);
  pools->peer_gone(1);
  loop.end_turn();
  EXPECT_FALSE(pools->has_leases(1));
  ASSERT_TRUE(resetting());
  complete(*l);
  complete(*l);
  (void)answer_of(other);
}

TEST_F(LeaseTest, IdleLimitRollsBackAndTheNextCallIsTold) {
  settings.lease_idle = 2s;
  begin();
  pass(1900ms);
  (void)start_in(*tx, "put");
  complete(*l, with_lease(LeaseState::open));
  pass(1900ms);
  EXPECT_TRUE(l->open.empty());
  pass(200ms);
  EXPECT_TRUE(resetting());
  Call& next = start_in(*tx, "put");
  EXPECT_EQ(answer_of(next).code, Code::transaction_expired);
  EXPECT_EQ(answer_of(next).outcome, Outcome::rolled_back);
  complete(*l);
}

TEST_F(LeaseTest, TotalLimitCapsACallsDeadline) {
  settings.lease_total = 3s;
  begin();
  pass(2s);
  Call& c = start_in(*tx, "put", 60s);
  EXPECT_EQ(c.deadline, loop.now() + 1s);
  pass(1s);
  EXPECT_EQ(answer_of(c).code, Code::deadline);
  Call& next = start_in(*tx, "put");
  EXPECT_EQ(answer_of(next).outcome, Outcome::unknown) << "it may have been the commit";
  store.events->cancel_returned(l->request.ticket);
  complete(*l, with_lease(LeaseState::open));
  Call& later = start_in(*tx, "put");
  EXPECT_EQ(answer_of(later).outcome, Outcome::rolled_back) << "now it is known that it was not";
  EXPECT_TRUE(resetting());
  complete(*l);
}

TEST_F(LeaseTest, AnUnknownCallRollsTheTransactionBack) {
  begin();
  Call& c = start_in(*tx, "put");
  Done d = failed(Outcome::unknown, Retry::new_connection);
  d.connection = ConnState::clean;
  d.lease = LeaseState::open;
  complete(*l, d);
  EXPECT_EQ(answer_of(c).outcome, Outcome::unknown);
  EXPECT_FALSE(answer_of(c).retryable);
  EXPECT_TRUE(resetting());
  complete(*l);
}

TEST_F(LeaseTest, ACommitWithAReceiptIsAskedForOnAnotherConnection) {
  begin();
  Call& c = start_in(*tx, "commit");
  Done d = failed(Outcome::unknown, Retry::never);
  d.receipt = "xid 9";
  complete(*l, d);
  FakeLink& other = accept();
  EXPECT_EQ(store.last_receipt, "xid 9");
  EXPECT_EQ(store.last_lease, 0u);
  complete(other);
  EXPECT_EQ(answer_of(c).outcome, Outcome::applied);
  finish_closing();
}

TEST_F(LeaseTest, NothingInATransactionIsReplayed) {
  begin();
  Call& c = start_in(*tx, "put");
  complete(*l, [] {
    Done d = failed(Outcome::rolled_back, Retry::backoff, Code::conflict);
    d.lease = LeaseState::failed;
    return d;
  }());
  EXPECT_EQ(answer_of(c).code, Code::transaction_aborted);
  EXPECT_TRUE(pools->has_leases(1)) << "its caller still has to roll back";
  Call& rollback = start_in(*tx, "rollback");
  complete(*l, with_lease(LeaseState::none));
  (void)answer_of(rollback);
  complete(*l);
}

TEST_F(LeaseTest, ALostConnectionEndsItsTransaction) {
  begin();
  store.events->lost(l->request.ticket, down());
  finish_closing();
  loop.end_turn();
  Call& c = start_in(*tx, "commit");
  EXPECT_EQ(answer_of(c).code, Code::transaction_expired);
  EXPECT_EQ(answer_of(c).outcome, Outcome::rolled_back);
}

TEST_F(LeaseTest, ABeginThatExpiresIsRolledBackWhenItReturns) {
  make();
  tx = &start("begin", 0, 100ms);
  l = &accept();
  pass(100ms);
  EXPECT_EQ(answer_of(*tx).code, Code::deadline);
  EXPECT_FALSE(pools->has_leases(1));
  store.events->cancel_returned(l->request.ticket);
  complete(*l, with_lease(LeaseState::open));
  EXPECT_TRUE(resetting());
  complete(*l);
}

TEST_F(LeaseTest, ABeginIsTriedAgain) {
  make();
  tx = &start("begin");
  l = &accept();
  complete(*l, failed(Outcome::rejected, Retry::backoff));
  EXPECT_TRUE(resetting());
  complete(*l);
  pass(100ms);
  complete(*l, with_lease(LeaseState::open));
  EXPECT_TRUE(answer_of(*tx).lease_open);
  pools->end_leases();
  EXPECT_FALSE(pools->has_leases(1));
  EXPECT_FALSE(pools->drained());
  complete(*l);
  EXPECT_TRUE(pools->drained());
}

TEST_F(LeaseTest, AWriterTransactionWaitsForTheBatchAndThenHoldsTheWriter) {
  store.lanes_[0].per_store = true;
  store.lanes_[0].connections = 1;
  store.lanes_[0].max_inflight = store.lanes_[0].max_batch = 512;
  make();
  (void)start("put");
  l = &accept();
  tx = &start("begin");
  (void)start("put");
  EXPECT_EQ(l->open.size(), 1u);
  complete(*l);
  ASSERT_EQ(l->open.size(), 1u);
  complete(*l, with_lease(LeaseState::open));
  EXPECT_TRUE(l->open.empty()) << "the third call waits for the transaction";
  pass(1100ms);
  EXPECT_TRUE(resetting()) << "a writer's idle limit is short";
  complete(*l);
  EXPECT_EQ(l->open.size(), 1u);
  complete(*l);
}

TEST_F(LeaseTest, OneIdOneTransaction) {
  begin();
  Call& again = call("begin");
  again.request_id = tx->request_id;
  pools->start(again);
  EXPECT_EQ(answer_of(again).code, Code::invalid);
}

TEST_F(LeaseTest, TheMemoryOfEndedTransactionsIsBounded) {
  settings.lease_idle = 1ms;
  make();
  std::vector<Call*> all;
  for (int i = 0; i < 1100; ++i) {
    all.push_back(&start("begin"));
    if (l == nullptr) l = &accept();
    complete(*l, with_lease(LeaseState::open));
    pass(1ms);
    complete(*l);
  }
  EXPECT_EQ(answer_of(start_in(*all.back(), "put")).outcome, Outcome::rolled_back);
  EXPECT_EQ(answer_of(start_in(*all.front(), "put")).outcome, Outcome::not_sent);
}

}  // namespace
}  // namespace headgate::pool
