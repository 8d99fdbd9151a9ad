// Durations and sizes as an operator writes them: "250ms", "64MiB".
//
// Threads: pure functions. What format_*() gives, parse_*() takes, and it is the shortest exact
// form.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "daemon/core/time.hpp"

namespace headgate::config {

// A whole number and one of us, ms, s, m, h, d, with nothing between. Empty: it is not that, or it
// does not fit.
std::optional<Micros> parse_duration(std::string_view text);
std::string format_duration(Micros d);

// A whole number and one of B, KiB, MiB, GiB.
std::optional<std::uint64_t> parse_size(std::string_view text);
std::string format_size(std::uint64_t bytes);

// A TOML basic string, quotes included.
std::string quote(std::string_view text);

// The word of `known` that was most likely meant, or "": at most a third of its letters differ.
// (Levenshtein distance, a swap of two neighbours counted as one.)
template <class Range>
std::string nearest(std::string_view word, const Range& known);
std::size_t edit_distance(std::string_view a, std::string_view b);

template <class Range>
std::string nearest(std::string_view word, const Range& known) {
  std::string best;
  std::size_t least = SIZE_MAX;
  for (const auto& k : known) {
    const std::string_view candidate(k);
    const std::size_t d = edit_distance(word, candidate);
    if (d < least && d <= std::max<std::size_t>(1, candidate.size() / 3)) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace headgate::config
