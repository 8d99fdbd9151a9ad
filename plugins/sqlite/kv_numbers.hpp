// Numbers as the text that a key or hash field holds, with Redis's rules, so that a value written
// here means the same to a program that knows INCRBY and INCRBYFLOAT.
//
// Threads: pure functions; no locale.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace headgate::sqlite {

// An integer of 64 bits in its one form: no space, no plus sign, no leading zero, no "-0".
std::optional<std::int64_t> parse_integer(std::string_view text);

// A finite decimal number; no space, no hexadecimal, nothing after it.
std::optional<long double> parse_float(std::string_view text);

// INCRBYFLOAT: `text` + `by` in extended precision, 17 digits after the point, trailing zeros cut.
// `by` counts as the shortest decimal that names it (0.1 is 0.1). Empty: text is no number, or the
// sum does not fit a double.
std::optional<std::string> add_float(std::string_view text, double by);

// The double nearest to a text that add_float made.
double to_double(std::string_view text);

}  // namespace headgate::sqlite
