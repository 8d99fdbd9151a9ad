// Decimal is a decimal number of 34 digits, IEEE 754-2008 decimal128, as BSON has it.
//
// Exact where the result fits; else rounded half to even. Results outside the range become infinite
// or lose digits at the small end. NaN is one value, without payload.
// Threads: a value.
// Source:
// https://github.com/mongodb/specifications/blob/master/source/bson-decimal128/decimal128.md
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace headgate::sqlite::doc {

__extension__ typedef unsigned __int128 Uint128;

class Decimal {
 public:
  static constexpr int kDigits = 34;
  static constexpr int kExponentMin = -6176;
  static constexpr int kExponentMax = 6111;
  using Bid = std::array<std::uint8_t, 16>;  // little-endian, binary integer significand

  Decimal() = default;  // 0
  static Decimal from_int(std::int64_t i);
  // Rounded to so many significant digits. 34 tell any two doubles apart; 15 is what arithmetic
  // uses, as MongoDB's does, so that a double 0.1 adds as 0.1.
  static Decimal from_double(double d, int digits = kDigits);
  // Text as decimal128's specification has it. Nothing when it is no number, or has more than 34
  // significant digits, or is outside the range: a value is never changed silently.
  static std::optional<Decimal> parse(std::string_view text);
  static Decimal from_bid(const Bid& bytes);
  static Decimal nan();
  static Decimal infinity(bool negative);
  // (-1)^negative * digits * 10^exponent, rounded; `more`: non-zero digits follow.
  static Decimal make(bool negative, std::string_view digits, int exponent, bool more = false);

  [[nodiscard]] Bid bid() const;
  [[nodiscard]] std::string text() const;
  [[nodiscard]] double to_double() const;
  // The whole part, when it fits.
  [[nodiscard]] std::optional<std::int64_t> to_int() const;

  [[nodiscard]] bool is_nan() const { return kind_ == Kind::nan; }
  [[nodiscard]] bool is_infinite() const { return kind_ == Kind::infinite; }
  [[nodiscard]] bool is_zero() const { return kind_ == Kind::finite && coefficient_ == 0; }
  [[nodiscard]] bool negative() const { return negative_; }
  [[nodiscard]] int exponent() const { return exponent_; }
  [[nodiscard]] std::string digits() const;  // of the coefficient; "0" for zero

  [[nodiscard]] Decimal negated() const;
  friend Decimal operator+(const Decimal& a, const Decimal& b);
  friend Decimal operator*(const Decimal& a, const Decimal& b);
  friend Decimal operator/(const Decimal& a, const Decimal& b);
  friend Decimal remainder(const Decimal& a, const Decimal& b);  // sign of a
  // By value; NaN is below everything and equal to itself.
  friend int compare(const Decimal& a, const Decimal& b);
  // The same representation: 1.0 is not 1.00.
  friend bool operator==(const Decimal& a, const Decimal& b) = default;

 private:
  enum class Kind : std::uint8_t { finite, infinite, nan };
  Uint128 coefficient_ = 0;
  int exponent_ = 0;
  Kind kind_ = Kind::finite;
  bool negative_ = false;
};

}  // namespace headgate::sqlite::doc
