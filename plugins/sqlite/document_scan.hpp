// document_scan: runs a plan and hands out the documents that match.
//
// Owner:   a call. Threads: the connection's worker.
// Time:    a scan ends with `deadline` or `cancelled` when its call has no time left, also where it
//          spends that time outside SQLite.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plugins/sqlite/document_plan.hpp"
#include "plugins/sqlite/document_store.hpp"

namespace headgate::sqlite::doc {

inline constexpr std::size_t kIdsMax = 4'000'000;        // candidates that an index may name
inline constexpr std::size_t kSortBytesMax = 64u << 20;  // keys, groups, sorted documents

// Looks at the clock now and then. Throws when the call's time is over.
class Watch {
 public:
  Watch(const hg_host* host, const hg_call* call, Database& db)
      : host_(host), call_(call), db_(db) {}
  void tick() {
    if (++ticks_ % 8 == 0) look();
  }
  void look() const;

 private:
  const hg_host* host_;
  const hg_call* call_;  // null pointer: no limit
  Database& db_;
  std::uint32_t ticks_ = 0;
};

struct Found {
  std::int64_t id = 0;
  Value document;
};

struct Query {
  Filter filter;
  std::vector<SortKey> order;
  std::int64_t skip = 0;
  std::int64_t limit = 0;  // 0: none
  std::string hint;
};

// Gives every document of the answer, in order, to `take` until it says false.
void run_query(Store& store, Database& db, const Collection& c, const Query& query, Watch& watch,
               const std::function<bool(Found&&)>& take);

// The same, where only the filter and the order may use the plan: for pipelines. Skip and limit are
// not looked at; *sorted says whether the documents come in the order.
void run_source(Store& store, Database& db, const Collection& c, const Query& query, Watch& watch,
                bool* sorted, const std::function<bool(Found&&)>& take);

// The documents' places in the table, for those who change what they find.
std::vector<std::int64_t> find_ids(Store& store, Database& db, const Collection& c,
                                   const Query& query, Watch& watch);

}  // namespace headgate::sqlite::doc
