// SQL cases: statements, binding, errors, prepared statements, introspection.
//
// Quirks of the profile: `integer`, `text`, `real`, `blob`, `numeric` (type names), `auto_id` (a
// column definition), `sleep` (a statement that runs for a long time), `strict` (a table suffix).
#include <cmath>
#include <set>
#include <thread>

#include "tests/conformance/sql_context.hpp"

namespace headgate::conformance {
namespace {

CASE(select_literal, "sql.select_literal", "sql", V("query"), V()) {
  const Reply r = query(x, "select 1 as one, 'two' as two");
  expect_eq(r.body.at("rows"), Json::array({Json::array({1, "two"})}), "rows");
  expect_eq(r.body.at("columns")[0][0], "one", "the column's name");
}

CASE(select_empty, "sql.select_empty", "sql", V("query"), V()) {
  const Table t(x);
  const Reply r = query(x, "select id, v from " + t.name);
  expect_eq(r.body.at("rows"), Json::array(), "no rows");
  expect_eq(r.body.at("columns").size(), 2, "an empty result still has its columns");
}

CASE(multi_row, "sql.multi_row", "sql", V("query", "execute_many"), V()) {
  const Table t(x);
  t.fill(100);
  const Reply r = query(x, "select id, v from " + t.name + " order by id");
  expect_eq(r.body.at("rows").size(), 100, "rows");
  expect_eq(r.body.at("rows")[99], Json::array({100, "v100"}), "the last");
}

CASE(description, "sql.description", "sql", V("query"), V()) {
  const Table t(x);
  const Json c = query(x, "select id, v from " + t.name).body.at("columns");
  expect_eq(c[1].size(), 5, "name, type, nullable, precision, scale");
  expect_eq(c[1][0], "v", "name");
  expect(c[1][1].is_string() && !c[1][1].get<std::string>().empty(), "a type name");
}

CASE(no_result_set, "sql.no_result_set", "sql", V("execute", "query"), V()) {
  const Table t(x);
  const Reply r = execute(x, "delete from " + t.name);
  expect_eq(r.body.at("columns"), nullptr, "no result set at all is nil, not empty");
  expect_eq(r.body.at("rows"), nullptr, "rows");
}

CASE(ddl_then_select, "sql.ddl_then_select", "sql", V("execute", "query"), V()) {
  const std::string t = x.unique + "_ddl";
  execute(x, "create table " + t + " (a " + type(x, "integer") + ")");
  execute(x, "insert into " + t + " values (7)");
  expect_eq(scalar(x, "select a from " + t), 7, "a");
  execute(x, "drop table " + t);
  expect_code(x.caller->call("query", {{"sql", "select a from " + t}}), Code::not_found,
              "after drop");
}

CASE(types_int, "sql.types_int", "sql", V("query"), V()) {
  for (const Json& v :
       {Json(0), Json(-1), Json(127), Json(65536), Json(INT64_MAX), Json(INT64_MIN)})
    expect_eq(echo(x, v, "integer"), v, "an integer");
  expect_code(x.caller->call("query", {{"sql", "select " + cast(x, "?", "integer")},
                                       {"params", {UINT64_MAX}}}),
              Code::invalid, "beyond 64 bits signed");
}

CASE(types_float, "sql.types_float_nan_inf", "sql", V("query"), V()) {
  for (double v : {0.0, 1.5, -2.25, 1e300, 5e-324, 0.1})
    expect_eq(echo(x, v, "real"), v, "a float");
  for (double v :
       {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()})
    expect_eq(echo(x, v, "real"), v, "an infinity");
  // NaN comes back as NaN, or is refused; it never becomes NULL.
  const Reply r = x.caller->call(
      "query", {{"sql", "select " + cast(x, "?", "real")}, {"params", {std::nan("")}}});
  if (r.ok())
    expect(
        r.body.at("rows")[0][0].is_number_float() && std::isnan(r.body["rows"][0][0].get<double>()),
        "NaN must not change: " + show(r));
  else
    expect_code(r, Code::invalid, "NaN");
}

CASE(types_text, "sql.types_text", "sql", V("query"), V()) {
  for (const char* v : {"", "a", "'; drop table x; --", "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80",
                        "line\nbreak", "%_\\"})
    expect_eq(echo(x, v, "text"), v, "a text");
}

CASE(types_bytea, "sql.types_bytea", "sql", V("query"), V()) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  for (const std::string& v : {std::string(), std::string("\0", 1), all})
    expect_eq(echo(x, bin(v), "blob"), bin(v), "bytes");
}

CASE(types_null_each, "sql.types_null_each", "sql", V("query"), V()) {
  for (const char* t : {"integer", "text", "real", "blob"})
    expect_eq(echo(x, nullptr, t), nullptr, t);
}

// A value written to a column of this type and read back.
void stored(Context& x, const char* quirk, const std::vector<Json>& values) {
  if (!x.quirks.contains(quirk)) return;
  const std::string t = x.unique + "_t";
  execute(x, "create table " + t + " (id " + type(x, "integer") + ", v " +
                 x.quirks[quirk].get<std::string>() + ")");
  int id = 0;
  for (const Json& v : values) {
    expect_ok(x.caller->call("execute", {{"sql", "insert into " + t + " values (?, ?)"},
                                         {"params", {++id, v}}}),
              quirk);
    expect_eq(scalar(x, "select v from " + t + " where id = " + std::to_string(id)), v, quirk);
  }
  execute(x, "drop table " + t);
}
Json ext(int code, std::vector<std::uint8_t> bytes) {
  return Json::binary(std::move(bytes), static_cast<std::uint8_t>(code));
}
Json decimal(const char* digits, int scale, bool negative = false) {
  std::vector<std::uint8_t> b{static_cast<std::uint8_t>(negative),
                              static_cast<std::uint8_t>(scale >> 8),
                              static_cast<std::uint8_t>(scale)};
  for (const char* d = digits; *d != 0; ++d) b.push_back(static_cast<std::uint8_t>(*d));
  return ext(1, b);
}

CASE(types_numeric, "sql.types_numeric_38", "sql", V("query", "execute"), V()) {
  stored(x, "numeric",
         {decimal("12345678901234567890123456789012345678", 10), decimal("1", 2),
          decimal("150", 2, true)});
}
CASE(types_date_time, "sql.types_date_time_tz", "sql", V("query", "execute"), V()) {
  stored(x, "date", {ext(2, {0, 0, 0x4f, 0xff}), ext(2, {0xff, 0xff, 0xff, 0xff})});
  stored(x, "local_timestamp", {ext(4, {0, 6, 0x45, 0, 0, 1, 2, 3})});
}
CASE(types_uuid, "sql.types_uuid", "sql", V("query", "execute"), V()) {
  stored(x, "uuid", {ext(6, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255})});
}
CASE(types_json, "sql.types_json", "sql", V("query", "execute"), V()) {
  stored(x, "json", {ext(7, {'{', '"', 'a', '"', ':', '1', '}'})});
}
CASE(types_bool, "sql.types_bool", "sql", V("query", "execute"), V()) {
  stored(x, "boolean", {true, false});
}

CASE(bind_positional, "sql.bind_positional", "sql", V("query"), V()) {
  expect_eq(rows(x, "select " + cast(x, "?", "integer") + ", " + cast(x, "?", "text"), {1, "b"}),
            Json::array({Json::array({1, "b"})}), "?");
  expect_eq(rows(x, "select " + cast(x, "$2", "text") + ", " + cast(x, "$1", "integer"), {1, "b"}),
            Json::array({Json::array({"b", 1})}), "$1");
}

CASE(bind_named, "sql.bind_named", "sql", V("query"), V()) {
  const Json params = {{"b", "x"}, {"a", 5}};
  expect_eq(rows(x,
                 "select " + cast(x, ":a", "integer") + ", " + cast(x, ":b", "text") + ", " +
                     cast(x, ":a", "integer"),
                 params),
            Json::array({Json::array({5, "x", 5})}), "by name, twice");
  expect_code(x.caller->call("query", {{"sql", "select :a"}, {"params", {{"b", 1}}}}),
              Code::invalid, "a name that is not there");
  expect_code(x.caller->call("query", {{"sql", "select :a"}, {"params", {{"a", 1}, {"b", 1}}}}),
              Code::invalid, "a name too many");
}

CASE(bind_null_typed, "sql.bind_null_typed", "sql", V("query", "execute"), V()) {
  const Table t(x);
  execute(x, "insert into " + t.name + " (id, v) values (?, ?)", {1, nullptr});
  expect_eq(scalar(x, "select v from " + t.name), nullptr, "NULL");
}

CASE(bind_count_mismatch, "sql.bind_count_mismatch", "sql", V("query"), V()) {
  for (const Json& p : {Json::array(), Json::array({1}), Json::array({1, 2, 3})}) {
    const Reply r = x.caller->call("query", {{"sql", "select ?, ?"}, {"params", p}});
    expect_code(r, Code::invalid, "2 parameters");
    expect(r.message.find('2') != std::string::npos,
           "the message names both numbers: " + r.message);
  }
  expect_code(x.caller->call("query", {{"sql", "select ?"}}), Code::invalid, "none given");
}

CASE(bind_type_mismatch, "sql.bind_type_mismatch", "sql", V("execute"), V("strict_types")) {
  const Table t(x);
  const Reply r =
      x.caller->call("execute", {{"sql", "insert into " + t.name + " (id, v) values (?, ?)"},
                                 {"params", {"not a number", "v"}}});
  expect(!r.ok() && r.outcome != Outcome::applied, "text into an integer column: " + show(r));
  const Reply nested = x.caller->call("query", {{"sql", "select ?"}, {"params", {{{"a", 1}}}}});
  expect_code(nested, Code::invalid, "a map is no parameter");
}

CASE(bind_array, "sql.bind_array", "sql", V("execute_many", "query"), V()) {
  const Table t(x);
  Json sets = Json::array();
  for (int i = 0; i < 500; ++i) sets.push_back({i, "v" + std::to_string(i)});
  const Reply r = x.caller->call(
      "execute_many",
      {{"sql", "insert into " + t.name + " (id, v) values (?, ?)"}, {"params", sets}});
  expect_ok(r, "execute_many");
  expect_eq(r.rows_affected.value_or(-1), 500, "rows_affected");
  // One bad set undoes all of them.
  const Json more = {{1000, "a"}, {1001, "b"}, {5, "there already"}};
  expect_code(
      x.caller->call("execute_many", {{"sql", "insert into " + t.name + " (id, v) values (?, ?)"},
                                      {"params", more}}),
      Code::exists, "a duplicate");
  expect_eq(scalar(x, "select count(*) from " + t.name), 500, "all or none");
}

CASE(injection, "sql.injection", "sql", V("query", "execute"), V()) {
  const Table t(x);
  const char* evil = "x'); drop table ";
  execute(x, "insert into " + t.name + " (id, v) values (1, ?)", {evil + t.name + "; --"});
  expect_eq(scalar(x, "select count(*) from " + t.name + " where v = ?", {evil + t.name + "; --"}),
            1, "bound text is never parsed");
}

CASE(nonascii, "sql.nonascii", "sql", V("query", "execute"), V()) {
  const Table t(x);
  execute(x, "insert into " + t.name + " (id, v) values (1, 'gr\xc3\xbc\xc3\x9f \xe4\xb8\xad')");
  expect_eq(scalar(x, "select v from " + t.name), "gr\xc3\xbc\xc3\x9f \xe4\xb8\xad", "in the text");
}

CASE(trailing_semicolon, "sql.trailing_semicolon", "sql", V("query"), V()) {
  expect_eq(scalar(x, "select 1;"), 1, "one semicolon");
  expect_eq(scalar(x, "select 1 ; -- and a comment\n /* and another */ "), 1, "and comments");
}

CASE(second_statement_refused, "sql.second_statement_refused", "sql", V("query", "execute"), V()) {
  const Table t(x);
  for (const char* verb : {"query", "execute"}) {
    const Reply r = x.caller->call(verb, {{"sql", "select 1; delete from " + t.name}});
    expect_code(r, Code::invalid, "two statements");
    expect(r.outcome == Outcome::rejected || r.outcome == Outcome::not_sent, "nothing ran");
  }
  for (const char* nothing : {"", " ", ";", "-- only a comment"})
    expect_code(x.caller->call("query", {{"sql", nothing}}), Code::invalid, "no statement");
}

CASE(transaction_control_refused, "sql.transaction_control_refused", "sql", V("execute", "query"),
     V("transactions")) {
  const Table t(x);
  for (const char* sql : {"begin", "BEGIN IMMEDIATE", "commit", "rollback", "savepoint a",
                          "release a", "  /* x */ end", "rollback to a"}) {
    const Reply r = x.caller->call("execute", {{"sql", sql}});
    expect(r.code == Code::invalid || r.code == Code::denied, std::string(sql) + ": " + show(r));
  }
  t.fill(3);
  expect_eq(scalar(x, "select count(*) from " + t.name), 3, "autocommit still works");
}

CASE(quoted_identifier, "sql.quoted_identifier", "sql", V("execute", "query"), V()) {
  const std::string t = "\"" + x.unique + " odd; name\"";
  execute(x, "create table " + t + " (\"select\" " + type(x, "integer") + ")");
  execute(x, "insert into " + t + " values (3)");
  expect_eq(scalar(x, "select \"select\" from " + t), 3, "a quoted name");
  execute(x, "drop table " + t);
}

CASE(prepare_reuse, "sql.prepare_reuse", "sql", V("query"), V()) {
  for (int i = 0; i < 200; ++i)
    expect_eq(scalar(x, "select " + cast(x, "?", "integer") + " + 1", {i}), i + 1,
              "the same text again");
}

CASE(prepare_invalidated, "sql.prepare_invalidated_by_ddl", "sql", V("query", "execute"), V()) {
  const Table t(x);
  t.fill(1);
  const std::string all = "select * from " + t.name;
  expect_eq(rows(x, all)[0].size(), 2, "columns");
  execute(x, "alter table " + t.name + " add column w " + type(x, "integer"));
  for (int i = 0; i < 5; ++i) {
    const Reply r = query(x, all);
    expect_eq(r.body.at("rows")[0].size(), 3, "columns after the change");
    expect_eq(r.body.at("columns").size(), 3, "header after the change");
  }
}

CASE(prepare_eviction, "sql.prepare_eviction", "sql", V("query"), V()) {
  for (int round = 0; round < 2; ++round)
    for (int i = 0; i < 400; ++i)
      expect_eq(scalar(x, "select " + std::to_string(i) + " as n" + std::to_string(i)), i,
                "more texts than any cache holds");
}

CASE(rowcounts, "sql.rowcount_insert", "sql", V("execute"), V()) {
  const Table t(x);
  expect_eq(execute(x, "insert into " + t.name + " (id, v) values (1, 'a'), (2, 'b'), (3, 'b')")
                .rows_affected.value_or(-1),
            3, "insert");
}
CASE(rowcount_update, "sql.rowcount_update", "sql", V("execute"), V()) {
  const Table t(x);
  t.fill(5);
  expect_eq(execute(x, "update " + t.name + " set v = 'x' where id > 3").rows_affected.value_or(-1),
            2, "update");
  expect_eq(
      execute(x, "update " + t.name + " set v = 'x' where id > 100").rows_affected.value_or(-1), 0,
      "none");
}
CASE(rowcount_delete, "sql.rowcount_delete", "sql", V("execute"), V()) {
  const Table t(x);
  t.fill(5);
  expect_eq(execute(x, "delete from " + t.name + " where id <= 4").rows_affected.value_or(-1), 4,
            "delete");
}
CASE(rowcount_ddl, "sql.rowcount_ddl", "sql", V("execute"), V()) {
  const Table t(x);
  t.fill(5);
  const Reply r = execute(x, "create index " + x.unique + "_i on " + t.name + " (v)");
  expect(r.rows_affected.value_or(0) == 0,
         "DDL affects no rows, not those of the statement before");
}

CASE(returning, "sql.returning", "sql", V("execute"), V("returning")) {
  const Table t(x);
  const Reply r =
      execute(x, "insert into " + t.name + " (id, v) values (1, 'a'), (2, 'b') returning id, v");
  expect_eq(r.body.at("rows"), Json::array({Json::array({1, "a"}), Json::array({2, "b"})}), "rows");
  expect_eq(r.rows_affected.value_or(-1), 2, "rows_affected");
}

CASE(last_id, "sql.last_id", "sql", V("execute"), V("last_id")) {
  const std::string t = x.unique + "_auto";
  execute(x, "create table " + t + " (id " + x.quirks.value("auto_id", "integer primary key") +
                 ", v " + type(x, "text") + ")");
  const auto first = execute(x, "insert into " + t + " (v) values ('a')").last_id.value_or(-1);
  const auto second = execute(x, "insert into " + t + " (v) values ('b')").last_id.value_or(-1);
  expect_eq(second, first + 1, "last_id");
}

void failing(Context& x, const std::string& sql, Code code, const char* state,
             const Json& params = Json::array()) {
  const Reply r = x.caller->call("execute", {{"sql", sql}, {"params", params}});
  expect_code(r, code, sql.c_str());
  expect_eq(r.sqlstate, state, "sqlstate");
  expect(r.outcome == Outcome::rejected || r.outcome == Outcome::rolled_back,
         "nothing was applied: " + show(r));
  expect(!r.retryable, "repeating does not help");
  expect(!r.message.empty(), "a message");
}

CASE(err_syntax, "sql.err_syntax", "sql", V("execute"), V()) {
  failing(x, "selec 1", Code::store_error, "42601");
}
CASE(err_no_table, "sql.err_no_table", "sql", V("execute"), V()) {
  failing(x, "select * from " + x.unique + "_none", Code::not_found, "42P01");
}
CASE(err_unique, "sql.err_unique", "sql", V("execute"), V()) {
  const Table t(x);
  t.fill(1);
  failing(x, "insert into " + t.name + " (id, v) values (1, 'again')", Code::exists, "23505");
}
CASE(err_fk, "sql.err_fk", "sql", V("execute"), V()) {
  const Table t(x);
  execute(x, "create table " + x.unique + "_child (p " + type(x, "integer") + " references " +
                 t.name + "(id))");
  failing(x, "insert into " + x.unique + "_child values (99)", Code::constraint, "23503");
}
CASE(err_check, "sql.err_check", "sql", V("execute"), V()) {
  execute(x, "create table " + x.unique + "_c (v " + type(x, "integer") + " check (v > 0))");
  failing(x, "insert into " + x.unique + "_c values (-1)", Code::constraint, "23514");
}
CASE(err_not_null, "sql.err_not_null", "sql", V("execute"), V()) {
  execute(x, "create table " + x.unique + "_n (v " + type(x, "integer") + " not null)");
  failing(x, "insert into " + x.unique + "_n values (?)", Code::constraint, "23502",
          Json::array({nullptr}));
}
CASE(err_div_zero, "sql.err_div_zero", "sql", V("query"), V("division_by_zero")) {
  failing(x, "select 1 / 0", Code::store_error, "22012");
}

CASE(value_in_no_message, "sql.no_value_in_message", "sql", V("execute"), V()) {
  const Table t(x);
  t.fill(1);
  const Reply r =
      x.caller->call("execute", {{"sql", "insert into " + t.name + " (id, v) values (?, ?)"},
                                 {"params", {1, "s3cr3t-value"}}});
  expect(r.message.find("s3cr3t") == std::string::npos,
         "a message shows a parameter: " + r.message);
}

CASE(autocommit_default, "sql.autocommit_default", "sql", V("execute", "query"), V()) {
  const Table t(x);
  t.fill(1);
  auto other = x.target.caller();
  const Reply r = other->call("query", {{"sql", "select count(*) from " + t.name}});
  expect_ok(r, "another caller");
  expect_eq(r.body.at("rows")[0][0], 1, "it sees the row at once");
}

CASE(query_that_writes, "sql.query_that_writes", "sql", V("query", "execute"), V("returning")) {
  const Table t(x);
  const Reply r = query(x, "insert into " + t.name + " (id, v) values (1, 'a') returning id");
  expect_eq(r.body.at("rows"), Json::array({Json::array({1})}),
            "a query may write, with the right to");
  expect_eq(scalar(x, "select count(*) from " + t.name), 1, "once");
}

CASE(read_only_option, "sql.read_only_option", "sql", V("query", "execute"), V()) {
  const Table t(x);
  Options o;
  o.read_only = true;
  expect_ok(x.caller->call("query", {{"sql", "select count(*) from " + t.name}}, o), "reading");
  const Reply r =
      x.caller->call("execute", {{"sql", "insert into " + t.name + " (id, v) values (1, 'a')"}}, o);
  expect(!r.ok(), "a write under read_only must not succeed");
  const Reply q = x.caller->call(
      "query", {{"sql", "insert into " + t.name + " (id, v) values (1, 'a') returning id"}}, o);
  expect(!q.ok(), "nor through query");
  expect_eq(scalar(x, "select count(*) from " + t.name), 0, "nothing was written");
}

CASE(named_statement, "sql.run_named", "sql", V("run"), V("named_statements")) {
  const Reply none = x.caller->call("run", {{"name", "no_such_statement"}});
  expect_code(none, Code::not_found, "an unknown name");
  const Reply r = x.caller->call("run", {{"name", "conformance_add"}, {"params", {2, 3}}});
  expect_ok(r, "conformance_add");
  expect_eq(r.body.at("rows"), Json::array({Json::array({5})}), "2 + 3");
}

CASE(explain, "sql.explain", "sql", V("explain"), V()) {
  const Table t(x);
  const Reply r = x.caller->call(
      "explain",
      {{"verb", "query"},
       {"body", {{"sql", "select * from " + t.name + " where id = ?"}, {"params", {1}}}}});
  expect_ok(r, "explain");
  expect(!r.body.at("plan").is_null(), "a plan");
  const Reply w = x.caller->call(
      "explain", {{"verb", "execute"}, {"body", {{"sql", "delete from " + t.name}}}});
  expect_ok(w, "explain of a write");
}

// A table (JSON rows by column name).
std::vector<Json> listed(Context& x, const char* verb, Json body) {
  const Reply r = x.caller->call(verb, body);
  expect_ok(r, verb);
  std::vector<Json> out;
  for (const Json& row : r.body.at("rows")) {
    Json o = Json::object();
    for (std::size_t i = 0; i < row.size(); ++i)
      o[r.body.at("columns")[i][0].get<std::string>()] = row[i];
    out.push_back(o);
  }
  return out;
}
const Json* by_name(const std::vector<Json>& all, const std::string& name) {
  for (const Json& o : all)
    if (o.at("name") == name) return &o;
  return nullptr;
}

CASE(introspect_tables, "sql.introspect_tables", "sql", V("tables", "execute"), V("introspect")) {
  const Table t(x);
  execute(x, "create view " + x.unique + "_view as select id from " + t.name);
  const auto all = listed(x, "tables", Json::object());
  expect(by_name(all, t.name) != nullptr && by_name(all, t.name)->at("type") == "table",
         "the table");
  expect(by_name(all, x.unique + "_view") != nullptr &&
             by_name(all, x.unique + "_view")->at("type") == "view",
         "the view");
  for (const Json& o : all)
    expect(o.at("name").get<std::string>().rfind("headgate_", 0) != 0,
           "our own tables are not shown");
  execute(x, "drop view " + x.unique + "_view");
}

CASE(introspect_columns, "sql.introspect_columns", "sql", V("columns", "execute"),
     V("introspect")) {
  execute(x, "create table " + x.unique + "_k (a " + type(x, "integer") + " not null, b " +
                 type(x, "text") + " default 'x')");
  const auto all = listed(x, "columns", {{"table", x.unique + "_k"}});
  expect_eq(all.size(), 2, "columns");
  expect_eq(all[0].at("name"), "a", "in their order");
  expect_eq(all[0].at("nullable"), false, "not null");
  expect_eq(all[1].at("nullable"), true, "nullable");
  expect(!all[1].at("default").is_null(), "a default");
}

CASE(introspect_keys, "sql.introspect_keys", "sql", V("keys", "indexes", "execute"),
     V("introspect")) {
  const Table t(x);
  const std::string child = x.unique + "_child";
  execute(x, "create table " + child + " (id " + type(x, "integer") + " primary key, p " +
                 type(x, "integer") + " references " + t.name + "(id))");
  execute(x, "create unique index " + x.unique + "_u on " + child + " (p)");
  std::set<std::string> kinds;
  for (const Json& k : listed(x, "keys", {{"table", child}})) {
    kinds.insert(k.at("kind"));
    if (k.at("kind") == "foreign") {
      expect_eq(k.at("columns"), Json::array({"p"}), "columns");
      expect_eq(k.at("references_table"), t.name, "references_table");
    }
  }
  expect(kinds.count("primary") == 1 && kinds.count("foreign") == 1, "primary and foreign keys");
  const auto indexes = listed(x, "indexes", {{"table", child}});
  const Json* u = by_name(indexes, x.unique + "_u");
  expect(u != nullptr && u->at("unique") == true && u->at("columns") == Json::array({"p"}),
         "the unique index");
}

CASE(introspect_escaping, "sql.introspect_escaping", "sql", V("columns", "execute"),
     V("introspect")) {
  const std::string odd = x.unique + "'; \"odd\" %";
  std::string quoted;
  for (char c : odd) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  execute(x, "create table \"" + quoted + "\" (a " + type(x, "integer") + ")");
  expect_eq(listed(x, "columns", {{"table", odd}}).size(), 1, "an odd name");
  execute(x, "drop table \"" + quoted + "\"");
}

CASE(introspect_not_found, "sql.introspect_not_found", "sql", V("columns", "keys", "indexes"),
     V("introspect")) {
  for (const char* verb : {"columns", "keys", "indexes"})
    expect_code(x.caller->call(verb, {{"table", x.unique + "_none"}}), Code::not_found, verb);
}

}  // namespace
}  // namespace headgate::conformance
