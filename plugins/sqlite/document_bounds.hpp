// document_bounds: which keys of an index a condition can be true for.
//
// Promise: a document that satisfies the condition has at least one key within the bounds. They may
//          be wider than the condition: whoever uses them asks the filter again.
// Threads: pure functions.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "plugins/sqlite/document_filter.hpp"

namespace headgate::sqlite::doc {

// Keys from low up to, but without, high.
struct Range {
  std::string low, high;
};

struct Edge {
  std::string key;
  bool inclusive = true;
  bool prefix = false;  // stands for all keys that begin so (of a type, of a regular expression)
};

// A stretch of one field's keys.
struct Interval {
  Edge low, high;
  [[nodiscard]] bool is_point() const {
    return !low.prefix && !high.prefix && low.inclusive && high.inclusive && low.key == high.key;
  }
  // As bytes that follow `prefix`, in a field of this direction.
  [[nodiscard]] Range range(const std::string& prefix, bool descending) const;
};
using Intervals = std::vector<Interval>;  // ascending, apart

// Nothing: the condition says nothing about the keys of its path. Empty: it is never true.
std::optional<Intervals> bounds_of(const Node& leaf);

Intervals intersect(const Intervals& a, const Intervals& b);

}  // namespace headgate::sqlite::doc
