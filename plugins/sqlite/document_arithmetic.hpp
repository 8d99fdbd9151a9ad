// document_arithmetic: numbers as MongoDB computes with them, for $inc, $add, $sum and their kin.
//
// The result's type is the widest of the operands: int32, int64, double, decimal. int32 grows to
// int64 by itself; what happens beyond int64 is the caller's choice. Threads: pure functions.
#pragma once
#include <cstdint>
#include <optional>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

// REQUIRES: both are numbers. Nothing: an int64 overflowed.
std::optional<Value> add_exact(const Value& a, const Value& b);
std::optional<Value> multiply_exact(const Value& a, const Value& b);
// The same, but beyond int64 the result is a double, as in aggregation.
Value add(const Value& a, const Value& b);
Value multiply(const Value& a, const Value& b);
Value subtract(const Value& a, const Value& b);
Value divide(const Value& a, const Value& b);  // double or decimal. REQUIRES: b is not 0.
Value modulo(const Value& a, const Value& b);  // sign of a. REQUIRES: b is not 0.

// A running total that loses no int64 and little of doubles (compensated); values that are no
// numbers are ignored, as $sum and $avg do.
class Sum {
 public:
  void add(const Value& v);
  [[nodiscard]] Value total() const;    // int32 0 for nothing
  [[nodiscard]] Value average() const;  // null for nothing
 private:
  void add_double(double d);
  __extension__ __int128 whole_ = 0;
  double real_ = 0, lost_ = 0;
  Decimal decimal_;
  bool has_long_ = false, has_double_ = false, has_decimal_ = false;
  std::int64_t count_ = 0;
};

}  // namespace headgate::sqlite::doc
