// SQL cases: transactions, streams, bulk load, cancel, and what several callers see of each other.
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "tests/conformance/sql_context.hpp"

namespace headgate::conformance {
namespace {

struct Transaction {
  Transaction(Context& context, Caller& c, Json body = Json::object(), bool read_only = false)
      : x(context), caller(c) {
    Options o;
    o.read_only = read_only;
    const Reply r = caller.call("begin", body, o);
    expect_ok(r, "begin");
    options.tx = r.id;
    options.read_only = read_only;
  }
  Reply call(const char* verb, const Json& body = Json::object()) {
    return caller.call(verb, body, options);
  }
  Reply execute(const std::string& sql, const Json& params = Json::array()) {
    const Reply r = call("execute", {{"sql", sql}, {"params", params}});
    expect_ok(r, sql.c_str());
    return r;
  }
  Json scalar(const std::string& sql) {
    const Reply r = call("query", {{"sql", sql}});
    expect_ok(r, sql.c_str());
    return r.body.at("rows")[0][0];
  }
  Context& x;
  Caller& caller;
  Options options;
};

CASE(txn_commit, "sql.txn_commit", "sql", V("begin", "commit"), V("transactions")) {
  const Table t(x);
  Transaction tx(x, *x.caller);
  tx.execute("insert into " + t.name + " (id, v) values (1, 'a')");
  expect_ok(tx.call("commit"), "commit");
  expect_eq(scalar(x, "select count(*) from " + t.name), 1, "committed");
  expect_code(tx.call("query", {{"sql", "select 1"}}), Code::transaction_expired, "after commit");
}

CASE(txn_rollback, "sql.txn_rollback", "sql", V("begin", "rollback"), V("transactions")) {
  const Table t(x);
  Transaction tx(x, *x.caller);
  tx.execute("insert into " + t.name + " (id, v) values (1, 'a')");
  expect_ok(tx.call("rollback"), "rollback");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "undone");
}

CASE(txn_visibility, "sql.txn_visibility", "sql", V("begin", "commit"), V("transactions")) {
  const Table t(x);
  Transaction tx(x, *x.caller);
  tx.execute("insert into " + t.name + " (id, v) values (1, 'a')");
  expect_eq(tx.scalar("select count(*) from " + t.name), 1, "its own write");
  auto other = x.target.caller();
  Options read;
  read.read_only = true;
  const Reply before = other->call("query", {{"sql", "select count(*) from " + t.name}}, read);
  expect_ok(before, "another caller");
  expect_eq(before.body.at("rows")[0][0], 0, "not seen before commit");
  expect_ok(tx.call("commit"), "commit");
  expect_eq(
      other->call("query", {{"sql", "select count(*) from " + t.name}}, read).body.at("rows")[0][0],
      1, "seen after");
}

CASE(txn_read_only, "sql.txn_read_only", "sql", V("begin", "rollback"), V("transactions")) {
  const Table t(x);
  t.fill(2);
  Transaction tx(x, *x.caller, Json::object(), true);
  expect_eq(tx.scalar("select count(*) from " + t.name), 2, "reading");
  const Reply r = tx.call("execute", {{"sql", "delete from " + t.name}});
  expect(!r.ok(), "a write in a read-only transaction must not succeed");
  // One snapshot: what others commit meanwhile is not seen.
  tx.call("rollback");
  Transaction again(x, *x.caller, Json::object(), true);
  expect_eq(again.scalar("select count(*) from " + t.name), 2, "reading");
  again.call("rollback");
}

CASE(txn_isolation, "sql.txn_isolation_each", "sql", V("begin", "rollback"), V("transactions")) {
  const Json limits = x.target.describe();
  for (const char* level : {"read_committed", "repeatable_read", "serializable"}) {
    const Reply r = x.caller->call("begin", {{"isolation", level}});
    if (!r.ok()) {
      expect_code(r, Code::unsupported, level);  // honestly refused, or given
      continue;
    }
    Options o;
    o.tx = r.id;
    expect_ok(x.caller->call("rollback", Json::object(), o), "rollback");
  }
  expect_code(x.caller->call("begin", {{"isolation", "chaos"}}), Code::invalid, "no such level");
}

CASE(txn_savepoint, "sql.txn_savepoint", "sql",
     V("begin", "savepoint", "rollback_to", "release", "commit"), V("savepoints")) {
  const Table t(x);
  Transaction tx(x, *x.caller);
  tx.execute("insert into " + t.name + " (id, v) values (1, 'a')");
  expect_ok(tx.call("savepoint", {{"name", "s1"}}), "savepoint");
  tx.execute("insert into " + t.name + " (id, v) values (2, 'b')");
  expect_ok(tx.call("rollback_to", {{"name", "s1"}}), "rollback_to");
  expect_eq(tx.scalar("select count(*) from " + t.name), 1, "undone to the savepoint");
  tx.execute("insert into " + t.name + " (id, v) values (3, 'c')");
  expect_ok(tx.call("release", {{"name", "s1"}}), "release");
  const Reply none = tx.call("release", {{"name", "never"}});
  expect(!none.ok(), "no such savepoint");
  tx.call("commit");
}

CASE(txn_savepoint_name, "sql.txn_savepoint_name", "sql", V("begin", "savepoint", "rollback"),
     V("savepoints")) {
  const Table t(x);
  Transaction tx(x, *x.caller);
  const Reply r = tx.call("savepoint", {{"name", "a\"; drop table " + t.name + "; --"}});
  tx.call("rollback");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "a name is never a statement");
  expect(r.ok() || r.code == Code::invalid, "quoted, or refused: " + show(r));
}

CASE(txn_failed_state, "sql.txn_failed_state", "sql", V("begin", "rollback"), V("transactions")) {
  const Table t(x);
  t.fill(1);
  Transaction tx(x, *x.caller);
  const Reply bad =
      tx.call("execute", {{"sql", "insert into " + t.name + " (id, v) values (1, 'again')"}});
  expect_code(bad, Code::exists, "a duplicate");
  // Either the transaction goes on (the statement alone was undone), or it can only be rolled back.
  const Reply next = tx.call("query", {{"sql", "select 1"}});
  if (!next.ok()) expect_code(next, Code::transaction_aborted, "after the error");
  tx.call("rollback");
  expect_eq(scalar(x, "select count(*) from " + t.name), 1, "as before");
}

CASE(txn_ddl, "sql.txn_ddl", "sql", V("begin", "rollback"), V("transactional_ddl")) {
  const std::string t = x.unique + "_ddl";
  Transaction tx(x, *x.caller);
  tx.execute("create table " + t + " (a " + type(x, "integer") + ")");
  tx.call("rollback");
  expect_code(x.caller->call("query", {{"sql", "select * from " + t}}), Code::not_found, "undone");
}

CASE(txn_two_at_once, "sql.txn_begin_in_txn", "sql", V("begin", "rollback"), V("transactions")) {
  Transaction tx(x, *x.caller);
  const Reply r = tx.call("begin");
  expect(!r.ok(), "a begin inside a transaction");
  tx.call("rollback");
}

CASE(txn_client_gone, "sql.txn_client_gone", "sql", V("begin"), V("transactions")) {
  const Table t(x);
  {
    auto dying = x.target.caller();
    Transaction tx(x, *dying);
    tx.execute("insert into " + t.name + " (id, v) values (1, 'a')");
  }
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "a caller that dies gets a rollback");
  execute(x, "insert into " + t.name + " (id, v) values (2, 'b')");
}

CASE(batch_order, "batch.order", "sql", V("batch"), V()) {
  const Table t(x);
  const Json items = Json::array(
      {Json::array({"execute", {{"sql", "insert into " + t.name + " (id, v) values (1, 'a')"}}}),
       Json::array({"execute", {{"sql", "update " + t.name + " set v = 'b' where id = 1"}}}),
       Json::array({"query", {{"sql", "select v from " + t.name}}})});
  const Reply r = x.caller->call("batch", {{"items", items}});
  expect_ok(r, "batch");
  expect_eq(r.body.size(), 3, "an answer an item");
  expect_eq(r.body[1][1].value("rows_affected", -1), 1, "meta of an item");
  expect_eq(r.body[2][2].at("rows"), Json::array({Json::array({"b"})}), "in order");
}

Json insert(const Table& t, int id) {
  return Json::array({"execute",
                      {{"sql", "insert into " + t.name + " (id, v) values (?, 'x')"},
                       {"params", Json::array({id})}}});
}

CASE(batch_atomic, "batch.atomic_undone", "sql", V("batch"), V()) {
  const Table t(x);
  const Reply r = x.caller->call(
      "batch",
      {{"atomic", true}, {"items", Json::array({insert(t, 1), insert(t, 1), insert(t, 2)})}});
  expect_eq(r.body.at(1)[0], static_cast<int>(Code::exists), "the one that failed");
  expect_eq(r.body.at(2)[0], static_cast<int>(Code::transaction_aborted), "the rest");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "nothing was applied");
}

CASE(batch_independent, "batch.independent_goes_on", "sql", V("batch"), V()) {
  const Table t(x);
  const Reply r = x.caller->call(
      "batch",
      {{"atomic", false}, {"items", Json::array({insert(t, 1), insert(t, 1), insert(t, 2)})}});
  expect_ok(r, "batch");
  expect_eq(r.body.at(0)[0], 0, "first");
  expect_eq(r.body.at(1)[0], static_cast<int>(Code::exists), "second");
  expect_eq(r.body.at(2)[0], 0, "third");
  expect_eq(scalar(x, "select count(*) from " + t.name), 2, "the others are there");
}

CASE(stream_fetch_many, "sql.stream_fetch_many", "sql", V("query"), V()) {
  const Table t(x);
  t.fill(1000);
  Options o;
  o.fetch = 100;
  const Reply r =
      x.caller->call("query", {{"sql", "select id, v from " + t.name + " order by id"}}, o);
  expect_ok(r, "query");
  expect(r.parts.size() >= 9, "it came in parts: " + std::to_string(r.parts.size()));
  expect(!r.parts[0].at("columns").is_null(), "the first part carries the columns");
  int next = 1;
  auto take = [&](const Json& body) {
    if (!body.is_object() || !body.contains("rows") || body["rows"].is_null()) return;
    expect(body["rows"].size() <= 100, "no part has more rows than `fetch`");
    for (const Json& row : body["rows"]) expect_eq(row[0], next++, "in order");
  };
  for (const Json& p : r.parts) take(p);
  take(r.body);
  expect_eq(next, 1001, "every row once");
}

CASE(stream_too_large, "sql.result_too_large", "sql", V("query"), V("recursive")) {
  const std::string sql =
      "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) "
      "select i, 'some text that takes room in the reply' from n";
  const Reply r = x.caller->call("query", {{"sql", sql}});
  expect_code(r, Code::too_large, "a result above reply_max");
  expect(r.message.find("fetch") != std::string::npos, "the message says what to do: " + r.message);
  expect_eq(scalar(x, "select 1"), 1, "the connection goes on");
}

CASE(stream_1m, "sql.stream_1M_rows", "sql", V("query"), V("recursive")) {
  Options o;
  o.fetch = 5000;
  o.timeout_ms = 60'000;
  auto running = x.caller->start("query",
                                 {{"sql",
                                   "with recursive n(i) as (select 1 union all select i + 1 from n "
                                   "where i < 1000000) select i from n"}},
                                 o);
  std::int64_t next = 1;
  auto take = [&](const Json& body) {
    if (!body.is_object() || !body.contains("rows") || body["rows"].is_null()) return;
    for (const Json& row : body["rows"])
      if (row[0] != next++) throw Failure("row " + std::to_string(next - 1) + " is " + show(row));
  };
  while (auto part = running->part()) take(*part);
  const Reply r = running->wait();
  expect_ok(r, "query");
  take(r.body);
  expect_eq(next, 1'000'001, "every row once");
}

CASE(stream_cancel, "sql.stream_cancel_midway", "sql", V("query"), V("recursive")) {
  Options o;
  o.fetch = 10;
  auto running = x.caller->start("query",
                                 {{"sql",
                                   "with recursive n(i) as (select 1 union all select i + 1 from n "
                                   "where i < 100000000) select i from n"}},
                                 o);
  expect(running->part().has_value(), "a first part");
  running->cancel();
  const Reply r = running->wait();
  expect(!r.ok(), "a cancelled stream does not end well");
  expect_eq(scalar(x, "select 1"), 1, "the caller goes on");
}

CASE(two_streams, "sql.two_streams_one_caller", "sql", V("query"), V("recursive")) {
  Options o;
  o.fetch = 7;
  auto sql = [](int from) {
    return Json{{"sql", "with recursive n(i) as (select " + std::to_string(from) +
                            " union all select i + 1 from n where i < " +
                            std::to_string(from + 99) + ") select i from n"}};
  };
  auto a = x.caller->start("query", sql(1), o), b = x.caller->start("query", sql(1000), o);
  int rows_a = 0, rows_b = 0;
  auto count = [](const std::optional<Json>& p, int from, int& n) {
    if (!p || !p->is_object() || !p->contains("rows")) return;
    for (const Json& row : p->at("rows")) expect_eq(row[0], from + n++, "its own rows");
  };
  for (bool more = true; more;) {
    const auto pa = a->part(), pb = b->part();
    count(pa, 1, rows_a);
    count(pb, 1000, rows_b);
    more = pa || pb;
  }
  count(a->wait().body, 1, rows_a);
  count(b->wait().body, 1000, rows_b);
  expect_eq(rows_a + rows_b, 200, "all rows of both");
}

CASE(cancel_sleep, "sql.cancel_sleep", "sql", V("query"), V("recursive", "cancel")) {
  const auto begun = std::chrono::steady_clock::now();
  Options o;
  o.timeout_ms = 30'000;
  auto running = x.caller->start(
      "query",
      {{"sql",
        "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"}},
      o);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  running->cancel();
  const Reply r = running->wait();
  expect_code(r, Code::cancelled, "cancelled");
  expect(std::chrono::steady_clock::now() - begun < std::chrono::seconds(5), "at once");
  expect_eq(scalar(x, "select 1"), 1, "the next statement is untouched");
}

CASE(statement_timeout, "sql.statement_timeout", "sql", V("query"), V("recursive", "cancel")) {
  const auto begun = std::chrono::steady_clock::now();
  Options o;
  o.timeout_ms = 200;
  const Reply r = x.caller->call(
      "query",
      {{"sql",
        "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"}},
      o);
  expect_code(r, Code::deadline, "the deadline");
  expect(std::chrono::steady_clock::now() - begun < std::chrono::seconds(3), "in time");
  expect_eq(scalar(x, "select 1"), 1, "the connection goes on");
}

CASE(write_timeout_undone, "sql.write_timeout_undone", "sql", V("execute"),
     V("recursive", "cancel")) {
  const Table t(x);
  Options o;
  o.timeout_ms = 200;
  const Reply r = x.caller->call("execute",
                                 {{"sql", "insert into " + t.name +
                                              " (id, v) with recursive n(i) as (select 1 union all "
                                              "select i + 1 from n) select i, 'v' from n"}},
                                 o);
  expect_code(r, Code::deadline, "the deadline");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "and nothing of it is there");
  if (r.outcome != Outcome::unknown) expect_outcome(r, Outcome::rolled_back, "and it says so");
}

CASE(copy_in, "sql.copy_in", "sql", V("copy_in"), V("copy")) {
  const Table t(x);
  std::vector<Json> pieces;
  for (int p = 0; p < 10; ++p) {
    Json piece = Json::array();
    for (int i = 0; i < 100; ++i) piece.push_back({p * 100 + i, "v"});
    pieces.push_back(piece);
  }
  const Reply r =
      x.caller->upload("copy_in", {{"table", t.name}, {"columns", {"id", "v"}}}, pieces, {});
  expect_ok(r, "copy_in");
  expect_eq(r.rows_affected.value_or(-1), 1000, "rows_affected");
  expect_eq(scalar(x, "select count(*) from " + t.name), 1000, "loaded");
}

CASE(copy_error, "sql.copy_error_midway", "sql", V("copy_in"), V("copy")) {
  const Table t(x);
  const std::vector<Json> pieces = {Json::array({Json::array({1, "a"})}),
                                    Json::array({Json::array({1, "again"})}),
                                    Json::array({Json::array({2, "b"})})};
  const Reply r =
      x.caller->upload("copy_in", {{"table", t.name}, {"columns", {"id", "v"}}}, pieces, {});
  expect_code(r, Code::exists, "a duplicate midway");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "all rows or none");
  const Reply width = x.caller->upload("copy_in", {{"table", t.name}, {"columns", {"id", "v"}}},
                                       {Json::array({Json::array({1})})}, {});
  expect_code(width, Code::invalid, "a row of another width");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "nothing");
}

CASE(copy_aborted, "sql.copy_aborted", "sql", V("copy_in"), V("copy")) {
  const Table t(x);
  const Reply r = x.caller->upload("copy_in", {{"table", t.name}},
                                   {Json::array({Json::array({1, "a"})})}, {}, true);
  expect(!r.ok(), "an upload that ends without `last`");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "undone");
}

CASE(copy_out, "sql.copy_out", "sql", V("copy_out"), V("copy")) {
  const Table t(x);
  t.fill(500);
  Options o;
  o.fetch = 50;
  std::size_t n = 0;
  const Reply r = x.caller->call("copy_out", {{"table", t.name}}, o);
  expect_ok(r, "copy_out");
  for (const Json& p : r.parts) n += p.at("rows").size();
  if (r.body.is_object() && r.body.contains("rows") && r.body["rows"].is_array())
    n += r.body["rows"].size();
  expect_eq(n, 500, "rows");
}

CASE(replay_once, "idem.replay_once", "sql", V("execute"), V("idempotency")) {
  const Table t(x);
  Options o;
  o.key = x.unique + "-key";
  const Json body = {{"sql", "insert into " + t.name + " (id, v) values (1, 'a')"}};
  const Reply first = x.caller->call("execute", body, o),
              second = x.caller->call("execute", body, o);
  expect_ok(first, "first");
  expect_ok(second, "again");
  expect(!first.replayed && second.replayed, "the second is a recorded reply");
  expect_eq(second.rows_affected.value_or(-1), 1, "the recorded meta");
  expect_eq(scalar(x, "select count(*) from " + t.name), 1, "applied once");
  const Reply other = x.caller->call("execute", {{"sql", "delete from " + t.name}}, o);
  expect_code(other, Code::conflict, "another request under the same key");
  expect_eq(scalar(x, "select count(*) from " + t.name), 1, "untouched");
}

CASE(outcome_truth, "outcome.truth", "sql", V("execute"), V()) {
  // The reported outcome equals what a second connection sees, success and failure mixed.
  const Table t(x);
  auto other = x.target.caller();
  for (int i = 0; i < 60; ++i) {
    const int id = i % 3 == 0 ? 1 : i;
    const Reply r =
        x.caller->call("execute", {{"sql", "insert into " + t.name + " (id, v) values (?, ?)"},
                                   {"params", {id, std::to_string(i)}}});
    const Reply seen =
        other->call("query", {{"sql", "select count(*) from " + t.name + " where v = ?"},
                              {"params", {std::to_string(i)}}});
    expect_eq(seen.body.at("rows")[0][0], r.outcome == Outcome::applied ? 1 : 0,
              "what the outcome says");
  }
}

CASE(rollback_elsewhere, "group.rollback_elsewhere", "sql", V("execute"), V()) {
  // Many writers at once; some roll their whole transaction back, violate, or are cut off. What was
  // acknowledged, and only that, is there.
  const Table t(x);
  std::atomic<int> acknowledged{0}, lied{0};
  std::vector<std::thread> writers;
  for (int w = 0; w < 16; ++w)
    writers.emplace_back([&, w] {
      auto caller = x.target.caller();
      for (int i = 0; i < 25; ++i) {
        const int id = w * 1000 + i + 10;
        const std::string odd = x.quirks.value("insert_or_rollback", "");
        if (w % 4 == 1) {
          const std::string sql = odd.empty()
                                      ? "insert into " + t.name + " (id, v) values (1, 'dup')"
                                      : odd + " into " + t.name + " (id, v) values (1, 'dup')";
          const Reply r = caller->call("execute", {{"sql", sql}});
          if (r.ok()) ++acknowledged;
          continue;
        }
        const Reply r =
            caller->call("execute", {{"sql", "insert into " + t.name + " (id, v) values (?, 'w')"},
                                     {"params", Json::array({id})}});
        if (r.ok())
          ++acknowledged;
        else if (r.outcome == Outcome::applied)
          ++lied;
      }
    });
  for (auto& w : writers) w.join();
  expect_eq(lied.load(), 0, "an error with outcome applied");
  expect_eq(scalar(x, "select count(*) from " + t.name), acknowledged.load(),
            "rows are the acknowledged writes");
}

CASE(reply_matching, "conc.reply_matching", "sql", V("query"), V()) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 16; ++c)
    callers.emplace_back([&, c] {
      auto caller = x.target.caller();
      for (int i = 0; i < 100; ++i) {
        const Reply r = caller->call("query", {{"sql", "select " + cast(x, "?", "integer")},
                                               {"params", Json::array({c * 1000 + i})}});
        if (!r.ok() || r.body.at("rows")[0][0] != c * 1000 + i) ++wrong;
      }
    });
  for (auto& c : callers) c.join();
  expect_eq(wrong.load(), 0, "wrong answers of 1600");
}

CASE(cancel_storm, "cancel.storm", "sql", V("query"), V("recursive", "cancel")) {
  // Random cancels; those who were not cancelled are answered, and nobody gets another's cancel.
  std::atomic<int> wrong{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::string first;  // of the wrong ones
  auto note = [&](const Reply& r) {
    const std::lock_guard lock(mutex);
    if (wrong++ == 0) first = show(r);
  };
  std::thread steady([&] {
    auto caller = x.target.caller();
    while (!stop)
      if (const Reply r = caller->call("query", {{"sql", "select 42"}}); !r.ok()) note(r);
  });
  std::vector<std::thread> storm;
  for (int c = 0; c < 4; ++c)
    storm.emplace_back([&, c] {
      auto caller = x.target.caller();
      unsigned seed = static_cast<unsigned>(c) * 7919u + 1;
      for (int i = 0; i < 50; ++i) {
        seed = seed * 1664525u + 1013904223u;
        auto running = caller->start("query",
                                     {{"sql",
                                       "with recursive n(i) as (select 1 union all select i + 1 "
                                       "from n where i < 200000) select count(*) from n"}},
                                     {});
        std::this_thread::sleep_for(std::chrono::microseconds(seed >> 20));
        running->cancel();
        const Reply r = running->wait();
        if (!r.ok() && r.code != Code::cancelled) note(r);
      }
    });
  for (auto& s : storm) s.join();
  stop = true;
  steady.join();
  expect_eq(wrong.load(), 0, ("wrong answers, the first of them: " + first).c_str());
}

CASE(notify, "sql.notify", "sql", V("listen", "query"), V("listen")) {
  Options o;
  o.fetch = 100;
  o.timeout_ms = 20'000;
  auto first = x.caller->start("listen", {{"channels", {x.unique, x.unique + "_b"}}}, o);
  auto second = x.caller->start("listen", {{"channels", Json::array({x.unique + "_b"})}}, o);
  for (auto* s : {first.get(), second.get()}) {
    const auto part = s->part();
    expect(part.has_value() && part->at("columns").size() == 3, "a first part: it listens");
  }
  auto heard = [](Running& s, std::size_t n) {
    Json all = Json::array();
    while (all.size() < n) {
      const auto part = s.part();
      if (!part) throw Failure("the stream ended: " + show(s.wait()));
      for (const Json& row : part->at("rows")) all.push_back(row);
    }
    return all;
  };
  query(x, "select pg_notify('" + x.unique + "', 'one')");
  query(x, "select pg_notify('" + x.unique + "_b', 'two\nlines')");
  const Json a = heard(*first, 2), b = heard(*second, 1);
  expect_eq(a[0][0], x.unique, "the channel");
  expect_eq(a[0][1], "one", "the payload");
  expect_eq(b[0][1], "two\nlines", "the second subscriber's");
  first->cancel();
  expect(!first->wait().ok(), "a subscription ends by cancel");
  query(x, "select pg_notify('" + x.unique + "_b', 'three')");
  expect_eq(heard(*second, 1)[0][1], "three", "the other goes on");
  second->cancel();
  expect(!second->wait().ok(), "a subscription ends by cancel");
}

CASE(two_deferred, "sql.deferred_constraint", "sql", V("execute"), V("deferred_constraints")) {
  const Table t(x);
  const std::string child = x.unique + "_d";
  execute(x, "create table " + child + " (p " + type(x, "integer") + " references " + t.name +
                 "(id) deferrable initially deferred)");
  const Reply r = x.caller->call("execute", {{"sql", "insert into " + child + " values (77)"}});
  expect_code(r, Code::constraint, "a deferred constraint fails its own statement");
  expect_eq(scalar(x, "select count(*) from " + child), 0, "nothing");
}

}  // namespace
}  // namespace headgate::conformance
