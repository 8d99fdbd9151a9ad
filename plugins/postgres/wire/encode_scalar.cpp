// Integers, floats, text, dates and times, UUID, JSON.
#include <cmath>

#include "plugins/postgres/wire/decode.hpp"
#include "plugins/postgres/wire/encode.hpp"

namespace headgate::postgres::wire {
namespace {

using proto::Item;

// The value of an ext item, or of its text form; nothing else is taken.
template <class T, class Parse>
T read_or_parse(const Encoding& e, const Type& type, const Item& it, proto::Ext ext, Parse parse,
                const char* sqlstate) {
  if (it.type == proto::Type::str) {
    const auto v = parse(proto::text_of(it.bytes));
    if (!v) e.refuse(sqlstate, "the text is no " + type.name + " in the protocol's form");
    return *v;
  }
  if (it.type != proto::Type::ext || static_cast<proto::Ext>(it.ext) != ext) e.mismatch(type, it);
  T v;
  if (!proto::read(it, &v)) e.bad_ext(it);
  return v;
}

void put_date(const Encoding& e, const Type& type, const Item& it) {
  const auto v =
      read_or_parse<proto::Date>(e, type, it, proto::Ext::date, proto::parse_date, "22007");
  std::int32_t days = v.days;
  if (days != proto::Date::kInfinity && days != proto::Date::kMinusInfinity &&
      (__builtin_sub_overflow(days, kEpochDays, &days) || days == INT32_MIN))
    e.refuse("22008", "the date is out of range");
  e.out.put32(static_cast<std::uint32_t>(days));
}

void put_time(const Encoding& e, const Type& type, const Item& it) {
  const auto v =
      read_or_parse<proto::TimeOfDay>(e, type, it, proto::Ext::time, proto::parse_time, "22007");
  const bool zoned = type.codec == Codec::timetz;
  if (v.offset_s.has_value() != zoned)
    e.refuse("42804", zoned ? "a time without an offset is no value for type timetz"
                            : "a time with an offset is no value for type time");
  e.out.put64(static_cast<std::uint64_t>(v.micros));
  if (zoned) e.out.put32(static_cast<std::uint32_t>(-*v.offset_s));
}

void put_timestamp(const Encoding& e, const Type& type, const Item& it) {
  const auto v = read_or_parse<proto::LocalTimestamp>(e, type, it, proto::Ext::local_timestamp,
                                                      proto::parse_local_timestamp, "22007");
  std::int64_t micros = v.micros;
  if (micros != INT64_MAX && micros != INT64_MIN &&
      (__builtin_sub_overflow(micros, kEpochMicros, &micros) || micros == INT64_MIN))
    e.refuse("22008", "the timestamp is out of range");
  e.out.put64(static_cast<std::uint64_t>(micros));
}

void put_timestamptz(const Encoding& e, const Type& type, const Item& it) {
  const auto v = read_or_parse<proto::Timestamp>(e, type, it, proto::Ext::timestamp,
                                                 proto::parse_timestamp, "22007");
  std::int64_t micros = v.seconds;
  if (micros != INT64_MAX && micros != INT64_MIN) {
    if (v.nanos % 1000 != 0) e.refuse("22008", "the timestamp is finer than microseconds");
    if (__builtin_sub_overflow(micros, kEpochSeconds, &micros) ||
        __builtin_mul_overflow(micros, std::int64_t{1'000'000}, &micros) ||
        __builtin_add_overflow(micros, std::int64_t{v.nanos / 1000}, &micros) ||
        micros == INT64_MAX || micros == INT64_MIN)
      e.refuse("22008", "the timestamp is out of range");
  }
  e.out.put64(static_cast<std::uint64_t>(micros));
}

void put_interval(const Encoding& e, const Type& type, const Item& it) {
  const auto v = read_or_parse<proto::Interval>(e, type, it, proto::Ext::interval,
                                                proto::parse_interval, "22007");
  if ((v.micros == INT64_MAX && v.days == INT32_MAX && v.months == INT32_MAX) ||
      (v.micros == INT64_MIN && v.days == INT32_MIN && v.months == INT32_MIN))
    e.refuse("22008", "the interval is out of range");
  e.out.put64(static_cast<std::uint64_t>(v.micros));
  e.out.put32(static_cast<std::uint32_t>(v.days));
  e.out.put32(static_cast<std::uint32_t>(v.months));
}

// Whether a double (a float) holds the integer exactly.
template <class Float>
bool exact(const Item& it, Float* out) {
  if (it.type == proto::Type::sint) {
    *out = static_cast<Float>(it.sint);
    return static_cast<std::int64_t>(*out) == it.sint;
  }
  *out = static_cast<Float>(it.uint);
  return *out < static_cast<Float>(18446744073709551616.0) &&
         static_cast<std::uint64_t>(*out) == it.uint;
}

}  // namespace

void encode_integer(const Encoding& e, const Type& type, const Item& it) {
  const bool negative = it.type == proto::Type::sint;
  if (it.type == proto::Type::ext && static_cast<proto::Ext>(it.ext) == proto::Ext::big_integer)
    e.refuse("22003", "the integer is out of range for type " + type.name);
  if (!negative && it.type != proto::Type::uint) e.mismatch(type, it);
  const auto fits = [&](std::int64_t min, std::uint64_t max) {
    if (negative ? it.sint < min : it.uint > max)
      e.refuse("22003", "the integer is out of range for type " + type.name);
    return negative ? static_cast<std::uint64_t>(it.sint) : it.uint;
  };
  switch (type.codec) {
    case Codec::int2:
      return e.out.put16(static_cast<std::uint16_t>(fits(INT16_MIN, INT16_MAX)));
    case Codec::int4:
      return e.out.put32(static_cast<std::uint32_t>(fits(INT32_MIN, INT32_MAX)));
    case Codec::oid:
      return e.out.put32(static_cast<std::uint32_t>(fits(0, UINT32_MAX)));
    case Codec::xid8:
      return e.out.put64(fits(0, UINT64_MAX));
    default:
      return e.out.put64(fits(INT64_MIN, INT64_MAX));
  }
}

void encode_float(const Encoding& e, const Type& type, const Item& it) {
  const bool integer = it.type == proto::Type::uint || it.type == proto::Type::sint;
  if (!integer && it.type != proto::Type::float32 && it.type != proto::Type::float64)
    e.mismatch(type, it);
  constexpr const char* kInexact = "the integer cannot be held exactly by type ";
  if (type.codec == Codec::float8) {
    double v = it.real;
    if (integer && !exact(it, &v)) e.refuse("22003", kInexact + type.name);
    return e.out.put64(std::bit_cast<std::uint64_t>(v));
  }
  float v = 0;
  if (integer) {
    if (!exact(it, &v)) e.refuse("22003", kInexact + type.name);
  } else {
    // As the server's own cast: the nearest float4, but not infinity and not zero.
    if (std::isfinite(it.real) && std::fabs(it.real) > 3.4028235677973366e38)
      e.refuse("22003", "the float is out of range for type float4");
    v = static_cast<float>(it.real);
    if ((v == 0 && it.real != 0) || (std::isinf(v) && std::isfinite(it.real)))
      e.refuse("22003", "the float is out of range for type float4");
  }
  e.out.put32(std::bit_cast<std::uint32_t>(v));
}

void encode_string(const Encoding& e, const Type& type, const Item& it) {
  if (it.type != proto::Type::str) e.mismatch(type, it);
  if (type.codec == Codec::char1) {
    if (it.bytes.size() > 1 || (it.bytes.size() == 1 && it.bytes[0] >= 0x80))
      e.refuse("22001", "type \"char\" holds one ASCII character");
    need_no_nul(e, it.bytes);
    return e.out.put8(it.bytes.empty() ? 0 : it.bytes[0]);
  }
  need_no_nul(e, it.bytes);
  e.out.put(it.bytes);
}

void encode_time(const Encoding& e, const Type& type, const Item& it) {
  switch (type.codec) {
    case Codec::date:
      return put_date(e, type, it);
    case Codec::timestamp:
      return put_timestamp(e, type, it);
    case Codec::timestamptz:
      return put_timestamptz(e, type, it);
    case Codec::interval:
      return put_interval(e, type, it);
    default:
      return put_time(e, type, it);
  }
}

void encode_uuid(const Encoding& e, const Type& type, const Item& it) {
  const auto v =
      read_or_parse<proto::Uuid>(e, type, it, proto::Ext::uuid, proto::parse_uuid, "22P02");
  e.out.put(Bytes(v.bytes));
}

void encode_json(const Encoding& e, const Type& type, const Item& it) {
  proto::Json json;
  if (it.type == proto::Type::str) {
    json.text = proto::text_of(it.bytes);
  } else {
    if (it.type != proto::Type::ext || static_cast<proto::Ext>(it.ext) != proto::Ext::json)
      e.mismatch(type, it);
    if (!proto::read(it, &json)) e.bad_ext(it);
  }
  if (json.text.empty()) e.refuse("22P02", "empty text is no JSON");
  need_no_nul(e, proto::bytes_of(json.text));
  if (type.codec == Codec::jsonb) e.out.put8(1);
  e.out.put(json.text);
}

}  // namespace headgate::postgres::wire
