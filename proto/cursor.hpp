// Cursor reads msgpack from bytes that nobody has vouched for.
//
// It never allocates, never recurses, never reads past the end, and believes no length before it
// has compared it with the bytes that are there. A read that fails leaves the cursor failed: every
// later read fails too, so a caller may read a whole structure and ask `ok()` once.
//
// Owner:   whoever holds the bytes; the views that it returns live as long as they do.
// Threads: one at a time.
// Format:  https://github.com/msgpack/msgpack/blob/master/spec.md
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "proto/limits.hpp"

namespace headgate::proto {

using Bytes = std::span<const std::uint8_t>;

inline Bytes bytes_of(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
inline std::string_view text_of(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

enum class Type : std::uint8_t {
  nil,
  boolean,
  uint,
  sint,
  float32,
  float64,
  str,
  bin,
  array,
  map,
  ext,
  invalid
};

// One header: what follows at the cursor. For str, bin and ext `bytes` is the payload; for array
// and map `count` is the number of elements or pairs that follow.
struct Item {
  Type type = Type::invalid;
  bool boolean = false;
  std::uint64_t uint = 0;  // type uint: a value >= 0
  std::int64_t sint = 0;   // type sint: a value < 0
  double real = 0;         // float32 and float64
  Bytes bytes{};
  std::uint32_t count = 0;
  std::int8_t ext = 0;
};

class Cursor {
 public:
  Cursor() = default;
  explicit Cursor(Bytes b) : pos_(b.data()), end_(b.data() + b.size()) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return pos_ == end_; }
  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - pos_); }
  [[nodiscard]] const std::uint8_t* position() const { return pos_; }

  // The type of the next value; `invalid` at the end, after a failure, or for the byte 0xc1.
  [[nodiscard]] Type peek() const;

  // Reads one header (and the payload of str, bin and ext). Containers: their elements follow.
  Item next();

  // Typed reads; each fails when the next value has another type. Integers accept every width and
  // either signedness that holds the value exactly.
  std::uint64_t read_uint();
  std::int64_t read_int();
  bool read_bool();
  double read_float();  // a float, or an integer that a double holds exactly
  std::string_view read_str();
  Bytes read_bin();
  std::uint32_t read_array();  // number of elements; never more than bytes left
  std::uint32_t read_map();    // number of pairs; never more than half the bytes left
  bool read_nil();             // true and consumed when the next value is nil; else nothing happens

  // Skips one whole value and returns its bytes, header included.
  Bytes skip();

  void fail() { ok_ = false; }

 private:
  bool take(std::size_t n, const std::uint8_t** p);
  const std::uint8_t* pos_ = nullptr;
  const std::uint8_t* end_ = nullptr;
  bool ok_ = true;
};

enum class Shape : std::uint8_t {
  good,
  truncated,
  trailing,
  too_deep,
  too_many,
  bad_byte,
  bad_utf8
};
std::string_view name(Shape s);

// Checks that `b` is exactly one msgpack value within the limits, every str in it UTF-8. One pass,
// no recursion, no allocation.
[[nodiscard]] Shape check(Bytes b, std::uint32_t depth_max = kDepthMax,
                          std::uint32_t elements_max = kElementsMax);

[[nodiscard]] bool valid_utf8(std::string_view s);

}  // namespace headgate::proto
