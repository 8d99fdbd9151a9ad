// document_sort: sort orders, and the keys by which documents are sorted and indexed.
//
// A document's keys under an order are what a MongoDB index on it would hold: one for each element
// of an array on the way (at most one array, or arrays that share their way), null for what is
// missing, "undefined" (below null) for an empty array. It sorts by its first key in that order.
// Threads: pure functions.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "plugins/sqlite/document_path.hpp"
#include "plugins/sqlite/document_update.hpp"
#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

inline constexpr std::size_t kSortKeysMax = 32;

// {a: 1, b: -1} or [["a", 1], ["b", -1]]. Throws Error (invalid, or unsupported for $meta).
std::vector<SortKey> read_sort(const Value& spec);
// 1 or -1: by the element itself (paths of no parts).
std::vector<SortKey> read_element_sort(const Value& direction);

struct Keys {
  std::set<std::string> keys;  // encoded, at least one
  bool multikey = false;       // an array was on the way
};
// Throws Error (invalid) for arrays side by side.
Keys keys_of(const Value& document, const std::vector<SortKey>& order);

// The key by which a document is sorted.
std::string sort_key(const Value& document, const std::vector<SortKey>& order);

// Elements of an array under $push's $sort.
int compare_elements(const Value& a, const Value& b, const std::vector<SortKey>& order);

}  // namespace headgate::sqlite::doc
