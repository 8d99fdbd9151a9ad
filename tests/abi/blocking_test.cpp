// Blocking lanes: batches, sinks, streams, uploads, cancels, hanging workers, and plugins that
// break every rule. What must hold each time: one answer for each call, the right one, and nobody
// else hurt.
#include <sys/socket.h>

#include <random>

#include "tests/abi/rig.hpp"

namespace headgate::testing {
namespace {

constexpr std::uint32_t kWrite = 0, kRead = 1;

class Blocking : public ::testing::Test {
 protected:
  void start(std::vector<std::uint8_t> options = {}, HostSettings h = {},
             std::uint64_t reply_max = 1u << 20) {
    rig = std::make_unique<Rig>(h);
    StoreSettings s;
    s.name = "probe";
    s.kind = "key_value";
    s.options = std::move(options);
    s.reply_max = reply_max;
    rig->load(plugin_directory(), "probe", std::move(s));
    ASSERT_TRUE(rig->store->open_driver_now());
    write = rig->open(kWrite, 1);
    ASSERT_NE(write, nullptr);
  }
  // The border is as good as before.
  void still_serves(Link* link) {
    const TestCall* t = rig->ask(link, "echo", BodyMap().add("n", 42).take());
    EXPECT_TRUE(t->done.ok);
    EXPECT_EQ(t->reply, t->body);
  }
  std::unique_ptr<Rig> rig;
  Link* write = nullptr;
};

TEST_F(Blocking, ACallCarriesWhatThePluginNeeds) {
  start();
  TestCall* t = rig->prepare("call", BodyMap().take());
  rig->store->end(*t->operation);
  rig->by_operation.clear();
  t->call.key = "key-1";
  t->call.read_only = true;
  t->call.access = Access::read;
  const Route route = *rig->store->route(t->call, 0, nullptr);
  t->operation = rig->store->begin(&t->call, Purpose::call, route, 3, 77, "receipt");
  rig->by_operation[t->operation] = t;
  write->submit({&t->operation, 1});
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  proto::Cursor c((Bytes(t->reply)));
  std::map<std::string, std::string> text;
  std::map<std::string, std::uint64_t> number;
  for (std::uint32_t i = c.read_map(); i > 0; --i) {
    const std::string key(c.read_str());
    if (c.peek() == proto::Type::str)
      text[key] = c.read_str();
    else
      number[key] = c.read_uint();
  }
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(text["service"], "tests");
  EXPECT_EQ(text["key"], "key-1");
  EXPECT_EQ(text["receipt"], "receipt");
  EXPECT_EQ(number["flags"], static_cast<std::uint64_t>(HG_CALL_READ_ONLY | HG_CALL_ALONE));
  EXPECT_EQ(number["tag"], 0x7a67u);
  EXPECT_EQ(number["lease"], 77u);
  EXPECT_EQ(number["attempt"], 3u);
  EXPECT_EQ(number["access"], static_cast<std::uint64_t>(HG_ACCESS_READ));
  EXPECT_EQ(number["deadline_us"], static_cast<std::uint64_t>(t->call.deadline.us));
  EXPECT_NEAR(static_cast<double>(number["deadline_us"] - number["work_until_us"]), 100'000, 1'000)
      << "5 % of five seconds, at most 100 ms";
}

TEST_F(Blocking, AllCallsOfATurnAreOneBatchAndTheirAnswersOneWake) {
  start();
  std::vector<Operation*> operations;
  std::vector<TestCall*> sent;
  for (int i = 0; i < 64; ++i) {
    sent.push_back(rig->prepare("batch_size", BodyMap().add("n", i).take()));
    operations.push_back(sent.back()->operation);
  }
  const std::uint64_t wakes = rig->loop.wakes();
  write->submit(operations);
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->order.size() == 64; }));
  EXPECT_EQ(rig->loop.wakes() - wakes, 1u);
  for (const TestCall* t : sent) EXPECT_EQ(as_int(t->reply), 64);
  EXPECT_TRUE(std::equal(sent.begin(), sent.end(), rig->order.begin()))
      << "in the order of completion";
}

TEST_F(Blocking, ACallThatWantsToBeAloneIsAlone) {
  start();
  std::vector<Operation*> operations;
  std::vector<TestCall*> sent;
  for (int i = 0; i < 9; ++i) {
    BodyMap b;
    if (i == 4) b.yes("alone");
    sent.push_back(rig->prepare("batch_size", b.take()));
    operations.push_back(sent.back()->operation);
  }
  write->submit(operations);
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->order.size() == 9; }));
  for (int i = 0; i < 9; ++i) EXPECT_EQ(as_int(sent[i]->reply), i == 4 ? 1 : 4) << i;
}

// Those who take turns otherwise: one, the seven that gathered meanwhile, one, ...
TEST_F(Blocking, CallersWhoAskAgainAtOnceComeTogether) {
  start();
  const std::vector<std::uint8_t> body = BodyMap().add("n", 2).take();
  std::vector<Operation*> operations{
      rig->prepare("sync", BodyMap().add("n", 2).yes("alone").take())->operation};
  for (int i = 0; i < 7; ++i) operations.push_back(rig->prepare("sync", body)->operation);
  write->submit(operations);
  // Chance brings them together too, but not within a hundred batches.
  std::size_t seen = 0;
  bool whole = false;
  EXPECT_TRUE(rig->loop.run_until([&] {
    for (; seen < rig->order.size() && !whole && seen < 400; ++seen) {
      whole = as_int(rig->order[seen]->reply) == 8;
      rig->send(write, "sync", body);
    }
    return whole || seen == 400;
  }));
  EXPECT_TRUE(whole);
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->order.size() == rig->calls.size(); }));
}

// A worker that waits for more is not in the way of whoever closes.
TEST_F(Blocking, ACloseWhileItGathersIsNotHeldUp) {
  for (int round = 0; round < 20; ++round) {
    start();
    std::vector<Operation*> operations;
    for (int i = 0; i < 8; ++i)
      operations.push_back(rig->prepare("sync", BodyMap().add("n", 10).take())->operation);
    write->submit(operations);
    ASSERT_TRUE(rig->loop.run_until([&] { return rig->order.size() == 8; }));
    const TestCall* t = rig->send(write, "sync");  // seven more are expected
    rig->close();
    EXPECT_EQ(t->completions, 1);
  }
}

TEST_F(Blocking, RepliesUpToTheLimitAndNotBeyond) {
  start({}, {}, 1000);
  const TestCall* t = rig->ask(write, "fill", BodyMap().add("n", 1000).take());
  EXPECT_TRUE(t->done.ok);
  EXPECT_EQ(t->reply.size(), 1000u);
  t = rig->ask(write, "fill", BodyMap().add("n", 1001).take());
  EXPECT_EQ(t->done.fault.code, Code::too_large);
  EXPECT_TRUE(t->reply.empty());
  t = rig->ask(write, "patch_rewind");
  EXPECT_EQ(t->reply, (std::vector<std::uint8_t>{1, 3}));
  still_serves(write);
}

TEST_F(Blocking, MisdeedsHurtNobodyElse) {
  start();
  std::uint64_t broken = 2;
  struct Case {
    const char* verb;
    int n;
    bool ok, breaks;
    Misdeed counted;
  };
  for (const Case& c : std::vector<Case>{{"never", 0, false, true, Misdeed::not_completed},
                                         {"throw", 0, false, true, Misdeed::threw},
                                         {"throw_int", 0, false, true, Misdeed::threw},
                                         {"twice", 0, true, false, Misdeed::second_completion},
                                         {"overrun", 0, false, true, Misdeed::sink_misuse},
                                         {"overcommit", 0, false, true, Misdeed::sink_misuse},
                                         {"bad_patch", 0, false, true, Misdeed::sink_misuse},
                                         {"stale", 0, true, false, Misdeed::stale_call},
                                         {"bad_done", 0, false, true, Misdeed::bad_done},
                                         {"bad_done", 1, false, true, Misdeed::bad_done},
                                         {"bad_done", 2, false, true, Misdeed::bad_done},
                                         {"bad_done", 3, true, false, Misdeed::bad_done},
                                         {"bad_done", 4, true, false, Misdeed::bad_done},
                                         {"bad_done", 99, false, true, Misdeed::bad_done}}) {
    SCOPED_TRACE(std::string(c.verb) + " " + std::to_string(c.n));
    const Ticket ticket = broken++;
    Link* link = rig->open(kWrite, ticket);
    ASSERT_NE(link, nullptr);
    const std::uint64_t before =
        rig->host->misdeeds(c.counted) + (c.counted == Misdeed::second_completion
                                              ? rig->host->misdeeds(Misdeed::late_completion)
                                              : 0);
    // Before it, beside it on another connection, and after it.
    std::vector<Operation*> operations;
    const TestCall* first = rig->prepare("echo", BodyMap().add("n", 1).take());
    const TestCall* bad = rig->prepare(c.verb, BodyMap().add("n", c.n).take());
    const TestCall* beside = rig->send(write, "echo", BodyMap().add("n", 2).take());
    operations = {first->operation, bad->operation};
    link->submit(operations);
    ASSERT_TRUE(rig->loop.run_until(
        [&] { return first->completions + bad->completions + beside->completions == 3; }));
    EXPECT_TRUE(first->done.ok);
    EXPECT_EQ(first->reply, first->body);
    EXPECT_TRUE(beside->done.ok);
    EXPECT_EQ(bad->done.ok, c.ok) << bad->done.fault.message;
    EXPECT_EQ(bad->done.connection == ConnState::broken, c.breaks);
    if (!c.ok) {
      EXPECT_EQ(bad->done.fault.code, Code::internal);
      EXPECT_TRUE(bad->reply.empty());
    }
    // A second completion that comes after the first was delivered is a late one.
    const auto counted = [&] {
      return rig->host->misdeeds(c.counted) + (c.counted == Misdeed::second_completion
                                                   ? rig->host->misdeeds(Misdeed::late_completion)
                                                   : 0);
    };
    EXPECT_TRUE(rig->loop.run_until([&] { return counted() > before; }));
    if (c.breaks) {
      // Nothing more is given to a connection that is broken; it was not sent, and says so.
      const TestCall* after = rig->ask(link, "echo");
      EXPECT_EQ(after->done.fault.outcome, Outcome::not_sent);
    } else {
      still_serves(link);
    }
    rig->close(ticket);
    EXPECT_EQ(bad->completions, 1);
  }
  still_serves(write);
}

TEST_F(Blocking, AThrowAmongOthersLeavesTheirAnswersAlone) {
  start();
  std::vector<Operation*> operations;
  std::vector<TestCall*> sent;
  for (int i = 0; i < 10; ++i) {
    sent.push_back(rig->prepare(i == 5 ? "throw" : "echo", BodyMap().add("n", i).take()));
    operations.push_back(sent.back()->operation);
  }
  write->submit(operations);
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->order.size() == 10; }));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(sent[i]->done.ok, i < 5);
    const Outcome o = sent[i]->done.fault.outcome;
    EXPECT_TRUE(i < 5 || o == Outcome::unknown) << "it was handed to the plugin";
  }
}

TEST_F(Blocking, ErrorsKeepInsideTheirBounds) {
  start();
  const TestCall* t = rig->ask(write, "bad_done", BodyMap().add("n", 5).take());
  EXPECT_EQ(t->done.fault.code, Code::internal);
  EXPECT_EQ(t->done.fault.outcome, Outcome::unknown);
  t = rig->ask(write, "bad_done", BodyMap().add("n", 6).take());
  EXPECT_EQ(t->done.fault.code, Code::store_error);
  EXPECT_EQ(t->done.fault.outcome, Outcome::rejected);
  EXPECT_LE(t->done.fault.message.size(), 512u);
  EXPECT_GT(t->done.fault.message.size(), 500u);
  EXPECT_TRUE(proto::valid_utf8(t->done.fault.message));
  EXPECT_EQ(t->done.fault.sqlstate, "999999");
  EXPECT_TRUE(t->done.fault.detail.empty()) << "details that are no msgpack are dropped";
}

TEST_F(Blocking, RouteIsGuardedToo) {
  start();
  const TestCall* t = rig->prepare("route_error", BodyMap().take());
  EXPECT_EQ(t->done.fault.code, Code::invalid);
  EXPECT_EQ(t->done.fault.outcome, Outcome::not_sent)
      << "routing does nothing, whatever the plugin says";
  EXPECT_EQ(rig->prepare("route_throw", BodyMap().take())->done.fault.code, Code::internal);
  EXPECT_EQ(rig->prepare("echo", BodyMap().add("lane", 9).take())->done.fault.code, Code::internal);
  EXPECT_EQ(rig->prepare("echo", BodyMap().add("lane", 1).yes("lease").take())->done.fault.code,
            Code::internal);
  t = rig->prepare("echo", BodyMap().add("text", "forbidden").take());
  EXPECT_EQ(t->done.fault.code, Code::denied);
  EXPECT_EQ(t->done.fault.message, "not granted: echo on key `forbidden`");
  t = rig->prepare("echo", BodyMap().add("text", "fine").take());
  EXPECT_NE(t->operation, nullptr);
  write->submit({&t->operation, 1});
  rig->loop.run_until([&] { return t->completions == 1; });
}

TEST_F(Blocking, PartsLeaveUnderCreditAndTheWorkerWaits) {
  start();
  TestCall* t = rig->send(write, "stream", BodyMap().add("n", 20).take(), 100);
  Operation* o = t->operation;
  ASSERT_TRUE(rig->loop.run_until([&] { return t->parts.size() == 1; }));
  EXPECT_FALSE(
      rig->loop.run_until([&] { return t->parts.size() > 1; }, std::chrono::milliseconds(50)));
  write->credit(*o, 5);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->parts.size() == 5; }));
  write->credit(*o, 4);  // late, and lower: no harm
  EXPECT_FALSE(
      rig->loop.run_until([&] { return t->parts.size() > 5; }, std::chrono::milliseconds(50)));
  rig->on_part = [&](TestCall& c, std::uint64_t sequence) {
    write->credit(*c.operation, sequence + 2);
  };
  write->credit(*o, 7);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  ASSERT_EQ(t->parts.size(), 20u);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(t->parts[i], i + 1);
  EXPECT_EQ(as_int(t->reply), 20);
  rig->on_part = nullptr;
  still_serves(write);
}

TEST_F(Blocking, AnAbandonedStreamStopsWhileItWaits) {
  start();
  TestCall* t = rig->send(write, "stream", BodyMap().add("n", 1000).take(), 100);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->parts.size() == 1; }));
  write->abandon(*t->operation);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(t->parts.size(), 1u);
  EXPECT_EQ(t->done.fault.code, Code::cancelled);
  still_serves(write);
}

TEST_F(Blocking, ALongStreamNeedsNoMoreMemoryThanItsCredit) {
  start();
  std::uint64_t in_hand = 0, most = 0;
  TestCall* t = rig->send(write, "stream", BodyMap().add("n", 5000).add("fd", 10'000).take(), 100);
  rig->on_part = [&](TestCall& c, std::uint64_t sequence) {
    most = std::max(most, ++in_hand);
    --in_hand;
    write->credit(*c.operation, sequence + 1);
  };
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }, std::chrono::seconds(60)));
  EXPECT_EQ(t->part_bytes, 50'000'000u);
  EXPECT_EQ(most, 1u);
}

TEST_F(Blocking, UploadsAreAskedForPieceByPiece) {
  start();
  TestCall* t = rig->send(write, "upload", BodyMap().take(), 0, true);
  EXPECT_EQ(t->granted, 0u) << "no credit before the call is on a connection, nor inside submit";
  ASSERT_TRUE(rig->loop.run_until([&] { return t->granted > 0; }));
  std::uint64_t sent = 0;
  std::int64_t sum = 0;
  while (sent < 500) {
    ASSERT_TRUE(rig->loop.run_until([&] { return t->granted > sent; }));
    EXPECT_LE(t->granted - sent, 4u);
    ++sent;
    sum += 3;
    write->upload(*t->operation, {1, 2}, sent == 500);
  }
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(as_int(t->reply), sum);
}

TEST_F(Blocking, AnAbandonedUploadIsAborted) {
  start();
  TestCall* t = rig->send(write, "upload", BodyMap().take(), 0, true);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->granted > 0; }));
  write->upload(*t->operation, {1}, false);
  rig->loop.run_until([] { return false; }, std::chrono::milliseconds(20));
  write->abandon(*t->operation);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(t->done.fault.outcome, Outcome::rolled_back);
  still_serves(write);
}

TEST_F(Blocking, CancelStopsTheRunningCallAndOnlyThat) {
  start();
  TestCall* t = rig->send(write, "wait");
  rig->loop.run_until([] { return false; }, std::chrono::milliseconds(20));
  write->cancel(*t->operation);
  ASSERT_TRUE(
      rig->loop.run_until([&] { return t->completions == 1 && rig->cancels_returned == 1; }));
  EXPECT_EQ(t->done.fault.code, Code::cancelled);
  still_serves(write);
}

TEST_F(Blocking, WhatIsAbandonedInTheRingIsNotRunAndSaysSo) {
  start();
  const TestCall* slow = rig->send(write, "sleep", BodyMap().add("n", 60).take());
  rig->loop.run_until([] { return false; }, std::chrono::milliseconds(15));
  const TestCall* queued = rig->send(write, "echo");
  EXPECT_TRUE(write->abandon(*queued->operation));
  EXPECT_FALSE(write->abandon(*slow->operation)) << "this one runs: nobody knows";
  ASSERT_TRUE(rig->loop.run_until([&] { return queued->completions == 1; }));
  EXPECT_EQ(slow->completions, 1);
  EXPECT_EQ(queued->done.fault.outcome, Outcome::not_sent);
  still_serves(write);
}

TEST_F(Blocking, ACallCancelledInTheRingIsNotRun) {
  start();
  const TestCall* slow = rig->send(write, "sleep", BodyMap().add("n", 60).take());
  rig->loop.run_until([] { return false; }, std::chrono::milliseconds(15));
  TestCall* queued = rig->send(write, "echo");
  write->cancel(*queued->operation);
  ASSERT_TRUE(
      rig->loop.run_until([&] { return rig->cancels_returned == 1 && slow->completions == 1; }));
  EXPECT_EQ(queued->completions, 1);
  EXPECT_EQ(queued->done.fault.code, Code::cancelled);
  EXPECT_EQ(queued->done.fault.outcome, Outcome::not_sent);
  EXPECT_EQ(queued->done.connection, ConnState::clean);
  still_serves(write);
}

TEST_F(Blocking, ACancelOfWhatHasEndedIsAnsweredAndHitsNobody) {
  start();
  TestCall* t = rig->send(write, "echo");
  Operation* o = t->operation;
  // The worker has long completed it; the loop has not looked yet.
  ::usleep(20'000);
  write->cancel(*o);
  ASSERT_TRUE(
      rig->loop.run_until([&] { return t->completions == 1 && rig->cancels_returned == 1; }));
  EXPECT_TRUE(t->done.ok);
  still_serves(write);
}

TEST_F(Blocking, CancelStorm) {
  start();
  Link* read = rig->open(kRead, 2);
  ASSERT_NE(read, nullptr);
  std::mt19937 random(7);
  const int rounds = 300;
  for (int i = 0; i < rounds; ++i) {
    const int before = rig->cancels_returned;
    TestCall* t =
        rig->send(read, random() % 2 == 0 ? "wait" : "echo", BodyMap().add("lane", 1).take());
    if (random() % 3 == 0) ::usleep(random() % 300);
    read->cancel(*t->operation);
    ASSERT_TRUE(rig->loop.run_until([&] {
      return t->completions == 1 && rig->cancels_returned == before + 1;
    })) << "round "
        << i;
    const TestCall* next = rig->ask(read, "echo", BodyMap().add("lane", 1).add("n", i).take());
    ASSERT_TRUE(next->done.ok) << "a late cancel hit the next call: " << next->done.fault.message;
    ASSERT_EQ(next->reply, next->body);
  }
}

TEST_F(Blocking, AWorkerThatIgnoresItsCancelIsWrittenOffAndClosedWhenItReturns) {
  HostSettings h;
  h.threads_max = 2;
  h.write_off_after = std::chrono::milliseconds(200);
  start({}, h);
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  TestCall* deaf = rig->prepare("deaf", BodyMap().add("fd", pipe[0]).yes("alone").take());
  TestCall* behind = rig->prepare("echo", BodyMap().take());
  std::vector<Operation*> both = {deaf->operation, behind->operation};
  write->submit(both);
  rig->loop.run_until([] { return false; }, std::chrono::milliseconds(20));
  write->cancel(*deaf->operation);
  ASSERT_TRUE(
      rig->loop.run_until([&] { return deaf->completions == 1 && behind->completions == 1; }));
  EXPECT_EQ(deaf->done.fault.code, Code::deadline);
  EXPECT_EQ(deaf->done.fault.outcome, Outcome::unknown);
  EXPECT_EQ(behind->done.fault.outcome, Outcome::not_sent) << "it never began";
  EXPECT_EQ(rig->host->written_off(), 1u);
  rig->close();
  EXPECT_EQ(rig->host->threads(), 1u) << "the hanging worker still counts";
  // Replaced, within threads_max.
  Link* fresh = rig->open(kWrite, 2);
  ASSERT_NE(fresh, nullptr);
  still_serves(fresh);
  EXPECT_EQ(rig->open(kWrite, 3), nullptr);
  EXPECT_NE(rig->open_faults.back().message.find("threads_max (2)"), std::string::npos);
  // Back at last: its completion is late, and the thread is free again.
  EXPECT_EQ(rig->host->operations().in_use(), 2u)
      << "its slots are not reused while it may write there";
  ASSERT_EQ(::write(pipe[1], "x", 1), 1);
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->host->written_off() == 0; }));
  EXPECT_EQ(rig->host->misdeeds(Misdeed::late_completion) +
                rig->host->misdeeds(Misdeed::second_completion),
            1u);
  EXPECT_EQ(rig->host->threads(), 1u);
  EXPECT_EQ(rig->host->operations().in_use(), 0u);
  EXPECT_EQ(deaf->completions, 1);
  EXPECT_NE(rig->open(kWrite, 3), nullptr);
  still_serves(fresh);
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(Blocking, CloseWithWorkInFlightEndsEveryCallOnce) {
  start();
  std::vector<TestCall*> sent;
  std::vector<Operation*> operations;
  sent.push_back(rig->prepare("sleep", BodyMap().add("n", 30).yes("alone").take()));
  sent.push_back(rig->prepare("stream", BodyMap().add("n", 50).take(), 100));
  for (int i = 0; i < 20; ++i) sent.push_back(rig->prepare("echo", BodyMap().take()));
  for (TestCall* t : sent) operations.push_back(t->operation);
  write->submit(operations);
  rig->loop.run_until([] { return false; }, std::chrono::milliseconds(10));
  rig->close();
  EXPECT_TRUE(sent[0]->done.ok) << "it had begun";
  for (std::size_t i = 1; i < sent.size(); ++i) {
    EXPECT_EQ(sent[i]->completions, 1);
    EXPECT_EQ(sent[i]->done.fault.outcome, Outcome::not_sent);
  }
  EXPECT_EQ(rig->closes, 1);
}

TEST_F(Blocking, ACloseThatHangsIsGivenUp) {
  HostSettings h;
  h.write_off_after = std::chrono::milliseconds(100);
  start({}, h);
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  TestCall* deaf = rig->send(write, "deaf", BodyMap().add("fd", pipe[0]).take());
  rig->loop.run_until([] { return false; }, std::chrono::milliseconds(20));
  rig->close();
  EXPECT_EQ(deaf->completions, 1);
  EXPECT_EQ(deaf->done.fault.outcome, Outcome::unknown);
  ASSERT_EQ(::write(pipe[1], "x", 1), 1);
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->host->written_off() == 0; }));
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_F(Blocking, ResetAndPingAreOperations) {
  start();
  for (const Purpose p : {Purpose::reset, Purpose::ping}) {
    Operation* o = rig->store->begin(nullptr, p, Route{}, 1, 0, "");
    ASSERT_NE(o, nullptr);
    if (p == Purpose::reset)
      write->reset(*o);
    else
      write->ping(*o);
    const std::size_t n = rig->other_done.size();
    ASSERT_TRUE(rig->loop.run_until([&] { return rig->other_done.size() == n + 1; }));
    EXPECT_EQ(rig->other_done.back(), ConnState::clean);
  }
  const TestCall* t = rig->ask(write, "lease");
  EXPECT_EQ(t->done.lease, LeaseState::open);
  t = rig->ask(write, "dirty");
  EXPECT_EQ(t->done.connection, ConnState::needs_reset);
}

TEST_F(Blocking, AnIdleConnectionIsWatched) {
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  start(BodyMap().add("idle_fd", pair[0]).take());
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->loop.watched() == 1; }))
      << "after a second of idleness";
  still_serves(write);
  EXPECT_EQ(rig->loop.watched(), 0u) << "not while it works";
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->loop.watched() == 1; }));
  ::close(pair[1]);
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->losses.size() == 1; }));
  EXPECT_EQ(rig->losses[0].code, Code::unavailable);
  rig->close();
  ::close(pair[0]);
}

TEST_F(Blocking, WakesAndLogLinesArrive) {
  start();
  rig->ask(write, "wake", BodyMap().add("n", 12).take());
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->wakes.size() == 1; }));
  EXPECT_EQ(rig->wakes[0], 12u);
  rig->ask(write, "say", BodyMap().add("text", "hello").take());
  std::lock_guard lock(rig->log.mutex);
  EXPECT_EQ(rig->log.lines.back(), "plugin store=probe message=hello");
}

TEST_F(Blocking, OperationsHaveAMaximum) {
  HostSettings h;
  h.operations_max = 10;
  start({}, h);
  std::vector<TestCall*> sent;
  for (int i = 0; i < 10; ++i) sent.push_back(rig->prepare("echo", BodyMap().take()));
  EXPECT_EQ(rig->store->begin(nullptr, Purpose::ping, Route{}, 1, 0, ""), nullptr);
  for (TestCall* t : sent) write->submit({&t->operation, 1});
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->order.size() == 10; }));
  still_serves(write);
}

// The worker and the loop hand over to each other as fast as they can, with every kind of timing.
TEST_F(Blocking, HundredsOfThousandsOfCalls) {
  start();
  Link* readers[2] = {rig->open(kRead, 2), rig->open(kRead, 3)};
  std::mt19937 random(11);
  const int total = std::getenv("HEADGATE_FEW") != nullptr ? 20'000 : 200'000;
  int sent = 0, done = 0;
  int in_flight[3] = {0, 0, 0};
  std::map<const Call*, int> lane_of;
  std::vector<std::unique_ptr<TestCall>> pool;
  std::vector<TestCall*> free_calls;
  const std::vector<std::uint8_t> body = BodyMap().take(),
                                  read_body = BodyMap().add("lane", 1).take();
  struct Ears final : LinkEvents {
    std::function<void(Operation&)> on;
    void opened(Ticket, std::unique_ptr<Link>) override {}
    void open_failed(Ticket, const Fault&) override {}
    void completed(Operation& o) override { on(o); }
    void part(Operation&, std::uint64_t, ReplyBuffer) override {}
    void upload_credit(Operation&, std::uint64_t) override {}
    void cancel_returned(Ticket) override {}
    void lost(Ticket, const Fault&) override {}
    void closed(Ticket) override {}
    void wake(std::uint64_t) override {}
  } ears;
  ears.on = [&](Operation& o) {
    EXPECT_TRUE(o.done.ok);
    const auto* t = static_cast<const TestCall*>(o.owner);
    EXPECT_EQ(Bytes(t->body).size(), o.reply.size());
    --in_flight[lane_of.at(&t->call)];
    free_calls.push_back(static_cast<TestCall*>(o.owner));
    ++done;
    rig->store->end(o);
  };
  rig->store->set_events(&ears);
  const auto make = [&](int lane) {
    if (free_calls.empty()) {
      pool.push_back(std::make_unique<TestCall>());
      free_calls.push_back(pool.back().get());
    }
    TestCall* t = free_calls.back();
    free_calls.pop_back();
    t->verb = lane == 0 ? "echo_more" : "echo";
    t->body = lane == 0 ? body : read_body;
    t->call.verb = t->verb;
    t->call.body = t->body;
    t->call.permission = &rig->grants;
    t->call.deadline = rig->loop.now() + std::chrono::seconds(60);
    lane_of[&t->call] = lane;
    Operation* o = rig->store->begin(&t->call, Purpose::call,
                                     *rig->store->route(t->call, 0, nullptr), 1, 0, "");
    o->owner = t;
    return o;
  };
  std::vector<Operation*> batch;
  const bool finished = rig->loop.run_until(
      [&] {
        batch.clear();
        for (int k = static_cast<int>(random() % 64); k > 0 && in_flight[0] < 64 && sent < total;
             --k) {
          ++in_flight[0];
          ++sent;
          batch.push_back(make(0));
        }
        if (!batch.empty()) write->submit(batch);
        for (int i = 0; i < 2; ++i)
          if (in_flight[i + 1] == 0 && sent < total) {
            ++in_flight[i + 1];
            ++sent;
            Operation* o = make(i + 1);
            readers[i]->submit({&o, 1});
          }
        return done == total;
      },
      std::chrono::seconds(120));
  EXPECT_TRUE(finished) << done << " of " << sent;
  rig->store->set_events(rig.get());
  EXPECT_EQ(rig->host->operations().in_use(), 0u);
}

}  // namespace
}  // namespace headgate::testing
