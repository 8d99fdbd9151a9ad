// Notifications: one by one from parts, with a timeout, closed from another thread, and an error
// that stays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_gateway.hpp"
#include "headgate/client.hpp"

namespace headgate {
namespace {

using namespace std::chrono_literals;
using proto::Request;
using test::FakeGateway;
using test::TempDir;
using Got = FakeGateway::Got;
using Notes = std::vector<std::pair<std::string, std::string>>;

void part(FakeGateway& g, const Got& to, std::uint64_t id, std::uint64_t seq, const Notes& notes) {
  g.part(to.peer, id, seq, [&](proto::Writer& w) {
    w.map(1);
    w.str("rows");
    w.array(static_cast<std::uint32_t>(notes.size()));
    for (const auto& [channel, payload] : notes) {
      w.array(3);
      w.str(channel);
      w.str(payload);
      w.uint(42);
    }
  });
}

// Answers `listen` with an empty part, then one with three notifications and an empty one.
void three(FakeGateway& g, const Got& got) {
  const auto* r = std::get_if<Request>(&got.message);
  if (r == nullptr) return;
  EXPECT_EQ(r->verb, "listen");
  part(g, got, r->id, 1, {});
  part(g, got, r->id, 2, {{"a", "1"}, {"b", ""}});
  part(g, got, r->id, 3, {});
  part(g, got, r->id, 4, {{"a", "3"}});
}

struct Listen : testing::Test {
  TempDir dir;
  [[nodiscard]] Client client() const {
    return Client(ConnectOptions{.url = dir.url("a"), .timeout = 2s});
  }
};

TEST_F(Listen, NotificationsComeOneByOne) {
  FakeGateway g({.url = dir.url("a")}, three);
  Client c = client();
  Listener l = c.sql("s").listen({"a", "b"});
  const auto first = l.next();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->channel, "a");
  EXPECT_EQ(first->payload, "1");
  EXPECT_EQ(first->pid, 42);
  EXPECT_EQ(l.next_within(2s)->channel, "b");
  for (const Notification& n : l) {
    EXPECT_EQ(n.payload, "3");
    break;
  }
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(l.next_within(50ms).has_value());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 50ms);
  EXPECT_FALSE(l.closed());
  EXPECT_FALSE(l.next_within(0ms).has_value());
}

TEST_F(Listen, CloseWakesWhoWaitsAndCancels) {
  FakeGateway g({.url = dir.url("a")}, three);
  Client c = client();
  Listener l = c.sql("s").listen({"a"});
  int heard = 0;
  std::thread closer;
  l.run([&](const Notification&) {
    if (++heard == 3) closer = std::thread([&] { l.close(); });
  });
  closer.join();
  EXPECT_EQ(heard, 3);
  EXPECT_TRUE(l.closed());
  EXPECT_FALSE(l.next().has_value());
  EXPECT_TRUE(g.wait_for<proto::Cancel>(1));
}

TEST_F(Listen, DroppingItCancels) {
  FakeGateway g({.url = dir.url("a")}, three);
  Client c = client();
  { const Listener l = c.sql("s").listen({"a"}); }
  EXPECT_TRUE(g.wait_for<proto::Cancel>(1));
}

TEST_F(Listen, AnErrorStays) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway& f, const Got& got) {
    three(f, got);
    if (const auto* r = std::get_if<Request>(&got.message))
      f.refuse(got.peer, r->id, Code::overloaded, Outcome::applied, "too slow");
  });
  Client c = client();
  Listener l = c.sql("s").listen({"a"});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(l.next().has_value()) << "what came counts";
  for (int i = 0; i < 2; ++i) {
    try {
      l.next();
      ADD_FAILURE() << "no Error";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), Code::overloaded);
    }
  }
}

TEST_F(Listen, ALostGatewayIsAnError) {
  auto g = std::make_unique<FakeGateway>(FakeGateway::Settings{.url = dir.url("a")}, three);
  Client c = client();
  Listener l = c.sql("s").listen({"a"});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(l.next().has_value());
  g.reset();
  EXPECT_THROW(l.next(), Error);
  EXPECT_THROW(l.next_within(1s), Error);
}

TEST_F(Listen, ADrainingGatewayEndsIt) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway& f, const Got& got) {
    three(f, got);
    if (std::holds_alternative<Request>(got.message))
      f.write(got.peer, [](proto::Writer& w) { encode(w, proto::Goaway{30'000}); });
  });
  Client c = client();
  Listener l = c.sql("s").listen({"a"});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(l.next().has_value()) << "what came counts";
  try {
    l.next();
    ADD_FAILURE() << "no Error";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::draining);
  }
  EXPECT_TRUE(g.wait_for<proto::Cancel>(1));
}

TEST_F(Listen, ItMayOutliveItsClient) {
  FakeGateway g({.url = dir.url("a")}, three);
  std::optional<Client> c(client());
  Listener l = c->sql("s").listen({"a"});
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(l.next().has_value());
  c.reset();
  EXPECT_THROW(l.next(), Error);
  l.close();
  EXPECT_FALSE(l.next().has_value());
}

TEST_F(Listen, ARefusalThrowsAtOnce) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway& f, const Got& got) {
    if (const auto* r = std::get_if<Request>(&got.message))
      f.refuse(got.peer, r->id, Code::unsupported, Outcome::not_sent, "no such verb");
  });
  Client c = client();
  EXPECT_THROW(c.sql("s").listen({"a"}), Error);
}

}  // namespace
}  // namespace headgate
