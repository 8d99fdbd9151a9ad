// document_plan: how a query's candidates are found.
//
// Every way gives the same answer: candidates are asked again by the filter, and without an order
// they come as they were inserted.
//   collection  every document
//   scans       the documents whose keys are in the ranges of one or more indexes (several: $or)
//   ordered     the same of one index, in its order, which is the one asked for
// Threads: pure functions.
#pragma once
#include <string_view>
#include <vector>

#include "plugins/sqlite/document_bounds.hpp"
#include "plugins/sqlite/document_store.hpp"

namespace headgate::sqlite::doc {

struct Scan {
  const Index* index = nullptr;      // of the collection that was planned for
  std::vector<Range> ranges;         // ascending, apart
  std::vector<std::string> bounded;  // the fields that the ranges narrow
};

struct Plan {
  enum class Way { collection, scans, ordered };
  Way way = Way::collection;
  std::vector<Scan> scans;
  bool backward = false;  // ordered
  std::string prefix;     // ordered: what every key in the ranges begins with
};

// hint: the name of the index to use, or empty. Throws Error (invalid) for one that is not there.
Plan plan(const Collection& c, const Filter& filter, const std::vector<SortKey>& order,
          std::string_view hint = {});

}  // namespace headgate::sqlite::doc
