// Event lanes on the loop, with the probe plugin: completions inside a call, parts, uploads,
// cancels, lost connections. The lane over a real socket is in lines_test.
#include "tests/abi/rig.hpp"

namespace headgate::testing {
namespace {

class Event : public ::testing::Test {
 protected:
  void SetUp() override {
    HostSettings h;
    h.write_off_after = std::chrono::milliseconds(200);
    rig = std::make_unique<Rig>(h);
    StoreSettings s;
    s.name = "probe";
    s.kind = "key_value";
    rig->load(plugin_directory(), "probe", std::move(s));
    ASSERT_TRUE(rig->store->open_driver_now());
    link = rig->open(2);
    ASSERT_NE(link, nullptr);
  }
  static BodyMap body() { return std::move(BodyMap().add("lane", 2)); }
  void still_serves() {
    const TestCall* t = rig->ask(link, "echo", body().add("n", 5).take());
    EXPECT_TRUE(t->done.ok);
    EXPECT_EQ(t->reply, t->body);
  }
  std::unique_ptr<Rig> rig;
  Link* link = nullptr;
};

TEST_F(Event, WhatIsCompletedInsideSubmitReachesThePoolAfterIt) {
  bool inside = false, nested = false;
  rig->on_completed = [&] { nested = nested || inside; };
  TestCall* t = rig->prepare("echo", body().take());
  inside = true;
  link->submit({&t->operation, 1});
  inside = false;
  EXPECT_EQ(t->completions, 0);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_FALSE(nested);
  EXPECT_EQ(rig->host->threads(), 0u) << "an event lane has no thread";
}

TEST_F(Event, AnotherThreadMayComplete) {
  for (int i = 0; i < 200; ++i)
    ASSERT_EQ(as_int(rig->ask(link, "thread", body().take())->reply), 7);
}

TEST_F(Event, PartsWaitForCreditAndGoOnWithIt) {
  TestCall* t = rig->send(link, "stream", body().add("n", 10).take(), 100);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->parts.size() == 1; }));
  still_serves();
  EXPECT_EQ(t->parts.size(), 1u);
  link->credit(*t->operation, 4);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->parts.size() == 4; }));
  link->credit(*t->operation, 1000);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(t->parts.size(), 10u);
  EXPECT_TRUE(t->done.ok);
}

TEST_F(Event, APluginThatIgnoresWaitIsStopped) {
  const std::uint64_t before = rig->host->misdeeds(Misdeed::sink_misuse);
  TestCall* t = rig->send(link, "stream_rude", body().add("n", 10).take(), 100);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->parts.size() == 1; }));
  // Its reply waits behind the one part that it may have ahead of the credit.
  EXPECT_EQ(t->completions, 0);
  link->credit(*t->operation, 100);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(t->parts.size(), 2u);
  EXPECT_FALSE(t->done.ok);
  EXPECT_GT(rig->host->misdeeds(Misdeed::sink_misuse), before);
}

TEST_F(Event, AnAbandonedStreamEnds) {
  TestCall* t = rig->send(link, "stream", body().add("n", 10).take(), 100);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->parts.size() == 1; }));
  link->abandon(*t->operation);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(t->parts.size(), 1u);
  EXPECT_EQ(t->done.fault.code, Code::cancelled);
  still_serves();
}

TEST_F(Event, Uploads) {
  TestCall* t = rig->send(link, "upload", body().take(), 0, true);
  for (std::uint64_t sent = 0; sent < 50; ++sent) {
    ASSERT_TRUE(rig->loop.run_until([&] { return t->granted > sent; }));
    link->upload(*t->operation, {5}, false);
  }
  link->upload(*t->operation, {}, true);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(as_int(t->reply), 250);
  t = rig->send(link, "upload", body().take(), 0, true);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->granted > 0; }));
  link->abandon(*t->operation);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(t->done.fault.outcome, Outcome::rolled_back);
  still_serves();
}

TEST_F(Event, CancelComesFromItsThreadAndTheAnswerFromTheLoop) {
  TestCall* a = rig->send(link, "wait", body().take());
  TestCall* b = rig->send(link, "wait", body().take());
  link->cancel(*a->operation);
  ASSERT_TRUE(
      rig->loop.run_until([&] { return a->completions == 1 && rig->cancels_returned == 1; }));
  EXPECT_EQ(a->done.fault.code, Code::cancelled);
  EXPECT_EQ(b->completions, 0) << "the other one was hit";
  link->cancel(*b->operation);
  ASSERT_TRUE(
      rig->loop.run_until([&] { return b->completions == 1 && rig->cancels_returned == 2; }));
  still_serves();
}

TEST_F(Event, WhatIsNeverCompletedIsGivenUpAfterItsCancel) {
  TestCall* t = rig->send(link, "never", body().take());
  link->cancel(*t->operation);
  ASSERT_TRUE(rig->loop.run_until([&] { return t->completions == 1; }));
  EXPECT_EQ(t->done.fault.outcome, Outcome::unknown);
  EXPECT_EQ(t->done.connection, ConnState::broken);
}

TEST_F(Event, CloseCompletesWhatIsOpen) {
  TestCall* waits = rig->send(link, "wait", body().take());
  TestCall* streams = rig->send(link, "stream", body().add("n", 10).take(), 100);
  TestCall* never = rig->send(link, "never", body().take());
  const std::uint64_t before = rig->host->misdeeds(Misdeed::not_completed);
  rig->close();
  for (const TestCall* t : {waits, streams, never}) {
    EXPECT_EQ(t->completions, 1);
    EXPECT_EQ(t->done.fault.outcome, Outcome::unknown);
  }
  EXPECT_EQ(rig->host->misdeeds(Misdeed::not_completed), before + 1) << "`never` even then";
  EXPECT_EQ(rig->loop.watched(), 0u);
}

TEST_F(Event, AThrowEndsWhatIsOpenAndNothingElse) {
  Link* other = rig->open(2, 2);
  TestCall* waits = rig->send(link, "wait", body().take());
  TestCall* thrown = rig->send(link, "throw", body().take());
  ASSERT_TRUE(
      rig->loop.run_until([&] { return waits->completions == 1 && thrown->completions == 1; }));
  EXPECT_EQ(waits->done.connection, ConnState::broken);
  EXPECT_EQ(rig->ask(link, "echo", body().take())->done.fault.outcome, Outcome::not_sent);
  link = other;
  still_serves();
}

TEST_F(Event, ALostConnectionIsReported) {
  rig->ask(link, "die", body().take());
  ASSERT_TRUE(rig->loop.run_until([&] { return rig->losses.size() == 1; }));
  EXPECT_EQ(rig->losses[0].message, "the server hung up");
}

TEST_F(Event, AStaleConnectionNumberIsNobody) {
  const hg_conn_id id = rig->host->new_connection_id();
  rig->host->set_link(id, nullptr);
  const hg_host* h = rig->host->table();
  h->watch(h, id, 0, HG_IO_READ);
  h->timer(h, id, 1);
  h->lost(h, id, nullptr);
  h->watch(h, 0, 0, HG_IO_READ);
  h->watch(h, ~hg_conn_id{0}, 0, HG_IO_READ);
  std::thread([&] { h->watch(h, id, 0, HG_IO_READ); }).join();
  EXPECT_EQ(rig->host->misdeeds(Misdeed::wrong_thread), 1u);
  still_serves();
}

}  // namespace
}  // namespace headgate::testing
