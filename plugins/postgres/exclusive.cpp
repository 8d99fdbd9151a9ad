// Steps out, messages in.
#include "plugins/postgres/exclusive.hpp"

#include <algorithm>

#include "plugins/postgres/driver.hpp"

namespace headgate::postgres {
namespace {

constexpr std::size_t kWarningsMax = 16;

}  // namespace

ExclusiveConnection::ExclusiveConnection(PostgresDriver& driver, const hg_connect& connect,
                                         Session session)
    : PgConnection(driver, connect, std::move(session)),
      item_recorder_(driver.host(), driver.reply_max()),
      reply_recorder_(driver.host(), driver.reply_max()) {}

ExclusiveConnection::~ExclusiveConnection() { die("the connection was closed"); }

Prepared& ExclusiveConnection::entry(const StatementPtr& statement) {
  if (Prepared* p = prepared_.find(statement->key, statement->source)) return *p;
  std::uint32_t closed = 0;
  return prepared_.add(statement, out_, &closed);
}

void ExclusiveConnection::push(Step s, std::uint64_t begins_at) {
  s.begins_at = begins_at;
  steps_.push(s);
}

void ExclusiveConnection::command(std::string_view sql, bool effect, wire::Where where) {
  const std::uint64_t at = queued();
  wire::query(out_, sql);
  push({.kind = Kind::command, .effect = effect, .where = where}, at);
}

void ExclusiveConnection::own(std::string_view sql) {
  const std::uint64_t at = queued();
  wire::query(out_, sql);
  push({.kind = Kind::own}, at);
}

void ExclusiveConnection::send_prepare(std::uint32_t part) {
  Prepared& p = *parts_[part].prepared;
  const std::uint64_t at = queued();
  PreparedCache::write_prepare(out_, p);
  wire::sync(out_);
  push({.kind = Kind::prepare, .where = wire::Where::prepare, .first = part, .prepared = &p}, at);
}

// All of them, or none: what cannot be written throws, with the item's own error left in it.
void ExclusiveConnection::send_run(std::uint32_t first, std::uint32_t last) {
  const std::uint64_t at = queued();
  const std::size_t before = out_.size();
  for (std::uint32_t i = first; i < last; ++i) {
    Part& part = parts_[i];
    if (part.is_ping) continue;
    try {
      if (!part.many) {
        write_run(out_, *part.prepared, part.item.params);
        continue;
      }
      proto::Cursor sets(part.item.params);
      const std::uint32_t n = sets.read_array();
      for (std::uint32_t k = 0; k < n; ++k)
        write_run(out_, *part.prepared, sets.skip(), "set " + std::to_string(k) + ": ");
    } catch (const sdk::Error& e) {
      part.error = e;
      out_.truncate(before);
      throw;
    }
  }
  wire::sync(out_);
  push({.kind = Kind::run, .effect = true, .first = first, .last = last}, at);
  if (steps_.size() == 1) running_ = first;
}

void ExclusiveConnection::message(const wire::Message& m) {
  if (steps_.empty()) {
    if (m.tag == wire::Tag::error_response)
      return die(wire::clean_text(wire::read_notice(m.payload).message));
    return die("the server spoke unasked");
  }
  if (m.tag == wire::Tag::close_complete) return wire::read_empty(m);
  if (m.tag == wire::Tag::error_response) return failed(m);
  if (m.tag == wire::Tag::ready_for_query) return ready(wire::read_ready_for_query(m.payload));
  Step& s = steps_.front();
  const wire::Tag t = m.tag;
  using T = wire::Tag;
  switch (s.kind) {
    case Kind::prepare:
      if (PreparedCache::take(*s.prepared, m)) return;
      break;
    case Kind::lookup:
      if (t == T::data_row) return types_.learn(m.payload);
      if (t == T::parse_complete || t == T::bind_complete || t == T::command_complete) return;
      break;
    case Kind::run:
      return run_message(s, m);
    case Kind::command:
      if (t == T::command_complete) {
        aborted_commit_ = s.where == wire::Where::commit &&
                          wire::read_command_complete(m.payload).command == "ROLLBACK";
        completed_ = true;
        return;
      }
      if (t == T::row_description || t == T::data_row || t == T::empty_query_response) return;
      break;
    case Kind::own:
      return own_message(m);
    case Kind::copy:
      if (t == T::copy_in_response) return begin_copy();
      if (t == T::command_complete) {
        affected_ = wire::rows_affected(wire::read_command_complete(m.payload));
        completed_ = true;
        return;
      }
      break;
    case Kind::sync:
      break;
  }
  die("the server sent a message that was not asked for");
}

void ExclusiveConnection::own_message(const wire::Message& m) {
  using T = wire::Tag;
  if (m.tag == T::row_description || m.tag == T::command_complete) {
    completed_ = m.tag == T::command_complete;
    return;
  }
  if (m.tag != T::data_row || m.oversize)
    return die("the server sent a message that was not asked for");
  if (!own_row_.empty()) return;
  wire::DataRow row(m.payload);
  for (wire::DataRow::Value v; row.next(&v);)
    own_row_.push_back(v.null ? std::nullopt : std::optional<std::string>(proto::text_of(v.bytes)));
}

void ExclusiveConnection::run_message(Step& s, const wire::Message& m) {
  using T = wire::Tag;
  while (running_ < s.last && parts_[running_].is_ping) ++running_;
  const bool more = running_ < s.last;
  switch (m.tag) {
    case T::bind_complete:
      if (more) return;
      break;
    case T::data_row:
      if (more) return row(s, m);
      break;
    case T::command_complete:
      if (more) return item_done(s, m.payload);
      break;
    case T::copy_in_response:
      wire::copy_fail(out_, "COPY is no statement here");
      return;
    case T::copy_out_response:
    case T::copy_data:
    case T::copy_done:
      return;
    default:
      break;
  }
  die("the server sent a message that was not asked for");
}

void ExclusiveConnection::row(Step&, const wire::Message& m) {
  Part& p = parts_[running_];
  if (p.many || !p.prepared->plan.has_rows())
    return die("the server sent rows that were not asked for");
  if (!row_seen_) begin_rows();
  if (m.oversize) return rows_.too_large();
  switch (rows_.row(m.payload)) {
    case Rows::Flow::go:
      return;
    case Rows::Flow::wait:
      return pause();
    case Rows::Flow::stop:
      stopped_ = true;
  }
}

void ExclusiveConnection::begin_rows() {
  const Part& p = parts_[running_];
  const bool aside = verb_ == Verb::batch || p.item.plan;
  if (aside) item_recorder_.clear();
  rows_.begin(aside ? item_recorder_.host() : sink_host_, op_.load(), *p.prepared,
              aside || call_ == nullptr || (call_->flags & HG_CALL_STREAM) == 0 ? 0 : call_->fetch,
              driver_.part_max());
  row_seen_ = true;
}

void ExclusiveConnection::item_done(Step&, proto::Bytes command) {
  Part& p = parts_[running_];
  const auto affected = wire::rows_affected(wire::read_command_complete(command));
  if (affected) p.affected = p.affected.value_or(0) + *affected;
  if (++runs_done_ < p.runs) return;
  if (!p.many) {
    if (!row_seen_) begin_rows();
    rows_.end();
    if (rows_.failed()) {
      p.error = rows_.error();
      p.error->outcome = sdk::Outcome::applied;
      if (rows_.stale()) forget_plans();
    }
  } else if (verb_ == Verb::batch) {
    item_recorder_.clear();
  }
  p.done = true;
  touched(*p.prepared->statement);
  if (verb_ == Verb::batch) keep_reply(p);
  row_seen_ = false;
  runs_done_ = 0;
  ++running_;
}

void ExclusiveConnection::notice(const wire::Notice& n, wire::NoticeEffect effect) {
  if (effect == wire::NoticeEffect::none || op_ == 0) return;
  if (effect == wire::NoticeEffect::not_replicated) not_replicated_ = true;
  if (warnings_.size() < kWarningsMax) warnings_.push_back(wire::clean_text(n.message));
}

wire::Situation ExclusiveConnection::situation(const Step& step, wire::Where where) const {
  wire::Situation s;
  s.where = where;
  s.in_transaction = in_lease_;
  s.read_pool = read_only_ || (call_ != nullptr && (call_->flags & HG_CALL_READ_ONLY) != 0) ||
                (step.kind == Kind::run && running_ < step.last && held(parts_[running_]));
  s.cancelled = cancelled_;
  s.caller_gone = cancelled_ && call_ != nullptr && now() < call_->work_until_us;
  return s;
}

void ExclusiveConnection::failed(const wire::Message& m) {
  const wire::Notice n = wire::read_notice(m.payload);
  const Step& s = steps_.front();
  wire::Where where = s.where;
  if (s.kind == Kind::run && running_ >= s.last && where == wire::Where::statement)
    where = wire::Where::completed;
  const wire::Verdict v = wire::judge(n, situation(s, where));
  if (!s.ignore) verdict_ = v;
  error_.emplace(wire::error_of(v, n));
  if (s.kind == Kind::copy) copy_over_ = true;
  if (!n.fatal() && !v.broken) return;
  if (!call_error_) call_error_ = error_;
  ended_by_server_ = true;
  die(error_->message);
}

void ExclusiveConnection::ready(wire::TransactionStatus status) {
  const Step s = steps_.pop();
  status_ = status;
  // From here on something of the call may be in the store for good.
  if (s.effect && status == wire::TransactionStatus::idle) sent_effect_ = true;
  std::optional<sdk::Error> error = std::exchange(error_, std::nullopt);
  const bool completed = std::exchange(completed_, false);
  switch (s.kind) {
    case Kind::prepare:
    case Kind::lookup:
      prepare_answered(s, error);
      break;
    case Kind::run:
      if (!error && running_ < s.last && !only_pings(running_, s.last))
        return die("the server was ready without having completed a statement");
      if (error && running_ < s.last) {
        parts_[running_].stale = verdict_.prepare_again;
        parts_[running_].error = std::move(error);
      } else if (error && verb_ == Verb::batch && !atomic_ && s.last > s.first) {
        parts_[s.last - 1].error = std::move(error);  // its own commit failed
      } else if (error && !call_error_) {
        call_error_ = std::move(error);
      }
      row_seen_ = false;
      runs_done_ = 0;
      break;
    case Kind::own:
      own_results_.push_back(std::exchange(own_row_, {}));
      [[fallthrough]];
    case Kind::command:
      if (!error && !completed)
        return die("the server was ready without having completed a statement");
      if (error && !s.ignore && !call_error_) call_error_ = std::move(error);
      break;
    case Kind::copy:
      copying_ = false;
      if (error && !call_error_) call_error_ = std::move(error);
      if (!call_error_ && !completed && !copy_error_)
        return die("the server was ready without having completed a statement");
      break;
    case Kind::sync:
      break;
  }
  if (!steps_.empty()) {
    if (steps_.front().kind == Kind::run) running_ = steps_.front().first;
    return;
  }
  advance();
}

void ExclusiveConnection::prepare_answered(const Step& s, std::optional<sdk::Error>& error) {
  Prepared& p = *s.prepared;
  if (error) {
    p.state = Prepared::State::fresh;
    parts_[s.first].error = std::move(error);
    return;
  }
  try {
    if (s.kind == Kind::lookup) types_.settle(p.unknown);
    if (PreparedCache::settle(p, types_)) return;
    const std::uint64_t at = queued();
    PreparedCache::write_lookup(out_, p, session_.version);
    wire::sync(out_);
    push({.kind = Kind::lookup, .where = wire::Where::prepare, .first = s.first, .prepared = &p},
         at);
  } catch (const sdk::Error& e) {
    p.state = Prepared::State::fresh;
    parts_[s.first].error = e;
  }
}

bool ExclusiveConnection::only_pings(std::uint32_t first, std::uint32_t last) const {
  for (std::uint32_t i = first; i < last; ++i)
    if (!parts_[i].is_ping) return false;
  return true;
}

// The session is gone. What is known of the call depends on what had left.
void ExclusiveConnection::ended(const std::string&) {
  if (op_ == 0) return;
  bool commit = false, effect = false;
  while (!steps_.empty()) {
    const Step s = steps_.pop();
    if (unsent(s.begins_at)) continue;
    effect = effect || s.effect;
    commit = commit || s.where == wire::Where::commit;
  }
  const bool inside = in_lease_ || wrapped_ || status_ != wire::TransactionStatus::idle;
  give_receipt_ = commit;
  if (std::exchange(ended_by_server_, false)) {
    // The server's last word was about this call.
  } else if (commit) {
    call_error_ = lost(wire::Where::commit, in_lease_);
  } else if (inside) {
    call_error_ = lost(wire::Where::statement, true);
  } else if (effect || sent_effect_) {
    call_error_ = lost(wire::Where::statement);
  } else {
    call_error_ = lost(wire::Where::unsent);
  }
  complete(&*call_error_);
}

}  // namespace headgate::postgres
