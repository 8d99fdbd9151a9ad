// The typed faces: what they send, what they make of answers, and values both ways.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "fake_gateway.hpp"
#include "headgate/client.hpp"

namespace headgate {
namespace {

using namespace std::chrono_literals;
using proto::Request;
using test::FakeGateway;
using test::TempDir;
using Got = FakeGateway::Got;

struct Item {
  std::int64_t id = 0;
  std::string name;
  std::optional<double> price;
  MSGPACK_DEFINE(id, name, price)
};

struct Person {
  std::string name;
  int age = 0;
  MSGPACK_DEFINE_MAP(name, age)
};

// Answers each verb with bytes that the test gave; remembers the last body.
struct Faces : testing::Test {
  TempDir dir;
  std::map<std::string, std::vector<std::uint8_t>> answers;
  proto::Meta meta;
  std::mutex mutex;
  std::vector<std::string> verbs;
  std::vector<Value> bodies;
  std::vector<std::uint64_t> txs;
  FakeGateway g{{.url = dir.url("a")}, [this](FakeGateway& f, const Got& got) { serve(f, got); }};
  Client c{ConnectOptions{.url = dir.url("a"), .timeout = 2s}};
  Sql db = c.sql("orders");

  void serve(FakeGateway& f, const Got& got) {
    const auto* r = std::get_if<Request>(&got.message);
    if (r == nullptr) return;
    const std::lock_guard lock(mutex);
    verbs.emplace_back(r->verb);
    bodies.push_back(Value::parse(r->body));
    txs.push_back(r->options.tx);
    const auto found = answers.find(std::string(r->verb));
    proto::Meta m = meta;
    m.outcome = Outcome::applied;
    m.attempts = 1;
    f.reply(got.peer, r->id, Code::ok, m, [&](proto::Writer& w) {
      if (found == answers.end())
        w.map(0);
      else
        w.raw(found->second);
    });
  }
  Value last() {
    const std::lock_guard lock(mutex);
    return bodies.back();
  }
  template <class... Rows>
  void rows(const std::string& verb, const Rows&... all) {
    answers[verb] = pack(
        Doc("columns",
            std::vector<
                std::tuple<std::string, std::string, bool, std::optional<int>, std::optional<int>>>{
                {"id", "int8", false, {}, {}},
                {"name", "text", true, {}, {}},
                {"price", "float8", true, {}, {}}},
            "rows", std::make_tuple(all...)));
  }
};

TEST_F(Faces, RowsIntoTuplesAndStructs) {
  using Row = std::tuple<std::int64_t, std::string, std::optional<double>>;
  rows("query", Row{1, "eins", 1.5}, Row{2, "zwei", std::nullopt});
  const auto t = db.query<Row>("select * from t where a = ? and b = ?", 42, "x");
  ASSERT_EQ(t.size(), 2u);
  EXPECT_EQ(std::get<1>(t[0]), "eins");
  EXPECT_FALSE(std::get<2>(t[1]).has_value());
  ASSERT_EQ(t.columns.size(), 3u);
  EXPECT_EQ(t.columns[1].name, "name");
  EXPECT_EQ(t.columns[1].nullable, true);
  EXPECT_TRUE(t.has_rows);
  const auto s = db.query<Item>("select");
  EXPECT_EQ(s[1].name, "zwei");
  EXPECT_EQ(db.query_one<Item>("select")->price, 1.5);
  int n = 0;
  for (const auto& [id, name, price] : db.query<Row>("select")) n += static_cast<int>(id);
  EXPECT_EQ(n, 3);
  const auto dynamic = db.query("select");
  EXPECT_EQ(dynamic[0].at(1).as<std::string>(), "eins");
}

TEST_F(Faces, ParametersStandApart) {
  rows("query");
  EXPECT_FALSE(db.query_one("select").has_value());
  EXPECT_EQ(last().size(), 1u) << "no parameters, no field";
  db.query("select ?", 1, 2.5, "text", nullptr, true, Binary{std::string("\0\xff", 2)},
           Decimal("12.50"), std::optional<int>());
  Value p = last()["params"];
  ASSERT_EQ(p.size(), 8u);
  EXPECT_EQ(p.at(0).as<int>(), 1);
  EXPECT_EQ(p.at(2).as<std::string>(), "text");
  EXPECT_TRUE(p.at(3).is_nil());
  EXPECT_EQ(p.at(5).as<Binary>().bytes, std::string("\0\xff", 2));
  EXPECT_EQ(to_text(p.at(6).as<Decimal>()), "12.50");
  EXPECT_TRUE(p.at(7).is_nil());
  db.query("select :a", Doc("a", 5, "b", "x"));
  p = last()["params"];
  EXPECT_TRUE(p.is_map());
  EXPECT_EQ(p["a"].as<int>(), 5);
  db.query("select ?", Doc("a", 5), 1);
  EXPECT_TRUE(last()["params"].is_array()) << "a document among others is a value";
}

TEST_F(Faces, AValueThatDoesNotFitIsAnError) {
  rows("query", std::make_tuple(300, "x", 1.5));
  EXPECT_THROW((db.query<std::tuple<std::int8_t, std::string, double>>("q")), ValueError);
  EXPECT_THROW((db.query<std::tuple<int, int, double>>("q")), ValueError);
  EXPECT_THROW((db.query<std::tuple<int, std::string, Date>>("q")), ValueError);
  rows("query", std::make_tuple(nullptr, "x", 1.5));
  EXPECT_THROW((db.query<std::tuple<int, std::string, double>>("q")), ValueError);
  try {
    db.query<std::tuple<int, std::string, double>>("q");
  } catch (const ValueError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("has no exact form as"));
  }
}

TEST_F(Faces, ExecuteTellsWhatChanged) {
  meta.rows_affected = 3;
  meta.last_id = 17;
  meta.replayed = true;
  const Executed e = db.execute("insert", 1);
  EXPECT_EQ(e.rows_affected, 3);
  EXPECT_EQ(e.last_id, 17);
  EXPECT_TRUE(e.replayed);
  const std::vector<std::tuple<int, std::string>> sets = {{1, "a"}, {2, "b"}};
  EXPECT_EQ(db.execute_many("insert", sets).rows_affected, 3);
  EXPECT_EQ(last()["params"].at(1).at(1).as<std::string>(), "b");
}

TEST_F(Faces, ATransactionCommitsOnceOrRollsBack) {
  {
    Transaction tx = db.transaction({.isolation = "serializable"});
    EXPECT_EQ(last()["isolation"].as<std::string>(), "serializable");
    tx.execute("update");
    tx.savepoint("s");
    tx.rollback_to("s");
    tx.commit();
  }
  {
    Transaction tx = db.transaction();
    tx.execute("update");
  }
  c.call("orders", "ping", std::vector<std::uint8_t>{0x80});
  ASSERT_TRUE(g.wait_for<Request>(9));
  const std::lock_guard lock(mutex);
  EXPECT_THAT(verbs, testing::ElementsAre("begin", "execute", "savepoint", "rollback_to", "commit",
                                          "begin", "execute", "rollback", "ping"));
  EXPECT_THAT(std::vector<std::uint64_t>(txs.begin() + 1, txs.begin() + 5), testing::Each(txs[1]));
  EXPECT_NE(txs[1], 0u);
  EXPECT_NE(txs[6], txs[1]);
  EXPECT_EQ(txs[7], txs[6]);
  EXPECT_EQ(txs[8], 0u);
}

// Cancelling it would roll the transaction back: it is read to its end, under credit.
TEST_F(Faces, AStreamThatIsDroppedDoesNotCostItsTransaction) {
  std::uint64_t stream = 0, sent = 0, credit = 0;
  FakeGateway g({.url = dir.url("b")}, [&](FakeGateway& f, const Got& got) {
    EXPECT_FALSE(std::holds_alternative<proto::Cancel>(got.message));
    if (const auto* r = std::get_if<Request>(&got.message)) {
      if (r->verb != "query") return f.reply(got.peer, r->id);
      stream = r->id;
      credit = r->options.credit;
    } else if (const auto* c = std::get_if<proto::Credit>(&got.message)) {
      EXPECT_LE(c->seq, sent + 4) << "no more credit than the window";
      credit = std::max(credit, c->seq);
    }
    while (stream != 0 && sent < 100 && sent < credit) {
      f.part(got.peer, stream, ++sent, [](proto::Writer& w) {
        w.map(1);
        w.str("rows");
        w.array(1);
        w.array(1);
        w.uint(7);
      });
      if (sent == 100) f.reply(got.peer, stream);
    }
  });
  Client c(g.endpoint());
  Transaction tx = c.sql("s").transaction();
  for (auto& [i] : tx.stream<std::tuple<int>>("select")) {
    EXPECT_EQ(i, 7);
    break;
  }
  tx.commit();
  EXPECT_EQ(sent, 100u);
}

// A call that fails before it is sent gives the transaction's turn back.
TEST_F(Faces, ATransactionSurvivesACallThatIsTooLarge) {
  proto::Limits small;
  small.message_max = 500;
  FakeGateway strict({.url = dir.url("b"), .limits = small}, test::answer_all);
  Client other(ConnectOptions{.url = dir.url("b"), .timeout = 2s});
  Transaction tx = other.sql("s").transaction();
  EXPECT_THROW(tx.execute("insert", std::string(600, 'x')), Error);
  EXPECT_NO_THROW(tx.execute("insert", 1));
  EXPECT_NO_THROW(tx.commit());
}

TEST_F(Faces, RowsStreamInOrder) {
  FakeGateway streaming({.url = dir.url("b")}, [](FakeGateway& f, const Got& got) {
    const auto* r = std::get_if<Request>(&got.message);
    if (r == nullptr) return;
    EXPECT_EQ(r->options.fetch, 2u);
    f.part(got.peer, r->id, 1, [&](proto::Writer& w) {
      w.raw(pack(Doc("columns", std::vector<std::array<std::optional<std::string>, 5>>{{"n"}},
                     "rows", std::vector<std::vector<int>>{{1}, {2}})));
    });
    f.part(got.peer, r->id, 2, [&](proto::Writer& w) {
      w.raw(pack(Doc("rows", std::vector<std::vector<int>>{{3}, {4}})));
    });
    f.reply(got.peer, r->id, [&](proto::Writer& w) {
      w.raw(pack(Doc("rows", std::vector<std::vector<int>>{{5}})));
    });
  });
  Client other(dir.url("b"));
  std::vector<int> seen;
  auto in = other.sql("s").with({.fetch = 2}).stream<std::tuple<int>>("select");
  for (auto& [n] : in) seen.push_back(n);
  EXPECT_THAT(seen, testing::ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(in.columns().at(0).name, "n");
}

TEST_F(Faces, CallsOfOneTransactionNeverOverlap) {
  std::atomic<int> open{0};
  std::vector<std::thread> answering;
  FakeGateway slow({.url = dir.url("b")}, [&](FakeGateway& f, const Got& got) {
    const auto* r = std::get_if<Request>(&got.message);
    if (r == nullptr) return;
    const std::string peer = got.peer;
    const std::uint64_t id = r->id;
    const bool counted = r->options.tx != 0;
    if (counted) {
      EXPECT_EQ(open.fetch_add(1), 0) << "an overlapping call";
    }
    answering.emplace_back([&f, &open, peer, id, counted] {
      std::this_thread::sleep_for(3ms);
      if (counted) --open;
      f.reply(peer, id, [](proto::Writer& w) { w.map(0); });
    });
  });
  {
    Client other(dir.url("b"));
    Transaction tx = other.sql("s").transaction();
    std::vector<std::thread> callers;
    std::atomic<int> good{0};
    for (int t = 0; t < 4; ++t)
      callers.emplace_back([&] {
        for (int i = 0; i < 10; ++i) {
          tx.execute("x");
          ++good;
        }
      });
    for (std::thread& t : callers) t.join();
    tx.commit();
    EXPECT_EQ(good, 40);
  }
  slow.stop();
  for (std::thread& t : answering) t.join();
}

TEST_F(Faces, Documents) {
  Documents people = c.documents("docs");
  answers["insert_one"] = pack(Doc("inserted_id", ObjectId{{1, 2, 3}}));
  EXPECT_EQ(people.insert_one("people", Person{"Ada", 36}).as<ObjectId>().bytes[1], 2);
  EXPECT_EQ(last()["document"]["name"].as<std::string>(), "Ada");
  answers["find"] = pack(Doc("documents", std::vector<Person>{{"Ada", 36}, {"Alan", 41}}));
  const auto found = people.find<Person>("people", Doc("age", Doc("$gt", 30)),
                                         {.sort = Doc("age", -1), .limit = 5});
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].name, "Alan");
  EXPECT_EQ(last()["filter"]["age"]["$gt"].as<int>(), 30);
  EXPECT_EQ(last()["sort"]["age"].as<int>(), -1);
  EXPECT_EQ(last()["limit"].as<int>(), 5);
  answers["find_one"] = pack(Doc("document", nullptr));
  EXPECT_FALSE(people.find_one("people").has_value());
  answers["update_one"] =
      pack(Doc("matched_count", 1, "modified_count", 0, "upserted_id", nullptr));
  EXPECT_EQ(
      people.update_one("people", Doc("name", "Ada"), Doc("$inc", Doc("age", 1))).matched_count, 1);
  answers["aggregate"] = pack(Doc("documents", std::vector<Doc>{Doc("n", 2)}));
  const std::vector<Doc> pipeline = {Doc("$match", Doc()), Doc("$count", "n")};
  EXPECT_EQ(people.aggregate("people", pipeline)[0]["n"].as<int>(), 2);
  EXPECT_EQ(last()["pipeline"].at(1)["$count"].as<std::string>(), "n");
  answers["create_index"] = pack(Doc("name", "age_1"));
  EXPECT_EQ(people.create_index("people", Doc("age", 1), true), "age_1");
  EXPECT_TRUE(last()["unique"].as<bool>());
}

TEST_F(Faces, KeysAndValues) {
  KeyValue kv = c.key_value("cache");
  answers["get"] = pack(Doc("value", Binary{std::string("\0x", 2)}, "version", Binary{"v1"}));
  EXPECT_EQ(kv.get("k"), std::string("\0x", 2));
  EXPECT_EQ(last()["key"].as<Binary>().bytes, "k") << "keys travel as bytes";
  EXPECT_EQ(kv.get_versioned("k")->version, "v1");
  answers["get"] = pack(Doc("value", nullptr, "version", nullptr));
  EXPECT_FALSE(kv.get("k").has_value());
  answers["set"] = pack(Doc("set", true, "version", Binary{"v2"}, "old", nullptr));
  EXPECT_EQ(kv.set("k", "v", {.nx = true, .ttl = 5s, .if_version = "v1"}).version, "v2");
  EXPECT_EQ(last()["ttl_ms"].as<int>(), 5000);
  EXPECT_TRUE(last()["nx"].as<bool>());
  EXPECT_TRUE(last()["xx"].is_nil()) << "what is not asked for is not sent";
  answers["increment"] = pack(Doc("value", 6));
  EXPECT_EQ(kv.increment("n", 5), 6);
  answers["ttl"] = pack(Doc("ttl_ms", -1));
  EXPECT_EQ(kv.ttl("k"), Millis(-1));
  answers["blpop"] = pack(Doc("key", nullptr, "value", nullptr));
  EXPECT_FALSE(kv.blpop({"q"}, 50ms).has_value());
  answers["zrange"] = pack(Doc("members", std::vector<std::pair<Binary, double>>{{{"a"}, 1.5}}));
  EXPECT_EQ(kv.zrange("z", 0, -1)[0], std::pair(std::string("a"), 1.5));
  answers["scan"] = pack(
      Doc("keys", std::vector<Binary>{{"a"}, {"b"}}, "values", nullptr, "cursor", Binary{"c"}));
  EXPECT_EQ(kv.scan_prefix("x").cursor, "c");
  answers["lock"] = pack(Doc("locked", false, "fence", nullptr));
  EXPECT_FALSE(kv.lock("l", "me", 5s).has_value());
}

// A wait of the verb's own counts on top: the client must not give up before it.
TEST_F(Faces, AVerbThatWaitsIsWaitedFor) {
  FakeGateway slow({.url = dir.url("b")}, [&](FakeGateway& f, const Got& got) {
    const auto* r = std::get_if<Request>(&got.message);
    if (r == nullptr) return;
    std::this_thread::sleep_for(900ms);
    f.reply(got.peer, r->id,
            [](proto::Writer& w) { w.raw(pack(Doc("key", Binary{"q"}, "value", Binary{"x"}))); });
  });
  Client other(ConnectOptions{.url = dir.url("b"), .timeout = 100ms});
  EXPECT_EQ(other.key_value("s").blpop({"q"}, 1s)->second, "x");
}

template <class T>
void round_trip(const T& v) {
  EXPECT_EQ(unpack<T>(pack(v)), v);
  EXPECT_EQ(pack(unpack<Value>(pack(v))), pack(v)) << "also through Value";
}

TEST(Values, RoundTrips) {
  round_trip(Timestamp{1'769'847'300, 500'000'000});
  round_trip(Date{20'484});
  round_trip(TimeOfDay{1, 3600});
  round_trip(LocalTimestamp{-1});
  round_trip(Interval{1, -2, 3});
  round_trip(*proto::parse_uuid("123e4567-e89b-12d3-a456-426614174000"));
  round_trip(Decimal("-0.000123"));
  round_trip(Json{"{}"});
  round_trip(BigInteger{{1, 0, 0, 0, 0, 0, 0, 0, 0}});
  round_trip(Bson{0x13, std::vector<std::uint8_t>(16)});
  round_trip(ObjectId{{9}});
  round_trip(RawBson{{5, 0, 0, 0, 0}});
  round_trip(Binary{std::string("\0\1", 2)});
}

TEST(Values, WhatIsInNoFormIsRefused) {
  EXPECT_THROW(Decimal("1.2.3"), ValueError);
  EXPECT_THROW(pack(TimeOfDay{-1}), ValueError);
  EXPECT_THROW(pack(Timestamp{0, 1'000'000'000}), ValueError);
  EXPECT_THROW(pack(Json{""}), ValueError);
  EXPECT_THROW(pack(BigInteger{{5}}), ValueError);
  EXPECT_THROW(pack(Bson{0x02, {}}), ValueError);
  EXPECT_THROW(pack(RawBson{{1, 2}}), ValueError);
  EXPECT_THROW(unpack<Date>(pack(Json{"1"})), ValueError);
  EXPECT_THROW(unpack<int>(Bytes()), ValueError);
  EXPECT_THROW(unpack<int>(std::vector<std::uint8_t>{0xdd, 0xff, 0xff, 0xff, 0xff}), ValueError);
  EXPECT_THROW(unpack<Value>(std::vector<std::uint8_t>{0x01, 0x02}), ValueError);
}

}  // namespace
}  // namespace headgate
