// The table: design by SQLSTATE and place. The most specific row comes first.
#include "plugins/postgres/wire/errors.hpp"

#include <algorithm>

#include "proto/writer.hpp"

namespace headgate::postgres::wire {
namespace {

using C = sdk::Code;
using O = sdk::Outcome;

bool is_class(std::string_view sqlstate, std::string_view two) { return sqlstate.starts_with(two); }

// What the error says when it is this statement's own.
struct Row {
  std::string_view sqlstate;  // five characters, or two: the class
  C code;
  O outcome;
  int retry;
  bool breaker;
};
constexpr Row kRows[] = {
    // undone as a whole: the statement or the batch may run again
    {"40001", C::conflict, O::rolled_back, HG_RETRY_BACKOFF, false},
    {"40P01", C::conflict, O::rolled_back, HG_RETRY_BACKOFF, false},
    {"40002", C::constraint, O::rolled_back, HG_RETRY_NEVER, false},
    {"40003", C::store_error, O::unknown, HG_RETRY_NEW_CONNECTION, true},
    {"40", C::conflict, O::rolled_back, HG_RETRY_BACKOFF, false},
    {"55P03", C::conflict, O::rolled_back, HG_RETRY_NEVER, false},
    {"57014", C::deadline, O::rolled_back, HG_RETRY_NEVER, false},
    {"57P01", C::unavailable, O::rolled_back, HG_RETRY_NEW_CONNECTION, true},
    {"57P02", C::unavailable, O::unknown, HG_RETRY_NEW_CONNECTION, true},
    {"57P03", C::unavailable, O::rejected, HG_RETRY_BACKOFF, true},
    {"57P04", C::unavailable, O::rolled_back, HG_RETRY_NEVER, false},
    {"57P05", C::unavailable, O::rolled_back, HG_RETRY_NEW_CONNECTION, false},
    {"25P03", C::transaction_expired, O::rolled_back, HG_RETRY_NEVER, false},
    {"25P02", C::transaction_aborted, O::rejected, HG_RETRY_NEVER, false},
    // the server has no room
    {"53", C::store_error, O::rejected, HG_RETRY_NEVER, true},
    {"58030", C::store_error, O::rejected, HG_RETRY_NEVER, true},
    // the line between us
    {"08P01", C::internal, O::rejected, HG_RETRY_NEVER, false},
    {"08", C::unavailable, O::unknown, HG_RETRY_NEW_CONNECTION, true},
    // the caller's own
    {"23505", C::exists, O::rejected, HG_RETRY_NEVER, false},
    {"23", C::constraint, O::rejected, HG_RETRY_NEVER, false},
    {"44", C::constraint, O::rejected, HG_RETRY_NEVER, false},
    {"42P01", C::not_found, O::rejected, HG_RETRY_NEVER, false},
    {"3F000", C::not_found, O::rejected, HG_RETRY_NEVER, false},
    {"42501", C::denied, O::rejected, HG_RETRY_NEVER, false},
    {"28", C::denied, O::rejected, HG_RETRY_NEVER, false},
    {"25006", C::denied, O::rejected, HG_RETRY_NEVER, false},
    {"54000", C::too_large, O::rejected, HG_RETRY_NEVER, false},
};

Verdict of(const Row& r) {
  Verdict v;
  v.code = r.code;
  v.outcome = r.outcome;
  v.retry = r.retry;
  v.breaker = r.breaker;
  return v;
}

Verdict by_table(std::string_view sqlstate) {
  for (const Row& r : kRows)
    if (sqlstate.starts_with(r.sqlstate)) return of(r);
  return of({"", C::store_error, O::rejected, HG_RETRY_NEVER, false});
}

Verdict unknown() { return of({"", C::unavailable, O::unknown, HG_RETRY_NEW_CONNECTION, true}); }

// The statement had ended well, or COMMIT was under way. An ERROR still undoes the whole; a FATAL
// may come after the commit record was written.
Verdict at_commit(std::string_view sqlstate, bool fatal) {
  Verdict v = by_table(sqlstate);
  const bool untold = fatal || v.outcome == O::unknown || is_class(sqlstate, "57P") ||
                      is_class(sqlstate, "08") || sqlstate.empty();
  if (untold) {
    v = unknown();
    v.broken = true;
    return v;
  }
  v.outcome = O::rolled_back;
  return v;
}

// A statement inside the caller's own transaction: the gateway repeats nothing of it.
void inside_transaction(Verdict& v) {
  v.lease_failed = true;
  const bool undone = v.outcome == O::rolled_back && (v.code == C::conflict || v.broken);
  v.retry = HG_RETRY_NEVER;
  if (undone) v.code = C::transaction_aborted;
}

}  // namespace

Verdict judge(std::string_view sqlstate, bool fatal, std::string_view routine, const Situation& s) {
  if (s.where == Where::commit || (s.where == Where::completed && !s.in_transaction)) {
    Verdict v = at_commit(sqlstate, fatal);
    if (s.where == Where::commit && v.outcome == O::rolled_back) {
      v.retry = HG_RETRY_NEVER;  // the transaction's logic is the caller's
      if (v.code == C::conflict) v.code = C::transaction_aborted;
    }
    return v;
  }
  Verdict v = by_table(sqlstate);
  v.broken = fatal || v.outcome == O::unknown || sqlstate == "08P01";
  if (s.where == Where::idle || s.where == Where::unsent) {
    v.outcome = O::not_sent;
    v.retry = HG_RETRY_NEW_CONNECTION;
    if (v.broken) v.code = C::unavailable;
    return v;
  }
  if (s.where == Where::prepare && v.outcome != O::unknown) v.outcome = O::rejected;
  // A row that the table does not name ends the connection too: nothing says how far it came,
  // unless it came before the statement's end, and then its transaction is gone.
  if (fatal && v.outcome == O::rejected && s.where != Where::prepare) v.outcome = O::rolled_back;

  if (sqlstate == "57014") {
    v.statement_timeout = !s.cancelled;
    if (s.cancelled && s.caller_gone) v.code = C::cancelled;
  }
  const bool plan = sqlstate == "0A000" && routine == "RevalidateCachedQuery";
  if (plan || sqlstate == "26000" || sqlstate == "42P05") {
    v.prepare_again = true;
    v.outcome = O::rejected;
    v.retry = HG_RETRY_SAME_CONNECTION;
  }
  if (sqlstate == "25006" && !s.read_pool) {
    v.code = C::unavailable;
    v.primary_moved = true;
    v.retry = HG_RETRY_OTHER_ENDPOINT;
  }
  if (s.in_transaction) inside_transaction(v);
  return v;
}

Verdict judge_lost(const Situation& s) {
  Verdict v = unknown();
  v.broken = true;
  switch (s.where) {
    case Where::idle:
    case Where::unsent:
      v.outcome = O::not_sent;
      break;
    case Where::prepare:
    case Where::statement:
    case Where::rollback:
      // Only COMMIT makes a transaction's work stay.
      if (s.in_transaction) v.outcome = O::rolled_back;
      break;
    case Where::completed:
      if (s.in_transaction) v.outcome = O::rolled_back;
      break;
    case Where::commit:
      break;
  }
  if (s.in_transaction) inside_transaction(v);
  return v;
}

NoticeEffect effect_of(const Notice& n) {
  if (n.sqlstate == "57P01" || n.sqlstate == "57P02") {
    // SyncRepWaitForLSN says it with 57P01 as a WARNING: the row is there, the connection goes.
    return NoticeEffect::going_down;
  }
  if (n.severity == "WARNING" && n.routine == "SyncRepWaitForLSN")
    return NoticeEffect::not_replicated;
  return n.severity == "WARNING" ? NoticeEffect::warning : NoticeEffect::none;
}

namespace {

// Class 22 quotes what it could not read: from the first quotation mark to the last.
std::string without_value(std::string_view sqlstate, std::string_view message) {
  if (!is_class(sqlstate, "22")) return std::string(message);
  const std::size_t first = message.find('"');
  if (first == std::string_view::npos) return std::string(message);
  const std::size_t last = message.rfind('"');
  const std::size_t rest = last == first ? message.size() : last + 1;
  return std::string(message.substr(0, first)) + "\"...\"" + std::string(message.substr(rest));
}

std::vector<std::uint8_t> detail_of(const Notice& n) {
  const std::pair<const char*, std::string_view> all[] = {
      {"severity", n.severity},     {"position", n.position},
      {"schema", n.schema},         {"table", n.table},
      {"column", n.column},         {"data_type", n.data_type},
      {"constraint", n.constraint}, {"hint", is_class(n.sqlstate, "22") ? "" : n.hint},
  };
  proto::VectorOut out;
  proto::Writer w(&out);
  const auto count = std::count_if(std::begin(all), std::end(all),
                                   [](const auto& f) { return !f.second.empty(); });
  if (count == 0) return {};
  w.map(static_cast<std::uint32_t>(count));
  for (const auto& [name, value] : all) {
    if (value.empty()) continue;
    w.str(name);
    w.str(clean_text(value, 256));
  }
  return {out.view().begin(), out.view().end()};
}

sdk::Error base_error(const Verdict& v, std::string message) {
  sdk::Error e(v.code, v.outcome, std::move(message));
  e.retry = v.retry;
  e.breaker = v.breaker;
  return e;
}

}  // namespace

sdk::Error error_of(const Verdict& v, const Notice& n) {
  const std::string message = clean_text(without_value(n.sqlstate, n.message), 500);
  sdk::Error e = base_error(v, message.empty() ? "the server gave no reason" : message);
  e.sqlstate = n.sqlstate.empty() ? "XX000" : std::string(n.sqlstate);
  e.detail = detail_of(n);
  return e;
}

sdk::Error error_of_lost(const Verdict& v, std::string_view why) {
  sdk::Error e = base_error(v, clean_text(why, 500));
  e.sqlstate = v.outcome == O::unknown ? "08007" : "08006";
  return e;
}

}  // namespace headgate::postgres::wire
