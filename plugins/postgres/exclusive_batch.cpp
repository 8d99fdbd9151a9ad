// A batch: its items in one write where their course is certain, else one after the other.
//
// An atomic batch outside a transaction is one Sync: the server makes it one transaction, and the
// first failure undoes it. Independent items have a Sync each. Statements that cannot be prepared
// before an earlier item has run (its table is made by that one) run in sequence; so do those of a
// transaction in which one is held read-only.
#include <algorithm>

#include "plugins/postgres/driver.hpp"
#include "plugins/postgres/exclusive.hpp"

namespace headgate::postgres {
namespace {

bool worth_repeating(const sdk::Error& e) {
  return e.retry == HG_RETRY_BACKOFF && e.outcome == sdk::Outcome::rolled_back;
}

void write_meta(proto::Writer& w, sdk::Code code, sdk::Outcome outcome, const sdk::Error* e,
                std::optional<std::int64_t> affected) {
  w.array(3);
  w.uint(static_cast<std::uint64_t>(code));
  const bool state = e != nullptr && !e->sqlstate.empty();
  w.map(1 + (e != nullptr ? 1 : 0) + (state ? 1 : 0) + (affected ? 1 : 0));
  w.str("outcome");
  w.uint(static_cast<std::uint64_t>(outcome));
  if (e != nullptr) {
    w.str("message");
    std::string_view m = e->message;
    if (m.size() > proto::kMessageTextMax) m = m.substr(0, proto::kMessageTextMax);
    while (!proto::valid_utf8(m)) m.remove_suffix(1);
    w.str(m);
  }
  if (state) {
    w.str("sqlstate");
    w.str(e->sqlstate);
  }
  if (affected) {
    w.str("rows_affected");
    w.sint(*affected);
  }
}

}  // namespace

void ExclusiveConnection::read_batch(const hg_call& call) {
  const sdk::Fields fields("batch", sdk::bytes(call.body), {"atomic", "items"});
  atomic_ = fields.flag("atomic", true);
  proto::Cursor items = fields.at("items");
  const std::uint32_t n = items.read_array();
  parts_.reserve(n);
  for (std::uint32_t i = 0; i < n; ++i) {
    items.read_array();
    const std::string_view verb = items.read_str();
    const proto::Bytes body = items.skip();
    if (verb == "execute_many") {
      read_many(body, call);
      Part& p = parts_.back();
      if (p.runs == 0) {
        p.is_ping = true;
        p.affected = 0;
      }
      continue;
    }
    Part& p = parts_.emplace_back();
    if (verb == "ping")
      p.is_ping = true;
    else
      p.item = read_item(driver_, verb, body, call, nullptr);
  }
}

std::optional<std::uint32_t> ExclusiveConnection::first_failed() const {
  for (std::uint32_t i = 0; i < parts_.size(); ++i)
    if (parts_[i].error) return i;
  return std::nullopt;
}

// The item's own reply, until all of them are written.
void ExclusiveConnection::keep_reply(Part& p) {
  if (p.many) {
    proto::VectorOut out(32);
    proto::Writer w(&out);
    write_no_result(w);
    p.reply_at = replies_.size();
    p.reply_size = out.size();
    replies_.insert(replies_.end(), out.view().begin(), out.view().end());
    return;
  }
  const proto::Bytes b = item_recorder_.reply();
  if (replies_.size() + b.size() > driver_.reply_max()) {
    replies_full_ = true;
    return;
  }
  p.reply_at = replies_.size();
  p.reply_size = b.size();
  replies_.insert(replies_.end(), b.begin(), b.end());
}

void ExclusiveConnection::run_batch() {
  const auto n = static_cast<std::uint32_t>(parts_.size());
  for (Part& p : parts_)
    if (p.many && !p.is_ping && !p.error && p.prepared->plan.has_rows())
      p.error.emplace(sdk::Code::invalid, sdk::Outcome::rejected,
                      "execute_many takes no statement that returns rows");
  if (first_failed()) return begin_sequence();
  if ((atomic_ || in_lease_ || keyed_) &&
      std::any_of(parts_.begin(), parts_.end(), [this](const Part& p) { return held(p); }))
    return begin_sequence();
  phase_ = Phase::run;
  running_ = 0;
  if (atomic_) {
    try {
      if (!only_pings(0, n)) send_run(0, n);
    } catch (const sdk::Error& e) {  // a parameter; the item has it
      if (describe_again(e)) return prepare_parts();
    }
  } else if (in_lease_ || keyed_) {
    return begin_sequence();
  } else {
    for (std::uint32_t i = 0; i < n; ++i) {
      if (parts_[i].is_ping) continue;
      try {
        send_item(i);
      } catch (const sdk::Error& e) {
        if (again_ || !may_be_stale(e)) continue;
        // Described anew, then this one and those behind it one by one.
        again_ = true;
        renew(parts_[i]);
        phase_ = Phase::sequence;
        next_item_ = i;
        return send_prepare(i);
      }
    }
  }
  if (steps_.empty()) after_batch();
}

void ExclusiveConnection::after_batch() {
  const auto failed = first_failed();
  if (call_error_) return roll_back_and_finish();
  if (atomic_ && failed) {
    Part& p = parts_[*failed];
    if (prepare_again(p)) {
      replies_.clear();
      for (Part& part : parts_) part.done = false;
      return prepare_parts();
    }
    if (!in_lease_ && worth_repeating(*p.error)) {
      call_error_ = p.error;
      return roll_back_and_finish();
    }
  }
  end_sequence();
}

// One item under a Sync of its own, held read-only where it says that it only reads. What cannot be
// written throws, and leaves nothing open.
void ExclusiveConnection::send_item(std::uint32_t i) {
  const bool hold_it = held(parts_[i]);
  const bool own_transaction = !atomic_ && !in_lease_ && !keyed_;
  if (hold_it) hold(own_transaction);
  try {
    send_run(i, i + 1);
  } catch (const sdk::Error&) {
    if (hold_it) undo_hold(own_transaction);
    throw;
  }
  if (hold_it) let_go(own_transaction);
}

// It is prepared anew before it runs again.
void ExclusiveConnection::renew(Part& p) {
  if (p.prepared->state == Prepared::State::ready) PreparedCache::forget(*p.prepared);
  types_.forget_learned();
  p.error.reset();
  p.affected.reset();
  p.stale = false;
  p.again = true;
}

// Independent items whose plan was out of date run again, behind the others. A write does not
// where a later write has run: what the two leave could depend on their order.
bool ExclusiveConnection::run_stale_again() {
  if (atomic_ || cancelled_) return false;
  bool any = false, written = false;
  for (auto p = parts_.rbegin(); p != parts_.rend(); ++p) {
    if (p->is_ping) continue;
    const bool reads = p->item.statement->returns_reads || held(*p);
    if (p->stale && !p->again && (reads || !written)) {
      renew(*p);
      any = true;
    } else if (p->stale && p->prepared->state == Prepared::State::ready) {
      PreparedCache::forget(*p->prepared);
    }
    written = written || (p->done && !reads);
  }
  if (!any) return false;
  phase_ = Phase::sequence;
  next_item_ = 0;
  run_next_item();
  return true;
}

// Parameters that do not fit may mean that the types are old: they are asked for once.
void ExclusiveConnection::run_item(Part& p) {
  if (p.many && p.prepared->plan.has_rows()) {
    p.error.emplace(sdk::Code::invalid, sdk::Outcome::rejected,
                    "execute_many takes no statement that returns rows");
    return;
  }
  try {
    send_item(next_item_);
  } catch (const sdk::Error& e) {
    if (again_ || !may_be_stale(e)) return;
    again_ = true;
    renew(p);
    send_prepare(next_item_);
  }
}

// One by one, where what an item does decides what the next one can be.
void ExclusiveConnection::begin_sequence() {
  for (Part& p : parts_) p.error.reset();
  phase_ = Phase::sequence;
  next_item_ = 0;
  if (savepoint_) command("ROLLBACK TO SAVEPOINT headgate_batch");
  if (atomic_ && !in_lease_ && !keyed_) command("BEGIN");
  run_next_item();
}

void ExclusiveConnection::run_next_item() {
  const bool guarded = !atomic_ && (in_lease_ || keyed_);
  for (; next_item_ < parts_.size(); ++next_item_) {
    Part& p = parts_[next_item_];
    if (p.is_ping || p.done || p.error) continue;
    if (guarded) command("SAVEPOINT headgate_item");
    if (p.prepared == nullptr) {
      p.prepared = &entry(p.item.statement);
      ++p.prepared->users;
    }
    if (p.prepared->state == Prepared::State::fresh) return send_prepare(next_item_);
    run_item(p);
    if (!steps_.empty()) return;  // after_item comes when all that was sent has been answered
    if (atomic_) return after_item();
  }
  if (steps_.empty()) end_sequence();
}

void ExclusiveConnection::after_item() {
  if (next_item_ >= parts_.size()) return end_sequence();
  const bool guarded = !atomic_ && (in_lease_ || keyed_);
  Part& p = parts_[next_item_];
  if (p.error && p.stale && !p.again && !atomic_) {
    if (guarded) command("ROLLBACK TO SAVEPOINT headgate_item");
    renew(p);
    return send_prepare(next_item_);
  }
  if (!p.error && !p.done) {  // it has been prepared
    run_item(p);
    if (!steps_.empty()) return;
  }
  if (p.error && atomic_) {
    if (!in_lease_ && worth_repeating(*p.error)) {
      call_error_ = p.error;
      return roll_back_and_finish();
    }
    return end_sequence();
  }
  if (guarded && p.error) command("ROLLBACK TO SAVEPOINT headgate_item");
  if (guarded) command("RELEASE SAVEPOINT headgate_item");
  ++next_item_;
  run_next_item();
}

// All has run, or an atomic batch has failed: the answers, and the end of what was opened.
void ExclusiveConnection::end_sequence() {
  if (run_stale_again()) return;
  const bool failed = atomic_ && first_failed().has_value();
  const bool own_begin = !in_lease_ && !keyed_ && status_ != wire::TransactionStatus::idle;
  if (replies_full_ && !failed)
    throw sdk::Error(sdk::Code::too_large,
                     status_ == wire::TransactionStatus::idle ? sdk::Outcome::applied
                                                              : sdk::Outcome::rolled_back,
                     "the results of the batch are larger than reply_max");
  std::int64_t rows = 0;
  for (const Part& p : parts_)
    if (!p.error) rows += p.affected.value_or(0);
  affected_ = failed ? 0 : rows;
  write_items();
  phase_ = Phase::close;
  if (keyed_) {
    if (!failed) return record_key();
    command("ROLLBACK", false, wire::Where::rollback);
  } else if (own_begin) {
    if (failed)
      command("ROLLBACK", false, wire::Where::rollback);
    else
      command("COMMIT", true, wire::Where::commit);
  } else if (savepoint_) {
    if (failed) command("ROLLBACK TO SAVEPOINT headgate_batch");
    command("RELEASE SAVEPOINT headgate_batch");
  }
  if (steps_.empty()) finish();
}

void ExclusiveConnection::write_items() {
  const auto failed = atomic_ ? first_failed() : std::nullopt;
  sdk::Sink sink(sink_host_, op_);
  proto::Writer w(&sink);
  w.array(static_cast<std::uint32_t>(parts_.size()));
  for (std::uint32_t i = 0; i < parts_.size(); ++i) {
    const Part& p = parts_[i];
    if (failed && i != *failed) {
      const sdk::Error e(sdk::Code::transaction_aborted,
                         i < *failed ? sdk::Outcome::rolled_back : sdk::Outcome::rejected,
                         "item " + std::to_string(*failed) + " of the atomic batch failed");
      write_meta(w, e.code, e.outcome, &e, std::nullopt);
      w.nil();
    } else if (p.error) {
      sdk::Outcome outcome = p.error->outcome;
      if (failed && outcome == sdk::Outcome::applied) outcome = sdk::Outcome::rolled_back;
      write_meta(w, p.error->code, outcome, &*p.error, std::nullopt);
      w.nil();
    } else {
      write_meta(w, sdk::Code::ok, sdk::Outcome::applied, nullptr, p.affected);
      if (p.many && p.reply_size == 0)
        write_no_result(w);
      else if (p.is_ping)
        w.map(0);
      else
        w.raw(proto::Bytes(replies_).subspan(p.reply_at, p.reply_size));
    }
  }
  sink.commit();
  if (!w.ok())
    throw sdk::Error(sdk::Code::too_large,
                     status_ == wire::TransactionStatus::idle ? sdk::Outcome::applied
                                                              : sdk::Outcome::rolled_back,
                     "the results of the batch are larger than reply_max");
}

}  // namespace headgate::postgres
