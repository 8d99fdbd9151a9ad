// What the SQL cases share: statements in one line, a table of their own, type names by quirk.
#pragma once
#include <limits>
#include <string>

#include "tests/conformance/case.hpp"

namespace headgate::conformance {

inline std::string type(Context& x, const char* quirk) {
  return x.quirks.value(quirk, std::string(quirk));
}

inline Reply query(Context& x, const std::string& sql, const Json& params = nullptr,
                   const Options& o = {}) {
  Json body = {{"sql", sql}};
  if (!params.is_null()) body["params"] = params;
  Reply r = x.caller->call("query", body, o);
  expect_ok(r, sql.c_str());
  return r;
}
inline Reply execute(Context& x, const std::string& sql, const Json& params = nullptr,
                     const Options& o = {}) {
  Json body = {{"sql", sql}};
  if (!params.is_null()) body["params"] = params;
  Reply r = x.caller->call("execute", body, o);
  expect_ok(r, sql.c_str());
  return r;
}
inline Json rows(Context& x, const std::string& sql, const Json& params = nullptr) {
  return query(x, sql, params).body.at("rows");
}
inline Json scalar(Context& x, const std::string& sql, const Json& params = nullptr) {
  const Json r = rows(x, sql, params);
  if (r.size() != 1 || r[0].size() != 1)
    throw Failure(sql + ": expected one value, got " + show(r));
  return r[0][0];
}
// A cast, for stores that must know a parameter's type (quirk `cast`: "cast({} as {})" or "{}").
inline std::string cast(Context& x, const std::string& e, const char* quirk) {
  return "cast(" + e + " as " + type(x, quirk) + ")";
}
inline Json echo(Context& x, const Json& v, const char* quirk) {
  return scalar(x, "select " + cast(x, "?", quirk), Json::array({v}));
}

// A table (id integer primary key, v text), dropped at the end.
struct Table {
  explicit Table(Context& context) : x(context), name(context.unique + "_table") {
    execute(x, "create table " + name + " (id " + type(x, "integer") + " primary key, v " +
                   type(x, "text") + ")" + x.quirks.value("strict", ""));
  }
  ~Table() { x.target.caller()->call("execute", {{"sql", "drop table if exists " + name}}); }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  void fill(int n) const {
    Json sets = Json::array();
    for (int i = 1; i <= n; ++i) sets.push_back({i, "v" + std::to_string(i)});
    expect_ok(
        x.caller->call("execute_many", {{"sql", "insert into " + name + " (id, v) values (?, ?)"},
                                        {"params", sets}}),
        "fill");
  }
  Context& x;
  std::string name;
};

}  // namespace headgate::conformance
