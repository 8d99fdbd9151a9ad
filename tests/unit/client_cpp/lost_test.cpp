// Connections that are refused, lost, drained or silent, and addresses: what is sent again, what is
// not, and what the caller is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <utility>

#include "address.hpp"
#include "fake_gateway.hpp"
#include "headgate/client.hpp"

namespace headgate {
namespace {

using namespace std::chrono_literals;
using proto::Request;
using test::answer_all;
using test::FakeGateway;
using test::TempDir;
using Got = FakeGateway::Got;
using Clock = std::chrono::steady_clock;

const std::vector<std::uint8_t> kEmpty = {0x80};

template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "no Error";
  return {Code::ok, Outcome::applied, ""};
}

struct Lost : testing::Test {
  TempDir dir;
  [[nodiscard]] std::string a() const { return dir.url("a"); }
  [[nodiscard]] std::string b() const { return dir.url("b"); }
  [[nodiscard]] std::string both() const { return a() + "," + b(); }
  static ConnectOptions to(std::string url) {
    return {.url = std::move(url), .timeout = 2s, .connect_timeout = 500ms};
  }
};

void swallow(FakeGateway&, const Got&) {}

TEST_F(Lost, NobodyListens) {
  const auto begin = Clock::now();
  const Error e = error_of([&] { Client c(to(both())); });
  EXPECT_EQ(e.code(), Code::unavailable);
  EXPECT_EQ(e.outcome(), Outcome::not_sent);
  EXPECT_THAT(e.message(), testing::HasSubstr("ipc://"));
  EXPECT_LT(Clock::now() - begin, 2s);
}

TEST_F(Lost, NobodyAnswersHello) {
  FakeGateway g({.url = a(), .answer_hello = false}, swallow);
  const auto begin = Clock::now();
  EXPECT_EQ(error_of([&] { Client c(to(a())); }).code(), Code::unavailable);
  EXPECT_GE(Clock::now() - begin, 400ms);
}

TEST_F(Lost, ARefusalIsToldAsItIs) {
  FakeGateway g({.url = a(), .refuse_hello = Code::unauthenticated}, swallow);
  const Error e = error_of([&] { Client c(to(a())); });
  EXPECT_EQ(e.code(), Code::unauthenticated);
  EXPECT_THAT(e.message(), testing::HasSubstr("not you"));
}

TEST_F(Lost, TheSecondAddressIsTaken) {
  FakeGateway refusing({.url = a(), .refuse_hello = Code::draining}, swallow);
  FakeGateway g({.url = b()}, answer_all);
  Client c(to(both()));
  EXPECT_EQ(c.address(), b());
  EXPECT_NO_THROW(c.call("s", "v", kEmpty));
}

TEST_F(Lost, WhatWasHandedOverIsUnknownAndNeverSentAgain) {
  auto g = std::make_unique<FakeGateway>(FakeGateway::Settings{.url = a()}, swallow);
  FakeGateway other({.url = b()}, answer_all);
  Client c(to(both()));
  Pending p = c.start("orders", "execute", kEmpty);
  Stream in = c.stream("orders", "query", kEmpty);
  ASSERT_TRUE(g->wait_for<Request>(2));
  g.reset();
  const Reply r = p.wait();
  EXPECT_EQ(r.code, Code::unavailable);
  EXPECT_EQ(r.meta.outcome, Outcome::unknown);
  EXPECT_FALSE(r.meta.retryable);
  EXPECT_EQ(error_of([&] { in.next(); }).outcome(), Outcome::unknown);
  EXPECT_NO_THROW(c.call("s", "after", kEmpty));
  const std::vector<Got> all = other.got();
  ASSERT_EQ(all.size(), 1u) << "only the new call";
  EXPECT_EQ(std::get<Request>(all[0].message).verb, "after");
}

TEST_F(Lost, ARestartedGatewayGetsAHelloAndNewCallsOnly) {
  auto g = std::make_unique<FakeGateway>(FakeGateway::Settings{.url = a()}, swallow);
  Client c(to(a()));
  Pending p = c.start("orders", "execute", kEmpty);
  ASSERT_TRUE(g->wait_for<Request>(1));
  g.reset();
  EXPECT_EQ(p.wait().code, Code::unavailable);
  // Nobody there: the caller is told soon, and not by a timeout.
  const auto begin = Clock::now();
  const Error e = error_of([&] { c.call("s", "v", kEmpty); });
  EXPECT_EQ(e.code(), Code::unavailable);
  EXPECT_EQ(e.outcome(), Outcome::not_sent);
  EXPECT_TRUE(e.retryable());
  EXPECT_LT(Clock::now() - begin, 1500ms);
  g = std::make_unique<FakeGateway>(FakeGateway::Settings{.url = a()}, answer_all);
  EXPECT_NO_THROW(c.call("s", "v", kEmpty));
  EXPECT_EQ(g->hellos(), 1);
  EXPECT_EQ(g->got().size(), 1u);
}

TEST_F(Lost, ADrainingGatewayIsLeft) {
  FakeGateway first({.url = a()}, [](FakeGateway& f, const Got& got) {
    if (const auto* r = std::get_if<Request>(&got.message))
      f.refuse(got.peer, r->id, Code::draining, Outcome::not_sent, "draining");
  });
  FakeGateway second({.url = b()}, answer_all);
  Client c(to(both()));
  EXPECT_NO_THROW(c.call("s", "v", kEmpty)) << "it was not taken up: another may";
  EXPECT_EQ(c.address(), b());
}

TEST_F(Lost, EverywhereDrainingIsSaid) {
  auto refuse = [](FakeGateway& f, const Got& got) {
    if (const auto* r = std::get_if<Request>(&got.message))
      f.refuse(got.peer, r->id, Code::draining, Outcome::not_sent, "draining");
  };
  FakeGateway first({.url = a()}, refuse);
  FakeGateway second({.url = b()}, refuse);
  Client c(to(both()));
  EXPECT_EQ(error_of([&] { c.call("s", "v", kEmpty); }).code(), Code::draining);
  EXPECT_EQ(first.got().size() + second.got().size(), 2u);
}

TEST_F(Lost, GoawayFinishesWhatIsInFlightAndSendsNewWorkElsewhere) {
  std::string peer;
  std::uint64_t held = 0;
  FakeGateway first({.url = a()}, [&](FakeGateway& f, const Got& got) {
    const auto* r = std::get_if<Request>(&got.message);
    if (r == nullptr) return;
    peer = got.peer;
    if (r->verb == "begin" || r->verb == "commit" || r->verb == "in") {
      answer_all(f, got);
      return;
    }
    held = r->id;
    f.write(peer, [](proto::Writer& w) { encode(w, proto::Goaway{1000}); });
  });
  FakeGateway second({.url = b()}, answer_all);
  Client c(to(both()));
  Transaction tx = c.sql("s").transaction();
  Pending p = c.start("s", "slow", kEmpty);
  ASSERT_TRUE(first.wait_for<Request>(2));
  for (int i = 0; c.address() == a() && i < 500; ++i) std::this_thread::sleep_for(2ms);
  EXPECT_NO_THROW(c.call("s", "new", kEmpty));
  EXPECT_EQ(c.address(), b());
  tx.call("in", {0x80});  // a transaction stays where it began
  tx.commit();
  first.reply(peer, held);
  EXPECT_TRUE(p.wait().ok());
  EXPECT_EQ(second.got().size(), 1u);
  EXPECT_EQ(first.got().size(), 4u);
}

TEST_F(Lost, ATransactionDiesWithItsConnection) {
  auto g = std::make_unique<FakeGateway>(FakeGateway::Settings{.url = a()}, answer_all);
  FakeGateway other({.url = b()}, answer_all);
  Client c(to(both()));
  Transaction tx = c.sql("s").transaction();
  g.reset();
  EXPECT_NO_THROW({
    for (int i = 0; i < 100; ++i) {
      try {
        c.call("s", "v", kEmpty);
        break;
      } catch (const Error& e) {
        ASSERT_EQ(e.code(), Code::unavailable);
      }
    }
  });
  const Error e = error_of([&] { tx.call("execute", {0x80}); });
  EXPECT_EQ(e.code(), Code::transaction_expired);
  EXPECT_EQ(e.outcome(), Outcome::rolled_back);
  EXPECT_THROW(tx.commit(), Error);
  for (const Got& x : other.got()) EXPECT_EQ(std::get<Request>(x.message).options.tx, 0u);
}

TEST_F(Lost, AStoppedDaemonIsNoticedAndTheNextAddressTaken) {
  FakeGateway first({.url = a(), .heartbeat_ms = 200}, answer_all);
  FakeGateway second({.url = b()}, answer_all);
  Client c(to(both()));
  EXPECT_NO_THROW(c.call("s", "v", kEmpty));
  first.freeze(true);
  const auto begin = Clock::now();
  const Error e = error_of([&] { c.call("s", "v", kEmpty, {.timeout = 100ms}); });
  EXPECT_EQ(e.outcome(), Outcome::unknown);
  EXPECT_LT(Clock::now() - begin, 1500ms);
  bool good = false;
  for (int i = 0; i < 20 && !good; ++i) {
    try {
      c.call("s", "v", kEmpty, {.timeout = 100ms});
      good = true;
    } catch (const Error&) {
    }
  }
  EXPECT_TRUE(good);
  EXPECT_EQ(c.address(), b());
  first.freeze(false);
}

TEST_F(Lost, AnIdleSilentGatewayIsPingedAndLeft) {
  FakeGateway g({.url = a(), .heartbeat_ms = 50, .pong = false}, swallow);
  Client c(to(a()));
  Stream in = c.stream("s", "query", kEmpty, {.timeout = 60s});
  const Error e = error_of([&] { in.next(); });
  EXPECT_EQ(e.code(), Code::unavailable);
  EXPECT_THAT(e.message(), testing::HasSubstr("silent"));
  EXPECT_TRUE(g.wait_for<proto::Ping>(1));
}

TEST_F(Lost, AGatewayThatBreaksTheProtocolIsLeft) {
  const std::vector<test::Frame> garbage = {
      {0xc1}, {}, {0x90}, {0x93, 0x01, 0x06, 0x01}, {0x96, 0x01, 0x06, 0x01, 0x63, 0x80, 0xc0}};
  for (const test::Frame& f : garbage) {
    FakeGateway g({.url = a()}, [&](FakeGateway& gw, const Got& got) {
      if (std::holds_alternative<Request>(got.message)) gw.send(got.peer, f);
    });
    Client c(to(a()));
    const Error e = error_of([&] { c.call("s", "v", kEmpty); });
    EXPECT_EQ(e.code(), Code::unavailable);
    EXPECT_EQ(e.outcome(), Outcome::unknown);
    EXPECT_THAT(e.message(), testing::HasSubstr("protocol"));
  }
}

TEST_F(Lost, APartOutOfOrderIsAViolation) {
  FakeGateway g({.url = a()}, [](FakeGateway& f, const Got& got) {
    if (const auto* r = std::get_if<Request>(&got.message))
      f.part(got.peer, r->id, 2, [](proto::Writer& w) { w.nil(); });
  });
  Client c(to(a()));
  Stream in = c.stream("s", "query", kEmpty);
  EXPECT_THROW(in.next(), Error);
}

TEST_F(Lost, CurveGoesThroughAndAWrongServerKeyDoesNot) {
  std::array<char, 41> server_public{}, server_secret{}, mine{}, mine_secret{}, other{}, unused{};
  ASSERT_EQ(zmq_curve_keypair(server_public.data(), server_secret.data()), 0);
  ASSERT_EQ(zmq_curve_keypair(mine.data(), mine_secret.data()), 0);
  ASSERT_EQ(zmq_curve_keypair(other.data(), unused.data()), 0);
  const std::string keys = dir.path() + "/client.key";
  std::ofstream(keys) << "public = \"" << mine.data() << "\"\nsecret = \"" << mine_secret.data()
                      << "\"\n";
  FakeGateway g({.url = "tcp://127.0.0.1:*", .server_secret = server_secret.data()}, answer_all);
  ASSERT_TRUE(g.bound());
  ConnectOptions o = to(g.endpoint() + "?server_key=" + server_public.data());
  o.key_file = keys;
  const auto brief = std::exchange(o.connect_timeout, 20s);
  Client c(o);
  EXPECT_NO_THROW(c.call("s", "v", kEmpty));
  o.connect_timeout = brief;
  o.url = g.endpoint() + "?server_key=" + other.data();
  EXPECT_EQ(error_of([&] { Client bad(o); }).code(), Code::unavailable);
}

TEST(Address, Forms) {
  using detail::addresses;
  const std::string key(40, 'k');
  TempDir dir;
  const std::string file = dir.path() + "/k";
  std::ofstream(file) << "# made by headgate keygen\npublic = \"" << std::string(40, 'p')
                      << "\"  # mine\nsecret = \"" << std::string(40, 's') << "\"\n";
  const auto all = addresses("ipc:///run/x.sock, tcp://host:7420?server_key=" + key, file);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].endpoint, "ipc:///run/x.sock");
  EXPECT_EQ(all[0].server_key, "");
  EXPECT_EQ(all[1].endpoint, "tcp://host:7420");
  EXPECT_EQ(all[1].server_key, key);
  EXPECT_EQ(all[1].public_key, std::string(40, 'p'));
  EXPECT_EQ(all[1].secret_key, std::string(40, 's'));
  const std::string odd = "&?#%+=/@$!*<>()[]{}^.-:0123456789abcdefg";
  EXPECT_EQ(addresses("tcp://h:1?server_key=" + odd, file)[0].server_key, odd);
  EXPECT_EQ(addresses("tcp://[::1]:1", "")[0].endpoint, "tcp://[::1]:1");
  setenv("HEADGATE_URL", "ipc:///from/env", 1);
  EXPECT_EQ(addresses("", "")[0].endpoint, "ipc:///from/env");
  unsetenv("HEADGATE_URL");
  EXPECT_EQ(addresses("", "")[0].endpoint, "ipc:///run/headgate/headgate.sock");
}

TEST(Address, Refusals) {
  using detail::addresses;
  TempDir dir;
  const std::string file = dir.path() + "/k";
  std::ofstream(file) << "public = \"short\"\n";
  const std::string key(40, 'k');
  for (const std::string& url : std::initializer_list<std::string>{
           "http://x:1", "ipc://", "tcp://", "tcp://host", "tcp://:5", "tcp://host:port",
           "tcp://host:123456", "ipc:///x?server_key=" + key, "tcp://h:1?server_key=short",
           "tcp://h:1?key=" + key, "tcp://h:1?server_key=" + std::string(40, ' '), ",",
           "tcp://h:1?server_key=" + key, "tcp://h/x:1"})
    EXPECT_EQ(error_of([&] { addresses(url, ""); }).code(), Code::invalid) << url;
  const std::string curve = "tcp://h:1?server_key=" + key;
  EXPECT_EQ(error_of([&] { addresses(curve, file); }).code(), Code::invalid);
  EXPECT_EQ(error_of([&] { addresses(curve, dir.path() + "/none"); }).code(), Code::invalid);
}

}  // namespace
}  // namespace headgate
