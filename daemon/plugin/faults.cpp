// hg_error and hg_done in our words: sizes respected, numbers in range, texts cut to UTF-8.
#include <algorithm>
#include <cstring>

#include "daemon/plugin/host.hpp"
#include "daemon/plugin/host_table.hpp"

namespace headgate::plugin {
namespace {

constexpr std::uint64_t kDetailMax = 64 * 1024;
constexpr std::uint64_t kWarningsMax = 64 * 1024;

// A struct as long as ours, with zeros where the plugin's own ends.
template <class T>
T widened(const T& theirs) {
  T ours{};
  std::memcpy(&ours, &theirs, std::min<std::size_t>(theirs.size, sizeof(T)));
  return ours;
}

std::string text_until_nul(const char* s, std::size_t max) {
  std::string text(s, ::strnlen(s, max));
  while (!text.empty() && !proto::valid_utf8(text)) text.pop_back();
  return text;
}

}  // namespace

Fault fault_from(const hg_error& theirs) {
  const hg_error e = widened(theirs);
  Fault f;
  const bool in_range = e.code > HG_OK && e.code <= HG_INTERNAL && e.outcome >= HG_NOT_SENT &&
                        e.outcome <= HG_UNKNOWN && e.retry >= HG_RETRY_NEVER &&
                        e.retry <= HG_RETRY_WAIT;
  f.message = text_until_nul(e.message, sizeof e.message);
  if (!in_range) {
    f.code = Code::internal;
    f.outcome = Outcome::unknown;
    f.message = "the plugin gave an error with numbers out of range: " + f.message;
    return f;
  }
  f.code = static_cast<Code>(e.code);
  f.outcome = static_cast<Outcome>(e.outcome);
  f.retry = static_cast<Retry>(e.retry);
  f.retry_after_ms = e.retry_after_ms;
  f.vendor_code = e.vendor_code;
  f.breaker = e.breaker != 0;
  f.sqlstate = text_until_nul(e.sqlstate, sizeof e.sqlstate);
  f.wait_token = e.wait_token;
  f.full = e.full != 0;
  if (e.detail.data != nullptr && e.detail.size > 0 && e.detail.size <= kDetailMax) {
    const proto::Bytes detail{e.detail.data, static_cast<std::size_t>(e.detail.size)};
    if (proto::check(detail) == proto::Shape::good) f.detail.assign(detail.begin(), detail.end());
  }
  return f;
}

void lend_fault(const Fault& f, hg_error* e) {
  *e = hg_error{};
  e->size = sizeof *e;
  e->code = static_cast<int>(f.code);
  e->outcome = static_cast<int>(f.outcome);
  e->retry = static_cast<int>(f.retry);
  e->retry_after_ms = f.retry_after_ms;
  e->vendor_code = f.vendor_code;
  e->breaker = f.breaker ? 1 : 0;
  f.sqlstate.copy(e->sqlstate, sizeof e->sqlstate - 1);
  f.message.copy(e->message, sizeof e->message - 1);
  e->detail = {f.detail.data(), f.detail.size()};
  e->wait_token = f.wait_token;
  e->full = f.full ? 1 : 0;
}

Done done_from(const hg_done* theirs, std::string& bad) {
  Done done;
  const auto broken = [&](std::string why) {
    bad = std::move(why);
    done.ok = false;
    done.connection = ConnState::broken;
    done.lease = LeaseState::failed;
    done.fault.code = Code::internal;
    done.fault.outcome = Outcome::unknown;
    done.fault.message = "the plugin completed the call with " + bad;
    return done;
  };
  if (theirs == nullptr || theirs->size < offsetof(hg_done, warnings))
    return broken("an hg_done that is too short");
  const hg_done d = widened(*theirs);
  if (d.connection < HG_CONN_CLEAN || d.connection > HG_CONN_BROKEN)
    return broken("an unknown connection state");
  if (d.lease < HG_LEASE_NONE || d.lease > HG_LEASE_FAILED) return broken("an unknown lease state");
  done.connection = static_cast<ConnState>(d.connection);
  done.lease = static_cast<LeaseState>(d.lease);
  done.replayed = (d.flags & HG_DONE_REPLAYED) != 0;
  done.not_replicated = (d.flags & HG_DONE_NOT_REPLICATED) != 0;
  done.has_rows_affected = (d.flags & HG_DONE_ROWS_AFFECTED) != 0;
  done.has_last_id = (d.flags & HG_DONE_LAST_ID) != 0;
  done.rows_affected = d.rows_affected;
  done.last_id = d.last_id;
  if (d.error != nullptr) {
    done.ok = false;
    done.keep_body = (d.flags & HG_DONE_KEEP_BODY) != 0;
    done.fault = fault_from(*d.error);
  }
  if (d.warnings.data != nullptr && d.warnings.size > 0) {
    const proto::Bytes w{d.warnings.data, static_cast<std::size_t>(d.warnings.size)};
    if (w.size() <= kWarningsMax && proto::check(w) == proto::Shape::good &&
        proto::Cursor(w).peek() == proto::Type::array)
      done.warnings.assign(w.begin(), w.end());
    else
      bad = "warnings that are no msgpack array (dropped)";
  }
  if (d.receipt.data != nullptr && d.receipt.size > 0) {
    if (d.receipt.size <= 64)
      done.receipt.assign(reinterpret_cast<const char*>(d.receipt.data), d.receipt.size);
    else
      bad = "a receipt of more than 64 bytes (dropped)";
  }
  return done;
}

}  // namespace headgate::plugin
