// From frame to answer: what is refused touches nothing, what is taken is answered once.
#include <gtest/gtest.h>

#include "tests/unit/dispatch/rig.hpp"

namespace headgate {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Dispatcher, RefusesBeforeHelloAndWelcomesAfter) {
  Rig r;
  const PeerId p = r.peer(0, "uid:1", false);
  r.give(p, r.request(5, "orders", "query"));
  EXPECT_EQ(r.last(p).code, Code::unauthenticated);
  EXPECT_TRUE(r.script.calls.empty());
  EXPECT_EQ(r.peer(3, "uid:77"), 0u);  // nobody
}

TEST(Dispatcher, SendsOnlyWhatIsGranted) {
  Rig r;
  const PeerId app = r.peer(0);
  const PeerId reader = r.peer(1, "uid:2");
  const PeerId own = r.peer(2, "uid:9");
  const auto ask = [&](PeerId p, const char* store, const char* verb) {
    static std::uint64_t id = 10;
    r.frames.frames[p].clear();
    r.give(p, r.request(++id, store, verb));
    return r.frames.frames[p].empty() ? Code::ok : r.last(p).code;
  };
  EXPECT_EQ(ask(app, "orders", "execute"), Code::ok);
  EXPECT_EQ(r.script.calls.back()->access, Access::write);
  EXPECT_EQ(ask(reader, "orders", "query"), Code::ok);
  EXPECT_EQ(r.script.calls.back()->access, Access::read);
  EXPECT_EQ(ask(reader, "orders", "execute"), Code::denied);
  EXPECT_EQ(ask(own, "orders", "query"), Code::denied);
  EXPECT_EQ(ask(app, "nothing", "query"), Code::not_found);
  EXPECT_EQ(ask(app, "orders", "fly"), Code::unsupported);
  EXPECT_EQ(ask(app, "headgate", "show"), Code::denied);
  EXPECT_EQ(ask(own, "headgate", "show"), Code::ok);
  EXPECT_EQ(ask(reader, "headgate", "ping"), Code::ok);
  EXPECT_EQ(r.script.calls.size(), 2u);
}

TEST(Dispatcher, AnswersOnceAndForgets) {
  Rig r;
  const PeerId p = r.peer(0);
  r.give(p, r.request(7, "orders", "query"));
  ASSERT_EQ(r.script.calls.size(), 1u);
  EXPECT_EQ(r.d->inflight(), 1u);
  r.script.end(*r.script.calls[0], Code::ok);
  EXPECT_EQ(r.frames.frames[p].size(), 1u);
  EXPECT_EQ(r.last(p).id, 7u);
  EXPECT_EQ(r.d->inflight(), 0u);
  EXPECT_EQ(r.d->request_bytes(), 0u);
  r.give(p, proto::Cancel{7});  // crossed the reply
  EXPECT_EQ(r.frames.frames[p].size(), 1u);
}

TEST(Dispatcher, AnIdInFlightCuts) {
  Rig r;
  const PeerId p = r.peer(0);
  const PeerId other = r.peer(1);
  r.give(p, r.request(7, "orders", "query"));
  r.give(other, r.request(7, "orders", "query"));  // its own number
  EXPECT_TRUE(r.frames.cuts.empty());
  r.give(p, r.request(7, "headgate", "ping"));
  EXPECT_EQ(r.frames.cuts.count(p), 1u);
  EXPECT_EQ(r.frames.cuts.count(other), 0u);
}

TEST(Dispatcher, APeerThatGoesTakesItsCallsAlong) {
  Rig r;
  const PeerId p = r.peer(0);
  const PeerId other = r.peer(1);
  r.give(p, r.request(7, "orders", "query"));
  r.give(p, r.request(8, "orders", "execute"));
  r.give(other, r.request(7, "orders", "query"));
  r.d->on_gone(p);
  EXPECT_EQ(r.d->inflight(), 1u);
  EXPECT_EQ(r.script.gone, (std::vector<std::uint64_t>{p}));
  EXPECT_TRUE(r.frames.frames[p].empty());
  r.give(p, r.request(9, "orders", "query"));  // a frame that was still in the pipe
  EXPECT_EQ(r.d->inflight(), 1u);
}

TEST(Dispatcher, TakesTheAgeOfARequestOffItsTimeout) {
  Rig r;
  const PeerId p = r.peer(0);
  auto first = r.request(7, "orders", "query");
  first.options.timeout_ms = 1000;
  r.give(p, first);
  EXPECT_EQ(r.script.calls[0]->deadline, r.loop.time + seconds(1));
  auto late = r.request(8, "orders", "query");
  late.options.timeout_ms = 1000;
  r.loop.time = r.loop.time + milliseconds(400);
  r.give(p, late);
  EXPECT_EQ(r.script.calls[1]->deadline, r.loop.time + milliseconds(600));
  auto stale = r.request(9, "orders", "query");
  stale.options.timeout_ms = 1000;
  r.loop.time = r.loop.time + milliseconds(1000);
  r.give(p, stale);
  EXPECT_EQ(r.last(p).code, Code::queue_timeout);
  EXPECT_EQ(r.script.calls.size(), 2u);
}

TEST(Dispatcher, AClockThatDriftsDoesNotEatTimeouts) {
  Rig r;
  const PeerId p = r.peer(0);
  std::int64_t client = 5'000'000;
  for (std::uint64_t minute = 1; minute < 60 * 48; ++minute) {
    r.loop.time = r.loop.time + seconds(60);
    client += 60'000'000 - 3'000;  // 50 parts in a million slow
    auto q = r.request(minute, "orders", "query");
    q.sent_us = static_cast<std::uint64_t>(client);
    q.options.timeout_ms = 100;
    r.give(p, q);
    ASSERT_EQ(r.script.calls.size(), 1u) << minute;
    ASSERT_GT(r.script.calls[0]->deadline, r.loop.time + milliseconds(90));
    r.script.end(*r.script.calls[0], Code::ok);
  }
}

TEST(Dispatcher, TimeoutsAreBounded) {
  Rig r;
  r.input.grants.clear();
  r.grant("app", Access::write, {0, 0, milliseconds(250)});
  r.apply();
  const PeerId p = r.peer(0);
  auto q = r.request(7, "orders", "query");
  q.options.timeout_ms = 60'000;
  r.give(p, q);
  EXPECT_EQ(r.script.calls[0]->deadline, r.loop.time + milliseconds(250));
}

TEST(Dispatcher, AVerbThatWaitsHasItsOwnTime) {
  Rig r;
  const PeerId p = r.peer(0);
  proto::VectorOut body;
  proto::Writer w(&body);
  w.map(2);
  w.str("key");
  w.str("q");
  w.str("wait_ms");
  w.uint(30'000);
  auto q = r.request(7, "orders", "blpop");
  q.body = body.view();
  r.give(p, q);
  EXPECT_EQ(r.script.calls[0]->deadline, r.loop.time + seconds(32));
}

TEST(Dispatcher, LimitsOfAGrant) {
  Rig r;
  r.input.grants.clear();
  r.grant("app", Access::write, {2, 0, Micros(0)});
  r.grant("reader", Access::read, {0, 3, Micros(0)});
  r.apply();
  const PeerId p = r.peer(0);
  for (std::uint64_t id = 1; id <= 3; ++id) r.give(p, r.request(id, "orders", "query"));
  EXPECT_EQ(r.script.calls.size(), 2u);
  EXPECT_EQ(r.last(p).code, Code::overloaded);
  r.script.end(*r.script.calls[0], Code::ok);
  r.give(p, r.request(4, "orders", "query"));
  EXPECT_EQ(r.script.calls.size(), 2u);

  const PeerId q = r.peer(1, "uid:2");
  int taken = 0;
  for (std::uint64_t id = 1; id <= 40; ++id) {
    r.loop.time = r.loop.time + milliseconds(100);
    const std::size_t before = r.script.calls.size();
    r.give(q, r.request(id, "orders", "query"));
    if (r.script.calls.size() > before) {
      ++taken;
      r.script.end(*r.script.calls.back(), Code::ok);
    }
  }
  EXPECT_GE(taken, 12);
  EXPECT_LE(taken, 15);
}

TEST(Dispatcher, LimitsOfAPeerAndOfAll) {
  DispatchSettings s;
  s.limits.calls_per_peer_max = 3;
  s.calls_max = 5;
  Rig r(s);
  const PeerId a = r.peer(0);
  const PeerId b = r.peer(1);
  for (std::uint64_t id = 1; id <= 4; ++id) r.give(a, r.request(id, "orders", "query"));
  EXPECT_EQ(r.last(a).code, Code::overloaded);
  for (std::uint64_t id = 1; id <= 3; ++id) r.give(b, r.request(id, "orders", "query"));
  EXPECT_EQ(r.last(b).code, Code::overloaded);
  EXPECT_EQ(r.d->inflight(), 5u);
}

TEST(Dispatcher, UploadsKeepOrderAndCredit) {
  Rig r;
  const PeerId p = r.peer(0);
  static const std::uint8_t kRows[] = {0x91, 0x01};
  const auto piece = [&](std::uint64_t id, std::uint64_t seq, bool last) {
    proto::Data data;
    data.id = id;
    data.seq = seq;
    data.last = last;
    data.body = kRows;
    r.give(p, data);
  };
  r.give(p, r.request(7, "orders", "copy_in"));
  piece(7, 1, false);  // no credit yet
  EXPECT_EQ(r.last(p).code, Code::invalid);
  r.give(p, r.request(8, "orders", "copy_in"));
  r.d->upload_credit(*r.script.calls[0], 2);
  piece(8, 1, false);
  piece(8, 2, true);
  EXPECT_EQ(r.script.uploads.size(), 2u);
  piece(8, 3, false);  // after last
  EXPECT_EQ(r.last(p).code, Code::invalid);
  EXPECT_EQ(r.d->inflight(), 0u);
}

TEST(Dispatcher, PingsPeersThatHoldSomethingAndCutsTheSilent) {
  Rig r;
  const PeerId p = r.peer(0);
  r.loop.pass(seconds(1));
  EXPECT_TRUE(r.frames.frames[p].empty());
  r.script.leases_held = true;
  for (int i = 0; i < 3; ++i) r.loop.pass(seconds(1));
  EXPECT_EQ(r.frames.frames[p].size(), 3u);
  r.give(p, proto::Pong{});
  for (int i = 0; i < 3; ++i) r.loop.pass(seconds(1));
  EXPECT_TRUE(r.frames.cuts.empty());
  r.loop.pass(seconds(1));
  EXPECT_EQ(r.frames.cuts.count(p), 1u);
}

TEST(Dispatcher, DrainTakesNothingNewButLetsTransactionsEnd) {
  Rig r;
  const PeerId p = r.peer(0);
  r.d->drain(seconds(3));
  const auto m = proto::decode(r.frames.frames[p].back(), proto::From::daemon);
  ASSERT_TRUE(m);
  EXPECT_EQ(std::get<proto::Goaway>(*m).drain_ms, 3000u);
  r.give(p, r.request(7, "orders", "query"));
  EXPECT_EQ(r.last(p).code, Code::draining);
  auto in_tx = r.request(8, "orders", "execute");
  in_tx.options.tx = 5;
  r.give(p, in_tx);
  EXPECT_EQ(r.script.calls.size(), 1u);
}

TEST(Dispatcher, CallsKeepTheGrantTheyWereAdmittedBy) {
  Rig r;
  const PeerId p = r.peer(0);
  r.give(p, r.request(7, "orders", "execute"));
  r.input.grants.clear();
  r.apply();
  EXPECT_TRUE(r.script.calls[0]->permission->allows("execute", 0, {}));
  r.give(p, r.request(8, "orders", "execute"));
  EXPECT_EQ(r.last(p).code, Code::denied);
  r.script.end(*r.script.calls[0], Code::ok);
  EXPECT_EQ(r.last(p).code, Code::ok);
}

TEST(Dispatcher, KillEndsOneCallByItsNumber) {
  Rig r;
  const PeerId p = r.peer(0);
  r.give(p, r.request(7, "orders", "query"));
  const std::uint64_t id = r.d->call_rows().at(0).id;
  EXPECT_FALSE(r.d->kill(id + 1));
  EXPECT_TRUE(r.d->kill(id));
  EXPECT_EQ(r.last(p).code, Code::cancelled);
  EXPECT_FALSE(r.d->kill(id));
  EXPECT_FALSE(r.d->kill(0));
}

}  // namespace
}  // namespace headgate
