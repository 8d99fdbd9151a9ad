// Dates and times, UUID, JSON, and the types that travel as text.
#include <cstdio>

#include "plugins/postgres/wire/decode.hpp"
#include "proto/values.hpp"

namespace headgate::postgres::wire {
namespace {

constexpr std::int64_t kMax = INT64_MAX;
constexpr std::int64_t kMin = INT64_MIN;
constexpr char kHex[] = "0123456789abcdef";

std::int64_t floor_seconds(std::int64_t micros) {
  return micros / 1'000'000 - (micros % 1'000'000 < 0 ? 1 : 0);
}

void write_hex_octets(proto::Writer& w, Bytes v) {
  char text[24];
  std::size_t n = 0;
  for (const std::uint8_t b : v) {
    if (n != 0) text[n++] = ':';
    text[n++] = kHex[b >> 4];
    text[n++] = kHex[b & 15];
  }
  w.str({text, n});
}

// As the server's pg_inet_net_ntop writes it: RFC 5952's longest run, IPv4 inside in its own form.
int ip6_text(const std::uint8_t* p, char* out) {
  unsigned words[8];
  for (int i = 0; i < 8; ++i) words[i] = load16(p + 2 * i);
  int best = -1, best_n = 1;
  for (int i = 0; i < 8;) {
    int n = 0;
    while (i + n < 8 && words[i + n] == 0) ++n;
    if (n > best_n) best = i, best_n = n;
    i += n == 0 ? 1 : n;
  }
  const bool v4 = best == 0 && (best_n == 6 || (best_n == 7 && words[7] != 1) ||
                                (best_n == 5 && words[5] == 0xffff));
  int at = 0;
  for (int i = 0; i < 8; ++i) {
    if (best >= 0 && i >= best && i < best + best_n) {
      if (i == best) out[at++] = ':';
      continue;
    }
    if (i != 0) out[at++] = ':';
    if (i == 6 && v4) return at + std::sprintf(out + at, "%u.%u.%u.%u", p[12], p[13], p[14], p[15]);
    at += std::sprintf(out + at, "%x", words[i]);
  }
  if (best >= 0 && best + best_n == 8) out[at++] = ':';
  return at;
}

}  // namespace

void malformed(const char* what) {
  throw ProtocolFault(std::string("the server sent a value of type ") + what + " that is none");
}

void unrepresentable(const char* why, const char* sqlstate) {
  Unrepresentable e(sdk::Code::store_error, sdk::Outcome::applied, why);
  e.sqlstate = sqlstate;
  throw e;
}

void stale(const Type& type) {
  StaleType e(sdk::Code::conflict, sdk::Outcome::applied,
              "is of type " + type.name + ", which has been changed meanwhile");
  e.sqlstate = "55000";
  throw e;
}

void str_header(proto::Writer& w, std::uint32_t n) {
  std::uint8_t h[5];
  std::size_t size = 1;
  if (n <= 31) {
    h[0] = static_cast<std::uint8_t>(0xa0 | n);
  } else if (n <= 0xff) {
    h[0] = 0xd9;
    h[1] = static_cast<std::uint8_t>(n);
    size = 2;
  } else if (n <= 0xffff) {
    h[0] = 0xda;
    store16(h + 1, static_cast<std::uint16_t>(n));
    size = 3;
  } else {
    h[0] = 0xdb;
    store32(h + 1, n);
    size = 5;
  }
  w.raw({h, size});
}

void write_char1(proto::Writer& w, Bytes v) {
  if (v.size() != 1) malformed("\"char\"");
  if (v[0] >= 0x80) unrepresentable("holds a \"char\" that is not UTF-8", "22021");
  w.str(proto::text_of(v[0] == 0 ? Bytes{} : v));
}

void write_date(proto::Writer& w, Bytes v) {
  const auto days = static_cast<std::int32_t>(fixed32(v, "date"));
  if (days == INT32_MAX || days == INT32_MIN) return proto::write(w, proto::Date{days});
  if (days >= INT32_MAX - kEpochDays) malformed("date");
  proto::write(w, proto::Date{days + kEpochDays});
}

void write_time(proto::Writer& w, Bytes v) {
  const auto micros = static_cast<std::int64_t>(fixed64(v, "time"));
  if (micros < 0 || micros > proto::kDayUs) malformed("time");
  proto::write(w, proto::TimeOfDay{micros, std::nullopt});
}

void write_timetz(proto::Writer& w, Bytes v) {
  if (v.size() != 12) malformed("timetz");
  const auto micros = static_cast<std::int64_t>(load64(v.data()));
  const auto west = static_cast<std::int32_t>(load32(v.data() + 8));
  if (micros < 0 || micros > proto::kDayUs || west > proto::kOffsetMax || west < -proto::kOffsetMax)
    malformed("timetz");
  proto::write(w, proto::TimeOfDay{micros, -west});
}

void write_timestamp(proto::Writer& w, Bytes v) {
  const auto micros = static_cast<std::int64_t>(fixed64(v, "timestamp"));
  if (micros == kMax || micros == kMin) return proto::write(w, proto::LocalTimestamp{micros});
  // PostgreSQL's last thirty years have no number of microseconds since 1970.
  if (micros >= kMax - kEpochMicros)
    unrepresentable("holds a timestamp after the year 294246", "22008");
  proto::write(w, proto::LocalTimestamp{micros + kEpochMicros});
}

void write_timestamptz(proto::Writer& w, Bytes v) {
  const auto micros = static_cast<std::int64_t>(fixed64(v, "timestamptz"));
  if (micros == kMax || micros == kMin) return proto::write(w, proto::Timestamp{micros, 0});
  const std::int64_t seconds = floor_seconds(micros);
  // Not micros - seconds * 1'000'000: of the least values that product is no int64.
  const auto nanos =
      static_cast<std::uint32_t>((micros % 1'000'000 + 1'000'000) % 1'000'000 * 1000);
  proto::write(w, proto::Timestamp{seconds + kEpochSeconds, nanos});
}

void write_interval(proto::Writer& w, Bytes v) {
  if (v.size() != 16) malformed("interval");
  const auto micros = static_cast<std::int64_t>(load64(v.data()));
  const auto days = static_cast<std::int32_t>(load32(v.data() + 8));
  const auto months = static_cast<std::int32_t>(load32(v.data() + 12));
  // PostgreSQL 17 spells its infinite intervals so.
  if ((micros == kMax && days == INT32_MAX && months == INT32_MAX) ||
      (micros == kMin && days == INT32_MIN && months == INT32_MIN))
    unrepresentable("holds an infinite interval", "22008");
  proto::write(w, proto::Interval{months, days, micros});
}

void write_uuid(proto::Writer& w, Bytes v) {
  if (v.size() != 16) malformed("uuid");
  w.ext(static_cast<std::int8_t>(proto::Ext::uuid), v);
}

void write_json(proto::Writer& w, Bytes v) {
  if (v.empty()) malformed("json");
  if (!proto::valid_utf8(proto::text_of(v)))
    unrepresentable("holds JSON that is not UTF-8: read it as bytes with convert_to()", "22021");
  w.ext(static_cast<std::int8_t>(proto::Ext::json), v);
}

void write_jsonb(proto::Writer& w, Bytes v) {
  if (v.size() < 2 || v[0] != 1) malformed("jsonb");
  write_json(w, v.subspan(1));
}

// Family, bits of the network, is it a cidr, bytes of the address, the address.
void write_inet(proto::Writer& w, Bytes v) {
  if (v.size() < 4) malformed("inet");
  const bool v4 = v[0] == 2;
  const std::size_t n = v4 ? 4 : 16;
  if ((!v4 && v[0] != 3) || v[1] > n * 8 || v[2] > 1 || v[3] != n || v.size() != 4 + n)
    malformed("inet");
  const std::uint8_t* p = v.data() + 4;
  char text[64];
  int at = v4 ? std::sprintf(text, "%u.%u.%u.%u", p[0], p[1], p[2], p[3]) : ip6_text(p, text);
  if (v[2] == 1 || v[1] != n * 8) at += std::sprintf(text + at, "/%u", v[1]);
  w.str({text, static_cast<std::size_t>(at)});
}

void write_macaddr(proto::Writer& w, Bytes v) {
  if (v.size() != 6) malformed("macaddr");
  write_hex_octets(w, v);
}
void write_macaddr8(proto::Writer& w, Bytes v) {
  if (v.size() != 8) malformed("macaddr8");
  write_hex_octets(w, v);
}

void write_bits(proto::Writer& w, Bytes v) {
  if (v.size() < 4) malformed("bit");
  const std::uint32_t bits = load32(v.data());
  if (v.size() - 4 != (std::uint64_t{bits} + 7) / 8) malformed("bit");
  str_header(w, bits);
  char text[256];
  std::size_t n = 0;
  for (std::uint32_t i = 0; i < bits; ++i) {
    text[n++] = static_cast<char>('0' + (v[4 + i / 8] >> (7 - i % 8) & 1));
    if (n == sizeof text || i + 1 == bits) {
      w.raw(proto::bytes_of({text, n}));
      n = 0;
    }
  }
}

}  // namespace headgate::postgres::wire
