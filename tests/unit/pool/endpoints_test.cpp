// Which endpoint serves: a list that a reload changes, and endpoints that say nothing.
#include "tests/unit/pool/fixture.hpp"

namespace headgate::pool {
namespace {

struct EndpointsTest : PoolTest {
  void name(std::vector<std::string> primaries, std::vector<std::string> reads = {}) {
    settings.read_endpoints = static_cast<std::uint32_t>(reads.size());
    settings.addresses = std::move(primaries);
    settings.addresses.insert(settings.addresses.end(), reads.begin(), reads.end());
    settings.endpoints = static_cast<std::uint32_t>(settings.addresses.size());
    if (pools == nullptr) return make();
    pools->apply(settings, 0);
    loop.end_turn();
  }
  Call& read(Micros timeout = 5s) {
    Call& c = call("get", 0, timeout);
    c.access = Access::read;
    pools->start(c);
    loop.end_turn();
    return c;
  }
  std::uint64_t closes(std::string_view why) {
    for (const auto& [name, n] : pools->closes()) {
      if (name == why) return n;
    }
    return 0;
  }
};

TEST_F(EndpointsTest, AnIdleConnectionToWhatIsGoneEndsAtOnceABusyOneWithItsCall) {
  name({"a"});
  Call& one = start("get");
  Call& two = start("get");
  FakeLink& busy = accept();
  FakeLink& idle = accept();
  complete(idle);
  EXPECT_TRUE(is_answered(one) != is_answered(two));
  name({"b"});
  EXPECT_TRUE(idle.closing);
  EXPECT_FALSE(busy.closing);
  finish_closing();
  Call& next = start("get");
  ASSERT_EQ(store.opening.size(), 1u) << "what is gone serves nobody new";
  complete(accept());
  EXPECT_EQ(answer_of(next).code, Code::ok);
  complete(busy);
  EXPECT_TRUE(busy.closing);
  EXPECT_EQ(answer_of(one).code, Code::ok);
  EXPECT_EQ(answer_of(two).code, Code::ok);
  EXPECT_EQ(closes("endpoint_gone"), 2u);
}

TEST_F(EndpointsTest, ATransactionOnWhatIsGoneGoesOnToItsEnd) {
  name({"a"});
  Call& begin = start("begin");
  FakeLink& l = accept();
  complete(l, with_lease(LeaseState::open));
  name({"b"});
  Call& inside = start_in(begin, "put");
  complete(l, with_lease(LeaseState::open));
  EXPECT_EQ(answer_of(inside).code, Code::ok);
  EXPECT_FALSE(l.closing);
  Call& commit = start_in(begin, "commit");
  complete(l, with_lease(LeaseState::none));
  EXPECT_EQ(answer_of(commit).code, Code::ok);
  EXPECT_TRUE(l.closing);
}

TEST_F(EndpointsTest, WhatIsStillNamedStaysWhereverItStands) {
  name({"a", "b"});
  (void)start("get");
  FakeLink& l = accept();
  complete(l);
  name({"x", "b", "a"});
  EXPECT_FALSE(l.closing);
  Call& c = start("get");
  complete(l);
  EXPECT_EQ(answer_of(c).code, Code::ok);
  // What is known of it moved along: its loss is its own, and the pool goes on to the next.
  Call& d = start("put");
  complete(l, failed(Outcome::rejected, Retry::other_endpoint));
  FakeLink& other = accept();
  EXPECT_EQ(other.request.endpoint, 0) << "behind `a`, around the end";
  complete(other);
  EXPECT_EQ(answer_of(d).code, Code::ok);
}

TEST_F(EndpointsTest, TheSameAddressInAnotherRoleIsAnotherEndpoint) {
  name({"a"}, {"b"});
  (void)start("put");
  FakeLink& writes = accept();
  complete(writes);
  (void)read();
  FakeLink& reads = accept();
  complete(reads);
  name({"b"}, {"a"});
  EXPECT_TRUE(writes.closing);
  EXPECT_TRUE(reads.closing);
  Call& c = start("put");
  EXPECT_EQ(store.opening.front().endpoint, 0);
  complete(accept());
  Call& d = read();
  EXPECT_EQ(store.opening.front().endpoint, 1);
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
  EXPECT_EQ(answer_of(d).code, Code::ok);
}

TEST_F(EndpointsTest, AConnectToWhatIsGoneHoldsNobodyUp) {
  name({"a"});
  Call& c = start("get", 0, 60s);
  ASSERT_EQ(store.opening.size(), 1u);
  name({"b"});
  ASSERT_EQ(store.opening.size(), 2u) << "the new list is tried at once";
  const plugin::Ticket old = store.opening.front().ticket;
  store.opening.pop_front();
  store.events->open_failed(old, down(Retry::never));
  loop.end_turn();
  EXPECT_FALSE(is_answered(c)) << "it says nothing about the new one";
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
  // and one that comes after all is closed
  name({"a"});
  (void)start("get");
  name({"b"});
  FakeLink& late = accept();
  EXPECT_TRUE(late.closing);
  complete(accept());
}

TEST_F(EndpointsTest, FailuresOfWhatIsGoneAreForgotten) {
  name({"a"});
  for (int i = 0; i < 6; ++i) {
    (void)start("get");
    while (!store.opening.empty()) store.refuse(down());
    loop.end_turn();
    pass(3s);
    while (!store.opening.empty()) store.refuse(down());
  }
  name({"b"});
  Call& c = start("get");
  ASSERT_FALSE(is_answered(c)) << "known to be down is another one";
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(EndpointsTest, AReadEndpointThatAReloadBringsIsTriedBesideThePrimary) {
  name({"a"});
  (void)read();
  FakeLink& primary = accept();
  complete(primary);
  name({"a"}, {"r"});
  EXPECT_FALSE(primary.closing);
  pass(6s);
  ASSERT_EQ(store.opening.size(), 1u);
  EXPECT_EQ(store.opening.front().endpoint, 1);
  Call& meanwhile = read();
  complete(primary);
  EXPECT_EQ(answer_of(meanwhile).code, Code::ok);
  FakeLink& standby = accept();
  EXPECT_TRUE(primary.closing);
  Call& c = read();
  complete(standby);
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(EndpointsTest, ASilentEndpointCostsATenthOfTheConnectTimeout) {
  name({"silent", "well"});
  Call& c = start("get", 0, 60s);
  pass(490ms);
  EXPECT_EQ(store.opening.size(), 1u);
  pass(20ms);
  ASSERT_EQ(store.opening.size(), 2u);
  EXPECT_EQ(store.opening.back().endpoint, 1);
  std::swap(store.opening.front(), store.opening.back());
  FakeLink& l = accept();
  complete(l);
  EXPECT_EQ(answer_of(c).code, Code::ok);
  // It is remembered: nobody is sent there while the other one is well, and it is told once.
  for (int i = 0; i < 100; ++i) {
    Call& more = start("get");
    Call& beside = start("get");
    while (!l.open.empty()) complete(l);
    for (const auto& r : store.opening) {
      EXPECT_TRUE(r.endpoint == 1 || r.ticket == store.opening.front().ticket);
    }
    while (store.opening.size() > 1) {
      std::swap(store.opening.front(), store.opening.back());
      FakeLink& m = accept();
      while (!m.open.empty()) complete(m);
    }
    for (FakeLink* m : store.links) {
      while (m != nullptr && !m->open.empty()) complete(*m);
    }
    EXPECT_EQ(answer_of(more).code, Code::ok);
    EXPECT_EQ(answer_of(beside).code, Code::ok);
    pass(50ms);
  }
}

TEST_F(EndpointsTest, SilenceEverywhereMakesNoStorm) {
  settings.connections_max = 16;
  store.lanes_[0].connections = 16;
  name({"a", "b", "c"});
  for (int i = 0; i < 200; ++i) (void)start("get", 0, 60s);
  for (int i = 0; i < 100; ++i) {
    pass(50ms);
    EXPECT_LE(store.opening.size(), 3u) << "one an endpoint";
  }
  EXPECT_EQ(store.opening.size(), 3u);
  while (!store.opening.empty()) {
    FakeLink& l = accept();
    while (!l.open.empty()) complete(l);
  }
  for (int i = 0; i < 400; ++i) {
    for (FakeLink* l : store.links) {
      while (l != nullptr && !l->open.empty()) complete(*l);
    }
    while (!store.opening.empty()) (void)accept();
  }
}

TEST_F(EndpointsTest, ThePrimaryStandsInForAReadEndpointThatIsSilent) {
  name({"p"}, {"r"});
  Call& c = read(60s);
  EXPECT_EQ(store.opening.front().endpoint, 1);
  pass(510ms);
  ASSERT_EQ(store.opening.size(), 2u);
  EXPECT_EQ(store.opening.back().endpoint, 0);
  std::swap(store.opening.front(), store.opening.back());
  FakeLink& primary = accept();
  complete(primary);
  EXPECT_EQ(answer_of(c).code, Code::ok);
  // The probes beside it hold nobody up, even when every connection is taken.
  pass(20s);
  ASSERT_FALSE(store.opening.empty());
  EXPECT_FALSE(primary.closing);
  (void)read();
  Call& second = read();
  ASSERT_EQ(store.opening.size(), 2u);
  EXPECT_EQ(store.opening.back().endpoint, 0);
  std::swap(store.opening.front(), store.opening.back());
  complete(accept());
  complete(primary);
  EXPECT_EQ(answer_of(second).code, Code::ok);
  // It answers: reads go back.
  FakeLink& standby = accept();
  EXPECT_TRUE(primary.closing);
  Call& d = read();
  complete(standby);
  EXPECT_EQ(answer_of(d).code, Code::ok);
}

TEST_F(EndpointsTest, OneThatComesLateTakesNoMoreThanItsPlace) {
  settings.connections_max = 1;
  name({"slow", "well"});
  Call& c = start("get", 0, 60s);
  pass(600ms);
  ASSERT_EQ(store.opening.size(), 2u) << "a connect that lags holds no place";
  std::swap(store.opening.front(), store.opening.back());
  FakeLink& l = accept();
  FakeLink& extra = accept();
  EXPECT_TRUE(extra.closing) << "connections_max holds";
  complete(l);
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

TEST_F(EndpointsTest, ASlowButOnlyEndpointIsWaitedFor) {
  name({"only"});
  Call& c = start("get", 0, 60s);
  pass(4s);
  EXPECT_EQ(store.opening.size(), 1u);
  complete(accept());
  EXPECT_EQ(answer_of(c).code, Code::ok);
}

}  // namespace
}  // namespace headgate::pool
