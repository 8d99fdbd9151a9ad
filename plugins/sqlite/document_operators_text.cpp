// Strings count in code points where the operator's name says CP; dates are UTC.
#include "plugins/sqlite/document_operators_text.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>

#include "plugins/sqlite/document_error.hpp"

namespace headgate::sqlite::doc {
namespace {

std::string kind_of(const Operand& v) { return v ? std::string(type_name(v->tag())) : "missing"; }

const std::string& text(const Operand& v, const char* name) {
  if (!v || !v->is(Tag::string)) throw bad(std::string(name) + " takes strings, not " + kind_of(v));
  return v->text();
}

std::int64_t whole(const Operand& v, const char* name) {
  if (!v || !v->is_number()) throw bad(std::string(name) + " takes numbers, not " + kind_of(v));
  if (v->is_integer()) return v->as_int();
  const double d = v->to_double();
  if (std::trunc(d) != d || std::fabs(d) > 9e18)
    throw bad(std::string(name) + " takes a whole number");
  return static_cast<std::int64_t>(d);
}

bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }

// The byte at which code point n begins; the size when there are fewer.
std::size_t offset_of(const std::string& s, std::int64_t n) {
  std::size_t i = 0;
  for (; i < s.size(); ++i)
    if (begins_character(s[i]) && n-- == 0) break;
  return i;
}

Operand op_concat(Operands a) {
  if (std::any_of(a.begin(), a.end(), nullish)) return Value();
  std::string out;
  for (const Operand& v : a) {
    out += text(v, "$concat");
    if (out.size() > kDocumentMax) throw too_large("$concat: the result has more than 16 MiB");
  }
  return Value::string(std::move(out));
}

Operand op_substr_cp(Operands a) {
  const std::string s = nullish(a[0]) ? std::string() : text(a[0], "$substrCP");
  const std::int64_t from = whole(a[1], "$substrCP"), n = whole(a[2], "$substrCP");
  if (from < 0 || n < 0) throw bad("$substrCP takes a start and a length of 0 or more");
  const std::string tail = s.substr(offset_of(s, from));
  return Value::string(tail.substr(0, offset_of(tail, n)));
}

Operand op_str_len_cp(Operands a) {
  const std::string& s = text(a[0], "$strLenCP");
  return Value::integer(std::count_if(s.begin(), s.end(), begins_character));
}

Operand op_split(Operands a) {
  if (nullish(a[0]) || nullish(a[1])) return Value();
  const std::string &s = text(a[0], "$split"), &by = text(a[1], "$split");
  if (by.empty()) throw bad("$split takes a separator that is not empty");
  Array out;
  std::size_t from = 0;
  for (std::size_t at = s.find(by); at != std::string::npos; at = s.find(by, from)) {
    out.push_back(Value::string(s.substr(from, at - from)));
    from = at + by.size();
  }
  out.push_back(Value::string(s.substr(from)));
  return Value::array(std::move(out));
}

// What is found begins in [start, end) and may reach beyond it, as in MongoDB.
Operand op_index_of_cp(Operands a) {
  if (nullish(a[0])) return Value();
  const std::string &s = text(a[0], "$indexOfCP"), &part = text(a[1], "$indexOfCP");
  const std::int64_t start = a.size() > 2 ? whole(a[2], "$indexOfCP") : 0;
  const std::int64_t end = a.size() > 3 ? whole(a[3], "$indexOfCP") : INT64_MAX;
  if (start < 0 || end < 0) throw bad("$indexOfCP takes a start and an end of 0 or more");
  if (s.empty() && part.empty()) return Value::int32(0);
  const std::size_t at = s.find(part, offset_of(s, start));
  if (at >= s.size()) return Value::int32(-1);
  const std::int64_t n =
      std::count_if(s.begin(), s.begin() + static_cast<std::ptrdiff_t>(at), begins_character);
  return Value::integer(n < end ? n : -1);
}

struct Civil {
  std::chrono::year_month_day day;
  std::int64_t ms;  // of the day
  std::int64_t days;
};

Civil civil(std::int64_t ms) {
  constexpr std::int64_t kDay = 86'400'000;
  std::int64_t days = ms / kDay, rest = ms % kDay;
  if (rest < 0) rest += kDay, --days;
  // chrono's years end at 32767.
  if (days < -12'687'428 || days > 11'248'737)
    throw bad("a date is beyond the years that can be named");
  const std::chrono::sys_days point{std::chrono::days(days)};
  return {std::chrono::year_month_day(point), rest, days};
}

std::string iso_date(std::int64_t ms) {
  const Civil c = civil(ms);
  char out[64];
  std::snprintf(out, sizeof out, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ",
                static_cast<int>(c.day.year()), static_cast<unsigned>(c.day.month()),
                static_cast<unsigned>(c.day.day()), static_cast<int>(c.ms / 3'600'000),
                static_cast<int>(c.ms / 60'000 % 60), static_cast<int>(c.ms / 1000 % 60),
                static_cast<int>(c.ms % 1000));
  return out;
}

Operand op_to_string(Operands a) {
  if (nullish(a[0])) return Value();
  const Value& v = *a[0];
  char out[64];
  switch (v.tag()) {
    case Tag::string:
      return v;
    case Tag::boolean:
      return Value::string(v.as_bool() ? "true" : "false");
    case Tag::int32:
    case Tag::int64:
      return Value::string(std::to_string(v.as_int()));
    case Tag::floating: {
      if (std::isnan(v.as_double())) return Value::string("NaN");
      if (std::isinf(v.as_double()))
        return Value::string(v.as_double() < 0 ? "-Infinity" : "Infinity");
      const auto end = std::to_chars(out, out + sizeof out, v.as_double()).ptr;
      return Value::string(std::string(out, end));
    }
    case Tag::decimal:
      return Value::string(v.as_decimal().text());
    case Tag::date:
      return Value::string(iso_date(v.as_int()));
    case Tag::object_id: {
      std::string hex;
      for (const char c : v.text()) {
        std::snprintf(out, sizeof out, "%02x", static_cast<unsigned char>(c));
        hex += out;
      }
      return Value::string(std::move(hex));
    }
    default:
      throw bad("$toString cannot convert " + kind_of(a[0]));
  }
}

// Numbers and dates have a case as their text has: 1e+21.
Operand cased(const Operand& v, const char* name, char from, char to) {
  if (nullish(v)) return Value::string("");
  const Operand as_text = v->is_number() || v->is(Tag::date) ? op_to_string({&v, 1}) : v;
  std::string s = text(as_text, name);
  for (char& c : s)
    if (c >= from && c <= to) c = static_cast<char>(c ^ 0x20);  // ASCII only, as MongoDB
  return Value::string(std::move(s));
}

template <class F>
Operand date_part(const Operand& v, const char* name, F part) {
  if (nullish(v)) return Value();
  if (!v->is(Tag::date)) throw bad(std::string(name) + " takes a date, not " + kind_of(v));
  return Value::integer(part(civil(v->as_int())));
}

constexpr Operator date_operator(std::string_view name, Operand (*compute)(Operands)) {
  return {name, 1, 1, compute, nullptr, "date"};
}

constexpr std::size_t kMany = 1000;

constexpr Operator kTextOperators[] = {
    {"$concat", 0, kMany, op_concat},
    {"$toUpper", 1, 1, [](Operands a) { return cased(a[0], "$toUpper", 'a', 'z'); }},
    {"$toLower", 1, 1, [](Operands a) { return cased(a[0], "$toLower", 'A', 'Z'); }},
    {"$substrCP", 3, 3, op_substr_cp},
    {"$strLenCP", 1, 1, op_str_len_cp},
    {"$strLenBytes", 1, 1,
     [](Operands a) -> Operand {
       return Value::integer(static_cast<std::int64_t>(text(a[0], "$strLenBytes").size()));
     }},
    {"$split", 2, 2, op_split},
    {"$indexOfCP", 2, 4, op_index_of_cp},
    {"$toString", 1, 1, op_to_string},
    date_operator("$year",
                  [](Operands a) {
                    return date_part(a[0], "$year",
                                     [](const Civil& c) { return static_cast<int>(c.day.year()); });
                  }),
    date_operator("$month",
                  [](Operands a) {
                    return date_part(a[0], "$month", [](const Civil& c) {
                      return static_cast<unsigned>(c.day.month());
                    });
                  }),
    date_operator("$dayOfMonth",
                  [](Operands a) {
                    return date_part(a[0], "$dayOfMonth", [](const Civil& c) {
                      return static_cast<unsigned>(c.day.day());
                    });
                  }),
    date_operator("$dayOfWeek",
                  [](Operands a) {  // Sunday is 1; 1970-01-01 was a Thursday
                    return date_part(a[0], "$dayOfWeek",
                                     [](const Civil& c) { return ((c.days % 7) + 11) % 7 + 1; });
                  }),
    date_operator("$hour",
                  [](Operands a) {
                    return date_part(a[0], "$hour",
                                     [](const Civil& c) { return c.ms / 3'600'000; });
                  }),
    date_operator("$minute",
                  [](Operands a) {
                    return date_part(a[0], "$minute",
                                     [](const Civil& c) { return c.ms / 60'000 % 60; });
                  }),
    date_operator("$second",
                  [](Operands a) {
                    return date_part(a[0], "$second",
                                     [](const Civil& c) { return c.ms / 1000 % 60; });
                  }),
    date_operator("$millisecond",
                  [](Operands a) {
                    return date_part(a[0], "$millisecond",
                                     [](const Civil& c) { return c.ms % 1000; });
                  }),
};

}  // namespace

const Operator* find_text_operator(std::string_view name) {
  for (const Operator& o : kTextOperators)
    if (o.name == name) return &o;
  return nullptr;
}

}  // namespace headgate::sqlite::doc
