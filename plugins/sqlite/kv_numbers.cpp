// See kv_numbers.hpp.
#include "plugins/sqlite/kv_numbers.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace headgate::sqlite {
namespace {

constexpr int kDigitsAfterPoint = 17;
// 309 digits before the point, a sign, a point, 17 after it.
constexpr std::size_t kFixedMax = 512;

}  // namespace

std::optional<std::int64_t> parse_integer(std::string_view s) {
  const std::string_view digits = !s.empty() && s[0] == '-' ? s.substr(1) : s;
  if (digits.empty() || (digits[0] == '0' && s.size() > 1)) return std::nullopt;
  std::int64_t v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  return v;
}

std::optional<long double> parse_float(std::string_view s) {
  // Longer than any number that add_float writes or a person means.
  if (s.empty() || s.size() > kFixedMax) return std::nullopt;
  long double v = 0;
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), v);
  if (error != std::errc{} || end != s.data() + s.size() || !std::isfinite(v)) return std::nullopt;
  return v;
}

std::optional<std::string> add_float(std::string_view text, double by) {
  const std::optional<long double> held = parse_float(text);
  if (!held || !std::isfinite(by)) return std::nullopt;
  std::array<char, 64> shortest{};
  const auto word = std::to_chars(shortest.data(), shortest.data() + shortest.size(), by);
  const std::optional<long double> step =
      parse_float({shortest.data(), static_cast<std::size_t>(word.ptr - shortest.data())});
  const long double sum = *held + step.value_or(static_cast<long double>(by));
  if (!std::isfinite(sum) ||
      std::fabs(sum) > static_cast<long double>(std::numeric_limits<double>::max()))
    return std::nullopt;
  std::array<char, kFixedMax> fixed{};
  const auto done = std::to_chars(fixed.data(), fixed.data() + fixed.size(), sum,
                                  std::chars_format::fixed, kDigitsAfterPoint);
  if (done.ec != std::errc{}) return std::nullopt;
  std::string out(fixed.data(), done.ptr);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.back() == '.') out.pop_back();
  if (out == "-0") out = "0";
  return out;
}

double to_double(std::string_view text) {
  double v = 0;
  std::from_chars(text.data(), text.data() + text.size(), v);
  return v;
}

}  // namespace headgate::sqlite
