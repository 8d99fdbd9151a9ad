// The batch and its rules; a caller's transaction is in write_transaction.cpp.
#include "plugins/sqlite/write_connection.hpp"

#include <algorithm>
#include <chrono>

#include "plugins/sdk/recorder.hpp"
#include "plugins/sqlite/checkpointer.hpp"
#include "plugins/sqlite/errors.hpp"
#include "plugins/sqlite/keys.hpp"
#include "plugins/sqlite/verbs.hpp"

namespace headgate::sqlite {
namespace {

// Emptying the log waits for the readers in it: the longer, the further it is above its limit, but
// never in vain for more than a tenth of the writer's time.
constexpr std::uint64_t kTrimWaitUs = 20'000;
constexpr std::uint64_t kTrimWaitMaxUs = 2'000'000;
constexpr std::uint64_t kTrimPauseMinUs = 100'000;
constexpr std::uint64_t kTrimPauseFactor = 10;
constexpr std::uint64_t kPurgeEveryUs = 1'000'000;

// A batch that was undone as a whole; its reply says so of each item.
bool is_undone_batch(const hg_call& call, const sdk::Done& done) {
  return sdk::text(call.verb) == "batch" && !done.rows_affected;
}

bool is_alone(const hg_call& c) { return (c.flags & (HG_CALL_STREAM | HG_CALL_UPLOAD)) != 0; }

}  // namespace

WriteConnection::WriteConnection(SqliteDriver& driver)
    : driver_(driver),
      db_(driver.host(), driver.options().path, Database::Mode::write, driver.options()) {
  Statement s = db_.prepare("PRAGMA page_size");
  if (s.step()) page_bytes_ = static_cast<std::uint64_t>(s.integer(0));
  sqlite3_wal_hook(
      db_.raw(),
      [](void* self, sqlite3*, const char*, int pages) {
        auto* c = static_cast<WriteConnection*>(self);
        c->wal_bytes_ = static_cast<std::uint64_t>(pages) * c->page_bytes_;
        return SQLITE_OK;
      },
      this);
  // After a transaction was lost, the next statement of the same call would commit by itself.
  sqlite3_commit_hook(
      db_.raw(),
      [](void* self) { return static_cast<WriteConnection*>(self)->committing_ ? 0 : 1; }, this);
}

WriteConnection::~WriteConnection() { rollback(); }

std::int64_t WriteConnection::wall_ms() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void WriteConnection::submit(const hg_call* const* calls, std::uint32_t n) {
  std::deque<Member> members;
  Members pending;
  Members alone;
  Members begins;
  {
    const std::lock_guard lock(cancel_mutex_);
    waiting_.clear();
    cancelled_.clear();
    for (std::uint32_t i = 0; i < n; ++i) waiting_.push_back(calls[i]->op);
  }
  const bool leased = transaction_ != Transaction::none;
  for (std::uint32_t i = 0; i < n; ++i) {
    Member& m = members.emplace_back(driver_.host(), calls[i]);
    if (leased)
      in_transaction(m);
    else if (sdk::text(calls[i]->verb) == "begin")
      begins.push_back(&m);
    else if (calls[i]->lease != 0) {
      m.error.emplace(sdk::Code::transaction_expired, sdk::Outcome::rolled_back,
                      "this transaction is over");
      finish(m);
    } else if (is_alone(*calls[i]) || driver_.is_slow(calls[i]->tag))
      alone.push_back(&m);
    else
      pending.push_back(&m);
  }
  run_group(pending, alone);
  // `alone` grows while COMMIT fails for a group, not here.
  for (Member* m : alone) run_alone(*m);
  for (Member* m : begins) begin_transaction(*m);
  after_commit();
}

bool WriteConnection::is_over(const Member& m) const {
  return m.call->work_until_us != 0 && driver_.now() >= m.call->work_until_us;
}

bool WriteConnection::expired(Member& m) {
  bool cancelled = false;
  {
    const std::lock_guard lock(cancel_mutex_);
    std::erase(waiting_, m.call->op);
    cancelled = std::find(cancelled_.begin(), cancelled_.end(), m.call->op) != cancelled_.end();
  }
  if (cancelled) {
    m.error.emplace(sdk::Code::cancelled, sdk::Outcome::not_sent, "the call was cancelled");
  } else if (is_over(m)) {
    m.error.emplace(sdk::Code::deadline, sdk::Outcome::not_sent,
                    "the deadline passed before the call's turn");
    m.error->retry = HG_RETRY_BACKOFF;
  }
  return m.error.has_value();
}

// Waits for another process's lock at most until `until` (host clock; 0: busy_timeout alone).
std::optional<sdk::Error> WriteConnection::begin(hg_op op, std::uint64_t until) {
  std::optional<sdk::Error> failed;
  db_.begin_op(op, until);
  try {
    db_.exec("BEGIN IMMEDIATE");
  } catch (const sdk::Error& e) {
    failed = e;
  }
  db_.end_op();
  return failed;
}

std::optional<sdk::Error> WriteConnection::commit() {
  if (db_.has_moved()) {  // or it would be acknowledged, and gone
    rollback();
    broken_ = true;
    return db_.moved_error(sdk::Outcome::rolled_back);
  }
  committing_ = true;
  std::optional<sdk::Error> failed;
  try {
    db_.exec("COMMIT");
  } catch (const sdk::Error& e) {
    failed = e;
    // After a failed sync nobody knows what a power cut would leave behind.
    failed->outcome =
        e.vendor_code == SQLITE_IOERR_FSYNC ? sdk::Outcome::unknown : sdk::Outcome::rolled_back;
  }
  committing_ = false;
  if (failed) rollback();
  return failed;
}

void WriteConnection::rollback() {
  if (!db_.in_transaction()) return;
  try {
    db_.exec("ROLLBACK");
  } catch (const sdk::Error&) {
    broken_ = true;  // closing it rolls back
  }
}

void WriteConnection::forget(Member& m) {
  m.sink.rewind();
  m.done = {};
  m.error.reset();
  m.partial = false;
  const std::lock_guard lock(cancel_mutex_);
  waiting_.push_back(m.call->op);  // it waits again, and a cancel must find it
}

void WriteConnection::finish(Member& m) {
  m.sink.commit();
  if (m.error && m.partial) m.done.flags |= HG_DONE_KEEP_BODY;
  if (m.error) {
    const int rc = m.error->vendor_code & 0xff;
    if (rc == SQLITE_IOERR || rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB) broken_ = true;
  }
  m.done.connection = broken_ ? HG_CONN_BROKEN : HG_CONN_CLEAN;
  sdk::complete(driver_.host(), m.call->op, m.done, m.error ? &*m.error : nullptr);
}

// Tells those whose time is over, and takes them out. Says when the next one's will be (0: never).
std::uint64_t WriteConnection::drop_expired(Members& pending) {
  const std::uint64_t now = driver_.now();
  std::uint64_t next = 0;
  std::erase_if(pending, [&](Member* m) {
    const std::uint64_t until = m->call->work_until_us;
    if (until == 0) return false;
    if (until > now) {
      next = next == 0 ? until : std::min(next, until);
      return false;
    }
    if (!expired(*m)) return false;
    finish(*m);
    return true;
  });
  return next;
}

// Runs the pending calls in as few commits as the rules allow.
void WriteConnection::run_group(Members& pending, Members& alone) {
  const std::uint64_t batch_us = static_cast<std::uint64_t>(driver_.options().batch_ms) * 1000;
  const auto batch_max = static_cast<std::size_t>(driver_.options().batch_max);
  for (;;) {
    const std::uint64_t until = drop_expired(pending);
    if (pending.empty()) return;
    if (pending.size() == 1) {
      alone.insert(alone.begin(), pending.front());
      return;
    }
    if (auto error = begin(0, until)) {
      if (until != 0 && driver_.now() >= until) continue;  // one's time is over, not everybody's
      for (Member* m : pending) {
        m->error = error;
        finish(*m);
      }
      return;
    }
    std::uint64_t batch_until = driver_.now() + batch_us;
    if (until != 0) batch_until = std::min(batch_until, until);
    std::size_t ran = 0;
    bool kept = true;
    while (ran < pending.size() && ran < batch_max && kept) {
      if (ran > 0 && driver_.now() >= batch_until) break;
      if (driver_.is_slow(pending[ran]->call->tag)) {  // learned in this batch
        alone.push_back(pending[ran]);
        pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(ran));
        continue;
      }
      kept = run(*pending[ran], true, until);
      if (kept) ++ran;
    }
    if (!kept) {
      drop_lost(pending, ran, alone);
      continue;
    }
    purge();
    const auto failed = commit();
    for (std::size_t i = 0; i < ran; ++i) {
      Member& m = *pending[i];
      if (failed) {
        forget(m);
        alone.push_back(&m);
        continue;
      }
      if (!m.error || m.partial) tell(m);
      finish(m);
    }
    pending.erase(pending.begin(), pending.begin() + static_cast<std::ptrdiff_t>(ran));
  }
}

// The call at `ran` took the transaction with it; the ones before it run again.
void WriteConnection::drop_lost(Members& pending, std::size_t ran, Members& alone) {
  rollback();
  for (std::size_t i = 0; i < ran; ++i) forget(*pending[i]);
  Member& m = *pending[ran];
  pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(ran));
  const bool own_end = m.error && (db_.stopped() == Database::Stop::cancelled || is_over(m));
  if (own_end) {
    m.sink.rewind();
    m.done = {};
    m.partial = false;
    m.error->outcome = sdk::Outcome::rolled_back;
    finish(m);
    return;
  }
  driver_.set_slow(m.call->tag, true);  // this text has cost others their turn: alone from now on
  forget(m);
  alone.push_back(&m);
}

void WriteConnection::run_alone(Member& m) {
  if (expired(m)) return finish(m);
  if (auto error = begin(m.call->op, m.call->work_until_us)) {
    m.error = error;
    return finish(m);
  }
  const bool kept = run(m, false);
  if (!kept && !m.error && is_undone_batch(*m.call, m.done)) return finish(m);
  if (!kept || (m.error && !m.partial)) {
    rollback();
    if (!m.error)
      m.error.emplace(sdk::Code::internal, sdk::Outcome::rolled_back, "the transaction was lost");
    if (!kept || db_.stopped() != Database::Stop::none)
      m.error->outcome = sdk::Outcome::rolled_back;
    m.sink.rewind();
    m.done = {};
    m.partial = false;
    return finish(m);
  }
  if (auto error = commit()) {
    m.sink.rewind();
    m.done = {};
    m.partial = false;
    m.error = error;
    return finish(m);
  }
  tell(m);
  finish(m);
}

// Waiting calls wake up. What is committed stays so, whatever goes wrong here.
void WriteConnection::tell(const Member& m) {
  try {
    tell_committed(driver_.kind(), *m.call);
  } catch (...) {
    driver_.log(HG_LOG_ERROR, "after a commit: " + current_error().message);
  }
}

bool WriteConnection::run(Member& m, bool shared, std::uint64_t others_until) {
  if (shared && expired(m)) return true;
  const std::uint64_t started = driver_.now();
  std::uint64_t limit = m.call->work_until_us;
  if (shared) {
    const std::uint64_t cut =
        started + static_cast<std::uint64_t>(driver_.options().statement_max_ms) * 1000;
    limit = limit == 0 ? cut : std::min(limit, cut);
    if (others_until > started) limit = std::min(limit, others_until);
  }
  try {
    if (shared) db_.exec("SAVEPOINT headgate_call");
  } catch (const sdk::Error& e) {
    m.error = e;
    return false;
  }
  db_.begin_op(m.call->op, limit);
  try {
    execute(m, false);
  } catch (const PartialFailure& e) {
    m.error = e;
    m.partial = true;
  } catch (...) {
    m.error = current_error();
  }
  db_.end_op();
  measure(m, started, shared);
  if (!db_.in_transaction()) return false;
  // Cut for the others' sake while it only read, which loses nothing: still not its own end.
  if (shared && m.error && db_.stopped() == Database::Stop::late && !is_over(m)) return false;
  if ((!m.error || m.partial) && has_open_foreign_key(db_)) {
    m.partial = false;
    m.error = open_foreign_key();
  }
  if (!shared) return true;
  return undo_call(m);
}

// Ends the call's savepoint, undoing it when it failed.
bool WriteConnection::undo_call(Member& m) {
  try {
    if (m.error && !m.partial) {
      db_.exec("ROLLBACK TO headgate_call");
      m.sink.rewind();
      m.done = {};
      if (db_.stopped() != Database::Stop::none) m.error->outcome = sdk::Outcome::rolled_back;
    }
    db_.exec("RELEASE headgate_call");
    return true;
  } catch (const sdk::Error& e) {
    m.error = e;
    return false;
  }
}

void WriteConnection::execute(Member& m, bool leased) {
  const hg_call& call = *m.call;
  if (call.key.size == 0) {
    execute_call(driver_, call, db_, m.sink, m.done, leased);
    m.sink.commit();
    return;
  }
  const std::int64_t now = wall_ms();
  if (replay(db_, call, now, m.sink, m.done)) return;
  sdk::Recorder recorder(driver_.host(), driver_.reply_max());
  sdk::Sink sink(recorder.host(), call.op);
  try {
    execute_call(driver_, call, db_, sink, m.done, leased);
  } catch (const PartialFailure& e) {
    sdk::Error whole = e;  // under a key a call is done as a whole or not at all
    whole.outcome = sdk::Outcome::rolled_back;
    throw whole;
  }
  sink.commit();
  if (!is_undone_batch(call, m.done))  // what failed leaves no record: it may be tried again
    record(db_, call, now + driver_.options().keep_keys_ms, recorder.reply(), m.done);
  proto::Writer w(&m.sink);
  w.raw(recorder.reply());
  if (!w.ok())
    throw sdk::Error(sdk::Code::too_large, sdk::Outcome::rejected,
                     "the reply is larger than reply_max");
}

// Learns which texts are too slow for a batch, and forgets those that have become quick.
void WriteConnection::measure(const Member& m, std::uint64_t started, bool shared) {
  const std::uint64_t took = driver_.now() - started;
  const std::uint64_t batch_us = static_cast<std::uint64_t>(driver_.options().batch_ms) * 1000;
  if (shared && took > 4 * batch_us) driver_.set_slow(m.call->tag, true);
  if (!shared && !m.error && took < batch_us && driver_.is_slow(m.call->tag))
    driver_.set_slow(m.call->tag, false);
}

void WriteConnection::cancel(hg_op op) {
  {
    const std::lock_guard lock(cancel_mutex_);
    if (std::find(waiting_.begin(), waiting_.end(), op) != waiting_.end()) cancelled_.push_back(op);
  }
  db_.cancel(op);
}

void WriteConnection::after_commit() {
  if (Checkpointer* c = driver_.checkpointer(); c != nullptr && wal_bytes_ != 0)
    c->note(wal_bytes_);
  if (wal_bytes_ > static_cast<std::uint64_t>(driver_.options().wal_truncate_bytes)) trim_log();
}

// Empties a log above its limit. The Checkpointer has copied most of it; what is left is little.
// Streams and read transactions are not waited for: they end when their callers like.
void WriteConnection::trim_log() {
  const std::uint64_t now = driver_.now();
  if (transaction_ != Transaction::none || now < trim_after_) return;
  const auto limit = static_cast<std::uint64_t>(driver_.options().wal_truncate_bytes);
  const bool patient = !driver_.has_long_readers();
  const std::uint64_t times = wal_bytes_ / limit;
  const std::uint64_t wait = std::min(kTrimWaitMaxUs, kTrimWaitUs * times * times);
  const std::unique_lock other(driver_.checkpointer()->running(), std::chrono::microseconds(wait));
  if (other.owns_lock()) {
    if (patient) driver_.close_gate();
    db_.begin_op(0, driver_.now() + wait);
    const int rc = sqlite3_wal_checkpoint_v2(
        db_.raw(), nullptr, patient ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
        nullptr, nullptr);
    db_.end_op();
    if (patient) driver_.open_gate();
    if (rc == SQLITE_OK && patient) {
      wal_bytes_ = 0;
      return;
    }
  }
  const std::uint64_t took = driver_.now() - now;
  trim_after_ = now + took + std::max(kTrimPauseMinUs, took * kTrimPauseFactor);
}

// A few expired keys with a commit that happens anyway.
void WriteConnection::purge() {
  const std::uint64_t now = driver_.now();
  if (now < purge_after_) return;
  purge_after_ = now + kPurgeEveryUs;
  try {
    db_.exec("SAVEPOINT headgate_purge");
    if (purge_keys(db_, wall_ms()) > 0) purge_after_ = 0;  // there may be more
    db_.exec("RELEASE headgate_purge");
  } catch (const sdk::Error&) {  // the COMMIT that follows meets whatever this was
  }
}

}  // namespace headgate::sqlite
