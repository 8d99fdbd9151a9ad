// A call from its begin to its end.
#include <algorithm>

#include "plugins/postgres/driver.hpp"
#include "plugins/postgres/exclusive.hpp"

namespace headgate::postgres {
namespace {

constexpr std::uint64_t kUnknownTimeout = ~0ULL;

// The largest of 16 steps to the octave that is not above it: one setting serves calls whose times
// differ by little, and is never late.
std::uint64_t on_ladder(std::uint64_t ms) {
  if (ms < 32) return std::max<std::uint64_t>(ms, 1);
  int shift = 0;
  while (ms >> shift >= 32) ++shift;
  return ms >> shift << shift;
}

sdk::Error aborted() {
  sdk::Error e(sdk::Code::transaction_aborted, sdk::Outcome::rejected,
               "the transaction has failed: only rollback or rollback_to can follow");
  e.sqlstate = "25P02";
  return e;
}

}  // namespace

bool ExclusiveConnection::begin_op(hg_op op, const hg_call* call, Verb verb) {
  {
    const std::lock_guard lock(cancel_mutex_);
    op_ = op;
    cancelled_ = early_cancel_ == op;
  }
  call_ = call;
  verb_ = verb;
  phase_ = Phase::finished;
  again_ = keyed_ = savepoint_ = wrapped_ = stopped_ = sent_effect_ = not_replicated_ =
      aborted_commit_ = false;
  replies_full_ = give_receipt_ = false;
  atomic_ = true;
  in_lease_ = call != nullptr && call->lease != 0;
  sink_host_ = host_;
  error_.reset();
  call_error_.reset();
  copy_error_.reset();
  affected_.reset();
  work_began_us_ = now();
  const std::uint64_t stall = static_cast<std::uint64_t>(driver_.options().stall_ms) * 1000;
  patience_us_ = stall;
  if (call != nullptr && call->work_until_us > work_began_us_)
    patience_us_ += call->work_until_us - work_began_us_;
  if (dead()) {
    call_error_ = lost(wire::Where::unsent);
  } else if (cancelled_) {
    call_error_.emplace(sdk::Code::cancelled, sdk::Outcome::not_sent,
                        "cancelled before it was sent");
  }
  if (!call_error_) return true;
  complete(&*call_error_);
  return false;
}

void ExclusiveConnection::submit(const hg_call* const* calls, std::uint32_t n) {
  for (std::uint32_t i = 0; i < n; ++i) {
    if (op_ != 0) {
      const sdk::Error e(sdk::Code::internal, sdk::Outcome::not_sent,
                         "a second call on a connection that serves one at a time");
      sdk::complete(host_, calls[i]->op, {}, &e);
      continue;
    }
    if (!begin_op(calls[i]->op, calls[i], Verb::none)) continue;
    try {
      start(*calls[i]);
    } catch (const sdk::Error& e) {
      call_error_ = e;
      if (steps_.empty()) {
        finish();
      } else {
        phase_ = Phase::close;  // what was sent is answered first
      }
    }
    if (op_ == 0 || dead()) continue;
    expect();
    pump();
  }
}

void ExclusiveConnection::start(const hg_call& call) {
  const std::string_view verb = sdk::text(call.verb);
  const proto::Bytes body = sdk::bytes(call.body);
  if (verb == "commit" && call.receipt.size != 0 && !in_lease_) return start_ask();
  if (verb == "begin") return start_begin(call);
  if (is_transaction_verb(verb)) return start_transaction_verb(verb, body);
  if (status_ == wire::TransactionStatus::failed) throw aborted();
  if (verb == "ping") {
    verb_ = Verb::ping;
    const std::uint64_t at = queued();
    wire::sync(out_);
    return push({.kind = Kind::sync}, at);
  }
  if (verb == "copy_in") return start_copy();
  start_work(verb, call);
}

void ExclusiveConnection::start_begin(const hg_call& call) {
  verb_ = Verb::begin;
  const sdk::Fields f("begin", sdk::bytes(call.body), {"isolation", "deferrable"});
  std::string text = "BEGIN";
  if (const auto level = f.opt_str("isolation"))
    text += " ISOLATION LEVEL " + std::string(isolation_sql(*level));
  if (read_only_ || (call.flags & HG_CALL_READ_ONLY) != 0) text += " READ ONLY";
  if (f.flag("deferrable")) text += " DEFERRABLE";
  timeout_before_ms_ = timeout_ms_;
  phase_ = Phase::close;
  command(text);
}

void ExclusiveConnection::start_transaction_verb(std::string_view verb, proto::Bytes body) {
  if (status_ == wire::TransactionStatus::idle)
    throw sdk::Error(sdk::Code::transaction_expired, sdk::Outcome::rolled_back,
                     "there is no transaction on this connection");
  if (verb == "rollback") {
    verb_ = Verb::rollback;
    phase_ = Phase::close;
    timeout_ms_ = timeout_before_ms_;
    return command("ROLLBACK", false, wire::Where::rollback);
  }
  if (verb == "commit") return start_commit();
  if (status_ == wire::TransactionStatus::failed && verb != "rollback_to") throw aborted();
  const sdk::Fields f(verb, body, {"name"});
  verb_ = Verb::savepoint;
  phase_ = Phase::close;
  const std::string name = quoted(f.str("name"));
  if (verb == "rollback_to") timeout_ms_ = kUnknownTimeout;
  command((verb == "savepoint" ? "SAVEPOINT "
           : verb == "release" ? "RELEASE SAVEPOINT "
                               : "ROLLBACK TO SAVEPOINT ") +
          name);
}

// The store's own clock, so that its answer comes before the caller is told that nobody knows.
void ExclusiveConnection::set_timeout() {
  if (call_->work_until_us <= work_began_us_) {
    sdk::Error e(sdk::Code::deadline, sdk::Outcome::not_sent, "no time was left for the store");
    throw e;
  }
  std::uint64_t ms = (call_->work_until_us - work_began_us_) / 1000;
  ms = std::min<std::uint64_t>(on_ladder(ms), 0x7fffffff);
  if (ms == timeout_ms_) return;
  timeout_ms_ = ms;
  command("SET statement_timeout = " + std::to_string(ms));
}

void ExclusiveConnection::start_work(std::string_view verb, const hg_call& call) {
  const proto::Bytes body = sdk::bytes(call.body);
  keyed_ = call.key.size != 0 && !in_lease_ && !read_only_;
  if (keyed_) {
    reply_recorder_.clear();
    sink_host_ = reply_recorder_.host();
  }
  if (verb == "batch") {
    verb_ = Verb::batch;
    read_batch(call);
  } else if (verb == "execute_many") {
    verb_ = Verb::many;
    read_many(body, call);
  } else {
    verb_ = Verb::single;
    parts_.emplace_back();
    parts_.back().item = read_item(driver_, verb, body, call, nullptr);
    // Moved with the vector, its own parameters stay where they are.
    wrapped_ = held(parts_.back()) && !in_lease_ && !keyed_;
  }
  set_timeout();
  if (keyed_) return open_key();
  prepare_parts();
}

void ExclusiveConnection::read_many(proto::Bytes body, const hg_call& call) {
  static_cast<void>(call);
  const sdk::Fields f("execute_many", body, {"sql", "params"});
  proto::Cursor c = f.at("params");
  Part& p = parts_.emplace_back();
  p.many = true;
  p.item.params = f.raw("params");
  p.runs = c.read_array();
  const bool named = p.runs > 0 && c.peek() == proto::Type::map;
  p.item.statement = driver_.statements().find(f.str("sql"), named);
}

void ExclusiveConnection::advance() {
  try {
    next();
  } catch (const sdk::Error& e) {
    if (!call_error_) call_error_ = e;
    if (steps_.empty())
      roll_back_and_finish();
    else
      phase_ = Phase::close;
  }
}

void ExclusiveConnection::next() {
  switch (verb_) {
    case Verb::single:
    case Verb::many:
    case Verb::batch:
      break;
    case Verb::commit:
      return phase_ == Phase::open ? commit_now() : finish();
    case Verb::ask:
      return after_ask();
    case Verb::copy_in:
      return phase_ == Phase::prepare ? copy_prepared() : finish();
    default:
      return finish();
  }
  if (call_error_ && phase_ != Phase::close) return roll_back_and_finish();
  if (cancelled_ && phase_ != Phase::close && phase_ != Phase::run) {
    call_error_.emplace(now() < call_->work_until_us ? sdk::Code::cancelled : sdk::Code::deadline,
                        sdk::Outcome::rolled_back, "cancelled between two steps");
    if (sent_effect_ && status_ == wire::TransactionStatus::idle)
      call_error_->outcome = sdk::Outcome::unknown;
    return roll_back_and_finish();
  }
  switch (phase_) {
    case Phase::open:
      return key_opened();
    case Phase::prepare:
      return after_prepare();
    case Phase::run:
      return after_run();
    case Phase::sequence:
      return after_item();
    default:
      return finish();
  }
}

void ExclusiveConnection::prepare_parts() {
  phase_ = Phase::prepare;
  // What fails in a batch, even while it is being prepared, must not take the transaction along.
  if (verb_ == Verb::batch && (in_lease_ || keyed_) && !savepoint_) {
    command("SAVEPOINT headgate_batch");
    savepoint_ = true;
  }
  for (std::uint32_t i = 0; i < parts_.size(); ++i) {
    Part& p = parts_[i];
    if (p.is_ping || p.error) continue;
    if (p.prepared == nullptr) {
      p.prepared = &entry(p.item.statement);
      ++p.prepared->users;
    }
    if (p.prepared->state == Prepared::State::fresh) send_prepare(i);
  }
  const bool asked = std::any_of(parts_.begin(), parts_.end(), [](const Part& p) {
    return p.prepared != nullptr && p.prepared->state == Prepared::State::parsing;
  });
  // Else the items leave in the same write as what stands before them.
  if (!asked) after_prepare();
}

void ExclusiveConnection::after_prepare() {
  if (verb_ == Verb::batch) return run_batch();
  Part& p = parts_.front();
  if (p.error) {
    if (prepare_again(p)) return prepare_parts();
    call_error_ = p.error;
    return roll_back_and_finish();
  }
  run_parts();
}

// A plan that the server no longer has, or no longer agrees with: once more, where nothing is lost.
bool ExclusiveConnection::prepare_again(Part& p) {
  if (again_ || in_lease_ || keyed_ || p.prepared == nullptr || !verdict_.prepare_again ||
      status_ != wire::TransactionStatus::idle)
    return false;
  again_ = true;
  for (Part& part : parts_) {
    if (part.prepared != nullptr) PreparedCache::forget(*part.prepared);
    part.error.reset();
    part.affected.reset();
  }
  types_.forget_learned();
  host_->rewind(host_, op_);
  return true;
}

// The same for parameters that do not fit: the types may be old.
bool ExclusiveConnection::describe_again(const sdk::Error& e) {
  if (again_ || !may_be_stale(e)) return false;
  again_ = true;
  for (Part& part : parts_) {
    if (part.error && part.prepared != nullptr) PreparedCache::forget(*part.prepared);
    part.error.reset();
  }
  return true;
}

// A named statement that says it only reads, where the session does not see to that already.
bool ExclusiveConnection::held(const Part& p) const { return p.item.declared_read && !read_only_; }

// From here to let_go() the server refuses what writes: in a transaction of its own, or inside one
// that may write, behind a savepoint. The server does not let a transaction inside another leave
// read-only mode, and gives the outer one its own mode back when the savepoint goes.
void ExclusiveConnection::hold(bool own_transaction) {
  command(own_transaction ? "BEGIN READ ONLY"
                          : "SAVEPOINT headgate_read; SET LOCAL transaction_read_only = on");
}

// After a failure the server may refuse this, too: the statement's own error is what counts.
void ExclusiveConnection::let_go(bool own_transaction) {
  command(own_transaction ? "COMMIT" : "RELEASE SAVEPOINT headgate_read");
  steps_.back().ignore = true;
}

// Nothing was sent after hold().
void ExclusiveConnection::undo_hold(bool own_transaction) {
  command(own_transaction ? "ROLLBACK"
                          : "ROLLBACK TO SAVEPOINT headgate_read; RELEASE SAVEPOINT headgate_read");
}

void ExclusiveConnection::run_parts() {
  phase_ = Phase::run;
  Part& p = parts_.front();
  if (p.many && p.prepared->plan.has_rows())
    throw sdk::Error(sdk::Code::invalid, sdk::Outcome::rejected,
                     "execute_many takes no statement that returns rows");
  if (p.many && p.runs == 0) {
    p.affected = 0;
    return after_run();
  }
  work_began_us_ = now();
  const bool hold_it = held(p);
  if (hold_it) hold(wrapped_);
  try {
    send_run(0, 1);
  } catch (const sdk::Error& e) {
    if (hold_it) undo_hold(wrapped_);
    if (!describe_again(e)) throw;
    return prepare_parts();
  }
  if (hold_it) let_go(wrapped_);
}

void ExclusiveConnection::after_run() {
  if (verb_ == Verb::batch) return after_batch();
  Part& p = parts_.front();
  if (!p.error && !call_error_ && !p.many)
    p.item.statement->ran(now() - work_began_us_,
                          static_cast<std::uint64_t>(driver_.options().slow_ms) * 1000);
  if (p.error) {
    if (prepare_again(p)) return prepare_parts();
    if (!call_error_) call_error_ = p.error;
    return roll_back_and_finish();
  }
  affected_ = p.affected;
  if (keyed_) return record_key();
  finish();
}

// A transaction of ours ends; the caller's own is the caller's affair.
void ExclusiveConnection::roll_back_and_finish() {
  if (in_lease_ || status_ == wire::TransactionStatus::idle) return finish();
  // What was done inside it is undone, whatever it was.
  if (call_error_ && call_error_->outcome == sdk::Outcome::applied)
    call_error_->outcome = sdk::Outcome::rolled_back;
  phase_ = Phase::close;
  command("ROLLBACK", false, wire::Where::rollback);
}

}  // namespace headgate::postgres
