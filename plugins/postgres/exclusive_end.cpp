// How a call ends, and what happens between calls: cancel, reset, ping.
#include <algorithm>

#include "plugins/postgres/driver.hpp"
#include "plugins/postgres/exclusive.hpp"

namespace headgate::postgres {

void ExclusiveConnection::touched(const Statement& s) {
  if (s.quiet) return;
  dirt_ = std::max(dirt_, s.plain ? 1 : 2);
  if (s.changes_schema) forget_plans();
}

void ExclusiveConnection::forget_plans() {
  prepared_.forget_all();
  types_.forget_learned();
}

// The body that has not been written while the rows came. False: it did not fit.
bool ExclusiveConnection::write_body(sdk::Error* too_large) {
  sdk::Sink sink(host_, op_);
  proto::Writer w(&sink);
  if (keyed_) {
    w.raw(reply_recorder_.reply());
  } else if (verb_ == Verb::many) {
    write_no_result(w);
  } else if (verb_ == Verb::batch) {
    return true;  // by write_items
  } else if (verb_ == Verb::single) {
    if (!parts_.front().item.plan) return true;
    proto::Cursor c(item_recorder_.reply());
    c.read_map();
    c.skip();
    c.skip();
    c.skip();
    w.map(1);
    w.str("plan");
    if (c.read_array() == 1 && c.read_array() == 1)
      w.raw(c.skip());
    else
      w.nil();
  } else {
    w.map(0);
  }
  sink.commit();
  if (w.ok()) return true;
  *too_large = sdk::Error(sink.why() == HG_FULL ? sdk::Code::too_large : sdk::Code::cancelled,
                          sdk::Outcome::applied, "the reply found no room");
  return false;
}

void ExclusiveConnection::finish() {
  phase_ = Phase::finished;
  if (op_ == 0) return;
  if (verb_ == Verb::reset || verb_ == Verb::ping)
    return complete(call_error_ ? &*call_error_ : nullptr);
  // What we told the server is what went wrong, not its echo of it.
  if (copy_error_) call_error_ = copy_error_;
  explain_key_error();
  if (aborted_commit_) timeout_ms_ = timeout_before_ms_;  // it was undone with the rest
  if (!call_error_ && aborted_commit_) {
    call_error_.emplace(sdk::Code::transaction_aborted, sdk::Outcome::rolled_back,
                        "the transaction had failed: the server rolled it back");
    call_error_->sqlstate = "25P02";
  }
  sdk::Error too_large(sdk::Code::too_large, sdk::Outcome::applied, "");
  if (!call_error_ && !write_body(&too_large)) call_error_ = too_large;
  complete(call_error_ ? &*call_error_ : nullptr);
}

void ExclusiveConnection::complete(const sdk::Error* error) {
  // Of independent items some are in the store for good, whatever became of the last one.
  if (error != nullptr && verb_ == Verb::batch && !atomic_ && sent_effect_ && !in_lease_ &&
      error->outcome != sdk::Outcome::applied) {
    call_error_ = *error;
    call_error_->outcome = sdk::Outcome::unknown;
    call_error_->retry = HG_RETRY_NEVER;
    error = &*call_error_;
  }
  sdk::Done done;
  const hg_op op = op_;
  if (dead()) {
    done.connection = HG_CONN_BROKEN;
  } else if (verb_ == Verb::reset) {
    if (error != nullptr || status_ != wire::TransactionStatus::idle)
      done.connection = HG_CONN_BROKEN;
  } else if (status_ != wire::TransactionStatus::idle) {
    const bool leased = in_lease_ || (verb_ == Verb::begin && error == nullptr);
    if (!leased) done.connection = HG_CONN_NEEDS_RESET;
    if (leased)
      done.lease = status_ == wire::TransactionStatus::open ? HG_LEASE_OPEN : HG_LEASE_FAILED;
  } else if (dirt_ > 0) {
    done.connection = HG_CONN_NEEDS_RESET;
  }
  if (give_receipt_) done.receipt = receipt_;
  if (error == nullptr) {
    done.rows_affected = affected_;
    if (replayed_) done.flags |= HG_DONE_REPLAYED;
  }
  if (not_replicated_) done.flags |= HG_DONE_NOT_REPLICATED;
  proto::VectorOut warnings;
  if (!warnings_.empty()) {
    proto::Writer w(&warnings);
    w.array(static_cast<std::uint32_t>(warnings_.size()));
    for (const std::string& text : warnings_) w.str(text);
    done.warnings = warnings.view();
  }
  op_ = 0;
  sdk::complete(host_, op, done, error);
  clear_call();
}

void ExclusiveConnection::clear_call() {
  for (const Part& p : parts_)
    if (p.prepared != nullptr) --p.prepared->users;
  parts_.clear();
  replies_.clear();
  own_results_.clear();
  warnings_.clear();
  receipt_.clear();
  rows_.clear();
  row_seen_ = replayed_ = copying_ = copy_starved_ = copy_over_ = false;
  runs_done_ = 0;
  call_ = nullptr;
  call_error_.reset();
}

void ExclusiveConnection::resume(hg_op op) {
  if (op != op_ || dead()) return;
  if (copying_) {
    copy_starved_ = false;
    pump();
    return;
  }
  go_on();
}

void ExclusiveConnection::cancel(hg_op op) {
  const std::lock_guard lock(cancel_mutex_);
  if (op_ != op) {
    early_cancel_ = op;
    return;
  }
  cancelled_ = true;
  char text[256];
  PQcancel(session_.cancel.get(), text, sizeof text);
}

void ExclusiveConnection::reset(hg_op op) {
  if (!begin_op(op, nullptr, Verb::reset)) return;
  phase_ = Phase::close;
  if (status_ != wire::TransactionStatus::idle) {
    command("ROLLBACK");
    timeout_ms_ = timeout_before_ms_;
  }
  if (dirt_ == 1) {
    // All of DISCARD ALL but DEALLOCATE ALL: no statement ran that could prepare one.
    command(
        "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; "
        "SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES");
  } else if (dirt_ == 2) {
    command("DISCARD ALL");
    prepared_.clear();
    types_.forget_learned();
  }
  if (dirt_ > 0) {
    timeout_ms_ = 0;
    for (const std::string& sql : driver_.options().init) command(sql);
  }
  dirt_ = 0;
  if (steps_.empty()) return finish();
  expect();
  pump();
}

void ExclusiveConnection::ping(hg_op op) {
  if (!begin_op(op, nullptr, Verb::ping)) return;
  phase_ = Phase::close;
  const std::uint64_t at = queued();
  wire::sync(out_);
  push({.kind = Kind::sync}, at);
  expect();
  pump();
}

}  // namespace headgate::postgres
