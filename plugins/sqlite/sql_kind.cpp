// SqlKind answers the verbs of a SQL store on SQLite.
//
// Owner:   the SqliteDriver. Threads: route from any, the rest from several workers; constant after
//          construction.
#include "plugins/sdk/catalogue.hpp"
#include "plugins/sdk/sql.hpp"
#include "plugins/sqlite/errors.hpp"
#include "plugins/sqlite/kind.hpp"
#include "plugins/sqlite/sql_bind.hpp"
#include "plugins/sqlite/sql_rows.hpp"
#include "plugins/sqlite/sql_schema.hpp"
#include "plugins/sqlite/verbs.hpp"

namespace headgate::sqlite {
namespace {

sdk::Error read_only() {
  sdk::Error e(sdk::Code::denied, sdk::Outcome::rejected,
               "the statement writes, and this call may only read");
  e.sqlstate = kWritesSqlstate;
  e.vendor_code = SQLITE_READONLY;
  return e;
}

bool writes(const Statement& s) {
  return sqlite3_stmt_readonly(s.raw()) == 0 && sqlite3_stmt_isexplain(s.raw()) == 0;
}

void empty_map(sdk::Sink& sink) {
  proto::Writer w(&sink);
  w.map(0);
  need_room(w, sink);
}

class SqlKind : public Kind {
 public:
  SqlKind(const hg_host* host, const hg_driver_config& config)
      : host_(host), part_max_(config.part_max), catalogue_(sdk::bytes(config.statements)) {}

  void prepare(Database&) override {}  // the tables are the callers'
  sdk::Route route(std::string_view verb, proto::Bytes body, const hg_call& call,
                   const sdk::Touches& touches) override;
  void execute(std::string_view verb, proto::Bytes body, const hg_call& call, Database& db,
               sdk::Sink& sink, sdk::Done& done) override;
  void explain(std::string_view verb, proto::Bytes body, Database& db, sdk::Sink& sink) override;

 private:
  sdk::Route route_run(proto::Bytes body, const hg_call& call, const sdk::Touches& touches);
  void statement(std::string_view sql, proto::Bytes params, const hg_call& call, Database& db,
                 sdk::Sink& sink, sdk::Done& done);
  void run_named(proto::Bytes body, const hg_call& call, Database& db, sdk::Sink& sink,
                 sdk::Done& done);
  void execute_many(proto::Bytes body, Database& db, sdk::Sink& sink, sdk::Done& done);
  void copy_in(proto::Bytes body, const hg_call& call, Database& db, sdk::Sink& sink,
               sdk::Done& done);
  bool introspect(std::string_view verb, proto::Bytes body, Database& db, sdk::Sink& sink);
  const hg_host* host_;
  std::uint64_t part_max_;
  sdk::Catalogue catalogue_;
};

void check_params(const sdk::Fields& f) {
  const proto::Bytes raw = f.raw("params");
  if (raw.empty()) return;
  const proto::Type t = proto::Cursor(raw).peek();
  if (t != proto::Type::array && t != proto::Type::map) throw f.wrong("params", "a list or a map");
}

void check_schema(const sdk::Fields& f) {
  const std::string_view schema = f.opt_str("schema").value_or("main");
  if (schema != "main")
    throw sdk::Error(sdk::Code::not_found, sdk::Outcome::not_sent, "SQLite has one schema: main");
}

sdk::Route SqlKind::route_run(proto::Bytes body, const hg_call& call, const sdk::Touches& touches) {
  sdk::Fields f("run", body, {"name", "params"});
  check_params(f);
  const std::string_view name = f.str("name");
  const bool allowed = touches.touch("run", HG_TOUCH_STATEMENT, proto::bytes_of(name));
  if (!allowed) return {.lane = kReadLane};  // refused by the host; whether it exists is not told
  const sdk::NamedStatement& s = catalogue_.find(name);
  if (s.access == sdk::StatementAccess::write && call.access == HG_ACCESS_READ)
    throw sdk::Error(sdk::Code::denied, sdk::Outcome::not_sent,
                     "statement `" + std::string(name) + "` needs write access");
  return {.lane = s.access == sdk::StatementAccess::write ? kWriteLane : kReadLane,
          .digest = sdk::sql_digest(s.text)};
}

sdk::Route SqlKind::route(std::string_view verb, proto::Bytes body, const hg_call& call,
                          const sdk::Touches& touches) {
  if (verb == "query" || verb == "execute") {
    sdk::Fields f(verb, body, {"sql", "params"});
    check_params(f);
    return {.lane = verb == "query" ? kReadLane : kWriteLane,
            .digest = sdk::sql_digest(f.str("sql"))};
  }
  if (verb == "run") return route_run(body, call, touches);
  if (verb == "execute_many") {
    sdk::Fields f(verb, body, {"sql", "params"});
    proto::Cursor c = f.at("params");
    c.read_array();
    if (!c.ok()) throw f.wrong("params", "a list of parameter sets");
    return {.lane = kWriteLane, .digest = sdk::sql_digest(f.str("sql")) ^ 1};
  }
  if (verb == "copy_in") {
    sdk::Fields f(verb, body, {"table", "columns"});
    touches.touch(verb, HG_TOUCH_TABLE, proto::bytes_of(f.str("table")));
    if ((call.flags & HG_CALL_UPLOAD) == 0)
      throw sdk::invalid("copy_in takes its rows as an upload");
    return {.lane = kWriteLane, .digest = sdk::sql_digest(f.str("table"))};
  }
  if (verb == "copy_out") {
    sdk::Fields f(verb, body, {"table", "columns", "sql", "params"});
    check_params(f);
    if (const auto table = f.opt_str("table"))
      touches.touch(verb, HG_TOUCH_TABLE, proto::bytes_of(*table));
    if ((call.flags & HG_CALL_STREAM) == 0)
      throw sdk::invalid("copy_out is streamed: give `fetch`");
    return {.lane = kReadLane, .digest = sdk::sql_digest(sdk::copy_out_text(f, quoted, quoted))};
  }
  if (verb == "tables") {
    sdk::Fields f(verb, body, {"schema"});
    check_schema(f);
    return {.lane = kReadLane, .idempotent = true, .digest = sdk::sql_digest(verb)};
  }
  if (verb == "columns" || verb == "keys" || verb == "indexes") {
    sdk::Fields f(verb, body, {"table", "schema"});
    touches.touch(verb, HG_TOUCH_TABLE, proto::bytes_of(f.str("table")));
    check_schema(f);
    return {.lane = kReadLane, .idempotent = true, .digest = sdk::sql_digest(verb)};
  }
  throw sdk::unsupported("a sql store on SQLite has no verb `" + std::string(verb.substr(0, 64)) +
                         "`");
}

void SqlKind::statement(std::string_view sql, proto::Bytes params, const hg_call& call,
                        Database& db, sdk::Sink& sink, sdk::Done& done) {
  Statement s = db.prepare(sql, Trust::caller);
  const bool dml = writes(s);
  if (dml && db.mode() == Database::Mode::read) throw read_only();
  Binder binder(s);
  binder.bind(params);
  const std::int64_t before = sqlite3_total_changes64(db.raw());
  if (dml) sqlite3_set_last_insert_rowid(db.raw(), 0);
  RowWriter rows(
      db, s, sink,
      {.fetch = (call.flags & HG_CALL_STREAM) != 0 ? call.fetch : 0, .part_max = part_max_});
  rows.run();
  if (!dml) return;
  done.rows_affected = sqlite3_total_changes64(db.raw()) == before ? 0 : db.changes();
  if (db.last_id() != 0) done.last_id = db.last_id();
}

void SqlKind::run_named(proto::Bytes body, const hg_call& call, Database& db, sdk::Sink& sink,
                        sdk::Done& done) {
  sdk::Fields f("run", body, {"name", "params"});
  const sdk::NamedStatement& named = catalogue_.find(f.str("name"));
  if (named.access == sdk::StatementAccess::read && writes(db.prepare(named.text, Trust::caller)))
    throw sdk::Error(
        sdk::Code::denied, sdk::Outcome::rejected,
        "statement `" + std::string(f.str("name")) + "` is declared `access: read` and writes");
  statement(named.text, f.raw("params"), call, db, sink, done);
}

void SqlKind::execute_many(proto::Bytes body, Database& db, sdk::Sink& sink, sdk::Done& done) {
  sdk::Fields f("execute_many", body, {"sql", "params"});
  Statement s = db.prepare(f.str("sql"), Trust::caller);
  if (db.mode() == Database::Mode::read) throw read_only();
  if (sqlite3_column_count(s.raw()) > 0)
    throw sdk::Error(sdk::Code::invalid, sdk::Outcome::rejected,
                     "execute_many takes no statement that returns rows");
  Binder binder(s);
  proto::Cursor sets = f.at("params");
  const std::uint32_t n = sets.read_array();
  const std::int64_t start = sqlite3_total_changes64(db.raw());
  std::int64_t total = 0;
  std::int64_t before = start;
  for (std::uint32_t i = 0; i < n; ++i) {
    const proto::Bytes set = sets.skip();
    try {
      binder.bind(set, "set " + std::to_string(i) + ": ");
      s.run();
    } catch (sdk::Error& e) {
      if (!e.message.starts_with("set ")) e.message = "set " + std::to_string(i) + ": " + e.message;
      throw;
    }
    s.reset();
    const std::int64_t now = sqlite3_total_changes64(db.raw());
    if (now != before) total += db.changes();
    before = now;
  }
  done.rows_affected = total;
  proto::Writer w(&sink);
  write_no_result(w);
  need_room(w, sink);
}

void SqlKind::copy_in(proto::Bytes body, const hg_call& call, Database& db, sdk::Sink& sink,
                      sdk::Done& done) {
  sdk::Fields f("copy_in", body, {"table", "columns"});
  const std::string_view table = f.str("table");
  std::vector<std::string> names;
  if (f.raw("columns").empty()) {
    names = insertable_columns(db, table);
  } else {
    proto::Cursor c = f.at("columns");
    for (std::uint32_t n = c.read_array(); n > 0 && c.ok(); --n) names.emplace_back(c.read_str());
    if (!c.ok() || names.empty()) throw f.wrong("columns", "a list of names");
  }
  std::string text = "INSERT INTO " + quoted(table) + " (";
  std::string marks;
  for (const std::string& name : names) {
    text += (marks.empty() ? "" : ", ") + quoted(name);
    marks += marks.empty() ? "?" : ", ?";
  }
  Statement s = db.prepare(text + ") VALUES (" + marks + ")", Trust::caller);
  if (db.mode() == Database::Mode::read) throw read_only();
  Binder binder(s);
  const auto width = static_cast<std::uint32_t>(names.size());
  std::int64_t rows = 0;
  for (;;) {
    hg_bytes piece{};
    const int got = host_->take(host_, call.op, &piece);
    if (got == HG_TAKE_END) break;
    if (got != HG_TAKE_DATA)
      throw sdk::Error(sdk::Code::cancelled, sdk::Outcome::rolled_back, "the upload was given up");
    proto::Cursor c(sdk::bytes(piece));
    const std::uint32_t n = c.read_array();
    if (!c.ok())
      throw sdk::Error(sdk::Code::invalid, sdk::Outcome::rejected,
                       "copy_in: a piece must be a list of rows");
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::string where = "row " + std::to_string(rows + 1) + ": ";
      const std::uint32_t fields = c.peek() == proto::Type::array ? c.read_array() : width + 1;
      if (fields != width)
        throw sdk::Error(sdk::Code::invalid, sdk::Outcome::rejected,
                         where + "must be a list of " + std::to_string(width) + " values");
      try {
        binder.bind_row(c, static_cast<int>(width), where);
        s.run();
      } catch (sdk::Error& e) {
        if (!e.message.starts_with("row ")) e.message = where + e.message;
        throw;
      }
      s.reset();
      ++rows;
    }
  }
  done.rows_affected = rows;
  empty_map(sink);
}

bool SqlKind::introspect(std::string_view verb, proto::Bytes body, Database& db, sdk::Sink& sink) {
  if (verb == "tables") {
    write_tables(db, sink);
    return true;
  }
  if (verb != "columns" && verb != "keys" && verb != "indexes") return false;
  sdk::Fields f(verb, body, {"table", "schema"});
  const std::string_view table = f.str("table");
  if (verb == "columns")
    write_columns(db, table, sink);
  else if (verb == "keys")
    write_keys(db, table, sink);
  else
    write_indexes(db, table, sink);
  return true;
}

void SqlKind::execute(std::string_view verb, proto::Bytes body, const hg_call& call, Database& db,
                      sdk::Sink& sink, sdk::Done& done) {
  if (verb == "query" || verb == "execute") {
    sdk::Fields f(verb, body, {"sql", "params"});
    return statement(f.str("sql"), f.raw("params"), call, db, sink, done);
  }
  if (verb == "run") return run_named(body, call, db, sink, done);
  if (verb == "execute_many") return execute_many(body, db, sink, done);
  if (verb == "copy_in") return copy_in(body, call, db, sink, done);
  if (verb == "copy_out") {
    sdk::Fields f(verb, body, {"table", "columns", "sql", "params"});
    const std::string text = sdk::copy_out_text(f, quoted, quoted);
    return statement(text, f.raw("params"), call, db, sink, done);
  }
  if (introspect(verb, body, db, sink)) return;
  throw sdk::unsupported("a sql store on SQLite has no verb `" + std::string(verb.substr(0, 64)) +
                         "`");
}

// SQLite's own plan: [{id, parent, detail}, ...].
void SqlKind::explain(std::string_view verb, proto::Bytes body, Database& db, sdk::Sink& sink) {
  std::string text;
  if (verb == "query" || verb == "execute" || verb == "execute_many") {
    text = sdk::Fields(verb, body, {"sql", "params"}).str("sql");
  } else if (verb == "run") {
    text = catalogue_.find(sdk::Fields(verb, body, {"name", "params"}).str("name")).text;
  } else if (verb == "copy_out") {
    text = sdk::copy_out_text(sdk::Fields(verb, body, {"table", "columns", "sql", "params"}),
                              quoted, quoted);
  } else {
    throw sdk::Error(sdk::Code::unsupported, sdk::Outcome::rejected,
                     "explain: " + std::string(verb) + " has no plan");
  }
  static_cast<void>(db.prepare(text, Trust::caller));  // its faults count the caller's own bytes
  Statement s = db.prepare("EXPLAIN QUERY PLAN " + text, Trust::caller);
  proto::Writer w(&sink);
  const std::uint64_t at = sink.offset();
  w.array32(0);
  std::uint32_t n = 0;
  for (; s.step(); ++n) {
    w.map(3);
    w.str("id");
    w.sint(s.integer(0));
    w.str("parent");
    w.sint(s.integer(1));
    w.str("detail");
    w.str(s.text(3));
  }
  need_room(w, sink);
  sink.patch_array32(at, n);
}

}  // namespace

std::unique_ptr<Kind> make_sql_kind(const hg_host* host, const hg_driver_config& config) {
  return std::make_unique<SqlKind>(host, config);
}

}  // namespace headgate::sqlite
