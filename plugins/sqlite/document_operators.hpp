// The table of expression operators whose operands are all evaluated first.
//
// Owner: nobody; constant. Threads: any.
#pragma once
#include <optional>
#include <span>
#include <string_view>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

using Operand = std::optional<Value>;  // nothing: missing
using Operands = std::span<const Operand>;

struct Operator {
  std::string_view name;
  std::size_t least, most;  // operands
  Operand (*compute)(Operands);
  const char* more = nullptr;   // what MongoDB takes beyond `most`: refused by this name
  const char* named = nullptr;  // the name that MongoDB's other form, a document, has for it
};

// Null pointer: no such operator.
const Operator* find_operator(std::string_view name);

inline bool nullish(const Operand& v) { return !v || v->is_nullish(); }

}  // namespace headgate::sqlite::doc
