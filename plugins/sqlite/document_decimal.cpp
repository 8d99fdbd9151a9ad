// The arithmetic; see document_decimal.hpp. Digits are handled as text where 128 bits are too few:
// decimals are rare in documents, and the text form is the one that can be read and trusted.
#include "plugins/sqlite/document_decimal.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace headgate::sqlite::doc {
namespace {

std::string to_digits(Uint128 n) {
  std::string out;
  do {
    out += static_cast<char>('0' + static_cast<int>(n % 10));
    n /= 10;
  } while (n != 0);
  std::reverse(out.begin(), out.end());
  return out;
}

// REQUIRES: at most 38 digits.
Uint128 from_digits(std::string_view digits) {
  Uint128 n = 0;
  for (const char c : digits) n = n * 10 + static_cast<unsigned>(c - '0');
  return n;
}

Uint128 power_of_ten(int n) {
  Uint128 p = 1;
  for (int i = 0; i < n; ++i) p *= 10;
  return p;
}

int digit_count(Uint128 n) {
  int count = 1;
  while (n >= 10) n /= 10, ++count;
  return count;
}

const Uint128 kCoefficientMax = power_of_ten(Decimal::kDigits) - 1;

// Drops the last n digits of `digits`, rounding half to even. May grow by one digit.
std::string round_off(std::string digits, std::size_t n, bool more) {
  const bool all = n > digits.size();
  const char first = all ? '0' : digits[digits.size() - n];
  bool rest = more;
  if (all) {
    rest = rest || digits.find_first_not_of('0') != std::string::npos;
    digits.clear();
  } else {
    rest = rest || digits.find_first_not_of('0', digits.size() - n + 1) != std::string::npos;
    digits.resize(digits.size() - n);
  }
  const bool odd = !digits.empty() && (digits.back() - '0') % 2 == 1;
  const bool up = first > '5' || (first == '5' && (rest || odd));
  if (digits.empty()) return up ? "1" : "0";
  if (!up) return digits;
  for (auto at = digits.rbegin(); at != digits.rend(); ++at) {
    if (*at != '9') {
      ++*at;
      return digits;
    }
    *at = '0';
  }
  return "1" + digits;
}

}  // namespace

Decimal Decimal::nan() {
  Decimal d;
  d.kind_ = Kind::nan;
  return d;
}

Decimal Decimal::infinity(bool negative) {
  Decimal d;
  d.kind_ = Kind::infinite;
  d.negative_ = negative;
  return d;
}

Decimal Decimal::make(bool negative, std::string_view text, int exponent, bool more) {
  const std::size_t lead = std::min(text.find_first_not_of('0'), text.size());
  std::string digits(text.substr(lead));
  const auto shorten = [&](std::size_t n) {
    digits = round_off(digits, n, more);
    exponent += static_cast<int>(n);
    more = false;
  };
  // Both limits at once: rounding twice could round wrongly.
  std::size_t drop = digits.size() > kDigits ? digits.size() - kDigits : 0;
  if (exponent + static_cast<int>(drop) < kExponentMin)
    drop = static_cast<std::size_t>(kExponentMin - exponent);
  if (drop > 0 || more) shorten(drop);
  if (digits.size() > kDigits) shorten(1);  // 9...9 rounded up to 10...0
  if (digits.empty()) digits = "0";
  const bool zero = digits.find_first_not_of('0') == std::string::npos;
  if (zero) exponent = std::clamp(exponent, kExponentMin, kExponentMax);
  while (exponent > kExponentMax && digits.size() < kDigits) digits += '0', --exponent;
  if (exponent > kExponentMax) return infinity(negative);
  Decimal d;
  d.negative_ = negative;
  d.coefficient_ = from_digits(digits);
  d.exponent_ = exponent;
  return d;
}

Decimal Decimal::from_int(std::int64_t i) {
  Decimal d;
  d.negative_ = i < 0;
  d.coefficient_ = i < 0 ? Uint128{0} - static_cast<Uint128>(i) : static_cast<Uint128>(i);
  return d;
}

Decimal Decimal::from_double(double v, int precision) {
  if (std::isnan(v)) return nan();
  if (std::isinf(v)) return infinity(std::signbit(v));
  char text[64];
  const int n = std::snprintf(text, sizeof text, "%.*e", precision - 1, std::fabs(v));
  std::string_view s(text, static_cast<std::size_t>(n));
  const std::size_t e = s.find('e');
  std::string digits(1, s[0]);
  if (e > 2) digits += s.substr(2, e - 2);
  int exponent = std::atoi(text + e + 1) - (precision - 1);
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back(), ++exponent;
  if (v == 0) exponent = 0;
  return make(std::signbit(v), digits, exponent);
}

std::optional<Decimal> Decimal::parse(std::string_view s) {
  if (s.empty()) return std::nullopt;
  bool negative = false;
  if (s[0] == '-' || s[0] == '+') {
    negative = s[0] == '-';
    s.remove_prefix(1);
  }
  std::string lower(s);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  if (lower == "nan") return nan();
  if (lower == "inf" || lower == "infinity") return infinity(negative);
  std::string digits;
  int exponent = 0;
  bool point = false;
  std::size_t i = 0;
  for (; i < s.size() && s[i] != 'e' && s[i] != 'E'; ++i) {
    if (s[i] == '.' && !point) {
      point = true;
    } else if (s[i] >= '0' && s[i] <= '9') {
      digits += s[i];
      if (point) --exponent;
    } else {
      return std::nullopt;
    }
  }
  if (digits.empty() || digits.size() > 20000) return std::nullopt;
  if (i < s.size()) {
    std::string_view e = s.substr(i + 1);
    const bool minus = !e.empty() && e[0] == '-';
    if (!e.empty() && (e[0] == '-' || e[0] == '+')) e.remove_prefix(1);
    if (e.empty() || e.size() > 8 || e.find_first_not_of("0123456789") != std::string_view::npos)
      return std::nullopt;
    const int n = std::atoi(std::string(e).c_str());
    exponent += minus ? -n : n;
  }
  const std::size_t lead = std::min(digits.find_first_not_of('0'), digits.size());
  digits.erase(0, lead);
  // Zeros at the end may go for an exponent that fits; other digits may not.
  while (!digits.empty() && digits.back() == '0' &&
         (digits.size() > kDigits || exponent < kExponentMin)) {
    digits.pop_back();
    ++exponent;
  }
  if (digits.empty()) return make(negative, "0", std::clamp(exponent, kExponentMin, kExponentMax));
  if (digits.size() > kDigits || exponent < kExponentMin) return std::nullopt;
  const Decimal d = make(negative, digits, exponent);
  return d.is_infinite() ? std::nullopt : std::optional(d);
}

Decimal Decimal::from_bid(const Bid& b) {
  std::uint64_t low = 0, high = 0;
  for (int i = 7; i >= 0; --i) {
    low = low << 8 | b[static_cast<std::size_t>(i)];
    high = high << 8 | b[static_cast<std::size_t>(i) + 8];
  }
  Decimal d;
  d.negative_ = (high >> 63) != 0;
  const unsigned top = static_cast<unsigned>(high >> 58) & 0x1f;
  if (top == 0x1f) return nan();
  if (top == 0x1e) return infinity(d.negative_);
  if ((top >> 3) == 3) {  // a coefficient above 34 digits: not canonical, counts as zero
    d.exponent_ = static_cast<int>((high >> 47) & 0x3fff) + kExponentMin;
    return d;
  }
  d.exponent_ = static_cast<int>((high >> 49) & 0x3fff) + kExponentMin;
  d.coefficient_ = static_cast<Uint128>(high & 0x1ffffffffffff) << 64 | low;
  if (d.coefficient_ > kCoefficientMax) d.coefficient_ = 0;
  d.exponent_ = std::min(d.exponent_, kExponentMax);
  return d;
}

Decimal::Bid Decimal::bid() const {
  std::uint64_t high = negative_ ? std::uint64_t{1} << 63 : 0, low = 0;
  if (kind_ == Kind::nan) {
    high |= std::uint64_t{0x1f} << 58;
  } else if (kind_ == Kind::infinite) {
    high |= std::uint64_t{0x1e} << 58;
  } else {
    high |= static_cast<std::uint64_t>(exponent_ - kExponentMin) << 49;
    high |= static_cast<std::uint64_t>(coefficient_ >> 64);
    low = static_cast<std::uint64_t>(coefficient_);
  }
  Bid b;
  for (unsigned i = 0; i < 8; ++i) {
    b[i] = static_cast<std::uint8_t>(low >> (8 * i));
    b[i + 8] = static_cast<std::uint8_t>(high >> (8 * i));
  }
  return b;
}

std::string Decimal::digits() const { return to_digits(coefficient_); }

std::string Decimal::text() const {
  if (kind_ == Kind::nan) return "NaN";
  std::string out = negative_ ? "-" : "";
  if (kind_ == Kind::infinite) return out + "Infinity";
  std::string digits = this->digits();
  const int scientific = exponent_ + static_cast<int>(digits.size()) - 1;
  if (exponent_ > 0 || scientific < -6) {
    out += digits[0];
    if (digits.size() > 1) out += "." + digits.substr(1);
    return out + "E" + (scientific < 0 ? "" : "+") + std::to_string(scientific);
  }
  if (exponent_ == 0) return out + digits;
  const std::size_t places = static_cast<std::size_t>(-exponent_);
  if (digits.size() <= places) digits.insert(0, places - digits.size() + 1, '0');
  return out + digits.substr(0, digits.size() - places) + "." +
         digits.substr(digits.size() - places);
}

double Decimal::to_double() const {
  if (kind_ == Kind::nan) return std::nan("");
  if (kind_ == Kind::infinite) return negative_ ? -HUGE_VAL : HUGE_VAL;
  return std::strtod(text().c_str(), nullptr);
}

std::optional<std::int64_t> Decimal::to_int() const {
  if (kind_ != Kind::finite) return std::nullopt;
  Uint128 n = coefficient_;
  for (int e = exponent_; e < 0 && n != 0; ++e) n /= 10;
  for (int e = exponent_; e > 0 && n != 0; --e) {
    if (n > kCoefficientMax) return std::nullopt;
    n *= 10;
  }
  const Uint128 limit = static_cast<Uint128>(INT64_MAX) + (negative_ ? 1 : 0);
  if (n > limit) return std::nullopt;
  const auto u = static_cast<std::uint64_t>(n);
  return static_cast<std::int64_t>(negative_ ? 0 - u : u);
}

Decimal Decimal::negated() const {
  Decimal d = *this;
  if (kind_ != Kind::nan) d.negative_ = !negative_;
  return d;
}

Decimal operator+(const Decimal& a, const Decimal& b) {
  using Kind = Decimal::Kind;
  if (a.is_nan() || b.is_nan()) return Decimal::nan();
  if (a.is_infinite() || b.is_infinite()) {
    if (a.kind_ == b.kind_ && a.negative_ != b.negative_) return Decimal::nan();
    return a.kind_ == Kind::infinite ? a : b;
  }
  const Decimal& high = a.exponent_ >= b.exponent_ ? a : b;
  const Decimal& low = a.exponent_ >= b.exponent_ ? b : a;
  if (high.coefficient_ == 0 && low.coefficient_ != 0) return low;
  // The higher one is widened as far as 37 digits go; of the lower one what then still hangs below
  // is cut off and only remembered as "more": at least 36 digits stay, and 34 are kept.
  const int apart = high.exponent_ - low.exponent_;
  const int widen =
      high.coefficient_ == 0 ? apart : std::min(apart, 37 - digit_count(high.coefficient_));
  const Uint128 h = high.coefficient_ == 0 ? 0 : high.coefficient_ * power_of_ten(widen);
  const int cut = apart - widen;
  Uint128 l = low.coefficient_;
  bool more = false;
  if (cut > 0) {
    const Uint128 unit = cut > 37 ? 0 : power_of_ten(cut);
    more = unit == 0 ? l != 0 : l % unit != 0;
    l = unit == 0 ? 0 : l / unit;
  }
  const int exponent = high.exponent_ - widen;
  if (high.negative_ == low.negative_)
    return Decimal::make(high.negative_, to_digits(h + l), exponent, more);
  if (h == l && !more) return Decimal::make(false, "0", exponent);
  if (h > l)
    return Decimal::make(high.negative_, to_digits(h - l - (more ? 1 : 0)), exponent, more);
  return Decimal::make(low.negative_, to_digits(l - h), exponent, more);
}

Decimal operator*(const Decimal& a, const Decimal& b) {
  if (a.is_nan() || b.is_nan()) return Decimal::nan();
  const bool negative = a.negative_ != b.negative_;
  if (a.is_infinite() || b.is_infinite())
    return a.is_zero() || b.is_zero() ? Decimal::nan() : Decimal::infinity(negative);
  const Uint128 base = power_of_ten(17);
  const Uint128 a0 = a.coefficient_ % base, a1 = a.coefficient_ / base;
  const Uint128 b0 = b.coefficient_ % base, b1 = b.coefficient_ / base;
  const Uint128 p0 = a0 * b0;
  const Uint128 p1 = a1 * b0 + a0 * b1 + p0 / base;
  const Uint128 p2 = a1 * b1 + p1 / base;
  std::string digits = to_digits(p2);
  for (const Uint128 limb : {p1 % base, p0 % base}) {
    const std::string part = to_digits(limb);
    digits += std::string(17 - part.size(), '0') + part;
  }
  return Decimal::make(negative, digits, a.exponent_ + b.exponent_);
}

Decimal operator/(const Decimal& a, const Decimal& b) {
  if (a.is_nan() || b.is_nan()) return Decimal::nan();
  const bool negative = a.negative_ != b.negative_;
  if (a.is_infinite()) return b.is_infinite() ? Decimal::nan() : Decimal::infinity(negative);
  if (b.is_infinite()) return Decimal::make(negative, "0", Decimal::kExponentMin);
  if (b.is_zero()) return a.is_zero() ? Decimal::nan() : Decimal::infinity(negative);
  std::string digits = to_digits(a.coefficient_ / b.coefficient_);
  if (digits == "0") digits.clear();
  Uint128 rest = a.coefficient_ % b.coefficient_;
  int exponent = a.exponent_ - b.exponent_;
  while (rest != 0 && digits.size() < Decimal::kDigits + 2) {
    rest *= 10;
    const char digit = static_cast<char>('0' + static_cast<int>(rest / b.coefficient_));
    if (!digits.empty() || digit != '0') digits += digit;
    rest %= b.coefficient_;
    --exponent;
  }
  return Decimal::make(negative, digits, exponent, rest != 0);
}

Decimal remainder(const Decimal& a, const Decimal& b) {
  if (a.is_nan() || b.is_nan() || a.is_infinite() || b.is_zero()) return Decimal::nan();
  if (b.is_infinite() || a.is_zero()) return a;
  Uint128 r = a.coefficient_, m = b.coefficient_;
  int exponent = b.exponent_;
  if (b.exponent_ > a.exponent_) {
    for (int e = a.exponent_; e < b.exponent_; ++e) {
      if (m > r) return a;
      m *= 10;
    }
    exponent = a.exponent_;
  }
  r %= m;
  for (int e = b.exponent_; e < a.exponent_ && r != 0; ++e) r = r * 10 % m;
  return Decimal::make(a.negative_, to_digits(r), exponent);
}

int compare(const Decimal& a, const Decimal& b) {
  if (a.is_nan() || b.is_nan()) return static_cast<int>(b.is_nan()) - static_cast<int>(a.is_nan());
  if (a.is_zero() && b.is_zero()) return 0;
  const auto sign = [](const Decimal& d) { return d.is_zero() ? 0 : (d.negative_ ? -1 : 1); };
  if (sign(a) != sign(b)) return sign(a) < sign(b) ? -1 : 1;
  if (a.is_infinite() || b.is_infinite())
    return a.is_infinite() == b.is_infinite() ? 0 : (a.is_infinite() ? sign(a) : -sign(b));
  std::string x = to_digits(a.coefficient_), y = to_digits(b.coefficient_);
  const int ex = a.exponent_ + static_cast<int>(x.size());
  const int ey = b.exponent_ + static_cast<int>(y.size());
  if (ex != ey) return (ex < ey ? -1 : 1) * sign(a);
  x.resize(Decimal::kDigits, '0');
  y.resize(Decimal::kDigits, '0');
  const int c = x.compare(y);
  return (c < 0 ? -1 : (c > 0 ? 1 : 0)) * sign(a);
}

}  // namespace headgate::sqlite::doc
