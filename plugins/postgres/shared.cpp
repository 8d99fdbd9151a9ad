// Questions out in one write, answers in their order.
#include "plugins/postgres/shared.hpp"

#include <algorithm>

#include "plugins/postgres/driver.hpp"

namespace headgate::postgres {
namespace {

constexpr std::uint32_t kSharedWarningsMax = 16;
constexpr std::uint64_t kLateUs = 3000;  // a timer that rings later than this is late

}  // namespace

SharedConnection::SharedConnection(PostgresDriver& driver, const hg_connect& connect,
                                   Session session)
    : PgConnection(driver, connect, std::move(session)),
      patience_us_(static_cast<std::uint64_t>(driver.options().shared_timeout_ms +
                                              driver.options().stall_ms) *
                   1000),
      slow_us_(static_cast<std::uint64_t>(driver.options().slow_ms) * 1000) {}

SharedConnection::~SharedConnection() { die("the connection was closed"); }

void SharedConnection::submit(const hg_call* const* calls, std::uint32_t n) {
  const bool idle = asked_.empty();
  for (std::uint32_t i = 0; i < n; ++i) {
    if (dead()) {
      const sdk::Error e = lost(wire::Where::unsent);
      complete(calls[i]->op, {}, &e, true);
      continue;
    }
    try {
      start(*calls[i]);
    } catch (const sdk::Error& e) {
      complete(calls[i]->op, {}, &e);
    }
  }
  if (dead()) return;
  if (idle && !asked_.empty()) {
    new_front(now());
    expect();
  }
  pump();
}

void SharedConnection::look() {
  // A loop that is late may have the answer at hand, unread: after its next turn it is known.
  const bool late = tick() > look_at_us_ + kLateUs;
  front_slow_ = front_slow_ || !late;
  look_at_us_ = tick() + (late ? 1000 : slow_us_);
}

void SharedConnection::start(const hg_call& call) {
  const std::string_view verb = sdk::text(call.verb);
  if (verb == "ping") {
    wire::sync(out_);
    return ask({.kind = Kind::ping, .op = call.op, .begins_at = queued() - 5});
  }
  StatementPtr statement;
  Prepared* p = nullptr;
  if (verb == "query" || verb == "execute") {
    const sdk::Fields f(verb, sdk::bytes(call.body), {"sql", "params"});
    const std::string_view sql = f.str("sql");
    p = prepared_.find(call.tag, sql);
    if (p != nullptr && p->state == Prepared::State::ready)
      return send(call, *p, f.raw("params"), false);
  }
  if (p == nullptr) {
    statement = read_item(driver_, verb, sdk::bytes(call.body), call, nullptr).statement;
    p = prepared_.find(statement->key, statement->source);
  }
  if (p == nullptr) {
    std::uint32_t closed = 0;
    p = &prepared_.add(std::move(statement), out_, &closed);
  }
  run(call, *p, false);
}

void SharedConnection::run(const hg_call& call, Prepared& p, bool again) {
  if (p.state == Prepared::State::parsing) {
    waiting_.push_back({&call, &p, again});
    ++p.users;
    return;
  }
  if (p.state == Prepared::State::fresh) return prepare(call, p, again);
  const Item item = read_item(driver_, sdk::text(call.verb), sdk::bytes(call.body), call, nullptr);
  send(call, p, item.params, again);
}

void SharedConnection::send(const hg_call& call, Prepared& p, proto::Bytes params, bool again) {
  const std::uint64_t at = queued();
  try {
    write_run(out_, p, params);
  } catch (const sdk::Error& e) {
    if (again || !may_be_stale(e)) throw;
    // What was sent before is answered before the new description comes, and by the old one.
    PreparedCache::forget(p);
    return prepare(call, p, true);
  }
  wire::sync(out_);
  ask({.kind = Kind::run,
       .again = again,
       .call = &call,
       .op = call.op,
       .prepared = &p,
       .generation = p.generation,
       .begins_at = at});
}

void SharedConnection::prepare(const hg_call& call, Prepared& p, bool again) {
  const std::uint64_t at = queued();
  PreparedCache::write_prepare(out_, p);
  wire::sync(out_);
  ask({.kind = Kind::prepare,
       .again = again,
       .call = &call,
       .op = call.op,
       .prepared = &p,
       .generation = p.generation,
       .begins_at = at});
}

void SharedConnection::ask(Asked a) {
  if (a.prepared != nullptr) ++a.prepared->users;
  asked_.push(a);
}

void SharedConnection::message(const wire::Message& m) {
  if (asked_.empty()) {
    if (m.tag == wire::Tag::error_response)
      return die(wire::clean_text(wire::read_notice(m.payload).message));
    return die("the server spoke unasked");
  }
  Asked& a = asked_.front();
  switch (m.tag) {
    case wire::Tag::data_row:
      if (m.oversize && a.kind == Kind::run) {
        if (!row_seen_) rows_.begin(host_, a.op, *a.prepared, 0, 0);
        row_seen_ = true;
        return rows_.too_large();
      }
      if (a.kind == Kind::lookup) return types_.learn(m.payload);
      if (a.kind != Kind::run || completed_ || !a.prepared->plan.has_rows()) break;
      if (!row_seen_) {
        rows_.begin(host_, a.op, *a.prepared, 0, 0);
        row_seen_ = true;
      }
      rows_.row(m.payload);
      return;
    case wire::Tag::bind_complete:
      if (a.kind != Kind::run && a.kind != Kind::lookup) break;
      return;
    case wire::Tag::command_complete:
      if (a.kind != Kind::run && a.kind != Kind::lookup) break;
      if (a.kind == Kind::run)
        affected_ = wire::rows_affected(wire::read_command_complete(m.payload));
      completed_ = true;
      return;
    case wire::Tag::close_complete:  // of statements that the cache let go
      return wire::read_empty(m);
    case wire::Tag::parse_complete:
    case wire::Tag::parameter_description:
    case wire::Tag::row_description:
    case wire::Tag::no_data:
      if (a.kind == Kind::lookup && m.tag == wire::Tag::parse_complete) return;
      if (a.kind != Kind::prepare || !PreparedCache::take(*a.prepared, m)) break;
      return;
    case wire::Tag::error_response:
      return failed(m);
    case wire::Tag::ready_for_query:
      return ready(wire::read_ready_for_query(m.payload));
    default:
      break;
  }
  die("the server sent a message that was not asked for");
}

void SharedConnection::notice(const wire::Notice& n, wire::NoticeEffect effect) {
  if (effect == wire::NoticeEffect::none || asked_.empty()) return;
  if (effect == wire::NoticeEffect::not_replicated) not_replicated_ = true;
  if (warning_count_ == kSharedWarningsMax) return;
  proto::VectorOut text;
  proto::Writer w(&text);
  w.str(wire::clean_text(n.message));
  warnings_.insert(warnings_.end(), text.view().begin(), text.view().end());
  ++warning_count_;
}

void SharedConnection::failed(const wire::Message& m) {
  const wire::Notice n = wire::read_notice(m.payload);
  const Asked& a = asked_.front();
  wire::Situation s;
  s.read_pool = read_only_;
  s.where = a.kind != Kind::run ? wire::Where::prepare
            : completed_        ? wire::Where::completed
                                : wire::Where::statement;
  verdict_ = wire::judge(n, s);
  error_.emplace(wire::error_of(verdict_, n));
  if (!n.fatal() && !verdict_.broken) return;
  // The session ends with this error; it is the answer of the one that was running, of nobody else.
  const std::string why = error_->message;
  const Asked front = asked_.pop();
  answering_ = front.op;
  if (front.prepared != nullptr) --front.prepared->users;
  complete(front.op, {}, &*error_, true);
  if (front.kind == Kind::prepare || front.kind == Kind::lookup) {
    front.prepared->state = Prepared::State::fresh;
  }
  error_.reset();
  ended_by_server_ = true;
  die(why);
}

void SharedConnection::ready(wire::TransactionStatus status) {
  Asked a = asked_.pop();
  answering_ = a.op;
  if (a.prepared != nullptr) --a.prepared->users;
  const std::uint64_t since = front_since_us_;
  const bool slow = front_slow_;
  new_front(tick());
  switch (a.kind) {
    case Kind::ping:
      complete(a.op, {}, error_ ? &*error_ : nullptr);
      break;
    case Kind::run:
      if (slow && !error_) a.prepared->statement->ran_slowly(since, tick());
      if (!slow) a.prepared->statement->ran_quickly();
      finish_run(a);
      break;
    default:
      finish_prepare(a);
  }
  error_.reset();
  affected_.reset();
  if (row_seen_) rows_.clear();
  row_seen_ = completed_ = not_replicated_ = false;
  warnings_.clear();
  warning_count_ = 0;
  answering_ = 0;
  if (status != wire::TransactionStatus::idle && !dead())
    die("a statement left a transaction open on a shared connection");
}

void SharedConnection::finish_run(Asked a) {
  if (error_ && verdict_.prepare_again && !a.again) {
    // Whoever comes first prepares it anew; the others find that done.
    if (a.prepared->generation == a.generation && a.prepared->state == Prepared::State::ready) {
      PreparedCache::forget(*a.prepared);
      types_.forget_learned();
    }
    try {
      run(*a.call, *a.prepared, true);
    } catch (const sdk::Error& e) {
      complete(a.op, {}, &e);
    }
    return;
  }
  if (error_) {
    const bool timeout = verdict_.statement_timeout;
    if (timeout) a.prepared->statement->set_slow();
    if (timeout || error_->sqlstate == "55P03") error_->retry = HG_RETRY_REROUTE;
    return complete(a.op, {}, &*error_);
  }
  if (!completed_) return die("the server was ready without having completed a statement");
  if (!row_seen_) rows_.begin(host_, a.op, *a.prepared, 0, 0);
  row_seen_ = true;
  rows_.end();
  sdk::Done done;
  done.rows_affected = affected_;
  if (not_replicated_) done.flags |= HG_DONE_NOT_REPLICATED;
  if (rows_.failed()) {
    a.prepared->statement->set_slow();  // too large to be read here again
    if (rows_.stale()) {
      PreparedCache::forget(*a.prepared);
      types_.forget_learned();
    }
    rows_.error().outcome = sdk::Outcome::applied;
    return complete(a.op, done, &rows_.error());
  }
  complete(a.op, done);
}

void SharedConnection::finish_prepare(const Asked& a) {
  Prepared& p = *a.prepared;
  if (error_) {
    p.state = Prepared::State::fresh;
    const sdk::Error e = *error_;
    if (verdict_.prepare_again && !a.again) {
      p.named_on_server = true;
      try {
        return prepare(*a.call, p, true);
      } catch (const sdk::Error& f) {
        return give_up(a, f);
      }
    }
    return give_up(a, e);
  }
  try {
    if (a.kind == Kind::lookup) types_.settle(p.unknown);
    if (PreparedCache::settle(p, types_)) return prepared(a);
    const std::uint64_t at = queued();
    PreparedCache::write_lookup(out_, p, session_.version);
    wire::sync(out_);
    Asked lookup = a;
    lookup.kind = Kind::lookup;
    lookup.begins_at = at;
    ask(lookup);
  } catch (const sdk::Error& e) {
    p.state = Prepared::State::fresh;
    give_up(a, e);
  }
}

void SharedConnection::give_up(const Asked& a, const sdk::Error& e) {
  complete(a.op, {}, &e);
  run_waiting(*a.prepared, &e);
}

void SharedConnection::prepared(const Asked& a) {
  try {
    run(*a.call, *a.prepared, a.again);
  } catch (const sdk::Error& e) {
    complete(a.op, {}, &e);
  }
  run_waiting(*a.prepared, nullptr);
}

// Those who waited for the statement: each runs it, or hears why it cannot be prepared.
void SharedConnection::run_waiting(Prepared& p, const sdk::Error* error) {
  if (waiting_.empty()) return;
  std::vector<Waiting> mine;
  std::erase_if(waiting_, [&](const Waiting& w) {
    if (w.prepared == &p) mine.push_back(w);
    return w.prepared == &p;
  });
  for (const Waiting& w : mine) {
    --p.users;
    if (error != nullptr) {
      complete(w.call->op, {}, error);
      continue;
    }
    try {
      run(*w.call, p, w.again);
    } catch (const sdk::Error& e) {
      complete(w.call->op, {}, &e);
    }
  }
}

void SharedConnection::ended(const std::string&) {
  bool first = !std::exchange(ended_by_server_, false);
  while (!asked_.empty()) {
    const Asked a = asked_.pop();
    if (a.prepared != nullptr) --a.prepared->users;
    wire::Where where = wire::Where::statement;
    if (unsent(a.begins_at) || a.kind != Kind::run) where = wire::Where::unsent;
    if (first && a.kind == Kind::run && completed_) where = wire::Where::completed;
    first = false;
    const sdk::Error e = lost(where);
    complete(a.op, {}, &e, true);
  }
  for (const Waiting& w : std::exchange(waiting_, {})) {
    const sdk::Error e = lost(wire::Where::unsent);
    complete(w.call->op, {}, &e, true);
  }
}

void SharedConnection::complete(hg_op op, const sdk::Done& with, const sdk::Error* error,
                                bool broken) {
  sdk::Done done = with;
  if (broken) done.connection = HG_CONN_BROKEN;
  // Warnings belong to the statement that is being answered, not to one that is refused meanwhile.
  if (warning_count_ == 0 || op != answering_) return sdk::complete(host_, op, done, error);
  proto::VectorOut list(warnings_.size() + 8);
  proto::Writer w(&list);
  w.array(warning_count_);
  w.raw(warnings_);
  done.warnings = list.view();
  sdk::complete(host_, op, done, error);
}

void SharedConnection::reset(hg_op op) {
  if (dead()) {
    const sdk::Error e = lost(wire::Where::unsent);
    return complete(op, {}, &e, true);
  }
  complete(op, {});  // nothing leases here, and nothing of a session is kept
}

void SharedConnection::ping(hg_op op) {
  if (dead()) {
    const sdk::Error e = lost(wire::Where::unsent);
    return complete(op, {}, &e, true);
  }
  const bool idle = asked_.empty();
  const std::uint64_t at = queued();
  wire::sync(out_);
  ask({.kind = Kind::ping, .op = op, .begins_at = at});
  if (idle) {
    new_front(now());
    expect();
  }
  pump();
}

}  // namespace headgate::postgres
