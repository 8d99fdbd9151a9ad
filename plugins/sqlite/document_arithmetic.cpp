// See document_arithmetic.hpp.
#include "plugins/sqlite/document_arithmetic.hpp"

#include <cmath>

namespace headgate::sqlite::doc {
namespace {

Decimal decimal_operand(const Value& v) {
  return v.is(Tag::floating) ? Decimal::from_double(v.as_double(), 15) : v.to_decimal();
}

bool either(const Value& a, const Value& b, Tag tag) { return a.is(tag) || b.is(tag); }

Value integer_result(const Value& a, const Value& b, std::int64_t n) {
  return either(a, b, Tag::int64) ? Value::int64(n) : Value::integer(n);
}

}  // namespace

std::optional<Value> add_exact(const Value& a, const Value& b) {
  if (either(a, b, Tag::decimal)) return Value::decimal(decimal_operand(a) + decimal_operand(b));
  if (either(a, b, Tag::floating)) return Value::floating(a.to_double() + b.to_double());
  std::int64_t n = 0;
  if (__builtin_add_overflow(a.as_int(), b.as_int(), &n)) return std::nullopt;
  return integer_result(a, b, n);
}

std::optional<Value> multiply_exact(const Value& a, const Value& b) {
  if (either(a, b, Tag::decimal)) return Value::decimal(decimal_operand(a) * decimal_operand(b));
  if (either(a, b, Tag::floating)) return Value::floating(a.to_double() * b.to_double());
  std::int64_t n = 0;
  if (__builtin_mul_overflow(a.as_int(), b.as_int(), &n)) return std::nullopt;
  return integer_result(a, b, n);
}

Value add(const Value& a, const Value& b) {
  if (std::optional<Value> v = add_exact(a, b)) return std::move(*v);
  return Value::floating(a.to_double() + b.to_double());
}

Value multiply(const Value& a, const Value& b) {
  if (std::optional<Value> v = multiply_exact(a, b)) return std::move(*v);
  return Value::floating(a.to_double() * b.to_double());
}

Value subtract(const Value& a, const Value& b) {
  if (either(a, b, Tag::decimal))
    return Value::decimal(decimal_operand(a) + decimal_operand(b).negated());
  if (either(a, b, Tag::floating)) return Value::floating(a.to_double() - b.to_double());
  std::int64_t n = 0;
  if (__builtin_sub_overflow(a.as_int(), b.as_int(), &n))
    return Value::floating(a.to_double() - b.to_double());
  return integer_result(a, b, n);
}

Value divide(const Value& a, const Value& b) {
  if (either(a, b, Tag::decimal)) return Value::decimal(decimal_operand(a) / decimal_operand(b));
  return Value::floating(a.to_double() / b.to_double());
}

Value modulo(const Value& a, const Value& b) {
  if (either(a, b, Tag::decimal))
    return Value::decimal(remainder(decimal_operand(a), decimal_operand(b)));
  if (either(a, b, Tag::floating)) return Value::floating(std::fmod(a.to_double(), b.to_double()));
  if (b.as_int() == -1) return integer_result(a, b, 0);
  return integer_result(a, b, a.as_int() % b.as_int());
}

void Sum::add_double(double d) {
  // Neumaier's sum: what the addition loses is kept apart.
  const double t = real_ + d;
  if (std::isfinite(t))
    lost_ += std::fabs(real_) >= std::fabs(d) ? (real_ - t) + d : (d - t) + real_;
  real_ = t;
}

void Sum::add(const Value& v) {
  if (!v.is_number()) return;
  ++count_;
  if (v.is_integer()) {
    whole_ += v.as_int();
    has_long_ = has_long_ || v.is(Tag::int64);
  } else if (v.is(Tag::floating)) {
    has_double_ = true;
    add_double(v.as_double());
  } else {
    has_decimal_ = true;
    decimal_ = decimal_ + v.as_decimal();
  }
}

Value Sum::total() const {
  const bool fits = whole_ >= INT64_MIN && whole_ <= INT64_MAX;
  if (has_decimal_) {
    Decimal d = decimal_ + (fits ? Decimal::from_int(static_cast<std::int64_t>(whole_))
                                 : Decimal::from_double(static_cast<double>(whole_)));
    if (has_double_) d = d + Decimal::from_double(real_ + lost_, 15);
    return Value::decimal(d);
  }
  if (has_double_ || !fits) {
    Sum s = *this;
    s.add_double(static_cast<double>(whole_));
    return Value::floating(s.real_ + s.lost_);
  }
  const auto n = static_cast<std::int64_t>(whole_);
  return has_long_ ? Value::int64(n) : Value::integer(n);
}

Value Sum::average() const {
  if (count_ == 0) return {};
  const Value sum = total();
  if (sum.is(Tag::decimal)) return Value::decimal(sum.as_decimal() / Decimal::from_int(count_));
  return Value::floating(sum.to_double() / static_cast<double>(count_));
}

}  // namespace headgate::sqlite::doc
