// A caller's transaction on the writer: begin ... commit, with a savepoint around each call so
// that a call with several statements is undone as a whole.
#include "plugins/sqlite/errors.hpp"
#include "plugins/sqlite/verbs.hpp"
#include "plugins/sqlite/write_connection.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::uint64_t kPingWaitUs = 50'000;  // housekeeping gives way to another process

void empty_map(sdk::Sink& sink) {
  proto::Writer w(&sink);
  w.map(0);
}

}  // namespace

void WriteConnection::begin_transaction(Member& m) {
  if (expired(m)) return finish(m);
  if (transaction_ != Transaction::none) {
    m.error.emplace(sdk::Code::conflict, sdk::Outcome::not_sent,
                    "another transaction owns the writer");
    m.error->retry = HG_RETRY_BACKOFF;
    m.done.lease = HG_LEASE_NONE;
    return finish(m);
  }
  if (auto error = begin(m.call->op, m.call->work_until_us)) {
    m.error = error;
    return finish(m);
  }
  transaction_ = Transaction::open;
  m.done.lease = HG_LEASE_OPEN;
  empty_map(m.sink);
  finish(m);
}

void WriteConnection::in_transaction(Member& m) {
  const std::string_view verb = sdk::text(m.call->verb);
  if (verb == "rollback") return end_transaction(m, false);
  if (verb == "commit") return end_transaction(m, true);
  if (transaction_ == Transaction::failed) {
    m.error.emplace(sdk::Code::transaction_aborted, sdk::Outcome::rejected,
                    "the transaction was rolled back by the store: end it with `rollback`");
    m.error->sqlstate = "25P02";
    m.done.lease = HG_LEASE_FAILED;
    return finish(m);
  }
  if (verb == "savepoint" || verb == "release" || verb == "rollback_to") {
    savepoint(m, verb);
  } else if (!expired(m)) {
    bool kept = true;
    try {
      db_.exec("SAVEPOINT headgate_call");
      db_.begin_op(m.call->op, m.call->work_until_us);
      try {
        execute(m, true);
      } catch (const PartialFailure& e) {
        m.error = e;
        m.partial = true;
      } catch (...) {
        m.error = current_error();
      }
      db_.end_op();
      // One that ran out of time, or was given up, ends the transaction, as PROTOCOL.md has it:
      // the caller may not know how far it came.
      kept = db_.in_transaction() && db_.stopped() == Database::Stop::none && undo_call(m);
    } catch (const sdk::Error& e) {
      m.error = e;
    }
    if (!kept) rollback();
  }
  if (!db_.in_transaction()) {
    transaction_ = Transaction::failed;
    if (!m.error)
      m.error.emplace(sdk::Code::internal, sdk::Outcome::rolled_back, "the transaction was lost");
    m.error->outcome = sdk::Outcome::rolled_back;
    m.error->retry = HG_RETRY_NEVER;
    m.sink.rewind();
    m.partial = false;
    m.done = {};
  }
  m.done.lease = transaction_ == Transaction::failed ? HG_LEASE_FAILED : HG_LEASE_OPEN;
  finish(m);
}

void WriteConnection::end_transaction(Member& m, bool keep) {
  const bool failed = transaction_ == Transaction::failed;
  transaction_ = Transaction::none;
  m.done.lease = HG_LEASE_NONE;
  if (keep && failed) {
    m.error.emplace(sdk::Code::transaction_aborted, sdk::Outcome::rolled_back,
                    "nothing is committed: the store had rolled the transaction back");
    m.error->sqlstate = "25P02";
    return finish(m);
  }
  if (keep)
    m.error = commit();  // a deferred constraint that fails here ends the transaction too
  else
    rollback();
  if (!m.error) empty_map(m.sink);
  finish(m);
}

void WriteConnection::savepoint(Member& m, std::string_view verb) {
  try {
    sdk::Fields fields(verb, sdk::bytes(m.call->body), {"name"});
    const std::string_view name = fields.str("name");
    // The prefix keeps callers' names apart from ours.
    const std::string id = quoted("s_" + std::string(name));
    const char* what = verb == "savepoint" ? "SAVEPOINT "
                       : verb == "release" ? "RELEASE "
                                           : "ROLLBACK TO ";
    try {
      db_.exec(what + id);
    } catch (sdk::Error& e) {
      if (e.sqlstate == "3B001") e.message = "no such savepoint: " + std::string(name);
      throw;
    }
    empty_map(m.sink);
  } catch (...) {
    m.error = current_error();
  }
}

void WriteConnection::reset(hg_op op) {
  rollback();
  transaction_ = Transaction::none;
  sdk::complete(driver_.host(), op, {.connection = broken_ ? HG_CONN_BROKEN : HG_CONN_CLEAN});
}

void WriteConnection::ping(hg_op op) {
  std::optional<sdk::Error> failed;
  try {
    Statement s = db_.prepare("SELECT 1 FROM sqlite_schema LIMIT 1");
    s.step();
  } catch (const sdk::Error& e) {
    failed = e;
  }
  if (!failed && transaction_ == Transaction::none) {
    if (!begin(0, driver_.now() + kPingWaitUs)) {
      purge();
      commit();
    }
    after_commit();
  }
  sdk::complete(driver_.host(), op, {.connection = failed ? HG_CONN_BROKEN : HG_CONN_CLEAN},
                failed ? &*failed : nullptr);
}

}  // namespace headgate::sqlite
