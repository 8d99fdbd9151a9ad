// ping, explain and batch; the rest is the kind's.
#include "plugins/sqlite/verbs.hpp"

#include <map>
#include <utility>

#include "plugins/sdk/recorder.hpp"
#include "plugins/sqlite/errors.hpp"
#include "plugins/sqlite/sql_rows.hpp"

namespace headgate::sqlite {
namespace {

struct ItemResult {
  sdk::Done done;
  std::optional<sdk::Error> error;
  bool partial = false;
};

void write_item(proto::Writer& w, const ItemResult& r, proto::Bytes body) {
  w.array(3);
  w.uint(r.error ? static_cast<std::uint64_t>(r.error->code) : 0);
  const std::uint32_t fields = 1 + (r.error ? 1 : 0) +
                               (r.error && !r.error->sqlstate.empty() ? 1 : 0) +
                               (r.error && r.error->vendor_code != 0 ? 1 : 0) +
                               (r.done.rows_affected ? 1 : 0) + (r.done.last_id ? 1 : 0);
  w.map(fields);
  w.str("outcome");
  w.uint(
      static_cast<std::uint64_t>(r.error && !r.partial ? r.error->outcome : sdk::Outcome::applied));
  if (r.error) {
    w.str("message");
    std::string_view m = r.error->message;
    if (m.size() > proto::kMessageTextMax) m = m.substr(0, proto::kMessageTextMax);
    while (!proto::valid_utf8(m)) m.remove_suffix(1);
    w.str(m);
    if (!r.error->sqlstate.empty()) {
      w.str("sqlstate");
      w.str(r.error->sqlstate);
    }
    if (r.error->vendor_code != 0) {
      w.str("vendor_code");
      w.sint(r.error->vendor_code);
    }
  }
  if (r.done.rows_affected) {
    w.str("rows_affected");
    w.sint(*r.done.rows_affected);
  }
  if (r.done.last_id) {
    w.str("last_id");
    w.sint(*r.done.last_id);
  }
  body.empty() || (r.error && !r.partial) ? w.nil() : w.raw(body);
}

// INSERT OR ROLLBACK, ON CONFLICT ROLLBACK, RAISE(ROLLBACK): a constraint that took the whole
// transaction with it. Nothing else is wrong.
bool rolled_back_by_constraint(const sdk::Error& e, const Database& db) {
  return !db.in_transaction() && (e.vendor_code & 0xff) == SQLITE_CONSTRAINT;
}

// Runs an item; throws only what ends the whole batch.
ItemResult run_item(SqliteDriver& driver, std::string_view verb, proto::Bytes body,
                    const hg_call& call, Database& db, sdk::Recorder& recorder, bool savepoint,
                    bool leased) {
  ItemResult r;
  hg_call item = call;
  item.verb = sdk::lend(verb);
  item.body = sdk::lend(body);
  item.key = {};
  sdk::Sink sink(recorder.host(), call.op);
  if (savepoint) db.exec("SAVEPOINT headgate_item");
  try {
    execute_call(driver, item, db, sink, r.done, true);
    sink.commit();
    if (savepoint && !leased && has_open_foreign_key(db)) throw open_foreign_key();
  } catch (const PartialFailure& e) {
    sink.commit();
    r.error = e;
    r.partial = true;
  } catch (...) {
    r.error = current_error();
  }
  if (r.error && !leased && rolled_back_by_constraint(*r.error, db)) {
    r.error->outcome = sdk::Outcome::rolled_back;
    r.done = {};
    return r;
  }
  const bool gone = !db.in_transaction();
  const bool reroute =
      db.mode() == Database::Mode::read && r.error && r.error->sqlstate == kWritesSqlstate;
  if (r.error && (gone || reroute || db.stopped() != Database::Stop::none)) throw *r.error;
  if (r.error && !r.partial) {
    r.done = {};
    recorder.clear();
    if (savepoint) db.exec("ROLLBACK TO headgate_item");
  }
  if (savepoint) db.exec("RELEASE headgate_item");
  return r;
}

void execute_batch(SqliteDriver& driver, const hg_call& call, Database& db, sdk::Sink& sink,
                   sdk::Done& done, bool leased) {
  sdk::Fields fields("batch", sdk::bytes(call.body), {"atomic", "items"});
  const bool atomic = fields.flag("atomic", true);
  const bool writes = db.mode() == Database::Mode::write;
  proto::Cursor items = fields.at("items");
  const std::uint32_t n = items.read_array();
  sdk::Recorder recorder(driver.host(), driver.reply_max());
  proto::Writer w(&sink);
  if (writes && atomic) db.exec("SAVEPOINT headgate_batch");
  w.array(n);
  std::map<std::uint32_t, ItemResult> failed;  // by the item's index
  std::optional<std::uint32_t> ended_at;       // the failure that ended the batch
  std::int64_t rows = 0;
  for (std::uint32_t i = 0; i < n && !ended_at; ++i) {
    items.read_array();
    const std::string_view verb = items.read_str();
    const proto::Bytes body = items.skip();
    recorder.clear();
    ItemResult r = run_item(driver, verb, body, call, db, recorder, writes && !atomic, leased);
    rows += r.done.rows_affected.value_or(0);
    // Where the transaction is gone, an independent batch ends as an atomic one does.
    if (r.error && (atomic || (writes && !db.in_transaction()))) {
      ended_at = i;
    } else {
      write_item(w, r, recorder.reply());
      need_room(w, sink);
    }
    if (r.error) failed.emplace(i, std::move(r));
  }
  if (!ended_at) {  // only then rows_affected is given
    if (writes && atomic) db.exec("RELEASE headgate_batch");
    done.rows_affected = rows;
    return;
  }
  if (writes && db.in_transaction()) {
    db.exec("ROLLBACK TO headgate_batch");
    db.exec("RELEASE headgate_batch");
  }
  sink.rewind();
  proto::Writer again(&sink);
  again.array(n);
  const std::string because =
      "item " + std::to_string(*ended_at) +
      (atomic ? " of the atomic batch failed" : " of the batch rolled the whole batch back");
  for (std::uint32_t i = 0; i < n; ++i) {
    ItemResult& r = failed[i];
    if (!r.error)
      r.error.emplace(sdk::Code::transaction_aborted,
                      i < *ended_at ? sdk::Outcome::rolled_back : sdk::Outcome::rejected, because);
    if (std::exchange(r.partial, false))
      r.error->outcome = sdk::Outcome::rolled_back;  // what it had kept went with the batch
    write_item(again, r, {});
  }
  need_room(again, sink);
}

}  // namespace

sdk::Error current_error() {
  try {
    throw;
  } catch (const sdk::Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return {sdk::Code::internal, sdk::Outcome::rejected, "out of memory in the plugin"};
  } catch (const std::exception& e) {
    return {sdk::Code::internal, sdk::Outcome::rejected,
            std::string("the plugin failed: ") + e.what()};
  } catch (...) {
    return {sdk::Code::internal, sdk::Outcome::rejected,
            "the plugin threw something that is no exception"};
  }
}

bool has_open_foreign_key(Database& db) {
  int open = 0;
  int unused = 0;
  sqlite3_db_status(db.raw(), SQLITE_DBSTATUS_DEFERRED_FKS, &open, &unused, 0);
  return open > 0;
}

sdk::Error open_foreign_key() {
  return error_from(SQLITE_CONSTRAINT_FOREIGNKEY,
                    "a deferred FOREIGN KEY constraint is not satisfied");
}

std::string quoted(std::string_view name) {
  std::string out = "\"";
  for (const char c : name) {
    if (c == '\0') throw sdk::invalid("a name holds a NUL");
    if (c == '"') out += '"';
    out += c;
  }
  return out + "\"";
}

void execute_call(SqliteDriver& driver, const hg_call& call, Database& db, sdk::Sink& sink,
                  sdk::Done& done, bool leased) {
  const std::string_view verb = sdk::text(call.verb);
  const proto::Bytes body = sdk::bytes(call.body);
  if (verb == "batch") return execute_batch(driver, call, db, sink, done, leased);
  proto::Writer w(&sink);
  if (verb == "ping") {
    Statement s = db.prepare("SELECT 1 FROM sqlite_schema LIMIT 1");
    s.step();
    w.map(0);
  } else if (verb == "explain") {
    sdk::Fields fields(verb, body, {"verb", "body"});
    w.map(1);
    w.str("plan");
    need_room(w, sink);
    driver.kind().explain(fields.str("verb"), fields.raw("body"), db, sink);
  } else {
    driver.kind().execute(verb, body, call, db, sink, done);
  }
  need_room(w, sink);
}

void tell_committed(Kind& kind, const hg_call& call) {
  const std::string_view verb = sdk::text(call.verb);
  if (verb != "batch") return kind.committed(verb, sdk::bytes(call.body));
  sdk::Fields fields("batch", sdk::bytes(call.body), {"atomic", "items"});
  proto::Cursor items = fields.at("items");
  for (std::uint32_t n = items.read_array(); n > 0 && items.ok(); --n) {
    items.read_array();
    const std::string_view inner = items.read_str();
    const proto::Bytes inner_body = items.skip();
    if (items.ok()) kind.committed(inner, inner_body);
  }
}

}  // namespace headgate::sqlite
