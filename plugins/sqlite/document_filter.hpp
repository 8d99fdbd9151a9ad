// Filter is a compiled MongoDB query: does a document match?
//
// Owner:   the call that compiled it. Threads: one at a time (regular expressions have scratch).
// Rules:   types are bracketed (only $eq null, $lte/$gte null and MinKey/MaxKey see other types),
//          arrays are entered (document_path.hpp), a missing field equals null.
// Refuses: by name, as `unsupported`, every operator that is not compiled here.
// Source:  https://www.mongodb.com/docs/manual/reference/operator/query/
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "plugins/sqlite/document_path.hpp"
#include "plugins/sqlite/document_regex.hpp"
#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

class Expression;

enum class Test : std::uint8_t {
  eq,
  lt,
  lte,
  gt,
  gte,
  in,
  regex,
  exists,
  type,
  mod,
  size,
  elem_match_object,
  elem_match_value
};

struct Node {
  enum class Kind : std::uint8_t { all, any, none, negate, leaf, expression, never };
  Kind kind = Kind::all;
  std::vector<Node> children;  // of all, any, none, negate; what $elemMatch asks of an element

  // A leaf.
  Path path;
  Test test = Test::eq;
  Value operand;                  // eq .. gte
  std::vector<Value> list;        // in: sorted, without regular expressions
  std::vector<Pattern> patterns;  // regex: one; in: those of its list
  std::vector<Tag> types;         // type
  std::int64_t divisor = 0, remainder = 0;
  std::int64_t size = 0;

  std::shared_ptr<const Expression> expression;
};

class Filter {
 public:
  Filter() = default;  // matches everything
  // Throws Error. REQUIRES: nothing; `query` may be any value.
  explicit Filter(const Value& query);

  // position: where an array made it match (the positional operator `$`), untouched otherwise.
  [[nodiscard]] bool matches(const Value& document,
                             std::optional<std::size_t>* position = nullptr) const;
  [[nodiscard]] const Node& root() const { return root_; }

 private:
  Node root_;
};

// What $pull asks of an element: a condition on the element itself ({$gt: 3}), on its fields when
// it is a document, or equality.
class ElementFilter {
 public:
  explicit ElementFilter(const Value& condition);
  [[nodiscard]] bool matches(const Value& element) const;

 private:
  enum class Kind : std::uint8_t { value, fields, equal };
  Kind kind_;
  Node root_;
  Value equal_;
};

// An object whose first field is an operator: {$gt: 1}.
bool is_operators(const Value& v);

namespace detail {
Node compile_query(const Value& query);
Node compile_operators(const Path& path, const Value& operators);
bool matches(const Node& node, const Value& document, std::optional<std::size_t>* position);
// A node of compile_operators, asked about one value; null pointer: missing.
bool matches_value(const Node& node, const Value* v);
}  // namespace detail

}  // namespace headgate::sqlite::doc
