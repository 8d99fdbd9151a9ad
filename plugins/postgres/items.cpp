// The bodies of the verbs that are one statement, and the catalogue's queries.
#include "plugins/postgres/items.hpp"

#include "plugins/postgres/driver.hpp"
#include "plugins/sdk/sql.hpp"

namespace headgate::postgres {
namespace {

// The relation that $1 (and the schema $2) names; an error 42P01 when there is none.
#define HG_RELATION                                                                  \
  "(CASE WHEN $2::text IS NULL THEN quote_ident($1) ELSE quote_ident($2) || '.' || " \
  "quote_ident($1) END)::pg_catalog.regclass"

constexpr std::string_view kTables =
    "SELECT n.nspname::text AS schema, c.relname::text AS name, CASE WHEN c.relkind IN ('v', 'm') "
    "THEN 'view' ELSE 'table' END AS type FROM pg_catalog.pg_class c JOIN "
    "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', "
    "'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ "
    "'^pg_(toast|temp)' AND c.relname NOT LIKE 'headgate\\_%' AND ($1::text IS NULL OR n.nspname "
    "= $1) ORDER BY 1, 2";

constexpr std::string_view kColumns =
    "SELECT a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type, NOT "
    "a.attnotnull AS nullable, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS \"default\", "
    "a.attnum::int AS position FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON "
    "d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = " HG_RELATION
    " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

constexpr std::string_view kKeys =
    "SELECT c.conname::text AS name, CASE c.contype WHEN 'p' THEN 'primary' WHEN 'u' THEN 'unique' "
    "ELSE 'foreign' END AS kind, ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH "
    "ORDINALITY k(n, i) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = "
    "k.n ORDER BY k.i) AS columns, (SELECT r.relname::text FROM pg_catalog.pg_class r WHERE r.oid "
    "= c.confrelid) AS references_table, CASE WHEN c.contype = 'f' THEN ARRAY(SELECT "
    "a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(n, i) JOIN pg_catalog.pg_attribute a "
    "ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY k.i) END AS references_columns FROM "
    "pg_catalog.pg_constraint c WHERE c.contype IN ('p', 'u', 'f') AND c.conrelid = " HG_RELATION
    " ORDER BY array_position(ARRAY['p', 'u', 'f'], c.contype::text), 1";

constexpr std::string_view kIndexes =
    "SELECT r.relname::text AS name, i.indisunique AS \"unique\", ARRAY(SELECT "
    "pg_catalog.pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts) k "
    "ORDER BY k) AS columns, pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS \"where\" FROM "
    "pg_catalog.pg_index i JOIN pg_catalog.pg_class r ON r.oid = i.indexrelid WHERE i.indrelid "
    "= " HG_RELATION " ORDER BY 1";

#undef HG_RELATION

bool is_map(proto::Bytes params) {
  return !params.empty() && proto::Cursor(params).peek() == proto::Type::map;
}

proto::Bytes read_params(const sdk::Fields& f) {
  const proto::Bytes raw = f.raw("params");
  if (raw.empty()) return raw;
  const proto::Type t = proto::Cursor(raw).peek();
  if (t != proto::Type::array && t != proto::Type::map) throw f.wrong("params", "a list or a map");
  return raw;
}

Item read_run(PostgresDriver& driver, proto::Bytes body, const hg_call& call,
              const sdk::Touches* touches) {
  const sdk::Fields f("run", body, {"name", "params"});
  Item out;
  out.params = read_params(f);
  const std::string_view name = f.str("name");
  // Whether it exists is told only to who may use it.
  if (touches != nullptr && !touches->touch("run", HG_TOUCH_STATEMENT, proto::bytes_of(name)))
    throw sdk::Error(sdk::Code::denied, sdk::Outcome::not_sent, "the statement is not granted");
  const sdk::NamedStatement& s = driver.catalogue().find(name);
  if (s.access == sdk::StatementAccess::write && call.access == HG_ACCESS_READ)
    throw sdk::Error(sdk::Code::denied, sdk::Outcome::not_sent,
                     "statement `" + std::string(name) + "` needs write access");
  out.statement = driver.statements().find(s.text, is_map(out.params));
  out.declared_shared = s.shared;
  out.declared_read = s.access == sdk::StatementAccess::read;
  return out;
}

// Our own query with one or two texts.
Item catalogue_query(PostgresDriver& driver, std::string_view sql,
                     std::optional<std::string_view> first, std::optional<std::string_view> second,
                     std::uint32_t n) {
  Item out;
  out.statement = driver.statements().find(sql, false);
  out.idempotent = true;
  proto::VectorOut params(64);
  proto::Writer w(&params);
  w.array(n);
  const auto put = [&w](std::optional<std::string_view> s) { s ? w.str(*s) : w.nil(); };
  put(first);
  if (n > 1) put(second);
  out.own.assign(params.view().begin(), params.view().end());
  out.params = out.own;
  return out;
}

Item read_explain(PostgresDriver& driver, proto::Bytes body, const hg_call& call,
                  const sdk::Touches* touches) {
  const sdk::Fields f("explain", body, {"verb", "body"});
  const std::string_view verb = f.str("verb");
  const proto::Bytes inner = f.raw("body");
  if (inner.empty()) throw f.wrong("body", "the verb's body");
  if (touches != nullptr) touches->touch(verb, HG_TOUCH_VERB, proto::bytes_of(verb));
  std::string text;
  proto::Bytes params;
  if (verb == "query" || verb == "execute") {
    const sdk::Fields i(verb, inner, {"sql", "params"});
    params = read_params(i);
    text = i.str("sql");
  } else if (verb == "execute_many") {
    const sdk::Fields i(verb, inner, {"sql", "params"});
    proto::Cursor sets = i.at("params");
    if (sets.read_array() > 0) params = sets.skip();
    if (!sets.ok()) throw i.wrong("params", "a list of parameter sets");
    text = i.str("sql");
  } else if (verb == "run") {
    params = read_params(sdk::Fields(verb, inner, {"name", "params"}));
    text = read_run(driver, inner, call, touches).statement->source;
  } else if (verb == "copy_out") {
    const sdk::Fields i(verb, inner, {"table", "columns", "sql", "params"});
    params = read_params(i);
    text = sdk::copy_out_text(i, quoted, quoted_table);
  } else {
    throw sdk::unsupported("explain: " + std::string(verb.substr(0, 64)) + " has no plan");
  }
  driver.statements().find(text, is_map(params));  // what is refused alone has no plan either
  Item out;
  out.params = params;
  out.statement = driver.statements().find("EXPLAIN (FORMAT JSON) " + text, is_map(params));
  out.idempotent = true;
  out.plan = true;
  return out;
}

}  // namespace

bool is_single(std::string_view verb) {
  for (const std::string_view v :
       {"query", "execute", "run", "copy_out", "explain", "tables", "columns", "keys", "indexes"})
    if (verb == v) return true;
  return false;
}

std::string quoted(std::string_view name) {
  if (name.empty() || name.find('\0') != std::string_view::npos)
    throw sdk::invalid("a name is empty or holds a NUL");
  std::string out = "\"";
  for (const char c : name) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

std::string quoted_table(std::string_view table) {
  const std::size_t dot = table.find('.');
  if (dot == std::string_view::npos) return quoted(table);
  return quoted(table.substr(0, dot)) + "." + quoted(table.substr(dot + 1));
}

Item read_item(PostgresDriver& driver, std::string_view verb, proto::Bytes body,
               const hg_call& call, const sdk::Touches* touches) {
  if (verb == "query" || verb == "execute") {
    const sdk::Fields f(verb, body, {"sql", "params"});
    Item out;
    out.params = read_params(f);
    out.statement = driver.statements().find(f.str("sql"), is_map(out.params));
    return out;
  }
  if (verb == "run") return read_run(driver, body, call, touches);
  if (verb == "copy_out") {
    const sdk::Fields f(verb, body, {"table", "columns", "sql", "params"});
    Item out;
    out.params = read_params(f);
    if (const auto table = f.opt_str("table"); table && touches != nullptr)
      touches->touch(verb, HG_TOUCH_TABLE, proto::bytes_of(*table));
    const std::string text = sdk::copy_out_text(f, quoted, quoted_table);
    out.statement = driver.statements().find(text, is_map(out.params));
    return out;
  }
  if (verb == "explain") return read_explain(driver, body, call, touches);
  if (verb == "tables") {
    const sdk::Fields f(verb, body, {"schema"});
    return catalogue_query(driver, kTables, f.opt_str("schema"), {}, 1);
  }
  if (verb == "columns" || verb == "keys" || verb == "indexes") {
    const sdk::Fields f(verb, body, {"table", "schema"});
    const std::string_view table = f.str("table");
    if (touches != nullptr) touches->touch(verb, HG_TOUCH_TABLE, proto::bytes_of(table));
    return catalogue_query(driver,
                           verb == "columns" ? kColumns
                           : verb == "keys"  ? kKeys
                                             : kIndexes,
                           table, f.opt_str("schema"), 2);
  }
  throw sdk::unsupported("a sql store on PostgreSQL has no verb `" +
                         std::string(verb.substr(0, 64)) + "`");
}

}  // namespace headgate::postgres
