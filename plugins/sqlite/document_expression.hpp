// Expression is a compiled aggregation expression: a value computed from a document.
//
// Owner:   a pipeline's stage or a filter's $expr. Threads: one at a time.
// Missing: a path that leads nowhere, or $$REMOVE, is "missing": a null pointer's worth, dropped by
//          $project and $addFields, null in arithmetic.
// Refuses: by name, as `unsupported`, every operator that is not in its table.
// Source:  https://www.mongodb.com/docs/manual/reference/operator/aggregation/
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

class Expression {
 public:
  // Throws Error for what is no expression.
  explicit Expression(const Value& v);
  ~Expression();
  Expression(Expression&&) noexcept;
  Expression& operator=(Expression&&) noexcept;

  // Throws Error (invalid) for operands of the wrong type, as MongoDB does.
  [[nodiscard]] std::optional<Value> evaluate(const Value& document) const;
  // As a condition: false, null, missing and 0 are false.
  [[nodiscard]] bool truth(const Value& document) const;

  struct Node;  // of document_expression.cpp

 private:
  std::unique_ptr<const Node> root_;
};

bool truth_of(const std::optional<Value>& v);

}  // namespace headgate::sqlite::doc
