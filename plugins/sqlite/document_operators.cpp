// Arithmetic, comparison, arrays and types; strings and dates are in document_operators_text.cpp.
#include "plugins/sqlite/document_operators.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "plugins/sqlite/document_arithmetic.hpp"
#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_operators_text.hpp"

namespace headgate::sqlite::doc {
namespace {

std::string kind_of(const Operand& v) { return v ? std::string(type_name(v->tag())) : "missing"; }

const Value& number(const Operand& v, const char* name) {
  if (!v || !v->is_number()) throw bad(std::string(name) + " takes numbers, not " + kind_of(v));
  return *v;
}

std::int64_t whole(const Operand& v, const char* name) {
  const Value& n = number(v, name);
  if (n.is_integer()) return n.as_int();
  const double d = n.to_double();
  if (std::trunc(d) != d || std::fabs(d) > 9e18)
    throw bad(std::string(name) + " takes a whole number");
  return static_cast<std::int64_t>(d);
}

const Array& array(const Operand& v, const char* name) {
  if (!v || !v->is(Tag::array)) throw bad(std::string(name) + " takes an array, not " + kind_of(v));
  return v->items();
}

std::int64_t add_ms(std::int64_t date, const Value& n) {
  std::int64_t sum = 0;
  const double d = n.to_double();
  if (!(std::fabs(d) < 9e18)) throw bad("a date cannot be moved so far");
  const std::int64_t ms = n.is_integer() ? n.as_int() : std::llround(d);
  if (__builtin_add_overflow(date, ms, &sum)) throw bad("a date cannot be moved so far");
  return sum;
}

Operand op_add(Operands a) {
  if (std::any_of(a.begin(), a.end(), nullish)) return Value();
  Value sum = Value::int32(0);
  std::optional<std::int64_t> date;
  for (const Operand& v : a) {
    if (v->is(Tag::date)) {
      if (date) throw bad("$add takes at most one date");
      date = v->as_int();
    } else {
      sum = add(sum, number(v, "$add"));
    }
  }
  if (date) return Value::date(add_ms(*date, sum));
  return sum;
}

Operand op_subtract(Operands a) {
  if (nullish(a[0]) || nullish(a[1])) return Value();
  if (a[0]->is(Tag::date)) {
    std::int64_t ms = 0;
    if (a[1]->is(Tag::date)) {
      if (__builtin_sub_overflow(a[0]->as_int(), a[1]->as_int(), &ms))
        throw bad("$subtract: the dates are too far apart");
      return Value::int64(ms);
    }
    return Value::date(
        add_ms(a[0]->as_int(), multiply(number(a[1], "$subtract"), Value::int32(-1))));
  }
  return subtract(number(a[0], "$subtract"), number(a[1], "$subtract"));
}

Operand op_multiply(Operands a) {
  if (std::any_of(a.begin(), a.end(), nullish)) return Value();
  Value product = Value::int32(1);
  for (const Operand& v : a) product = multiply(product, number(v, "$multiply"));
  return product;
}

bool is_zero(const Value& v) { return compare_numbers(v, Value::int32(0)) == 0; }

Operand op_divide(Operands a) {
  if (nullish(a[0]) || nullish(a[1])) return Value();
  const Value &x = number(a[0], "$divide"), &y = number(a[1], "$divide");
  if (is_zero(y)) throw bad("$divide: division by zero");
  return divide(x, y);
}

Operand op_mod(Operands a) {
  if (nullish(a[0]) || nullish(a[1])) return Value();
  const Value &x = number(a[0], "$mod"), &y = number(a[1], "$mod");
  if (is_zero(y)) throw bad("$mod: division by zero");
  return modulo(x, y);
}

Operand op_abs(Operands a) {
  if (nullish(a[0])) return Value();
  const Value& v = number(a[0], "$abs");
  if (v.is(Tag::floating)) return Value::floating(std::fabs(v.as_double()));
  if (v.is(Tag::decimal))
    return Value::decimal(v.as_decimal().negative() ? v.as_decimal().negated() : v.as_decimal());
  if (v.as_int() >= 0) return v;
  if (v.as_int() == INT64_MIN) throw bad("$abs of the smallest integer has no integer result");
  return v.is(Tag::int64) ? Value::int64(-v.as_int()) : Value::integer(-v.as_int());
}

template <double (*F)(double)>
Operand round_with(const Operand& a, const char* name) {
  if (nullish(a)) return Value();
  const Value& v = number(a, name);
  if (v.is_integer()) return v;
  if (v.is(Tag::decimal)) throw no(std::string(name) + " of a decimal is not supported");
  return Value::floating(F(v.as_double()));
}

Operand op_sqrt(Operands a) {
  if (nullish(a[0])) return Value();
  const Value& v = number(a[0], "$sqrt");
  if (v.is(Tag::decimal)) throw no("$sqrt of a decimal is not supported");
  if (v.to_double() < 0) throw bad("$sqrt takes a number of 0 or more");
  return Value::floating(std::sqrt(v.to_double()));
}

Operand op_pow(Operands a) {
  if (nullish(a[0]) || nullish(a[1])) return Value();
  const Value &x = number(a[0], "$pow"), &y = number(a[1], "$pow");
  if (is_zero(x) && compare_numbers(y, Value::int32(0)) < 0)
    throw bad("$pow cannot take a base of 0 and a negative exponent");
  if (x.is(Tag::decimal) || y.is(Tag::decimal)) throw no("$pow of decimals is not supported");
  if (!x.is_integer() || !y.is_integer() || y.as_int() < 0)
    return Value::floating(std::pow(x.to_double(), y.to_double()));
  Value result = Value::int32(1), base = x;
  for (std::uint64_t n = static_cast<std::uint64_t>(y.as_int()); n > 0; n >>= 1) {
    if (n & 1) result = multiply(result, base);
    if (n > 1) base = multiply(base, base);
  }
  return result;
}

int order(const Operand& a, const Operand& b) {
  if (!a || !b) return static_cast<int>(a.has_value()) - static_cast<int>(b.has_value());
  return compare(*a, *b);
}

Operand op_array_elem_at(Operands a) {
  if (nullish(a[0]) || nullish(a[1])) return Value();
  const Array& items = array(a[0], "$arrayElemAt");
  std::int64_t i = whole(a[1], "$arrayElemAt");
  if (i < 0) i += static_cast<std::int64_t>(items.size());
  if (i < 0 || i >= static_cast<std::int64_t>(items.size())) return std::nullopt;
  return items[static_cast<std::size_t>(i)];
}

Operand op_slice(Operands a) {
  if (nullish(a[0]) || nullish(a[1]) || (a.size() == 3 && nullish(a[2]))) return Value();
  const Array& items = array(a[0], "$slice");
  const auto size = static_cast<std::int64_t>(items.size());
  std::int64_t from = 0, n = 0;
  if (a.size() == 2) {
    n = whole(a[1], "$slice");
    if (n < 0) from = std::max(size + n, std::int64_t{0}), n = size - from;
  } else {
    from = whole(a[1], "$slice");
    n = whole(a[2], "$slice");
    if (n <= 0) throw bad("$slice takes a number of elements above 0");
    if (from < 0) from = std::max(size + from, std::int64_t{0});
  }
  from = std::min(from, size);
  n = std::min(n, size - from);
  return Value::array(Array(items.begin() + from, items.begin() + from + n));
}

Operand op_concat_arrays(Operands a) {
  if (std::any_of(a.begin(), a.end(), nullish)) return Value();
  Array out;
  for (const Operand& v : a) {
    const Array& items = array(v, "$concatArrays");
    out.insert(out.end(), items.begin(), items.end());
  }
  return Value::array(std::move(out));
}

Operand op_in(Operands a) {
  const Array& items = array(a[1], "$in");
  return Value::boolean(a[0] && std::any_of(items.begin(), items.end(),
                                            [&](const Value& v) { return equal(v, *a[0]); }));
}

Operand op_merge_objects(Operands a) {
  Object out;
  std::unordered_map<std::string_view, std::size_t> places;  // names of `a`, which outlives it
  for (const Operand& v : a) {
    if (nullish(v)) continue;
    if (!v->is(Tag::object)) throw bad("$mergeObjects takes documents, not " + kind_of(v));
    for (const Field& f : v->fields()) {
      const auto [at, is_new] = places.emplace(f.name, out.size());
      if (is_new)
        out.push_back(f);
      else
        out[at->second].value = f.value;
    }
  }
  return Value::object(std::move(out));
}

// $sum, $avg, $min and $max as expressions: over the operands, or over one array.
Operands spread(Operands a, std::vector<Operand>& room) {
  if (a.size() != 1 || !a[0] || !a[0]->is(Tag::array)) return a;
  for (const Value& v : a[0]->items()) room.emplace_back(v);
  return room;
}

template <bool kAverage>
Operand op_sum(Operands a) {
  std::vector<Operand> room;
  Sum sum;
  for (const Operand& v : spread(a, room))
    if (v) sum.add(*v);
  return kAverage ? sum.average() : sum.total();
}

template <int kSign>
Operand op_extreme(Operands a) {
  std::vector<Operand> room;
  Operand best;
  for (const Operand& v : spread(a, room)) {
    if (nullish(v)) continue;
    if (!best || compare(*v, *best) * kSign > 0) best = v;
  }
  return best ? best : Operand(Value());
}

double to_real(const Operand& v, const char* name) {
  if (v->is(Tag::boolean)) return v->as_bool() ? 1 : 0;
  if (v->is(Tag::date)) return static_cast<double>(v->as_int());
  if (v->is_number()) return v->to_double();
  if (v->is(Tag::string)) {
    const std::optional<Decimal> d = Decimal::parse(v->text());
    if (d) return d->to_double();
    throw bad(std::string(name) + ": a text is no number");
  }
  throw bad(std::string(name) + " cannot convert " + kind_of(v));
}

std::int64_t to_whole(const Operand& v, const char* name) {
  if (v->is_integer() || v->is(Tag::date)) return v->as_int();
  if (v->is(Tag::string) || v->is(Tag::decimal)) {
    const std::optional<Decimal> d =
        v->is(Tag::decimal) ? v->as_decimal() : Decimal::parse(v->text());
    if (!d || (v->is(Tag::string) && v->text().find_first_of(".eE") != std::string::npos))
      throw bad(std::string(name) + ": a text is no whole number");
    if (const auto i = d->to_int()) return *i;
    throw bad(std::string(name) + ": the number is out of range");
  }
  const double d = to_real(v, name);
  if (!(std::fabs(d) < 9223372036854775808.0))
    throw bad(std::string(name) + ": the number is out of range");
  return static_cast<std::int64_t>(d);
}

Operand op_to_int(Operands a) {
  if (nullish(a[0])) return Value();
  if (a[0]->is(Tag::date)) throw bad("$toInt cannot convert date");
  const std::int64_t i = to_whole(a[0], "$toInt");
  if (i < INT32_MIN || i > INT32_MAX) throw bad("$toInt: the number is out of range");
  return Value::int32(static_cast<std::int32_t>(i));
}

constexpr std::size_t kMany = 1000;

constexpr Operator kOperators[] = {
    {"$add", 0, kMany, op_add},
    {"$subtract", 2, 2, op_subtract},
    {"$multiply", 0, kMany, op_multiply},
    {"$divide", 2, 2, op_divide},
    {"$mod", 2, 2, op_mod},
    {"$abs", 1, 1, op_abs},
    {"$ceil", 1, 1, [](Operands a) { return round_with<std::ceil>(a[0], "$ceil"); }},
    {"$floor", 1, 1, [](Operands a) { return round_with<std::floor>(a[0], "$floor"); }},
    {"$trunc", 1, 1, [](Operands a) { return round_with<std::trunc>(a[0], "$trunc"); }, "places"},
    {"$sqrt", 1, 1, op_sqrt},
    {"$pow", 2, 2, op_pow},
    {"$cmp", 2, 2,
     [](Operands a) -> Operand {
       const int c = order(a[0], a[1]);
       return Value::int32(c < 0 ? -1 : (c > 0 ? 1 : 0));
     }},
    {"$eq", 2, 2, [](Operands a) -> Operand { return Value::boolean(order(a[0], a[1]) == 0); }},
    {"$ne", 2, 2, [](Operands a) -> Operand { return Value::boolean(order(a[0], a[1]) != 0); }},
    {"$gt", 2, 2, [](Operands a) -> Operand { return Value::boolean(order(a[0], a[1]) > 0); }},
    {"$gte", 2, 2, [](Operands a) -> Operand { return Value::boolean(order(a[0], a[1]) >= 0); }},
    {"$lt", 2, 2, [](Operands a) -> Operand { return Value::boolean(order(a[0], a[1]) < 0); }},
    {"$lte", 2, 2, [](Operands a) -> Operand { return Value::boolean(order(a[0], a[1]) <= 0); }},
    {"$size", 1, 1,
     [](Operands a) -> Operand {
       return Value::integer(static_cast<std::int64_t>(array(a[0], "$size").size()));
     }},
    {"$arrayElemAt", 2, 2, op_array_elem_at},
    {"$first", 1, 1,
     [](Operands a) -> Operand {
       if (nullish(a[0])) return Value();
       const Array& items = array(a[0], "$first");
       return items.empty() ? Operand() : Operand(items.front());
     }},
    {"$last", 1, 1,
     [](Operands a) -> Operand {
       if (nullish(a[0])) return Value();
       const Array& items = array(a[0], "$last");
       return items.empty() ? Operand() : Operand(items.back());
     }},
    {"$slice", 2, 3, op_slice},
    {"$concatArrays", 0, kMany, op_concat_arrays},
    {"$in", 2, 2, op_in},
    {"$isArray", 1, 1,
     [](Operands a) -> Operand { return Value::boolean(a[0] && a[0]->is(Tag::array)); }},
    {"$isNumber", 1, 1,
     [](Operands a) -> Operand { return Value::boolean(a[0] && a[0]->is_number()); }},
    {"$type", 1, 1, [](Operands a) -> Operand { return Value::string(kind_of(a[0])); }},
    {"$mergeObjects", 0, kMany, op_merge_objects},
    {"$sum", 0, kMany, op_sum<false>},
    {"$avg", 0, kMany, op_sum<true>},
    {"$min", 0, kMany, op_extreme<-1>},
    {"$max", 0, kMany, op_extreme<1>},
    {"$toInt", 1, 1, op_to_int},
    {"$toLong", 1, 1,
     [](Operands a) -> Operand {
       return nullish(a[0]) ? Value() : Value::int64(to_whole(a[0], "$toLong"));
     }},
    {"$toDouble", 1, 1,
     [](Operands a) -> Operand {
       return nullish(a[0]) ? Value() : Value::floating(to_real(a[0], "$toDouble"));
     }},
};

}  // namespace

const Operator* find_operator(std::string_view name) {
  for (const Operator& o : kOperators)
    if (o.name == name) return &o;
  return find_text_operator(name);
}

}  // namespace headgate::sqlite::doc
