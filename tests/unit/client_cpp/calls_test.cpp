// Calls over one connection: answers, errors, futures, callbacks, deadlines, streams, uploads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <set>

#include "fake_gateway.hpp"
#include "headgate/client.hpp"

namespace headgate {
namespace {

using namespace std::chrono_literals;
using proto::Request;
using test::FakeGateway;
using test::TempDir;
using Got = FakeGateway::Got;
using Clock = std::chrono::steady_clock;

const std::vector<std::uint8_t> kEmpty = {0x80};

// Answers with {echo: verb}.
void echo(FakeGateway& g, const Got& got) {
  if (const auto* r = std::get_if<Request>(&got.message)) {
    const std::string verb(r->verb);
    g.reply(got.peer, r->id, [&](proto::Writer& w) {
      w.map(1);
      w.str("echo");
      w.str(verb);
    });
  }
}

struct Calls : testing::Test {
  TempDir dir;
  FakeGateway gateway(FakeGateway::Handler h, FakeGateway::Settings s = {}) {
    s.url = dir.url("a");
    return {std::move(s), std::move(h)};
  }
  Client client(Deliver deliver = Deliver::thread) {
    return Client(ConnectOptions{.url = dir.url("a"), .timeout = 2s, .deliver = deliver});
  }
};

TEST_F(Calls, AnswersAndTellsWhatTheRequestCarried) {
  FakeGateway g({.url = dir.url("a")}, echo);
  Client c = client();
  CallOptions o;
  o.timeout = 1500ms;
  o.read_only = o.idempotent = true;
  o.key = "k1";
  o.trace = "00-trace";
  const Reply r = c.call("orders", "describe", kEmpty, o);
  EXPECT_EQ(Value::parse(r.body())["echo"].as<std::string>(), "describe");
  EXPECT_EQ(r.meta.outcome, Outcome::applied);
  EXPECT_EQ(r.meta.attempts, 1u);
  const std::vector<Got> all = g.got();
  const auto& q = std::get<Request>(all.at(0).message);
  EXPECT_EQ(q.store, "orders");
  EXPECT_TRUE(q.options.read_only && q.options.idempotent);
  EXPECT_EQ(q.options.key, "k1");
  EXPECT_EQ(q.options.trace, "00-trace");
  EXPECT_GT(q.options.timeout_ms, 1'000u);
  EXPECT_LE(q.options.timeout_ms, 1'500u);
  EXPECT_GT(q.sent_us, 0u);
  ASSERT_EQ(c.stores().size(), 1u);
  EXPECT_EQ(c.stores()[0].name, "orders");
  EXPECT_THAT(c.stores()[0].verbs, testing::ElementsAre("query", "execute"));
  EXPECT_EQ(c.address(), dir.url("a"));
  EXPECT_EQ(c.limits().message_max, proto::kMessageMax);
}

TEST_F(Calls, ErrorsAreTyped) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway& f, const Got& got) {
    const auto& r = std::get<Request>(got.message);
    proto::Meta m;
    m.outcome = Outcome::rolled_back;
    m.attempts = 3;
    m.retryable = true;
    m.retry_after_ms = 250;
    m.sqlstate = "40001";
    m.vendor_code = -7;
    m.message = "could not serialize";
    f.reply(got.peer, r.id, Code::conflict, m);
  });
  Client c = client();
  try {
    c.call("orders", "execute", kEmpty);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::conflict);
    EXPECT_EQ(e.outcome(), Outcome::rolled_back);
    EXPECT_TRUE(e.retryable());
    EXPECT_EQ(e.retry_after(), 250ms);
    EXPECT_EQ(e.sqlstate(), "40001");
    EXPECT_EQ(e.vendor_code(), -7);
    EXPECT_STREQ(e.what(), "conflict: could not serialize (rolled_back)");
  }
  std::future<Reply> f = c.call_async("orders", "execute", kEmpty);
  EXPECT_THROW(f.get(), Error);
  EXPECT_EQ(c.start("orders", "execute", kEmpty).wait().code, Code::conflict);
}

TEST_F(Calls, AnswersFindTheirCallersInAnyOrder) {
  std::vector<std::pair<std::string, std::uint64_t>> held;
  FakeGateway g({.url = dir.url("a")}, [&](FakeGateway& f, const Got& got) {
    const auto& r = std::get<Request>(got.message);
    held.emplace_back(got.peer, std::stoull(std::string(r.verb).substr(1)) << 32 | r.id);
    if (held.size() < 100) return;
    for (auto it = held.rbegin(); it != held.rend(); ++it)
      f.reply(it->first, it->second & 0xffffffff,
              [&](proto::Writer& w) { w.uint(it->second >> 32); });
  });
  Client c = client();
  std::vector<std::future<Reply>> all;
  for (int i = 0; i < 100; ++i)
    all.push_back(c.call_async("orders", "v" + std::to_string(i), kEmpty));
  for (int i = 0; i < 100; ++i)
    EXPECT_EQ(unpack<int>(all[static_cast<std::size_t>(i)].get().body()), i);
}

TEST_F(Calls, ManyThreadsShareOneConnection) {
  FakeGateway g({.url = dir.url("a")}, echo);
  Client c = client();
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const std::string verb = "v" + std::to_string(t) + "_" + std::to_string(i);
        if (Value::parse(c.call("s", verb, kEmpty).body())["echo"].as<std::string>() == verb)
          ++good;
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(good, 1600);
  EXPECT_EQ(g.hellos(), 1);
}

TEST_F(Calls, CallbacksOnTheClientsThread) {
  FakeGateway g({.url = dir.url("a")}, echo);
  Client c = client();
  std::promise<std::thread::id> where;
  c.call_async("s", "v", kEmpty, {}, [&](Reply r) {
    EXPECT_TRUE(r.ok());
    where.set_value(std::this_thread::get_id());
  });
  EXPECT_NE(where.get_future().get(), std::this_thread::get_id());
  EXPECT_THROW((void)c.event_fd(), Error);
}

TEST_F(Calls, CallbacksInTheCallersLoop) {
  FakeGateway g({.url = dir.url("a")}, echo);
  Client c = client(Deliver::process);
  std::vector<int> done;
  for (int i = 0; i < 5; ++i)
    c.call_async("s", "v", kEmpty, {}, [&done, i](const Reply& r) {
      EXPECT_TRUE(r.ok());
      done.push_back(i);
    });
  const auto end = Clock::now() + 5s;
  while (done.size() < 5 && Clock::now() < end) {
    pollfd p{c.event_fd(), POLLIN, 0};
    ASSERT_EQ(poll(&p, 1, 5000), 1);
    EXPECT_GT(c.process(), 0u);
  }
  EXPECT_THAT(done, testing::ElementsAre(0, 1, 2, 3, 4));
  pollfd p{c.event_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 0), 0);
  EXPECT_EQ(c.process(), 0u);
}

TEST_F(Calls, ASilentGatewayHangsNobody) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway&, const Got&) {});
  Client c = client();
  const auto begin = Clock::now();
  try {
    c.call("orders", "execute", kEmpty, {.timeout = 200ms});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::deadline);
    EXPECT_EQ(e.outcome(), Outcome::unknown);
  }
  const auto took = Clock::now() - begin;
  EXPECT_GE(took, 200ms);
  EXPECT_LT(took, 2s);
  EXPECT_TRUE(g.wait_for<proto::Cancel>(1)) << "the gateway is told to stop";
}

TEST_F(Calls, ALateAnswerIsNobodysElse) {
  std::atomic<std::uint64_t> first{0};
  FakeGateway g({.url = dir.url("a")}, [&](FakeGateway& f, const Got& got) {
    const auto* r = std::get_if<Request>(&got.message);
    if (r == nullptr) return;
    if (r->verb == "slow") {
      first = r->id;
      return;
    }
    f.reply(got.peer, first, [](proto::Writer& w) { w.str("late"); });
    f.reply(got.peer, r->id, [](proto::Writer& w) { w.str("own"); });
  });
  Client c = client();
  EXPECT_THROW(c.call("s", "slow", kEmpty, {.timeout = 50ms}), Error);
  EXPECT_EQ(unpack<std::string>(c.call("s", "quick", kEmpty).body()), "own");
}

TEST_F(Calls, CancelIsAnswered) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway& f, const Got& got) {
    if (const auto* x = std::get_if<proto::Cancel>(&got.message))
      f.refuse(got.peer, x->id, Code::cancelled, Outcome::rolled_back, "cancelled");
  });
  Client c = client();
  Pending p = c.start("s", "v", kEmpty);
  EXPECT_FALSE(p.wait_for(20ms));
  p.cancel();
  const Reply r = p.wait();
  EXPECT_EQ(r.code, Code::cancelled);
  EXPECT_EQ(r.meta.outcome, Outcome::rolled_back);
}

TEST_F(Calls, TooLargeIsRefusedHere) {
  FakeGateway::Settings s{.url = dir.url("a")};
  s.limits.message_max = 1000;
  FakeGateway g(s, echo);
  Client c = client();
  try {
    c.call("s", "v", pack(Doc("x", std::string(1000, 'x'))));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Code::too_large);
    EXPECT_EQ(e.outcome(), Outcome::not_sent);
  }
  EXPECT_TRUE(g.got().empty());
  EXPECT_NO_THROW(c.call("s", "v", kEmpty));
}

TEST_F(Calls, OptionsThatNoGatewayTakesAreRefusedHere) {
  FakeGateway g({.url = dir.url("a")}, echo);
  Client c = client();
  EXPECT_THROW(c.call("s", "v", kEmpty, {.timeout = 0ms}), Error);
  EXPECT_THROW(c.call("s", "v", kEmpty, {.timeout = 25h}), Error);
  EXPECT_THROW(c.call("s", "v", kEmpty, {.key = std::string(256, 'k')}), Error);
  EXPECT_THROW(c.call("s", "v", kEmpty, {.fetch = 5}), Error);
  EXPECT_THROW(c.stream("s", "v", kEmpty, {.credit = 1025}), Error);
  EXPECT_TRUE(g.got().empty());
}

// A stream of n parts that honours credit; counts how far it ever led.
struct Streamer {
  explicit Streamer(std::uint64_t n) : parts(n) {}
  const std::uint64_t parts;
  std::atomic<std::uint64_t> sent{0};
  std::uint64_t credit = 0, id = 0;
  bool finish = true;
  void operator()(FakeGateway& g, const Got& got) {
    if (const auto* r = std::get_if<Request>(&got.message)) {
      id = r->id;
      credit = r->options.credit;
      EXPECT_EQ(r->options.fetch, 1000u);
    } else if (const auto* c = std::get_if<proto::Credit>(&got.message)) {
      EXPECT_EQ(c->id, id);
      EXPECT_LE(c->seq, sent + 4) << "no more credit than the window";
      credit = std::max(credit, c->seq);
    } else if (std::holds_alternative<proto::Cancel>(got.message)) {
      g.refuse(got.peer, id, Code::cancelled, Outcome::rolled_back, "cancelled");
      return;
    }
    while (sent < credit && sent < parts) {
      const std::uint64_t n = ++sent;
      g.part(got.peer, id, n, [n](proto::Writer& w) { w.uint(n); });
      if (n == parts && finish) g.reply(got.peer, id, [](proto::Writer& w) { w.str("rest"); });
    }
  }
};

TEST_F(Calls, AStreamComesPartByPartUnderCredit) {
  Streamer s(500);
  FakeGateway g({.url = dir.url("a")}, std::ref(s));
  Client c = client();
  Stream in = c.stream("s", "query", kEmpty);
  for (std::uint64_t n = 1; n <= 500; ++n) {
    const auto b = in.next();
    ASSERT_TRUE(b.has_value());
    ASSERT_EQ(unpack<std::uint64_t>(*b), n);
  }
  EXPECT_EQ(unpack<std::string>(*in.next()), "rest");
  EXPECT_FALSE(in.next().has_value());
  EXPECT_TRUE(in.reply().ok());
}

TEST_F(Calls, AReaderThatStopsHoldsTheStreamBack) {
  Streamer s(500);
  FakeGateway g({.url = dir.url("a")}, std::ref(s));
  Client c = client();
  {
    Stream in = c.stream("s", "query", kEmpty);
    ASSERT_TRUE(in.next().has_value());
    ASSERT_TRUE(in.next().has_value());
    std::this_thread::sleep_for(50ms);
    EXPECT_LE(s.sent, 6u);
  }
  ASSERT_TRUE(g.wait_for<proto::Cancel>(1)) << "a stream that is dropped is cancelled";
  EXPECT_LE(s.sent, 6u);
}

TEST_F(Calls, AStreamThatFailsInTheMiddleThrows) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway& f, const Got& got) {
    const auto* r = std::get_if<Request>(&got.message);
    if (r == nullptr) return;
    f.part(got.peer, r->id, 1, [](proto::Writer& w) { w.uint(1); });
    f.refuse(got.peer, r->id, Code::store_error, Outcome::rolled_back, "broke");
  });
  Client c = client();
  Stream in = c.stream("s", "query", kEmpty);
  EXPECT_TRUE(in.next().has_value());
  EXPECT_THROW(in.next(), Error);
  EXPECT_FALSE(in.next().has_value());
}

TEST_F(Calls, AnUploadWaitsForCredit) {
  std::vector<std::uint64_t> order;
  std::uint64_t id = 0;
  std::atomic<std::uint64_t> credit{0};
  FakeGateway g({.url = dir.url("a")}, [&](FakeGateway& f, const Got& got) {
    auto give = [&](std::uint64_t n) {
      credit = n;
      f.write(got.peer, [&](proto::Writer& w) { encode(w, proto::Credit{id, n}); });
    };
    if (const auto* r = std::get_if<Request>(&got.message)) {
      id = r->id;
      give(2);
    } else if (const auto* d = std::get_if<proto::Data>(&got.message)) {
      EXPECT_LE(d->seq, credit);
      order.push_back(d->seq);
      if (d->last)
        f.reply(got.peer, id);
      else if (d->seq == credit)
        give(d->seq + 3);
    }
  });
  Client c = client();
  Upload up = c.upload("s", "copy_in", kEmpty);
  for (int i = 0; i < 9; ++i) up.send(pack(std::vector<int>{i}));
  EXPECT_TRUE(up.finish().ok());
  g.stop();  // joins the thread that wrote it
  EXPECT_THAT(order, testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
}

TEST_F(Calls, AnUploadThatIsRefusedOrDroppedEnds) {
  FakeGateway g({.url = dir.url("a")}, [&](FakeGateway& f, const Got& got) {
    if (const auto* r = std::get_if<Request>(&got.message)) {
      const std::uint64_t id = r->id;
      f.write(got.peer, [&](proto::Writer& w) { encode(w, proto::Credit{id, 1}); });
    } else if (const auto* d = std::get_if<proto::Data>(&got.message)) {
      f.refuse(got.peer, d->id, Code::constraint, Outcome::rolled_back, "no such table");
    }
  });
  Client c = client();
  Upload up = c.upload("s", "copy_in", kEmpty);
  up.send(pack(std::vector<int>{1}));
  EXPECT_THROW(
      {
        for (;;) up.send(pack(std::vector<int>{2}));
      },
      Error);
  { Upload dropped = c.upload("s", "copy_in", kEmpty); }
  EXPECT_TRUE(g.wait_for<proto::Cancel>(1));
}

TEST_F(Calls, PingsAreAnsweredBetweenCalls) {
  std::string peer;
  FakeGateway g({.url = dir.url("a")}, [&](FakeGateway& f, const Got& got) {
    peer = got.peer;
    test::answer_all(f, got);
  });
  Client c = client();
  c.call("s", "v", kEmpty);
  g.write(peer, [](proto::Writer& w) { encode(w, proto::Ping{99}); });
  EXPECT_TRUE(g.wait([](const std::vector<Got>& all) {
    for (const Got& x : all)
      if (const auto* p = std::get_if<proto::Pong>(&x.message); p != nullptr && p->id == 99)
        return true;
    return false;
  }));
}

TEST_F(Calls, AFrameOfTheFutureIsIgnored) {
  FakeGateway g({.url = dir.url("a")}, [&](FakeGateway& f, const Got& got) {
    f.send(got.peer, {0x94, 0x01, 0x0c, 0x05, 0xa1, 'x'});
    test::answer_all(f, got);
  });
  Client c = client();
  EXPECT_NO_THROW(c.call("s", "v", kEmpty));
  EXPECT_EQ(g.hellos(), 1);
}

TEST_F(Calls, ClosingTheClientEndsItsCalls) {
  FakeGateway g({.url = dir.url("a")}, [](FakeGateway&, const Got&) {});
  std::optional<Client> c(client());
  Sql face = c->sql("orders");
  Pending p = c->start("s", "v", kEmpty);
  Stream in = c->stream("s", "v", kEmpty);
  ASSERT_TRUE(g.wait_for<Request>(2));
  c.reset();
  const Reply r = p.wait();
  EXPECT_EQ(r.code, Code::unavailable);
  EXPECT_EQ(r.meta.outcome, Outcome::unknown);
  EXPECT_THROW(in.next(), Error);
  EXPECT_THROW(face.execute("x"), Error) << "a face outlives its client, but calls nobody";
}

}  // namespace
}  // namespace headgate
