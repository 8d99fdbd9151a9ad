// Serving reads; see read_connection.hpp.
#include "plugins/sqlite/read_connection.hpp"

#include "plugins/sqlite/backup.hpp"
#include "plugins/sqlite/verbs.hpp"

namespace headgate::sqlite {

ReadConnection::ReadConnection(SqliteDriver& driver, bool read_access)
    : driver_(driver),
      db_(driver.host(), driver.options().path, Database::Mode::read, driver.options()),
      read_access_(read_access) {}

void ReadConnection::submit(const hg_call* const* calls, std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i) serve(*calls[i]);
}

void ReadConnection::begin() {
  if (db_.has_moved()) throw db_.moved_error(sdk::Outcome::not_sent);
  driver_.pass_gate();
  db_.exec("BEGIN");
}

void ReadConnection::end() {
  if (!db_.in_transaction()) return;
  try {
    db_.exec("ROLLBACK");        // through the cache: the authorizer denies a text that is not ours
  } catch (const sdk::Error&) {  // the next BEGIN will say so
  }
}

void ReadConnection::set_leased(bool leased) {
  if (leased != leased_) driver_.count_long_reader(leased ? 1 : -1);
  leased_ = leased;
}

void ReadConnection::serve(const hg_call& call) {
  sdk::Sink sink(driver_.host(), call.op);
  sdk::Done done;
  std::optional<sdk::Error> error;
  const std::uint64_t started = driver_.now();
  // Others stand behind a call that is not alone: it has little time, then it comes again alone.
  const bool shared = (call.flags & HG_CALL_ALONE) == 0;
  std::uint64_t until = call.work_until_us;
  if (shared && (until == 0 || started + QuickReads::kMaxUs < until))
    until = started + QuickReads::kMaxUs;
  try {
    if (call.work_until_us != 0 && started >= call.work_until_us)
      throw sdk::Error(sdk::Code::deadline, sdk::Outcome::not_sent,
                       "the deadline passed before the call's turn");
    if (call.lease != 0 && !leased_)
      throw sdk::Error(sdk::Code::transaction_expired, sdk::Outcome::rolled_back,
                       "this transaction is over");
    transact(call, until, sink, done);
    sink.commit();
  } catch (...) {
    error = current_error();
  }
  if (!leased_) end();
  if (error) {
    done = {};
    if (db_.stopped() != Database::Stop::none) error->outcome = sdk::Outcome::rolled_back;
    const bool may_write = !read_access_ && !leased_ && call.access != HG_ACCESS_READ &&
                           (call.flags & HG_CALL_READ_ONLY) == 0;
    if (error->sqlstate == kWritesSqlstate && may_write) error->retry = HG_RETRY_REROUTE;
    if (db_.stopped() == Database::Stop::late && until != call.work_until_us) {
      error->outcome = sdk::Outcome::rejected;
      error->retry = HG_RETRY_REROUTE;
    }
    const int rc = error->vendor_code & 0xff;
    if (db_.has_moved() || rc == SQLITE_IOERR || rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB ||
        rc == SQLITE_CANTOPEN)
      done.connection = HG_CONN_BROKEN;
    if (leased_ && !db_.in_transaction()) set_leased(false);
  }
  if (shared || !error) driver_.quick_reads().note(call.tag, driver_.now() - started);
  done.lease = leased_ ? HG_LEASE_OPEN : HG_LEASE_NONE;
  sdk::complete(driver_.host(), call.op, done, error ? &*error : nullptr);
}

// The transaction's verbs, or a call of its own.
void ReadConnection::transact(const hg_call& call, std::uint64_t until, sdk::Sink& sink,
                              sdk::Done& done) {
  const std::string_view verb = sdk::text(call.verb);
  proto::Writer w(&sink);
  if (verb == "begin") {
    begin();
    Statement s = db_.prepare("SELECT 1 FROM sqlite_schema LIMIT 1");  // the snapshot is taken now
    s.step();
    set_leased(true);
    w.map(0);
  } else if (verb == "commit" || verb == "rollback") {
    set_leased(false);
    w.map(0);
  } else if (verb == "savepoint" || verb == "release" || verb == "rollback_to") {
    sdk::Fields fields(verb, sdk::bytes(call.body), {"name"});
    const char* what = verb == "savepoint" ? "SAVEPOINT "
                       : verb == "release" ? "RELEASE "
                                           : "ROLLBACK TO ";
    db_.exec(what + quoted("s_" + std::string(fields.str("name"))));
    w.map(0);
  } else {
    if (!leased_) begin();
    const int stream = (call.flags & HG_CALL_STREAM) != 0 && !leased_ ? 1 : 0;
    driver_.count_long_reader(stream);
    db_.begin_op(call.op, until);
    try {
      run(call, sink, done);
    } catch (...) {
      db_.end_op();
      driver_.count_long_reader(-stream);
      throw;
    }
    db_.end_op();
    driver_.count_long_reader(-stream);
  }
}

void ReadConnection::run(const hg_call& call, sdk::Sink& sink, sdk::Done& done) {
  if (sdk::text(call.verb) == "backup")
    run_backup(driver_, call, db_, sink);
  else
    execute_call(driver_, call, db_, sink, done, leased_);
}

void ReadConnection::reset(hg_op op) {
  end();
  set_leased(false);
  sdk::complete(driver_.host(), op, {});
}

void ReadConnection::ping(hg_op op) {
  std::optional<sdk::Error> failed;
  try {
    Statement s = db_.prepare("SELECT 1 FROM sqlite_schema LIMIT 1");
    s.step();
  } catch (const sdk::Error& e) {
    failed = e;
  }
  sdk::complete(driver_.host(), op, {.connection = failed ? HG_CONN_BROKEN : HG_CONN_CLEAN},
                failed ? &*failed : nullptr);
}

}  // namespace headgate::sqlite
