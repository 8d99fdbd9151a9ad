// numeric, from decimals, integers of any size and floats.
#include <charconv>
#include <cmath>
#include <vector>

#include "plugins/postgres/wire/encode.hpp"
#include "plugins/postgres/wire/numeric.hpp"

namespace headgate::postgres::wire {
namespace {

using proto::Item;

void put_head(OutBuffer& out, std::size_t groups, int weight, std::uint16_t sign, int scale) {
  out.put16(static_cast<std::uint16_t>(groups));
  out.put16(static_cast<std::uint16_t>(weight));
  out.put16(sign);
  out.put16(static_cast<std::uint16_t>(scale));
}

void put_decimal(const Encoding& e, const proto::Decimal& d) {
  const int scale = d.scale;
  const int kept = scale > 0 ? scale : 0;
  if (kept > kNumericScaleMax) e.refuse("22003", "the decimal has too many places for a numeric");
  if (d.digits == "0") return put_head(e.out, 0, 0, kNumericPositive, kept);
  const int size = static_cast<int>(d.digits.size());
  const int integers = size - scale;  // digits before the point; below 1: zeros behind it
  if (integers > kNumericIntegerMax)
    e.refuse("22003", "the decimal has too many digits for a numeric");
  // Groups are cut at the point: floor((integers - 1) / 4).
  const int weight = integers > 0 ? (integers - 1) / 4 : -((-integers) / 4) - 1;
  const int lead = 4 * (weight + 1) - integers;
  const int groups = (lead + size + 3) / 4;
  put_head(e.out, static_cast<std::size_t>(groups), weight,
           d.negative ? kNumericNegative : kNumericPositive, kept);
  std::uint8_t* p = e.out.extend(static_cast<std::size_t>(groups) * 2);
  for (int g = 0; g < groups; ++g) {
    unsigned v = 0;
    for (int i = 4 * g - lead; i < 4 * g - lead + 4; ++i)
      v = v * 10 + (i >= 0 && i < size
                        ? static_cast<unsigned>(d.digits[static_cast<std::size_t>(i)] - '0')
                        : 0);
    store16(p + 2 * g, static_cast<std::uint16_t>(v));
  }
  // The server's own form has no zero groups at the end.
  int used = groups;
  while (used > 0 && load16(p + 2 * (used - 1)) == 0) --used;
  store16(p - 8, static_cast<std::uint16_t>(used));
  e.out.truncate(e.out.size() - static_cast<std::size_t>(groups - used) * 2);
}

void put_integer(const Encoding& e, bool negative, std::uint64_t magnitude) {
  char text[24];
  const char* end = std::to_chars(text, text + sizeof text, magnitude).ptr;
  put_decimal(e, {negative, 0, {text, static_cast<std::size_t>(end - text)}});
}

// Two's complement of any length into decimal digits: nine at a time, by long division.
void put_big_integer(const Encoding& e, Bytes b) {
  if (b.size() > kBigIntegerParamMax)
    e.refuse("22003", "the integer is too long: give it as a decimal");
  const bool negative = b[0] >= 0x80;
  std::vector<std::uint32_t> words((b.size() + 3) / 4);  // most significant first
  for (std::size_t i = 0; i < b.size(); ++i)
    words[words.size() - 1 - i / 4] |=
        static_cast<std::uint32_t>(b[b.size() - 1 - i] ^ (negative ? 0xff : 0)) << 8 * (i % 4);
  for (std::size_t i = words.size(); negative && i-- > 0;)
    if (++words[i] != 0) break;
  std::string digits;
  std::size_t first = 0;
  while (first < words.size()) {
    std::uint64_t rest = 0;
    for (std::size_t i = first; i < words.size(); ++i) {
      rest = rest << 32 | words[i];
      words[i] = static_cast<std::uint32_t>(rest / 1'000'000'000);
      rest %= 1'000'000'000;
    }
    while (first < words.size() && words[first] == 0) ++first;
    for (int i = 0; i < 9; ++i, rest /= 10) digits.push_back(static_cast<char>('0' + rest % 10));
  }
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
  put_decimal(e, {negative, 0, std::string(digits.rbegin(), digits.rend())});
}

void put_float(const Encoding& e, const Item& it) {
  if (std::isnan(it.real)) return put_head(e.out, 0, 0, kNumericNan, 0);
  if (std::isinf(it.real))
    return put_head(e.out, 0, 0, it.real > 0 ? kNumericInfinity : kNumericMinusInfinity, 0);
  char text[64];
  const char* end = it.type == proto::Type::float32
                        ? std::to_chars(text, text + sizeof text, static_cast<float>(it.real)).ptr
                        : std::to_chars(text, text + sizeof text, it.real).ptr;
  std::string digits;
  const auto d = proto::parse_decimal({text, static_cast<std::size_t>(end - text)}, &digits);
  if (!d) e.refuse("22003", "the float is out of range for type numeric");
  put_decimal(e, *d);
}

}  // namespace

void encode_numeric(const Encoding& e, const Type& type, const Item& it) {
  switch (it.type) {
    case proto::Type::uint:
      return put_integer(e, false, it.uint);
    case proto::Type::sint:
      return put_integer(e, true, 0 - static_cast<std::uint64_t>(it.sint));
    case proto::Type::float32:
    case proto::Type::float64:
      return put_float(e, it);
    case proto::Type::ext:
      break;
    default:
      e.mismatch(type, it);
  }
  if (static_cast<proto::Ext>(it.ext) == proto::Ext::decimal) {
    proto::Decimal d;
    if (!proto::read(it, &d)) e.bad_ext(it);
    return put_decimal(e, d);
  }
  if (static_cast<proto::Ext>(it.ext) != proto::Ext::big_integer) e.mismatch(type, it);
  proto::BigInteger big;
  if (!proto::read(it, &big)) e.bad_ext(it);
  put_big_integer(e, big.bytes);
}

}  // namespace headgate::postgres::wire
