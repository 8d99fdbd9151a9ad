// decode: values in PostgreSQL's binary forms into msgpack; what result.cpp is made of.
//
// Every function takes one value's bytes, foreign ones: a size or content that the type does not
// have is a ProtocolFault by malformed(), a value that we cannot carry an Unrepresentable. None
// allocates. Source: the *_send functions of PostgreSQL 15 (src/backend/utils/adt). Threads: none
// of its own.
#pragma once
#include "plugins/postgres/wire/result.hpp"

namespace headgate::postgres::wire {

// PostgreSQL counts from 2000-01-01.
inline constexpr std::int32_t kEpochDays = 10'957;
inline constexpr std::int64_t kEpochSeconds = std::int64_t{kEpochDays} * 86'400;
inline constexpr std::int64_t kEpochMicros = kEpochSeconds * 1'000'000;

// Bits of a range's first byte.
inline constexpr std::uint8_t kRangeEmpty = 0x01;
inline constexpr std::uint8_t kRangeLowerIn = 0x02;
inline constexpr std::uint8_t kRangeUpperIn = 0x04;
inline constexpr std::uint8_t kRangeNoLower = 0x08;
inline constexpr std::uint8_t kRangeNoUpper = 0x10;

[[noreturn]] void malformed(const char* what);
[[noreturn]] void unrepresentable(const char* why, const char* sqlstate);
[[noreturn]] void stale(const Type& type);

// The header of a str of n bytes that follow by Writer::raw().
void str_header(proto::Writer& w, std::uint32_t n);

inline std::uint32_t fixed32(Bytes v, const char* what) {
  if (v.size() != 4) [[unlikely]]
    malformed(what);
  return load32(v.data());
}
inline std::uint64_t fixed64(Bytes v, const char* what) {
  if (v.size() != 8) [[unlikely]]
    malformed(what);
  return load64(v.data());
}

inline void write_boolean(proto::Writer& w, Bytes v) {
  if (v.size() != 1 || v[0] > 1) [[unlikely]]
    malformed("bool");
  w.boolean(v[0] == 1);
}
inline void write_int2(proto::Writer& w, Bytes v) {
  if (v.size() != 2) [[unlikely]]
    malformed("int2");
  w.sint(static_cast<std::int16_t>(load16(v.data())));
}
inline void write_int4(proto::Writer& w, Bytes v) {
  w.sint(static_cast<std::int32_t>(fixed32(v, "int4")));
}
inline void write_int8(proto::Writer& w, Bytes v) {
  w.sint(static_cast<std::int64_t>(fixed64(v, "int8")));
}
inline void write_oid(proto::Writer& w, Bytes v) { w.uint(fixed32(v, "oid")); }
inline void write_xid8(proto::Writer& w, Bytes v) { w.uint(fixed64(v, "xid8")); }
// Both sides are big endian: a tag and the server's bytes.
inline void write_float4(proto::Writer& w, Bytes v) {
  if (v.size() != 4) [[unlikely]]
    malformed("float4");
  const std::uint8_t bytes[5] = {0xca, v[0], v[1], v[2], v[3]};
  w.raw(bytes);
}
inline void write_float8(proto::Writer& w, Bytes v) {
  w.real(std::bit_cast<double>(fixed64(v, "float8")));
}
inline void write_utf8(proto::Writer& w, Bytes v) {
  const std::string_view s = proto::text_of(v);
  if (!proto::valid_utf8(s)) [[unlikely]]
    unrepresentable("holds text that is not UTF-8: read it as bytes with convert_to()", "22021");
  w.str(s);
}
inline void write_bytea(proto::Writer& w, Bytes v) { w.bin(v); }

void write_char1(proto::Writer& w, Bytes v);
void write_numeric(proto::Writer& w, Bytes v);
void write_date(proto::Writer& w, Bytes v);
void write_time(proto::Writer& w, Bytes v);
void write_timetz(proto::Writer& w, Bytes v);
void write_timestamp(proto::Writer& w, Bytes v);
void write_timestamptz(proto::Writer& w, Bytes v);
void write_interval(proto::Writer& w, Bytes v);
void write_uuid(proto::Writer& w, Bytes v);
void write_json(proto::Writer& w, Bytes v);
void write_jsonb(proto::Writer& w, Bytes v);
void write_inet(proto::Writer& w, Bytes v);
void write_macaddr(proto::Writer& w, Bytes v);
void write_macaddr8(proto::Writer& w, Bytes v);
void write_bits(proto::Writer& w, Bytes v);

void write_array(proto::Writer& w, const Type& type, Bytes v);
void write_range(proto::Writer& w, const Type& type, Bytes v);
void write_multirange(proto::Writer& w, const Type& type, Bytes v);
void write_composite(proto::Writer& w, const Type& type, Bytes v);

}  // namespace headgate::postgres::wire
