// Text of the ext types, both ways. The calendar is the proleptic Gregorian one; the day arithmetic
// is Howard Hinnant's (https://howardhinnant.github.io/date_algorithms.html).
#include <algorithm>
#include <charconv>

#include "proto/values.hpp"

namespace headgate::proto {
namespace {

__extension__ typedef __int128 Wide;  // ISO C++ has no integer wide enough for the sums below

struct Civil {
  std::int64_t year;
  unsigned month, day;
};

Civil civil_from_days(std::int64_t z) {
  z += 719468;
  const std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const auto doe = static_cast<std::uint64_t>(z - era * 146097);
  const std::uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  const std::uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  const std::uint64_t mp = (5 * doy + 2) / 153;
  const auto day = static_cast<unsigned>(doy - (153 * mp + 2) / 5 + 1);
  const auto month = static_cast<unsigned>(mp < 10 ? mp + 3 : mp - 9);
  return {static_cast<std::int64_t>(yoe) + era * 400 + (month <= 2 ? 1 : 0), month, day};
}

std::int64_t days_from_civil(std::int64_t y, unsigned m, unsigned d) {
  y -= m <= 2 ? 1 : 0;
  const std::int64_t era = (y >= 0 ? y : y - 399) / 400;
  const auto yoe = static_cast<std::uint64_t>(y - era * 400);
  const std::uint64_t doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
  const std::uint64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + static_cast<std::int64_t>(doe) - 719468;
}

unsigned month_days(std::int64_t y, unsigned m) {
  static constexpr std::array<unsigned, 12> kDays = {31, 28, 31, 30, 31, 30,
                                                     31, 31, 30, 31, 30, 31};
  const bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
  return m == 2 && leap ? 29 : kDays[m - 1];
}

void put(std::string* s, std::uint64_t v, int width) {
  std::array<char, 20> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), v).ptr;
  const auto n = static_cast<int>(end - digits.begin());
  s->append(static_cast<std::size_t>(std::max(0, width - n)), '0');
  s->append(digits.begin(), end);
}

void put_date(std::string* s, std::int64_t days) {
  const Civil c = civil_from_days(days);
  if (c.year < 0) *s += '-';
  if (c.year > 9999) *s += '+';
  put(s, static_cast<std::uint64_t>(c.year < 0 ? -c.year : c.year), 4);
  *s += '-';
  put(s, c.month, 2);
  *s += '-';
  put(s, c.day, 2);
}

// The fraction without trailing zeros, with its point; nothing when it is zero.
void put_fraction(std::string* s, std::uint64_t v, int width) {
  if (v == 0) return;
  *s += '.';
  put(s, v, width);
  s->erase(s->find_last_not_of('0') + 1);
}

void put_time(std::string* s, std::int64_t seconds, std::uint64_t fraction, int width) {
  put(s, static_cast<std::uint64_t>(seconds / 3600), 2);
  *s += ':';
  put(s, static_cast<std::uint64_t>(seconds / 60 % 60), 2);
  *s += ':';
  put(s, static_cast<std::uint64_t>(seconds % 60), 2);
  put_fraction(s, fraction, width);
}

void put_offset(std::string* s, std::int32_t offset) {
  *s += offset < 0 ? '-' : '+';
  const auto a = static_cast<std::uint64_t>(offset < 0 ? -offset : offset);
  put(s, a / 3600, 2);
  *s += ':';
  put(s, a / 60 % 60, 2);
  if (a % 60 != 0) {
    *s += ':';
    put(s, a % 60, 2);
  }
}

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0) ? 1 : 0);
}

// Reads text from the front; once something did not fit, ok is false and stays so.
struct Reader {
  std::string_view s;
  bool ok = true;

  [[nodiscard]] bool done() const { return ok && s.empty(); }
  bool accept(char a, char b) {
    if (!ok || s.empty() || (s[0] != a && s[0] != b)) return false;
    s.remove_prefix(1);
    return true;
  }
  bool accept(char a) { return accept(a, a); }
  void expect(char a) { ok = accept(a) && ok; }
  std::size_t digits_ahead() const {
    const std::size_t n = s.find_first_not_of("0123456789");
    return n == std::string_view::npos ? s.size() : n;
  }
  std::int64_t number(std::size_t min, std::size_t max) {
    const std::size_t n = std::min(digits_ahead(), max);
    if (!ok || n < min) {
      ok = false;
      return 0;
    }
    std::int64_t v = 0;
    ok = std::from_chars(s.data(), s.data() + n, v).ec == std::errc{};
    s.remove_prefix(n);
    return v;
  }
  std::int64_t below(std::int64_t max) {
    const std::int64_t v = number(2, 2);
    ok = ok && v < max;
    return v;
  }
  // What follows a point, as a number of `width` digits.
  std::int64_t fraction(std::size_t width) {
    if (!accept('.')) return 0;
    const std::size_t n = digits_ahead();
    if (n == 0 || n > width) {
      ok = false;
      return 0;
    }
    std::int64_t v = number(n, n);
    for (std::size_t i = n; i < width; ++i) v *= 10;
    return v;
  }
  std::int64_t date() {
    const bool minus = accept('-');
    const bool plus = !minus && accept('+');
    const std::int64_t digits = static_cast<std::int64_t>(digits_ahead());
    std::int64_t y = number(4, minus || plus ? 7 : 4);
    ok = ok && (digits == 4 || minus || plus);
    if (minus) y = -y;
    expect('-');
    const auto m = static_cast<unsigned>(number(2, 2));
    expect('-');
    const auto d = static_cast<unsigned>(number(2, 2));
    ok = ok && m >= 1 && m <= 12 && d >= 1 && d <= month_days(y, m);
    return ok ? days_from_civil(y, m, d) : 0;
  }
  // Seconds of the day; 24:00:00 is taken, a leap second is not.
  std::int64_t time() {
    const std::int64_t h = below(25);
    expect(':');
    const std::int64_t m = below(60);
    expect(':');
    const std::int64_t sec = below(60);
    const std::int64_t all = h * 3600 + m * 60 + sec;
    ok = ok && all <= 86'400;
    return all;
  }
  std::optional<std::int32_t> offset() {
    if (accept('Z', 'z')) return 0;
    const bool minus = accept('-');
    if (!minus && !accept('+')) return std::nullopt;
    std::int64_t v = below(16) * 3600;
    if (accept(':')) {
      v += below(60) * 60;
      if (accept(':')) v += below(60);
    }
    return static_cast<std::int32_t>(minus ? -v : v);
  }
};

}  // namespace

std::string to_text(const Date& v) {
  if (v.days == Date::kInfinity) return "infinity";
  if (v.days == Date::kMinusInfinity) return "-infinity";
  std::string s;
  put_date(&s, v.days);
  return s;
}

std::string to_text(const Timestamp& v) {
  if (v.seconds == Timestamp::kInfinity) return "infinity";
  if (v.seconds == Timestamp::kMinusInfinity) return "-infinity";
  std::string s;
  const std::int64_t days = floor_div(v.seconds, 86'400);
  put_date(&s, days);
  s += 'T';
  put_time(&s, v.seconds - days * 86'400, v.nanos, 9);
  s += 'Z';
  return s;
}

std::string to_text(const LocalTimestamp& v) {
  if (v.micros == LocalTimestamp::kInfinity) return "infinity";
  if (v.micros == LocalTimestamp::kMinusInfinity) return "-infinity";
  std::string s;
  const std::int64_t days = floor_div(v.micros, kDayUs);
  std::int64_t us = v.micros % kDayUs;  // days * kDayUs may lie below 64 bits
  if (us < 0) us += kDayUs;
  put_date(&s, days);
  s += 'T';
  put_time(&s, us / 1'000'000, static_cast<std::uint64_t>(us % 1'000'000), 6);
  return s;
}

std::string to_text(const TimeOfDay& v) {
  std::string s;
  put_time(&s, v.micros / 1'000'000, static_cast<std::uint64_t>(v.micros % 1'000'000), 6);
  if (v.offset_s.has_value()) put_offset(&s, *v.offset_s);
  return s;
}

std::string to_text(const Interval& v) {
  std::string s = "P";
  // Every number carries its own sign, so that the three parts stay apart.
  auto part = [&](std::int64_t n, char unit) {
    if (n != 0) s += std::to_string(n) + unit;
  };
  part(v.months / 12, 'Y');
  part(v.months % 12, 'M');
  part(v.days, 'D');
  if (v.micros != 0) {
    s += 'T';
    const bool minus = v.micros < 0;
    const auto bits = static_cast<std::uint64_t>(v.micros);
    const std::uint64_t us = minus ? std::uint64_t{0} - bits : bits;
    const std::uint64_t seconds = us / 1'000'000;
    const std::string sign = minus ? "-" : "";
    if (seconds / 3600 != 0) s += sign + std::to_string(seconds / 3600) + 'H';
    if (seconds / 60 % 60 != 0) s += sign + std::to_string(seconds / 60 % 60) + 'M';
    if (seconds % 60 != 0 || us % 1'000'000 != 0) {
      s += sign + std::to_string(seconds % 60);
      put_fraction(&s, us % 1'000'000, 6);
      s += 'S';
    }
  }
  return s.size() == 1 ? "PT0S" : s;
}

std::string to_text(const Uuid& v) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string s;
  for (std::size_t i = 0; i < v.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) s += '-';
    s += kHex[v.bytes[i] >> 4];
    s += kHex[v.bytes[i] & 15];
  }
  return s;
}

std::string to_text(const Decimal& v) {
  std::string s(v.negative ? "-" : "");
  if (v.scale <= 0) {
    s += v.digits;
    if (v.digits != "0") s.append(static_cast<std::size_t>(-v.scale), '0');
    return s;
  }
  const auto scale = static_cast<std::size_t>(v.scale);
  if (v.digits.size() > scale) {
    s += v.digits.substr(0, v.digits.size() - scale);
  } else {
    s += '0';
  }
  s += '.';
  if (v.digits.size() < scale) s.append(scale - v.digits.size(), '0');
  s += v.digits.substr(v.digits.size() - std::min(v.digits.size(), scale));
  return s;
}

std::optional<Date> parse_date(std::string_view s) {
  if (s == "infinity") return Date{Date::kInfinity};
  if (s == "-infinity") return Date{Date::kMinusInfinity};
  Reader r{s};
  const std::int64_t days = r.date();
  if (!r.done() || days <= Date::kMinusInfinity || days >= Date::kInfinity) return std::nullopt;
  return Date{static_cast<std::int32_t>(days)};
}

std::optional<Timestamp> parse_timestamp(std::string_view s) {
  if (s == "infinity") return Timestamp{Timestamp::kInfinity, 0};
  if (s == "-infinity") return Timestamp{Timestamp::kMinusInfinity, 0};
  Reader r{s};
  const std::int64_t days = r.date();
  r.ok = (r.accept('T', 't') || r.accept(' ')) && r.ok;
  const std::int64_t seconds = r.time();
  const std::int64_t nanos = r.fraction(9);
  const std::optional<std::int32_t> offset = r.offset();
  if (!r.done() || !offset.has_value() || (seconds == 86'400 && nanos != 0)) return std::nullopt;
  const Timestamp t{days * 86'400 + seconds - *offset, static_cast<std::uint32_t>(nanos)};
  if (t.seconds > Timestamp::kSecondsMax || t.seconds < -Timestamp::kSecondsMax)
    return std::nullopt;
  return t;
}

std::optional<LocalTimestamp> parse_local_timestamp(std::string_view s) {
  if (s == "infinity") return LocalTimestamp{LocalTimestamp::kInfinity};
  if (s == "-infinity") return LocalTimestamp{LocalTimestamp::kMinusInfinity};
  Reader r{s};
  const std::int64_t days = r.date();
  r.ok = (r.accept('T', 't') || r.accept(' ')) && r.ok;
  const std::int64_t seconds = r.time();
  const std::int64_t us = r.fraction(6);
  if (!r.done() || (seconds == 86'400 && us != 0)) return std::nullopt;
  // The ends of the type are the infinities, not values.
  const Wide all = static_cast<Wide>(days) * kDayUs + seconds * 1'000'000 + us;
  if (all >= LocalTimestamp::kInfinity || all <= LocalTimestamp::kMinusInfinity)
    return std::nullopt;
  return LocalTimestamp{static_cast<std::int64_t>(all)};
}

std::optional<TimeOfDay> parse_time(std::string_view s) {
  Reader r{s};
  const std::int64_t seconds = r.time();
  const std::int64_t us = r.fraction(6);
  const std::optional<std::int32_t> offset = r.offset();
  if (!r.done() || (seconds == 86'400 && us != 0)) return std::nullopt;
  return TimeOfDay{seconds * 1'000'000 + us, offset};
}

std::optional<Interval> parse_interval(std::string_view s) {
  Reader r{s};
  r.expect('P');
  // Sums in 128 bits, checked once: no text has more than seven parts of 19 digits.
  Wide months = 0, days = 0, us = 0;
  bool time = false;
  std::size_t last = 0;  // units come in this order, each once
  static constexpr std::string_view kOrder = "YMDhms";
  bool any = false;
  while (r.ok && !r.s.empty()) {
    if (!time && r.accept('T')) {
      time = true;
      last = 3;
      r.ok = !r.s.empty();
      continue;
    }
    const bool minus = r.accept('-');
    if (!minus) r.accept('+');
    const std::int64_t n = r.number(1, 19);
    const bool point = !r.s.empty() && r.s[0] == '.';
    const std::int64_t fraction = r.fraction(6);
    if (!r.ok || r.s.empty()) return std::nullopt;
    char unit = r.s[0];
    r.s.remove_prefix(1);
    if (time) unit = static_cast<char>(unit - 'A' + 'a');
    const std::size_t at = kOrder.find(unit, last);
    if (at == std::string_view::npos || (time != (at >= 3)) || (point && unit != 's'))
      return std::nullopt;
    last = at + 1;
    any = true;
    const Wide v = minus ? -static_cast<Wide>(n) : n;
    switch (unit) {
      case 'Y':
        months += v * 12;
        break;
      case 'M':
        months += v;
        break;
      case 'D':
        days = v;
        break;
      case 'h':
        us += v * 3'600'000'000;
        break;
      case 'm':
        us += v * 60'000'000;
        break;
      default:
        us += v * 1'000'000 + (minus ? -fraction : fraction);
        break;
    }
  }
  auto fits = [](Wide v, auto limit) {
    return v >= std::numeric_limits<decltype(limit)>::min() &&
           v <= std::numeric_limits<decltype(limit)>::max();
  };
  if (!r.ok || !any || !fits(months, std::int32_t{}) || !fits(days, std::int32_t{}) ||
      !fits(us, std::int64_t{}))
    return std::nullopt;
  return Interval{static_cast<std::int32_t>(months), static_cast<std::int32_t>(days),
                  static_cast<std::int64_t>(us)};
}

std::optional<Uuid> parse_uuid(std::string_view s) {
  if (s.size() != 36) return std::nullopt;
  Uuid u;
  std::size_t at = 0;
  for (std::size_t i = 0; i < u.bytes.size(); ++i) {
    if (at == 8 || at == 13 || at == 18 || at == 23) {
      if (s[at++] != '-') return std::nullopt;
    }
    const auto [end, error] = std::from_chars(s.data() + at, s.data() + at + 2, u.bytes[i], 16);
    if (error != std::errc{} || end != s.data() + at + 2) return std::nullopt;
    at += 2;
  }
  return u;
}

std::optional<Decimal> parse_decimal(std::string_view s, std::string* digits) {
  Reader r{s};
  Decimal d;
  d.negative = r.accept('-');
  if (!d.negative) r.accept('+');
  const std::size_t whole = r.digits_ahead();
  digits->assign(r.s.substr(0, whole));
  r.s.remove_prefix(whole);
  std::int64_t scale = 0;
  if (r.accept('.')) {
    const std::size_t n = r.digits_ahead();
    digits->append(r.s.substr(0, n));
    r.s.remove_prefix(n);
    scale = static_cast<std::int64_t>(n);
  }
  if (digits->empty()) return std::nullopt;
  if (r.accept('e', 'E')) {
    const bool minus = r.accept('-');
    if (!minus) r.accept('+');
    const std::int64_t e = r.number(1, 6);
    scale -= minus ? -e : e;
  }
  const std::size_t zeros = digits->find_first_not_of('0');
  digits->erase(0, zeros == std::string::npos ? digits->size() - 1 : zeros);
  if (!r.done() || digits->size() > kDecimalDigitsMax ||
      scale < std::numeric_limits<std::int16_t>::min() ||
      scale > std::numeric_limits<std::int16_t>::max())
    return std::nullopt;
  d.scale = static_cast<std::int16_t>(scale);
  d.digits = *digits;
  if (d.digits == "0") d.negative = false;
  return d;
}

}  // namespace headgate::proto
