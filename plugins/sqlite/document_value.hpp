// Value is one BSON value: what a document is made of, with the types and the order of MongoDB.
//
// Owner:   whoever holds it; a Value owns everything in it. 16 bytes, so that an array of a million
//          numbers costs 16 MB. Threads: as any value.
// Order:   compare() is MongoDB's comparison of values of all types; encode_key (document_key.hpp)
//          gives bytes with the same order.
// Source:  https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/sqlite/document_decimal.hpp"

namespace headgate::sqlite::doc {

inline constexpr std::size_t kDocumentMax = 16u << 20;  // bytes of a document, as BSON
inline constexpr int kNestingMax = 100;                 // of a stored document

// The numbers are BSON's type bytes.
enum class Tag : std::uint8_t {
  floating = 0x01,
  string = 0x02,
  object = 0x03,
  array = 0x04,
  binary = 0x05,
  undefined = 0x06,
  object_id = 0x07,
  boolean = 0x08,
  date = 0x09,
  null = 0x0a,
  regex = 0x0b,
  code = 0x0d,
  int32 = 0x10,
  timestamp = 0x11,
  int64 = 0x12,
  decimal = 0x13,
  max_key = 0x7f,
  min_key = 0xff
};

struct Field;
class Value;
using Array = std::vector<Value>;
using Object = std::vector<Field>;

struct Regex {
  std::string pattern;
  std::string options;  // sorted
};

class Value {
 public:
  Value() = default;  // null
  Value(const Value& other) : tag_(other.tag_), subtype_(other.subtype_) { copy(other); }
  Value(Value&& other) noexcept : tag_(other.tag_), subtype_(other.subtype_), as_(other.as_) {
    other.tag_ = Tag::null;
  }
  Value& operator=(const Value& other) {
    if (this != &other) *this = Value(other);
    return *this;
  }
  Value& operator=(Value&& other) noexcept {
    std::swap(tag_, other.tag_);
    std::swap(subtype_, other.subtype_);
    std::swap(as_, other.as_);
    return *this;
  }
  ~Value() {
    if (is_heap()) drop();
  }

  static Value boolean(bool b);
  static Value int32(std::int32_t i);
  static Value int64(std::int64_t i);
  static Value integer(std::int64_t i);  // int32 when it fits, else int64
  static Value floating(double d);
  static Value date(std::int64_t ms);       // since 1970-01-01 UTC
  static Value timestamp(std::uint64_t t);  // seconds << 32 | increment
  static Value decimal(const Decimal& d);
  static Value string(std::string s);
  static Value code(std::string s);
  static Value binary(std::string bytes, std::uint8_t subtype = 0);
  static Value object_id(std::string twelve_bytes);
  static Value regex(Regex r);
  static Value array(Array a = {});
  static Value object();
  static Value object(Object o);
  static Value plain(Tag tag);  // null, undefined, min_key, max_key

  [[nodiscard]] Tag tag() const { return tag_; }
  [[nodiscard]] bool is(Tag t) const { return tag_ == t; }
  [[nodiscard]] bool is_number() const {
    return tag_ == Tag::int32 || tag_ == Tag::int64 || tag_ == Tag::floating ||
           tag_ == Tag::decimal;
  }
  [[nodiscard]] bool is_integer() const { return tag_ == Tag::int32 || tag_ == Tag::int64; }
  [[nodiscard]] bool is_nullish() const { return tag_ == Tag::null || tag_ == Tag::undefined; }

  // REQUIRES: the tag fits.
  [[nodiscard]] bool as_bool() const { return as_.integer != 0; }
  [[nodiscard]] std::int64_t as_int() const { return as_.integer; }  // int32, int64, date
  [[nodiscard]] std::uint64_t as_timestamp() const {
    return static_cast<std::uint64_t>(as_.integer);
  }
  [[nodiscard]] double as_double() const { return as_.real; }
  [[nodiscard]] const Decimal& as_decimal() const { return *as_.decimal; }
  [[nodiscard]] const std::string& text() const { return *as_.text; }  // string, code, binary, id
  [[nodiscard]] std::uint8_t subtype() const { return subtype_; }
  [[nodiscard]] const Regex& as_regex() const { return *as_.regex; }
  [[nodiscard]] const Array& items() const& { return *as_.array; }
  [[nodiscard]] Array& items() & { return *as_.array; }
  [[nodiscard]] Array items() && { return std::move(*as_.array); }  // for (... : f().items())
  [[nodiscard]] const Object& fields() const { return *as_.object; }
  [[nodiscard]] Object& fields() { return *as_.object; }

  // Of a number: its value as another type.
  [[nodiscard]] double to_double() const;
  [[nodiscard]] Decimal to_decimal() const;

  // The field of an object, or null pointer (also when this is no object).
  [[nodiscard]] const Value* find(std::string_view name) const;
  [[nodiscard]] Value* find(std::string_view name);
  // Sets a field of an object, at the end when it is new.
  void set(std::string_view name, Value v);
  bool erase(std::string_view name);

 private:
  [[nodiscard]] bool is_heap() const;
  void copy(const Value& other);
  void drop();

  Tag tag_ = Tag::null;
  std::uint8_t subtype_ = 0;
  union {
    std::int64_t integer;
    double real;
    Decimal* decimal;
    std::string* text;
    Regex* regex;
    Array* array;
    Object* object;
  } as_{0};
};

struct Field {
  std::string name;
  Value value;
};

// MongoDB's order of all values: < 0, 0, > 0. Numbers compare by value across their types; NaN is
// below every number and equal to itself; -0 equals 0. A null pointer is a missing value, which
// sorts as null.
int compare(const Value& a, const Value& b);
inline bool equal(const Value& a, const Value& b) { return compare(a, b) == 0; }
int compare_numbers(const Value& a, const Value& b);
// Where a type stands in that order; types with one rank compare by value.
int rank(Tag tag);

// The same type and the same bytes everywhere, field order included: whether an update changed
// anything.
bool identical(const Value& a, const Value& b);

// Bytes that the value takes in BSON, and how deep it nests (a scalar: 0).
std::size_t bson_size(const Value& v);
int nesting(const Value& v);
// About what it costs in memory.
std::size_t footprint(const Value& v);

// MongoDB's alias of a type, as in $type: "double", "string", "object", ...
std::string_view type_name(Tag tag);

// A fresh ObjectId: seconds, five random bytes of this process, a counter.
Value new_object_id();

}  // namespace headgate::sqlite::doc
