// Values that plain msgpack lacks, as ext types: one table, the same in every client and plugin.
//
// The layouts are PROTOCOL.md's section "Values"; this file is their C++ form. All numbers are big
// endian; what BSON wrote is BSON's own little endian. read() accepts a payload only in the one
// form that section allows, so that equal values have equal bytes (a timestamp excepted: three
// forms).
//
// Threads: none of its own. Views point into the item that was read, or to what the caller lends.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "proto/cursor.hpp"
#include "proto/writer.hpp"

namespace headgate::proto {

enum class Ext : std::int8_t {
  timestamp = -1,
  decimal = 1,
  date = 2,
  time = 3,
  local_timestamp = 4,
  interval = 5,
  uuid = 6,
  json = 7,
  big_integer = 8,
  bson_value = 16,
  bson_document = 17,
};

inline constexpr std::size_t kDecimalDigitsMax = 150'000;  // PostgreSQL's numeric: 147,455
inline constexpr std::size_t kBigIntegerMax = 65'536;      // bytes
inline constexpr std::int64_t kDayUs = 86'400'000'000;
inline constexpr std::int32_t kOffsetMax = 57'599;  // seconds: 15:59:59

// An instant. The two infinities are seconds at the ends of the type, nanos 0.
struct Timestamp {
  static constexpr std::int64_t kInfinity = std::numeric_limits<std::int64_t>::max();
  static constexpr std::int64_t kMinusInfinity = std::numeric_limits<std::int64_t>::min();
  static constexpr std::int64_t kSecondsMax = std::int64_t{2'147'483'646} * 86'400;
  std::int64_t seconds = 0;  // since 1970-01-01T00:00:00Z; |seconds| <= kSecondsMax, or infinite
  std::uint32_t nanos = 0;   // below 1e9
  bool operator==(const Timestamp&) const = default;
};

// (-1)^negative * digits * 10^-scale.
struct Decimal {
  bool negative = false;  // false for zero
  std::int16_t scale = 0;
  std::string_view digits = "0";  // '0'..'9', no leading zero but in "0" itself
};

// Days since 1970-01-01 of the proleptic Gregorian calendar; the ends of the type: infinities.
struct Date {
  static constexpr std::int32_t kInfinity = std::numeric_limits<std::int32_t>::max();
  static constexpr std::int32_t kMinusInfinity = std::numeric_limits<std::int32_t>::min();
  std::int32_t days = 0;
  bool operator==(const Date&) const = default;
};

struct TimeOfDay {
  std::int64_t micros = 0;                 // 0 .. kDayUs (24:00:00 is a value of some stores)
  std::optional<std::int32_t> offset_s{};  // seconds east of UTC, |offset| <= kOffsetMax
  bool operator==(const TimeOfDay&) const = default;
};

// A date and a time on a wall, no zone; the ends of the type: infinities.
struct LocalTimestamp {
  static constexpr std::int64_t kInfinity = std::numeric_limits<std::int64_t>::max();
  static constexpr std::int64_t kMinusInfinity = std::numeric_limits<std::int64_t>::min();
  std::int64_t micros = 0;  // since 1970-01-01T00:00:00
  bool operator==(const LocalTimestamp&) const = default;
};

// Three parts that do not add up: a month has no fixed days, a day no fixed hours.
struct Interval {
  std::int32_t months = 0;
  std::int32_t days = 0;
  std::int64_t micros = 0;
  bool operator==(const Interval&) const = default;
};

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};
  bool operator==(const Uuid&) const = default;
};

struct Json {
  std::string_view text;  // UTF-8, not empty; not parsed here
};

// Two's complement, the fewest bytes, and only what no 64-bit integer of msgpack holds.
struct BigInteger {
  Bytes bytes;
};

// A BSON value that msgpack has no form for: BSON's type byte and the value's bytes.
struct BsonValue {
  std::uint8_t type = 0;
  Bytes bytes;
};

struct BsonDocument {
  Bytes bytes;
};

// Each reads an item of its ext type. False: another type, or not the form that PROTOCOL.md allows.
[[nodiscard]] bool read(const Item& it, Timestamp* out);
[[nodiscard]] bool read(const Item& it, Decimal* out);
[[nodiscard]] bool read(const Item& it, Date* out);
[[nodiscard]] bool read(const Item& it, TimeOfDay* out);
[[nodiscard]] bool read(const Item& it, LocalTimestamp* out);
[[nodiscard]] bool read(const Item& it, Interval* out);
[[nodiscard]] bool read(const Item& it, Uuid* out);
[[nodiscard]] bool read(const Item& it, Json* out);
[[nodiscard]] bool read(const Item& it, BigInteger* out);
[[nodiscard]] bool read(const Item& it, BsonValue* out);
[[nodiscard]] bool read(const Item& it, BsonDocument* out);

// Whether the item is an ext of the table, in its form.
[[nodiscard]] bool valid_ext(const Item& it);

// REQUIRES: the value keeps the ranges above.
void write(Writer& w, const Timestamp& v);
void write(Writer& w, const Decimal& v);
void write(Writer& w, const Date& v);
void write(Writer& w, const TimeOfDay& v);
void write(Writer& w, const LocalTimestamp& v);
void write(Writer& w, const Interval& v);
void write(Writer& w, const Uuid& v);
void write(Writer& w, const Json& v);
void write(Writer& w, const BigInteger& v);
void write(Writer& w, const BsonValue& v);
void write(Writer& w, const BsonDocument& v);

// Text. ISO 8601 with astronomical years (0000 is 1 BC), a sign and more than four digits outside
// 0000 to 9999; `infinity` and `-infinity`; intervals as P1Y2M3DT4H5M6.7S.
[[nodiscard]] std::string to_text(const Timestamp& v);       // 2026-01-31T08:15:00.5Z
[[nodiscard]] std::string to_text(const Decimal& v);         // -12.50, never with an exponent
[[nodiscard]] std::string to_text(const Date& v);            // 2026-01-31
[[nodiscard]] std::string to_text(const TimeOfDay& v);       // 08:15:00.5+01:00
[[nodiscard]] std::string to_text(const LocalTimestamp& v);  // 2026-01-31T08:15:00
[[nodiscard]] std::string to_text(const Interval& v);
[[nodiscard]] std::string to_text(const Uuid& v);  // lower case, 8-4-4-4-12

// The exact inverse, and a little more: a space for the T, lower-case t and z, a `+` before digits.
// Empty when the text is no such value or has more digits than the type holds.
[[nodiscard]] std::optional<Timestamp> parse_timestamp(std::string_view s);  // needs Z or an offset
[[nodiscard]] std::optional<Date> parse_date(std::string_view s);
[[nodiscard]] std::optional<TimeOfDay> parse_time(std::string_view s);
[[nodiscard]] std::optional<LocalTimestamp> parse_local_timestamp(std::string_view s);
[[nodiscard]] std::optional<Interval> parse_interval(std::string_view s);
[[nodiscard]] std::optional<Uuid> parse_uuid(std::string_view s);
// Also 1e-7 and 12E3. The Decimal's digits point into *digits.
[[nodiscard]] std::optional<Decimal> parse_decimal(std::string_view s, std::string* digits);

}  // namespace headgate::proto
