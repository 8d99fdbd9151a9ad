// Glob is a compiled key pattern with Redis's rules, over bytes.
//
//   *      any run of bytes, empty too      [abc] [a-z]  one byte of the class
//   ?      one byte                         [^abc]       one byte outside it
//   \x     the byte x itself, also inside a class
//
// As in Redis a lone backslash at the end is itself, a class that is never closed ends with the
// pattern, and a reversed range is turned round. Unlike Redis's recursion, matching costs at most
// (pattern x text) steps whatever the pattern is, so no caller can hold a connection with stars.
//
// Owner:   one scan. Threads: one at a time.
#pragma once
#include <bitset>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/cursor.hpp"

namespace headgate::sqlite {

class Glob {
 public:
  explicit Glob(proto::Bytes pattern);

  [[nodiscard]] bool matches(proto::Bytes text) const;

  // What every match begins with; the range of keys that has to be looked at.
  [[nodiscard]] const std::string& literal() const { return literal_; }
  // No wildcard: literal() is the one text that matches.
  [[nodiscard]] bool exact() const { return exact_; }
  // literal() followed by `*` alone: everything in the range matches.
  [[nodiscard]] bool whole_range() const { return whole_range_; }

  // Steps taken by matches() so far: what a page's budget counts.
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

  // What every match of `pattern` begins with, without compiling it: for route.
  static std::string literal_of(proto::Bytes pattern);

 private:
  enum class Kind : std::uint8_t { byte, any, star, in_class };
  struct Token {
    Kind kind;
    std::uint8_t byte = 0;
    std::uint32_t of = 0;  // index into classes_
  };
  using Class = std::bitset<256>;

  std::size_t read_class(proto::Bytes p, std::size_t i);
  [[nodiscard]] bool one(const Token& t, std::uint8_t b) const;

  std::vector<Token> tokens_;
  std::vector<Class> classes_;
  std::string literal_;
  bool exact_ = false;
  bool whole_range_ = false;
  mutable std::uint64_t steps_ = 0;
};

// The first key after every key that begins with `prefix`; empty when there is none (all 0xff).
std::string after_prefix(std::string_view prefix);

}  // namespace headgate::sqlite
