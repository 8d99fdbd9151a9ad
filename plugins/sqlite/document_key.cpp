// The encoding; see document_key.hpp.
#include "plugins/sqlite/document_key.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace headgate::sqlite::doc {
namespace {

enum NumberClass : char { kNan = 1, kMinusInfinity, kNegative, kZero, kPositive, kInfinity };

void append_text(std::string& out, std::string_view s) {
  for (const char c : s) {
    out += c;
    if (c == '\0') out += '\xff';
  }
  out.append(2, '\0');
}

void append_big_endian(std::string& out, std::uint64_t n, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(n >> (8 * i));
}

void complement(std::string& s, std::size_t from) {
  for (std::size_t i = from; i < s.size(); ++i) s[i] = static_cast<char>(~s[i]);
}

// 0.digits * 10^exponent; digits without zeros at either end.
void append_digits(std::string& out, bool negative, std::string_view digits, int exponent) {
  out += negative ? kNegative : kPositive;
  const std::size_t from = out.size();
  append_big_endian(out, static_cast<std::uint64_t>(exponent + 0x8000), 2);
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const int low = i + 1 < digits.size() ? digits[i + 1] - '0' : 0;
    out += static_cast<char>((digits[i] - '0') * 10 + low + 1);
  }
  out += '\0';
  if (negative) complement(out, from);
}

void append_decimal(std::string& out, const Decimal& d) {
  if (d.is_nan())
    out += kNan;
  else if (d.is_infinite())
    out += d.negative() ? kMinusInfinity : kInfinity;
  else if (d.is_zero())
    out += kZero;
  else {
    std::string digits = d.digits();
    const int exponent = d.exponent() + static_cast<int>(digits.size());
    digits.resize(digits.find_last_not_of('0') + 1);
    append_digits(out, d.negative(), digits, exponent);
  }
}

void append_int(std::string& out, std::int64_t i) {
  if (i == 0) {
    out += kZero;
    return;
  }
  char text[24];
  const char* end = std::to_chars(text, text + sizeof text, i).ptr;
  std::string_view digits(text, static_cast<std::size_t>(end - text));
  if (i < 0) digits.remove_prefix(1);
  const int exponent = static_cast<int>(digits.size());
  digits = digits.substr(0, digits.find_last_not_of('0') + 1);
  append_digits(out, i < 0, digits, exponent);
}

void append_double(std::string& out, double d) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (std::fabs(d) < kExact && std::trunc(d) == d)
    append_int(out, static_cast<std::int64_t>(d));
  else
    append_decimal(out, Decimal::from_double(d));
}

void append_object(std::string& out, const Object& fields) {
  for (const Field& f : fields) {
    out += static_cast<char>(key_rank(f.value.tag()));
    append_text(out, f.name);
    append_key(out, f.value);
  }
  out += '\0';
}

}  // namespace

std::uint8_t key_rank(Tag tag) { return static_cast<std::uint8_t>(rank(tag) + 1); }

std::string string_key_prefix(std::string_view s) {
  std::string out(1, static_cast<char>(key_rank(Tag::string)));
  append_text(out, s);
  out.resize(out.size() - 2);
  return out;
}

void append_key(std::string& out, const Value& v) {
  constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
  out += static_cast<char>(key_rank(v.tag()));
  switch (v.tag()) {
    case Tag::int32:
    case Tag::int64:
      append_int(out, v.as_int());
      break;
    case Tag::floating:
      append_double(out, v.as_double());
      break;
    case Tag::decimal:
      append_decimal(out, v.as_decimal());
      break;
    case Tag::string:
    case Tag::code:
      append_text(out, v.text());
      break;
    case Tag::object:
      append_object(out, v.fields());
      break;
    case Tag::array:
      for (const Value& e : v.items()) append_key(out, e);
      out += '\0';
      break;
    case Tag::binary:
      append_big_endian(out, v.text().size(), 4);
      out += static_cast<char>(v.subtype());
      out += v.text();
      break;
    case Tag::object_id:
      out += v.text();
      break;
    case Tag::boolean:
      out += v.as_bool() ? '\1' : '\0';
      break;
    case Tag::date:
      append_big_endian(out, static_cast<std::uint64_t>(v.as_int()) ^ kSign, 8);
      break;
    case Tag::timestamp:
      append_big_endian(out, v.as_timestamp(), 8);
      break;
    case Tag::regex:
      append_text(out, v.as_regex().pattern);
      append_text(out, v.as_regex().options);
      break;
    default:
      break;
  }
}

void append_key(std::string& out, const Value& v, bool descending) {
  const std::size_t from = out.size();
  append_key(out, v);
  if (descending) complement(out, from);
}

}  // namespace headgate::sqlite::doc
