// Grant is everything that one service may do on one store: the rules that configuration gives it,
// compiled against the store's verbs. No rule: nothing is allowed.
//
// Owner:   Policy (a snapshot). Threads: the loop's; allows() also from where a plugin routes,
// which
//          is the loop. Usage counts calls, and outlives snapshots.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/access/verbs.hpp"
#include "daemon/core/call.hpp"
#include "daemon/core/time.hpp"

namespace headgate::access {

// Bounds on the calls made under one rule; 0: none.
struct Limits {
  std::uint32_t calls_max = 0;  // at the same time
  std::uint32_t calls_per_second = 0;
  Micros timeout_max{0};
};

// One [[grants]] entry.
struct Rule {
  std::optional<Access> access;    // either this
  std::vector<std::string> verbs;  // or these
  std::vector<std::string> collections;
  std::vector<std::string> key_prefixes;
  std::vector<std::string> statements;
  Limits limits;
  std::string place;  // "file:line", or "built in"
};

// How much of a rule is used: concurrent calls, and a bucket of calls a second.
struct Usage {
  std::uint32_t calls = 0;
  double bucket = 0;
  TimePoint filled{};
};

class Grant final : public Permission {
 public:
  Grant() = default;
  // usage: one a rule. The table is lent and outlives the grant.
  Grant(const VerbTable& table, std::vector<Rule> rules, std::vector<std::shared_ptr<Usage>> usage);

  // The rule that lets this verb of the store be called at all, or -1.
  [[nodiscard]] int rule_for(std::uint32_t verb) const {
    return verb < first_rule_.size() ? first_rule_[verb] : -1;
  }
  [[nodiscard]] const Rule& rule(int i) const { return rules_[static_cast<std::size_t>(i)]; }
  [[nodiscard]] Usage& usage(int i) const { return *usage_[static_cast<std::size_t>(i)]; }
  // The service may change something here; else its calls go to the read pool.
  [[nodiscard]] bool writes() const { return writes_; }
  [[nodiscard]] bool empty() const { return rules_.empty(); }

  [[nodiscard]] bool allows(std::string_view verb, std::uint32_t kind,
                            proto::Bytes name) const override;

 private:
  [[nodiscard]] bool covers(const Rule& r, std::uint32_t verb) const;

  const VerbTable* table_ = nullptr;
  std::vector<Rule> rules_;
  std::vector<std::shared_ptr<Usage>> usage_;
  std::vector<std::int16_t> first_rule_;  // by verb
  bool writes_ = false;
};

}  // namespace headgate::access
