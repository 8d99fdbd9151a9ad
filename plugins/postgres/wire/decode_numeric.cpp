// numeric: groups of four decimal digits into digits and a scale, exactly.
//
//   u16 groups, i16 weight (of the first group, in groups), u16 sign, u16 dscale, u16 group *
//   groups
#include <limits>

#include "plugins/postgres/wire/decode.hpp"
#include "plugins/postgres/wire/numeric.hpp"
#include "proto/values.hpp"

namespace headgate::postgres::wire {
namespace {

// The decimal digits of a value whose groups have been checked.
struct Digits {
  const std::uint8_t* groups;
  std::size_t count;
  // Digit number q, counted from the first of the first group; beyond the groups: zero.
  [[nodiscard]] char at(std::size_t q) const {
    static constexpr unsigned kPower[] = {1000, 100, 10, 1};
    if (q / 4 >= count) return '0';
    return static_cast<char>('0' + load16(groups + 2 * (q / 4)) / kPower[q % 4] % 10);
  }
};

}  // namespace

void write_numeric(proto::Writer& w, Bytes v) {
  if (v.size() < 8) malformed("numeric");
  const std::size_t count = load16(v.data());
  const auto weight = static_cast<std::int16_t>(load16(v.data() + 2));
  const std::uint16_t sign = load16(v.data() + 4);
  const std::uint16_t scale = load16(v.data() + 6);
  if (v.size() != 8 + 2 * count) malformed("numeric");
  if (sign == kNumericNan) return w.real(std::numeric_limits<double>::quiet_NaN());
  if (sign == kNumericInfinity) return w.real(std::numeric_limits<double>::infinity());
  if (sign == kNumericMinusInfinity) return w.real(-std::numeric_limits<double>::infinity());
  if ((sign != kNumericPositive && sign != kNumericNegative) || scale > kNumericScaleMax)
    malformed("numeric");
  const Digits digits{v.data() + 8, count};
  for (std::size_t i = 0; i < count; ++i)
    if (load16(digits.groups + 2 * i) > 9999) malformed("numeric");

  // The value is the first `length` digits, times 10^-scale; what follows must be zeros.
  const int all = 4 * (weight + 1) + scale;
  const std::size_t length = all > 0 ? static_cast<std::size_t>(all) : 0;
  for (std::size_t q = length; q < 4 * count; ++q)
    if (digits.at(q) != '0') malformed("numeric");
  std::size_t first = 0;
  while (first < length && first < 4 * count && digits.at(first) == '0') ++first;
  if (first == length || first == 4 * count)  // zero
    return proto::write(w, proto::Decimal{false, static_cast<std::int16_t>(scale), "0"});

  w.ext_header(static_cast<std::int8_t>(proto::Ext::decimal),
               static_cast<std::uint32_t>(3 + length - first));
  const std::uint8_t head[3] = {static_cast<std::uint8_t>(sign == kNumericNegative ? 1 : 0),
                                static_cast<std::uint8_t>(scale >> 8),
                                static_cast<std::uint8_t>(scale)};
  w.raw(head);
  char text[256];
  std::size_t n = 0;
  for (std::size_t q = first; q < length; ++q) {
    text[n++] = digits.at(q);
    if (n == sizeof text || q + 1 == length) {
      w.raw(proto::bytes_of({text, n}));
      n = 0;
    }
  }
}

}  // namespace headgate::postgres::wire
