// Payloads of the ext types, both ways.
#include "proto/values.hpp"

#include <algorithm>

namespace headgate::proto {
namespace {

bool is(const Item& it, Ext e) {
  return it.type == Type::ext && it.ext == static_cast<std::int8_t>(e);
}

std::uint64_t big(const std::uint8_t* p, int n) {
  std::uint64_t v = 0;
  for (int i = 0; i < n; ++i) v = v << 8 | p[i];
  return v;
}

std::uint32_t little32(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
         static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
}

std::int32_t i32(const std::uint8_t* p) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(big(p, 4)));
}
std::int64_t i64(const std::uint8_t* p) { return static_cast<std::int64_t>(big(p, 8)); }

// A payload of known size, written field by field.
template <std::size_t N>
struct Payload {
  std::array<std::uint8_t, N> bytes{};
  std::size_t size = 0;
  void put(std::uint64_t v, int n) {
    for (int shift = n * 8 - 8; shift >= 0; shift -= 8)
      bytes[size++] = static_cast<std::uint8_t>(v >> shift);
  }
  void to(Writer& w, Ext e) const { w.ext(static_cast<std::int8_t>(e), Bytes(bytes.data(), size)); }
};

constexpr std::uint32_t kNanosMax = 999'999'999;

// BSON's cstring: bytes without NUL, then NUL. Returns what follows, or nullptr.
const std::uint8_t* after_cstring(const std::uint8_t* p, const std::uint8_t* end) {
  const auto* nul = std::find(p, end, std::uint8_t{0});
  return nul == end ? nullptr : nul + 1;
}

// BSON's string: int32 length with the NUL, bytes, NUL; exactly filling [p, end) when `all`.
const std::uint8_t* after_string(const std::uint8_t* p, const std::uint8_t* end) {
  if (end - p < 5) return nullptr;
  const std::uint32_t n = little32(p);
  if (n < 1 || n > static_cast<std::uint64_t>(end - p) - 4 || p[4 + n - 1] != 0) return nullptr;
  return p + 4 + n;
}

bool document_shape(Bytes b) {
  return b.size() >= 5 && little32(b.data()) == b.size() && b.back() == 0;
}

// https://bsonspec.org/spec.html; types with a msgpack or ext form of their own are not here.
bool bson_shape(std::uint8_t type, Bytes b) {
  const std::uint8_t* p = b.data();
  const std::uint8_t* end = p + b.size();
  switch (type) {
    case 0x05:  // binary: int32 length, subtype, bytes
      return b.size() >= 5 && little32(p) == b.size() - 5;
    case 0x06:  // undefined
    case 0x7f:  // max key
    case 0xff:  // min key
      return b.empty();
    case 0x07:
      return b.size() == 12;  // ObjectId
    case 0x0b:                // regex: pattern, options
      p = after_cstring(p, end);
      return p != nullptr && after_cstring(p, end) == end;
    case 0x0c:  // DBPointer: string, ObjectId
      p = after_string(p, end);
      return p != nullptr && end - p == 12;
    case 0x0d:  // code
    case 0x0e:  // symbol
      return after_string(p, end) == end && !b.empty();
    case 0x0f:  // code with scope: int32 total, string, document
      if (b.size() < 14 || little32(p) != b.size()) return false;
      p = after_string(p + 4, end);
      return p != nullptr && document_shape({p, static_cast<std::size_t>(end - p)});
    case 0x10:
      return b.size() == 4;  // int32
    case 0x11:               // timestamp
    case 0x12:
      return b.size() == 8;  // int64
    case 0x13:
      return b.size() == 16;  // decimal128
    default:
      return false;
  }
}

}  // namespace

bool read(const Item& it, Timestamp* out) {
  if (!is(it, Ext::timestamp)) return false;
  const std::uint8_t* p = it.bytes.data();
  switch (it.bytes.size()) {
    case 4:
      *out = {static_cast<std::int64_t>(big(p, 4)), 0};
      return true;
    case 8: {
      const std::uint64_t v = big(p, 8);
      *out = {static_cast<std::int64_t>(v & 0x3ffffffff), static_cast<std::uint32_t>(v >> 34)};
      break;
    }
    case 12:
      *out = {i64(p + 4), static_cast<std::uint32_t>(big(p, 4))};
      break;
    default:
      return false;
  }
  if (out->seconds == Timestamp::kInfinity || out->seconds == Timestamp::kMinusInfinity)
    return out->nanos == 0;
  return out->nanos <= kNanosMax && out->seconds <= Timestamp::kSecondsMax &&
         out->seconds >= -Timestamp::kSecondsMax;
}

bool read(const Item& it, Decimal* out) {
  if (!is(it, Ext::decimal) || it.bytes.size() < 4) return false;
  const std::uint8_t* p = it.bytes.data();
  const std::string_view digits = text_of(it.bytes.subspan(3));
  if (p[0] > 1 || digits.size() > kDecimalDigitsMax) return false;
  if (digits[0] == '0' && (digits.size() > 1 || p[0] == 1)) return false;
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return false;
  *out = {p[0] == 1, static_cast<std::int16_t>(static_cast<std::uint16_t>(big(p + 1, 2))), digits};
  return true;
}

bool read(const Item& it, Date* out) {
  if (!is(it, Ext::date) || it.bytes.size() != 4) return false;
  out->days = i32(it.bytes.data());
  return true;
}

bool read(const Item& it, TimeOfDay* out) {
  if (!is(it, Ext::time) || (it.bytes.size() != 8 && it.bytes.size() != 12)) return false;
  *out = {i64(it.bytes.data()), std::nullopt};
  if (it.bytes.size() == 12) out->offset_s = i32(it.bytes.data() + 8);
  if (out->offset_s.has_value() && (*out->offset_s > kOffsetMax || *out->offset_s < -kOffsetMax))
    return false;
  return out->micros >= 0 && out->micros <= kDayUs;
}

bool read(const Item& it, LocalTimestamp* out) {
  if (!is(it, Ext::local_timestamp) || it.bytes.size() != 8) return false;
  out->micros = i64(it.bytes.data());
  return true;
}

bool read(const Item& it, Interval* out) {
  if (!is(it, Ext::interval) || it.bytes.size() != 16) return false;
  const std::uint8_t* p = it.bytes.data();
  *out = {i32(p), i32(p + 4), i64(p + 8)};
  return true;
}

bool read(const Item& it, Uuid* out) {
  if (!is(it, Ext::uuid) || it.bytes.size() != out->bytes.size()) return false;
  std::copy(it.bytes.begin(), it.bytes.end(), out->bytes.begin());
  return true;
}

bool read(const Item& it, Json* out) {
  if (!is(it, Ext::json) || it.bytes.empty()) return false;
  out->text = text_of(it.bytes);
  return valid_utf8(out->text);
}

bool read(const Item& it, BigInteger* out) {
  if (!is(it, Ext::big_integer)) return false;
  const Bytes b = it.bytes;
  if (b.size() < 9 || b.size() > kBigIntegerMax) return false;
  const bool top = (b[1] & 0x80) != 0;
  if ((b[0] == 0x00 && !top) || (b[0] == 0xff && top)) return false;  // a byte more than needed
  if (b.size() == 9 && b[0] == 0x00) return false;                    // an uint64
  out->bytes = b;
  return true;
}

bool read(const Item& it, BsonValue* out) {
  if (!is(it, Ext::bson_value) || it.bytes.empty()) return false;
  *out = {it.bytes[0], it.bytes.subspan(1)};
  return bson_shape(out->type, out->bytes);
}

bool read(const Item& it, BsonDocument* out) {
  if (!is(it, Ext::bson_document)) return false;
  out->bytes = it.bytes;
  return document_shape(it.bytes);
}

bool valid_ext(const Item& it) {
  if (it.type != Type::ext) return false;
  auto as = [&](auto v) { return read(it, &v); };
  switch (static_cast<Ext>(it.ext)) {
    case Ext::timestamp:
      return as(Timestamp{});
    case Ext::decimal:
      return as(Decimal{});
    case Ext::date:
      return as(Date{});
    case Ext::time:
      return as(TimeOfDay{});
    case Ext::local_timestamp:
      return as(LocalTimestamp{});
    case Ext::interval:
      return as(Interval{});
    case Ext::uuid:
      return as(Uuid{});
    case Ext::json:
      return as(Json{});
    case Ext::big_integer:
      return as(BigInteger{});
    case Ext::bson_value:
      return as(BsonValue{});
    case Ext::bson_document:
      return as(BsonDocument{});
  }
  return false;
}

void write(Writer& w, const Timestamp& v) {
  Payload<12> p;
  const bool small = v.seconds >= 0 && v.seconds < (std::int64_t{1} << 34);
  if (small && v.nanos == 0 && v.seconds <= 0xffffffff) {
    p.put(static_cast<std::uint64_t>(v.seconds), 4);
  } else if (small) {
    p.put(static_cast<std::uint64_t>(v.nanos) << 34 | static_cast<std::uint64_t>(v.seconds), 8);
  } else {
    p.put(v.nanos, 4);
    p.put(static_cast<std::uint64_t>(v.seconds), 8);
  }
  p.to(w, Ext::timestamp);
}

void write(Writer& w, const Decimal& v) {
  Payload<3> p;
  p.put(v.negative ? 1 : 0, 1);
  p.put(static_cast<std::uint16_t>(v.scale), 2);
  w.ext_header(static_cast<std::int8_t>(Ext::decimal),
               static_cast<std::uint32_t>(p.size + v.digits.size()));
  w.raw(p.bytes);
  w.raw(bytes_of(v.digits));
}

void write(Writer& w, const Date& v) {
  Payload<4> p;
  p.put(static_cast<std::uint32_t>(v.days), 4);
  p.to(w, Ext::date);
}

void write(Writer& w, const TimeOfDay& v) {
  Payload<12> p;
  p.put(static_cast<std::uint64_t>(v.micros), 8);
  if (v.offset_s.has_value()) p.put(static_cast<std::uint32_t>(*v.offset_s), 4);
  p.to(w, Ext::time);
}

void write(Writer& w, const LocalTimestamp& v) {
  Payload<8> p;
  p.put(static_cast<std::uint64_t>(v.micros), 8);
  p.to(w, Ext::local_timestamp);
}

void write(Writer& w, const Interval& v) {
  Payload<16> p;
  p.put(static_cast<std::uint32_t>(v.months), 4);
  p.put(static_cast<std::uint32_t>(v.days), 4);
  p.put(static_cast<std::uint64_t>(v.micros), 8);
  p.to(w, Ext::interval);
}

void write(Writer& w, const Uuid& v) { w.ext(static_cast<std::int8_t>(Ext::uuid), v.bytes); }

void write(Writer& w, const Json& v) {
  w.ext(static_cast<std::int8_t>(Ext::json), bytes_of(v.text));
}

void write(Writer& w, const BigInteger& v) {
  w.ext(static_cast<std::int8_t>(Ext::big_integer), v.bytes);
}

void write(Writer& w, const BsonValue& v) {
  w.ext_header(static_cast<std::int8_t>(Ext::bson_value),
               static_cast<std::uint32_t>(1 + v.bytes.size()));
  w.raw(Bytes(&v.type, 1));
  w.raw(v.bytes);
}

void write(Writer& w, const BsonDocument& v) {
  w.ext(static_cast<std::int8_t>(Ext::bson_document), v.bytes);
}

}  // namespace headgate::proto
