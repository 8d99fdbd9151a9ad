#include "daemon/config/units.hpp"

#include <array>
#include <charconv>
#include <utility>
#include <vector>

namespace headgate::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
// Largest first: format takes the first that divides without rest.
constexpr std::array<Unit, 6> kTimes = {{{"d", 86'400'000'000u},
                                         {"h", 3'600'000'000u},
                                         {"m", 60'000'000u},
                                         {"s", 1'000'000u},
                                         {"ms", 1'000u},
                                         {"us", 1u}}};
constexpr std::array<Unit, 4> kSizes = {
    {{"GiB", 1u << 30}, {"MiB", 1u << 20}, {"KiB", 1u << 10}, {"B", 1u}}};

template <std::size_t N>
std::optional<std::uint64_t> parse(std::string_view text, const std::array<Unit, N>& units,
                                   std::uint64_t most) {
  std::uint64_t n = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, n);
  if (error != std::errc{} || rest == text.data()) return std::nullopt;
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  for (const Unit& u : units) {
    if (u.name != unit) continue;
    if (n > most / u.factor) return std::nullopt;
    return n * u.factor;
  }
  return std::nullopt;
}

template <std::size_t N>
std::string format(std::uint64_t n, const std::array<Unit, N>& units, std::string_view of_zero) {
  if (n == 0) return "0" + std::string(of_zero);
  for (const Unit& u : units) {
    if (n % u.factor == 0) return std::to_string(n / u.factor) + std::string(u.name);
  }
  return {};
}

}  // namespace

std::optional<Micros> parse_duration(std::string_view text) {
  const auto n = parse(text, kTimes, INT64_MAX);
  if (!n) return std::nullopt;
  return Micros(static_cast<std::int64_t>(*n));
}
std::string format_duration(Micros d) {
  return format(static_cast<std::uint64_t>(d.count()), kTimes, "s");
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  return parse(text, kSizes, INT64_MAX);
}
std::string format_size(std::uint64_t bytes) { return format(bytes, kSizes, "B"); }

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto b = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (b < 0x20 || b == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\u00";
      out += kHex[b >> 4];
      out += kHex[b & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  constexpr std::size_t kLongest = 64;  // nobody means a word that long
  if (a.size() > kLongest || b.size() > kLongest) return SIZE_MAX;
  const std::size_t width = b.size() + 1;
  std::vector<std::size_t> before(width), last(width), row(width);
  for (std::size_t j = 0; j < width; ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j < width; ++j) {
      const bool same = a[i - 1] == b[j - 1];
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace headgate::config
