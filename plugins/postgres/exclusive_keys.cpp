// Idempotency keys around a call, and the question after a COMMIT whose answer was lost.
#include <charconv>

#include "plugins/postgres/driver.hpp"
#include "plugins/postgres/exclusive.hpp"
#include "plugins/postgres/keys.hpp"

namespace headgate::postgres {
namespace {

constexpr std::uint32_t kPurgeEvery = 64;  // keyed calls of a connection
constexpr std::size_t kReceiptBytes = 20;  // transaction id, system identifier, timeline

std::int64_t digits(const std::string& text) {
  std::int64_t v = 0;
  std::from_chars(text.data(), text.data() + text.size(), v);
  return v;
}

}  // namespace

// The lock comes before the look-up: who gets it sees what the holder before has committed.
void ExclusiveConnection::open_key() {
  phase_ = Phase::open;
  command("BEGIN");
  own(lock_sql(*call_));
  own(lookup_sql(driver_.options(), *call_));
}

void ExclusiveConnection::key_opened() {
  const auto& locked = own_results_.at(0);
  const auto& found = own_results_.at(1);
  if (locked.size() != 1 || locked[0] != "t")
    throw sdk::Error(sdk::Code::in_progress, sdk::Outcome::rejected,
                     "a call with this idempotency key is still in flight");
  if (found.empty()) return prepare_parts();
  if (found.size() != 3 || found[0] != "\\x" + request_hash(*call_))
    throw sdk::Error(sdk::Code::conflict, sdk::Outcome::rejected,
                     "this idempotency key was used for another request");
  replayed_ = true;
  if (found[1]) affected_ = digits(*found[1]);
  sdk::Sink sink(reply_recorder_.host(), op_);
  proto::Writer w(&sink);
  const auto reply = read_hex(found[2].value_or("\\x")).value_or(std::vector<std::uint8_t>{});
  reply.empty() ? w.nil() : w.raw(reply);
  sink.commit();
  phase_ = Phase::close;
  command("ROLLBACK", false, wire::Where::rollback);
}

void ExclusiveConnection::record_key() {
  phase_ = Phase::close;
  const Options& o = driver_.options();
  command(expire_sql(o, *call_));
  // A unique violation here fails the transaction, and with it the COMMIT behind.
  command(record_sql(o, *call_, reply_recorder_.reply(), affected_));
  command("COMMIT", true, wire::Where::commit);
  if (++keyed_calls_ % kPurgeEvery != 1) return;
  command(purge_sql(o));
  steps_.back().ignore = true;
}

// What went wrong in our own statements, in words that help.
void ExclusiveConnection::explain_key_error() {
  if (!keyed_ || !call_error_) return;
  if (call_error_->sqlstate == "42P01" &&
      call_error_->message.find("headgate_idempotency") != std::string::npos) {
    call_error_ = sdk::Error(sdk::Code::unsupported, sdk::Outcome::rejected,
                             "idempotency keys need the table headgate_idempotency: see `headgate "
                             "store init`");
  } else if (aborted_commit_ && call_error_->sqlstate == "23505") {
    // Another call with this key was recorded behind our snapshot.
    call_error_->code = sdk::Code::conflict;
    call_error_->outcome = sdk::Outcome::rolled_back;
    call_error_->retry = HG_RETRY_BACKOFF;
  }
}

void ExclusiveConnection::start_commit() {
  verb_ = Verb::commit;
  if (!session_.system || status_ != wire::TransactionStatus::open) return commit_now();
  phase_ = Phase::open;
  own("SELECT pg_catalog.pg_current_xact_id_if_assigned()");
}

void ExclusiveConnection::commit_now() {
  if (call_error_) return finish();
  phase_ = Phase::close;
  // A transaction without an id has written nothing: there is nothing to lose.
  if (!own_results_.empty() && own_results_[0].size() == 1 && own_results_[0][0]) {
    receipt_.resize(kReceiptBytes);
    wire::store64(receipt_.data(), static_cast<std::uint64_t>(digits(*own_results_[0][0])));
    wire::store64(receipt_.data() + 8, session_.system->system);
    wire::store32(receipt_.data() + 16, session_.system->timeline);
  }
  command("COMMIT", true, wire::Where::commit);
}

// The call is a commit whose answer was lost on another connection: what became of it?
void ExclusiveConnection::start_ask() {
  verb_ = Verb::ask;
  const proto::Bytes r = sdk::bytes(call_->receipt);
  const bool same = r.size() == kReceiptBytes && session_.system &&
                    wire::load64(r.data() + 8) == session_.system->system &&
                    wire::load32(r.data() + 16) == session_.system->timeline;
  if (!same)
    throw sdk::Error(
        sdk::Code::unavailable, sdk::Outcome::unknown,
        "the answer to COMMIT was lost, and this server cannot tell what became of it");
  receipt_.assign(r.begin(), r.end());
  own("SELECT pg_catalog.pg_xact_status('" + std::to_string(wire::load64(r.data())) + "'::xid8)");
}

void ExclusiveConnection::after_ask() {
  const std::string said = !call_error_ && !own_results_.empty() && own_results_[0].size() == 1
                               ? own_results_[0][0].value_or("")
                               : "";
  if (said == "committed") return finish();
  if (said == "aborted") {
    call_error_.emplace(sdk::Code::transaction_aborted, sdk::Outcome::rolled_back,
                        "the connection was lost before COMMIT took effect");
  } else {
    call_error_.emplace(sdk::Code::unavailable, sdk::Outcome::unknown,
                        "the answer to COMMIT was lost, and the server no longer knows");
    if (said == "in progress") {
      call_error_->message = "the answer to COMMIT was lost, and it is still under way";
      call_error_->retry = HG_RETRY_BACKOFF;
      give_receipt_ = true;
    }
  }
  finish();
}

}  // namespace headgate::postgres
