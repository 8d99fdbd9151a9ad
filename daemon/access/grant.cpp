#include "daemon/access/grant.hpp"

#include <algorithm>
#include <array>

namespace headgate::access {
namespace {

// HG_TOUCH_* of plugins/sdk/plugin.h.
enum class Touch : std::uint32_t {
  table = 0,
  collection = 1,
  key = 2,
  statement = 3,
  verb = 4,
  key_prefix = 5,
};

// With named statements alone, what else a caller needs to use them.
constexpr std::array<std::string_view, 10> kBesideStatements = {
    "run",    "batch",    "ping",      "describe", "begin",
    "commit", "rollback", "savepoint", "release",  "rollback_to"};

bool holds(const std::vector<std::string>& list, std::string_view s) {
  return std::find(list.begin(), list.end(), s) != list.end();
}

bool begins(const std::vector<std::string>& prefixes, std::string_view s) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& p) { return s.substr(0, p.size()) == p; });
}

bool lets_touch(const Rule& r, Touch kind, std::string_view name) {
  switch (kind) {
    case Touch::collection:
      return r.collections.empty() || holds(r.collections, name);
    case Touch::key:
    case Touch::key_prefix:
      return r.key_prefixes.empty() || begins(r.key_prefixes, name);
    case Touch::statement:
      return r.statements.empty() || holds(r.statements, name);
    case Touch::table:
    case Touch::verb:
      return true;
  }
  return false;  // a kind that this daemon does not know
}

}  // namespace

bool Grant::covers(const Rule& r, std::uint32_t verb) const {
  const Verb& v = (*table_)[verb];
  if (!r.statements.empty()) {
    return std::find(kBesideStatements.begin(), kBesideStatements.end(), v.name) !=
               kBesideStatements.end() &&
           (r.access ? v.access <= *r.access : holds(r.verbs, v.name) || v.name == "run");
  }
  // These show or copy everything, so a grant on a part does not give them.
  const bool part = !r.collections.empty() || !r.key_prefixes.empty();
  if (part && (v.name == "backup" || v.name == "list_collections")) return false;
  return r.access ? v.access <= *r.access : holds(r.verbs, v.name);
}

Grant::Grant(const VerbTable& table, std::vector<Rule> rules,
             std::vector<std::shared_ptr<Usage>> usage)
    : table_(&table),
      rules_(std::move(rules)),
      usage_(std::move(usage)),
      first_rule_(table.size(), -1) {
  for (std::uint32_t v = 0; v < table.size(); ++v) {
    for (std::size_t r = 0; r < rules_.size(); ++r) {
      if (!covers(rules_[r], v)) continue;
      if (table[v].access != Access::read) writes_ = true;
      if (first_rule_[v] < 0) first_rule_[v] = static_cast<std::int16_t>(r);
    }
  }
  for (const Rule& r : rules_) {
    if (r.access && *r.access != Access::read) writes_ = true;
  }
}

bool Grant::allows(std::string_view verb, std::uint32_t kind, proto::Bytes name) const {
  if (table_ == nullptr) return false;
  const std::string_view text = proto::text_of(name);
  const auto k = static_cast<Touch>(kind);
  const std::uint32_t v = table_->find(k == Touch::verb ? text : verb);
  if (rule_for(v) < 0) return false;
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const Rule& r) { return covers(r, v) && lets_touch(r, k, text); });
}

}  // namespace headgate::access
