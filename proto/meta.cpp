// Meta of a reply, both ways, and the reply head whose length it bounds.
#include <algorithm>
#include <cstdio>
#include <limits>

#include "proto/envelope.hpp"

namespace headgate::proto {
namespace {

// Of the head: array, version, type, id, code and the map's header.
constexpr std::size_t kFrameBytes = 1 + 1 + 1 + 9 + 1 + 3;
// Every key of kKeys with its widest value, detail and warnings apart; checked by a test that
// writes the longest head there is.
constexpr std::size_t kFixedMetaMax = 1010;
static_assert(kFrameBytes + kFixedMetaMax < kReplyHeadMax);

std::string_view cut(std::string_view s, std::size_t max) {
  if (s.size() > max) s = s.substr(0, max);
  while (!valid_utf8(s)) s.remove_suffix(1);
  return s;
}

enum Key : std::size_t {
  outcome,
  attempts,
  retryable,
  retry_after_ms,
  sqlstate,
  vendor_code,
  message,
  detail,
  store,
  rows_affected,
  last_id,
  warnings,
  replayed,
  replicated,
  queue_us,
  store_us,
  omitted
};
constexpr std::array<std::string_view, 17> kKeys = {
    "outcome",  "attempts",   "retryable", "retry_after_ms", "sqlstate", "vendor_code",
    "message",  "detail",     "store",     "rows_affected",  "last_id",  "warnings",
    "replayed", "replicated", "queue_us",  "store_us",       "omitted"};

// Reads one known value; false: it has another type or is out of range.
bool read_value(Cursor& c, std::size_t key, Meta* m) {
  auto u32 = [&](std::uint32_t* out) {
    const std::uint64_t v = c.read_uint();
    *out = static_cast<std::uint32_t>(v);
    return c.ok() && v <= UINT32_MAX;
  };
  auto flag = [&](bool* out) {
    *out = c.read_bool();
    return c.ok();
  };
  auto text = [&](std::string_view* out) {
    *out = c.read_str();
    return c.ok();
  };
  auto count = [&](std::optional<std::int64_t>* out) {
    *out = c.read_int();
    return c.ok();
  };
  switch (key) {
    case outcome: {
      const std::optional<Outcome> o = outcome_from(c.read_uint());
      if (!c.ok() || !o.has_value()) return false;
      m->outcome = *o;
      return true;
    }
    case attempts:
      return u32(&m->attempts);
    case retryable:
      return flag(&m->retryable);
    case retry_after_ms:
      return u32(&m->retry_after_ms);
    case sqlstate:
      return text(&m->sqlstate);
    case vendor_code: {
      const std::int64_t v = c.read_int();
      m->vendor_code = static_cast<std::int32_t>(v);
      return c.ok() && v >= std::numeric_limits<std::int32_t>::min() &&
             v <= std::numeric_limits<std::int32_t>::max();
    }
    case message:
      return text(&m->message);
    case detail:
      m->detail = c.skip();
      return c.ok();
    case store:
      return text(&m->store);
    case rows_affected:
      return count(&m->rows_affected);
    case last_id:
      return count(&m->last_id);
    case warnings: {
      if (c.peek() != Type::array) return false;
      m->warnings = c.skip();
      return c.ok();
    }
    case replayed:
      return flag(&m->replayed);
    case replicated:
      return flag(&m->replicated);
    case queue_us:
      m->queue_us = c.read_uint();
      return c.ok();
    case store_us:
      m->store_us = c.read_uint();
      return c.ok();
    default:
      return flag(&m->omitted);
  }
}

tl::unexpected<Refusal> wrong(std::string_view key) {
  Refusal r;
  r.cut = true;
  r.type = static_cast<std::uint64_t>(FrameType::reply);
  std::snprintf(r.text.data(), r.text.size(), "meta: `%.*s` has a wrong type or value",
                static_cast<int>(key.size()), key.data());
  return tl::make_unexpected(r);
}

}  // namespace

tl::expected<Meta, Refusal> decode_meta(Bytes meta) {
  Meta m;
  Cursor c(meta);
  const std::uint32_t pairs = c.read_map();
  if (!c.ok()) return wrong("(the map)");
  bool has_outcome = false;
  for (std::uint32_t i = 0; i < pairs; ++i) {
    const std::string_view key = c.read_str();
    if (!c.ok()) return wrong("(a key)");
    const auto* found = std::find(kKeys.begin(), kKeys.end(), key);
    if (found == kKeys.end()) {
      c.skip();
      if (!c.ok()) return wrong("(an unknown key)");
      continue;
    }
    const auto which = static_cast<std::size_t>(found - kKeys.begin());
    if (!read_value(c, which, &m)) return wrong(*found);
    has_outcome |= which == outcome;
  }
  if (!has_outcome || !c.at_end()) return wrong("outcome");
  return m;
}

void encode_reply_head(Writer& w, std::uint64_t id, Code code, const Meta& m) {
  const std::string_view text = cut(m.message, kMessageTextMax);
  const std::string_view state = cut(m.sqlstate, 5);
  const std::string_view of = cut(m.store, kNameMax);
  std::size_t left = kReplyHeadMax - kFrameBytes - kFixedMetaMax;
  auto fits = [&](Bytes b, std::size_t key) {
    if (b.empty() || b.size() + key > left) return false;
    left -= b.size() + key;
    return true;
  };
  const bool with_detail = fits(m.detail, 1 + kKeys[detail].size());
  const bool with_warnings = fits(m.warnings, 1 + kKeys[warnings].size());
  const bool left_out =
      m.omitted || (!m.detail.empty() && !with_detail) || (!m.warnings.empty() && !with_warnings);
  const int pairs = 2 + m.retryable + (m.retry_after_ms != 0) + !state.empty() +
                    (m.vendor_code != 0) + !text.empty() + with_detail + !of.empty() +
                    m.rows_affected.has_value() + m.last_id.has_value() + with_warnings +
                    m.replayed + !m.replicated + (m.queue_us != 0) + (m.store_us != 0) + left_out;
  w.array(6);
  w.uint(kVersion);
  w.uint(static_cast<std::uint64_t>(FrameType::reply));
  w.uint(id);
  w.uint(static_cast<std::uint64_t>(code));
  w.map(static_cast<std::uint32_t>(pairs));
  w.str(kKeys[outcome]), w.uint(static_cast<std::uint64_t>(m.outcome));
  w.str(kKeys[attempts]), w.uint(m.attempts);
  if (m.retryable) w.str(kKeys[retryable]), w.boolean(true);
  if (m.retry_after_ms != 0) w.str(kKeys[retry_after_ms]), w.uint(m.retry_after_ms);
  if (!state.empty()) w.str(kKeys[sqlstate]), w.str(state);
  if (m.vendor_code != 0) w.str(kKeys[vendor_code]), w.sint(m.vendor_code);
  if (!text.empty()) w.str(kKeys[message]), w.str(text);
  if (with_detail) w.str(kKeys[detail]), w.raw(m.detail);
  if (!of.empty()) w.str(kKeys[store]), w.str(of);
  if (m.rows_affected.has_value()) w.str(kKeys[rows_affected]), w.sint(*m.rows_affected);
  if (m.last_id.has_value()) w.str(kKeys[last_id]), w.sint(*m.last_id);
  if (with_warnings) w.str(kKeys[warnings]), w.raw(m.warnings);
  if (m.replayed) w.str(kKeys[replayed]), w.boolean(true);
  if (!m.replicated) w.str(kKeys[replicated]), w.boolean(false);
  if (m.queue_us != 0) w.str(kKeys[queue_us]), w.uint(m.queue_us);
  if (m.store_us != 0) w.str(kKeys[store_us]), w.uint(m.store_us);
  if (left_out) w.str(kKeys[omitted]), w.boolean(true);
}

}  // namespace headgate::proto
