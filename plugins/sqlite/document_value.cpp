// Construction, order and measures; see document_value.hpp.
#include "plugins/sqlite/document_value.hpp"

#include <sys/random.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <ctime>

namespace headgate::sqlite::doc {

Value Value::boolean(bool b) {
  Value v;
  v.tag_ = Tag::boolean;
  v.as_.integer = b ? 1 : 0;
  return v;
}
Value Value::int32(std::int32_t i) {
  Value v;
  v.tag_ = Tag::int32;
  v.as_.integer = i;
  return v;
}
Value Value::int64(std::int64_t i) {
  Value v;
  v.tag_ = Tag::int64;
  v.as_.integer = i;
  return v;
}
Value Value::integer(std::int64_t i) {
  return i >= INT32_MIN && i <= INT32_MAX ? int32(static_cast<std::int32_t>(i)) : int64(i);
}
Value Value::floating(double d) {
  Value v;
  v.tag_ = Tag::floating;
  v.as_.real = d;
  return v;
}
Value Value::date(std::int64_t ms) {
  Value v = int64(ms);
  v.tag_ = Tag::date;
  return v;
}
Value Value::timestamp(std::uint64_t t) {
  Value v = int64(static_cast<std::int64_t>(t));
  v.tag_ = Tag::timestamp;
  return v;
}
Value Value::decimal(const Decimal& d) {
  Value v;
  v.as_.decimal = new Decimal(d);
  v.tag_ = Tag::decimal;
  return v;
}
Value Value::string(std::string s) {
  Value v;
  v.as_.text = new std::string(std::move(s));
  v.tag_ = Tag::string;
  return v;
}
Value Value::code(std::string s) {
  Value v = string(std::move(s));
  v.tag_ = Tag::code;
  return v;
}
Value Value::binary(std::string bytes, std::uint8_t subtype) {
  Value v = string(std::move(bytes));
  v.tag_ = Tag::binary;
  v.subtype_ = subtype;
  return v;
}
Value Value::object_id(std::string twelve_bytes) {
  Value v = string(std::move(twelve_bytes));
  v.tag_ = Tag::object_id;
  return v;
}
Value Value::regex(Regex r) {
  std::sort(r.options.begin(), r.options.end());
  Value v;
  v.as_.regex = new Regex(std::move(r));
  v.tag_ = Tag::regex;
  return v;
}
Value Value::array(Array a) {
  Value v;
  v.as_.array = new Array(std::move(a));
  v.tag_ = Tag::array;
  return v;
}
Value Value::object() { return object(Object()); }

Value Value::object(Object o) {
  Value v;
  v.as_.object = new Object(std::move(o));
  v.tag_ = Tag::object;
  return v;
}
Value Value::plain(Tag tag) {
  Value v;
  v.tag_ = tag;
  return v;
}

bool Value::is_heap() const {
  switch (tag_) {
    case Tag::string:
    case Tag::code:
    case Tag::binary:
    case Tag::object_id:
    case Tag::decimal:
    case Tag::regex:
    case Tag::array:
    case Tag::object:
      return true;
    default:
      return false;
  }
}

void Value::copy(const Value& o) {
  switch (tag_) {
    case Tag::string:
    case Tag::code:
    case Tag::binary:
    case Tag::object_id:
      as_.text = new std::string(*o.as_.text);
      break;
    case Tag::decimal:
      as_.decimal = new Decimal(*o.as_.decimal);
      break;
    case Tag::regex:
      as_.regex = new Regex(*o.as_.regex);
      break;
    case Tag::array:
      as_.array = new Array(*o.as_.array);
      break;
    case Tag::object:
      as_.object = new Object(*o.as_.object);
      break;
    default:
      as_ = o.as_;
  }
}

void Value::drop() {
  switch (tag_) {
    case Tag::decimal:
      delete as_.decimal;
      break;
    case Tag::regex:
      delete as_.regex;
      break;
    case Tag::array:
      delete as_.array;
      break;
    case Tag::object:
      delete as_.object;
      break;
    default:
      delete as_.text;
  }
}

double Value::to_double() const {
  if (tag_ == Tag::floating) return as_.real;
  if (tag_ == Tag::decimal) return as_.decimal->to_double();
  return static_cast<double>(as_.integer);
}

Decimal Value::to_decimal() const {
  if (tag_ == Tag::decimal) return *as_.decimal;
  if (tag_ == Tag::floating) return Decimal::from_double(as_.real);
  return Decimal::from_int(as_.integer);
}

const Value* Value::find(std::string_view name) const {
  if (tag_ != Tag::object) return nullptr;
  for (const Field& f : *as_.object)
    if (f.name == name) return &f.value;
  return nullptr;
}
Value* Value::find(std::string_view name) {
  return const_cast<Value*>(static_cast<const Value*>(this)->find(name));
}
void Value::set(std::string_view name, Value v) {
  if (Value* there = find(name))
    *there = std::move(v);
  else
    as_.object->push_back({std::string(name), std::move(v)});
}
bool Value::erase(std::string_view name) {
  Object& o = *as_.object;
  const auto at = std::find_if(o.begin(), o.end(), [&](const Field& f) { return f.name == name; });
  if (at == o.end()) return false;
  o.erase(at);
  return true;
}

int rank(Tag tag) {
  switch (tag) {
    case Tag::min_key:
      return 1;
    case Tag::undefined:
      return 4;
    case Tag::null:
      return 5;
    case Tag::int32:
    case Tag::int64:
    case Tag::floating:
    case Tag::decimal:
      return 10;
    case Tag::string:
      return 15;
    case Tag::object:
      return 20;
    case Tag::array:
      return 25;
    case Tag::binary:
      return 30;
    case Tag::object_id:
      return 35;
    case Tag::boolean:
      return 40;
    case Tag::date:
      return 45;
    case Tag::timestamp:
      return 47;
    case Tag::regex:
      return 50;
    case Tag::code:
      return 60;
    case Tag::max_key:
      return 127;
  }
  return 127;
}

namespace {

template <class T>
int order(const T& a, const T& b) {
  return a < b ? -1 : (b < a ? 1 : 0);
}

int compare_text(std::string_view a, std::string_view b) {
  const int c = std::memcmp(a.data(), b.data(), std::min(a.size(), b.size()));
  return c != 0 ? c : order(a.size(), b.size());
}

// An integer against a finite double, exactly: a double of 2^63 or more holds no int64, and below
// that its whole part is one.
int compare_int_double(std::int64_t i, double d) {
  if (d >= 9223372036854775808.0) return -1;
  if (d < -9223372036854775808.0) return 1;
  const double whole = std::trunc(d);
  const int c = order(i, static_cast<std::int64_t>(whole));
  return c != 0 ? c : order(whole, d);
}

bool is_nan(const Value& v) {
  return v.is(Tag::floating) ? std::isnan(v.as_double())
                             : v.is(Tag::decimal) && v.as_decimal().is_nan();
}

}  // namespace

int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integer() && b.is_integer()) return order(a.as_int(), b.as_int());
  const bool an = is_nan(a), bn = is_nan(b);
  if (an || bn) return order(bn, an);
  if (a.is(Tag::decimal) || b.is(Tag::decimal)) return compare(a.to_decimal(), b.to_decimal());
  if (a.is_integer()) return compare_int_double(a.as_int(), b.as_double());
  if (b.is_integer()) return -compare_int_double(b.as_int(), a.as_double());
  return order(a.as_double(), b.as_double());
}

namespace {

int compare_objects(const Object& a, const Object& b) {
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    int c = order(rank(a[i].value.tag()), rank(b[i].value.tag()));
    if (c == 0) c = compare_text(a[i].name, b[i].name);
    if (c == 0) c = compare(a[i].value, b[i].value);
    if (c != 0) return c;
  }
  return order(a.size(), b.size());
}

int compare_arrays(const Array& a, const Array& b) {
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    if (const int c = compare(a[i], b[i]); c != 0) return c;
  return order(a.size(), b.size());
}

}  // namespace

int compare(const Value& a, const Value& b) {
  if (const int c = order(rank(a.tag()), rank(b.tag())); c != 0) return c;
  switch (a.tag()) {
    case Tag::int32:
    case Tag::int64:
    case Tag::floating:
    case Tag::decimal:
      return compare_numbers(a, b);
    case Tag::string:
    case Tag::code:
    case Tag::object_id:
      return compare_text(a.text(), b.text());
    case Tag::binary: {
      int c = order(a.text().size(), b.text().size());
      if (c == 0) c = order(a.subtype(), b.subtype());
      return c != 0 ? c : compare_text(a.text(), b.text());
    }
    case Tag::object:
      return compare_objects(a.fields(), b.fields());
    case Tag::array:
      return compare_arrays(a.items(), b.items());
    case Tag::boolean:
    case Tag::date:
      return order(a.as_int(), b.as_int());
    case Tag::timestamp:
      return order(a.as_timestamp(), b.as_timestamp());
    case Tag::regex: {
      const int c = compare_text(a.as_regex().pattern, b.as_regex().pattern);
      return c != 0 ? c : compare_text(a.as_regex().options, b.as_regex().options);
    }
    default:
      return 0;
  }
}

bool identical(const Value& a, const Value& b) {
  if (a.tag() != b.tag()) return false;
  switch (a.tag()) {
    case Tag::floating:
      if (std::isnan(a.as_double())) return std::isnan(b.as_double());
      return std::signbit(a.as_double()) == std::signbit(b.as_double()) && compare(a, b) == 0;
    case Tag::decimal:
      return a.as_decimal() == b.as_decimal();
    case Tag::array:
      return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                        identical);
    case Tag::object:
      return std::equal(a.fields().begin(), a.fields().end(), b.fields().begin(), b.fields().end(),
                        [](const Field& x, const Field& y) {
                          return x.name == y.name && identical(x.value, y.value);
                        });
    default:
      return compare(a, b) == 0;
  }
}

std::size_t bson_size(const Value& v) {
  switch (v.tag()) {
    case Tag::floating:
    case Tag::int64:
    case Tag::date:
    case Tag::timestamp:
      return 8;
    case Tag::int32:
      return 4;
    case Tag::boolean:
      return 1;
    case Tag::decimal:
      return 16;
    case Tag::object_id:
      return 12;
    case Tag::string:
    case Tag::code:
      return 5 + v.text().size();
    case Tag::binary:
      return 5 + v.text().size() + (v.subtype() == 2 ? 4 : 0);
    case Tag::regex:
      return 2 + v.as_regex().pattern.size() + v.as_regex().options.size();
    case Tag::object: {
      std::size_t n = 5;
      for (const Field& f : v.fields()) n += 2 + f.name.size() + bson_size(f.value);
      return n;
    }
    case Tag::array: {
      std::size_t n = 5, digits = 1, next = 10;
      for (std::size_t i = 0; i < v.items().size(); ++i) {
        if (i == next) ++digits, next *= 10;
        n += 2 + digits + bson_size(v.items()[i]);
      }
      return n;
    }
    default:
      return 0;
  }
}

int nesting(const Value& v) {
  int deepest = 0;
  if (v.is(Tag::object))
    for (const Field& f : v.fields()) deepest = std::max(deepest, nesting(f.value));
  else if (v.is(Tag::array))
    for (const Value& e : v.items()) deepest = std::max(deepest, nesting(e));
  else
    return 0;
  return deepest + 1;
}

std::size_t footprint(const Value& v) {
  constexpr std::size_t kBlock = 16;  // the allocator's own
  switch (v.tag()) {
    case Tag::string:
    case Tag::code:
    case Tag::binary:
    case Tag::object_id:
      return sizeof(Value) + kBlock + sizeof(std::string) + v.text().capacity();
    case Tag::regex:
      return sizeof(Value) + kBlock + sizeof(Regex) + v.as_regex().pattern.capacity();
    case Tag::decimal:
      return sizeof(Value) + kBlock + sizeof(Decimal);
    case Tag::array: {
      std::size_t n = sizeof(Value) + kBlock + sizeof(Array);
      for (const Value& e : v.items()) n += footprint(e);
      return n;
    }
    case Tag::object: {
      std::size_t n = sizeof(Value) + kBlock + sizeof(Object);
      for (const Field& f : v.fields())
        n += sizeof(std::string) + f.name.capacity() + footprint(f.value);
      return n;
    }
    default:
      return sizeof(Value);
  }
}

std::string_view type_name(Tag tag) {
  switch (tag) {
    case Tag::floating:
      return "double";
    case Tag::string:
      return "string";
    case Tag::object:
      return "object";
    case Tag::array:
      return "array";
    case Tag::binary:
      return "binData";
    case Tag::undefined:
      return "undefined";
    case Tag::object_id:
      return "objectId";
    case Tag::boolean:
      return "bool";
    case Tag::date:
      return "date";
    case Tag::null:
      return "null";
    case Tag::regex:
      return "regex";
    case Tag::code:
      return "javascript";
    case Tag::int32:
      return "int";
    case Tag::timestamp:
      return "timestamp";
    case Tag::int64:
      return "long";
    case Tag::decimal:
      return "decimal";
    case Tag::max_key:
      return "maxKey";
    case Tag::min_key:
      return "minKey";
  }
  return "unknown";
}

Value new_object_id() {
  struct Process {
    char random[5];
    std::atomic<std::uint32_t> counter;
    Process() {
      std::uint32_t start = 0;
      // Cannot fail for so few bytes once the kernel's pool is ready, and blocks until it is.
      while (getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) {
      }
      while (getrandom(&start, sizeof start, 0) != static_cast<ssize_t>(sizeof start)) {
      }
      counter = start;
    }
  };
  static Process process;
  const auto seconds = static_cast<std::uint32_t>(std::time(nullptr));
  const std::uint32_t n = process.counter.fetch_add(1, std::memory_order_relaxed);
  std::string id(12, '\0');
  for (int i = 0; i < 4; ++i)
    id[static_cast<std::size_t>(i)] = static_cast<char>(seconds >> (24 - 8 * i));
  std::memcpy(id.data() + 4, process.random, 5);
  for (int i = 0; i < 3; ++i)
    id[static_cast<std::size_t>(9 + i)] = static_cast<char>(n >> (16 - 8 * i));
  return Value::object_id(std::move(id));
}

}  // namespace headgate::sqlite::doc
