// Operator is what the built-in store may see and do: snapshots by value, and the few things that
// an operator changes. Gateway implements it; a recorder does in tests.
//
// Threads: the loop's.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "daemon/access/policy.hpp"
#include "daemon/core/result.hpp"
#include "daemon/core/time.hpp"

namespace headgate::admin {

using Cell = std::variant<std::monostate, std::int64_t, bool, std::string>;

// One `show`: columns, and rows that have as many cells.
struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

struct Reloaded {
  std::vector<std::string> changed;
  std::vector<std::string> needs_restart;
};

class Operator {
 public:
  virtual ~Operator() = default;
  // Empty: nothing is called so.
  [[nodiscard]] virtual std::optional<Table> show(std::string_view what) const = 0;
  // The fault lists what is wrong with the files; nothing has changed then.
  virtual Result<Reloaded> reload() = 0;
  // Begins after the answer has left. Empty: the configured time.
  virtual void drain(std::optional<Micros> within) = 0;
  virtual bool kill(std::uint64_t call) = 0;
  [[nodiscard]] virtual access::Policy::Verdict can(std::string_view service,
                                                    std::string_view store,
                                                    std::string_view verb) const = 0;
};

}  // namespace headgate::admin
