// [[grants]]: names that exist, verbs that the store's kind has, scopes that fit the kind.
#include <algorithm>

#include "daemon/config/reader.hpp"
#include "daemon/config/units.hpp"

namespace headgate::config {
namespace {

constexpr std::string_view kBuiltIn = "headgate";
// Of the built-in store, proto/verbs.json "admin".
const std::vector<std::string> kAdminVerbs = {"ping", "show", "reload",  "drain",
                                              "kill", "can",  "describe"};

std::string or_nearest(const std::string& word, const std::vector<std::string>& known) {
  const std::string meant = nearest(word, known);
  return meant.empty() ? "" : "; did you mean " + quote(meant) + "?";
}

}  // namespace

void Reader::read_grants(const Node& array) {
  const bool tables = array.is(Node::Kind::array) &&
                      std::all_of(array.items.begin(), array.items.end(),
                                  [](const Node& n) { return n.is(Node::Kind::table); });
  if (!tables) return faults_.add(array.place, "grants: expected [[grants]] tables");
  if (array.items.size() > 10 * kNamesMax) {
    return faults_.add(array.place, "more than " + std::to_string(10 * kNamesMax) + " grants");
  }
  for (const Node& item : array.items) read_grant(item);
}

void Reader::read_grant(const Node& table) {
  static const std::vector<std::string_view> kKnown = {
      "service", "store", "access", "verbs", "collections", "key_prefixes", "statements", "limits"};
  for (const auto& [key, value] : table.entries) {
    if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) {
      unknown(key, value, "grants", kKnown);
    }
  }
  Grant grant;
  grant.place = table.place;
  if (const auto service = string_at(table, "service", "grants")) {
    grant.service = *service;
    if (config_.service(*service) == nullptr) {
      std::vector<std::string> names;
      for (const Service& s : config_.services) names.push_back(s.name);
      faults_.add(table.find("service")->place, "grants.service: there is no service " +
                                                    quote(*service) + or_nearest(*service, names));
    }
  }
  if (const auto store = string_at(table, "store", "grants")) {
    grant.store = *store;
    // A store that was refused above has had its fault; a second one here would only confuse.
    if (*store != kBuiltIn && config_.store(*store) == nullptr && stores_told_) {
      std::vector<std::string> names = {std::string(kBuiltIn)};
      for (const Store& s : config_.stores) names.push_back(s.name);
      faults_.add(table.find("store")->place,
                  "grants.store: there is no store " + quote(*store) + or_nearest(*store, names));
    }
  }
  const Node* access = table.find("access");
  const Node* verbs = table.find("verbs");
  if ((access == nullptr) == (verbs == nullptr)) {
    faults_.add(table.place, "grants: expected either access or verbs");
  }
  if (access != nullptr) {
    const std::string& word = access->text;
    if (access->is(Node::Kind::string) && word == "read")
      grant.access = Access::read;
    else if (access->is(Node::Kind::string) && word == "write")
      grant.access = Access::write;
    else if (access->is(Node::Kind::string) && word == "admin")
      grant.access = Access::admin;
    else
      faults_.add(access->place, "grants.access: expected \"read\", \"write\" or \"admin\"");
  }
  if (verbs != nullptr) {
    grant.verbs = strings_at(table, "verbs", "grants");
    check_verbs(grant, *verbs);
  }
  grant.collections = strings_at(table, "collections", "grants");
  grant.key_prefixes = strings_at(table, "key_prefixes", "grants");
  grant.statements = strings_at(table, "statements", "grants");
  check_scope(grant, table);
  if (const Node* limits = table.find("limits")) {
    if (expect(*limits, Node::Kind::table, "grants.limits")) {
      read_settings(*limits, "grants.limits", limit_settings(), grant.limits, {});
    }
  }
  config_.grants.push_back(std::move(grant));
}

void Reader::check_verbs(const Grant& grant, const Node& list) {
  const std::vector<std::string>* known = nullptr;
  if (grant.store == kBuiltIn) {
    known = &kAdminVerbs;
  } else if (const Store* store = config_.store(grant.store)) {
    const auto schema = schemas_.find(store->plugin);
    if (schema == schemas_.end() || !schema->second) return;
    const auto of_kind = schema->second->verbs.find(store->kind);
    if (of_kind != schema->second->verbs.end()) known = &of_kind->second;
  }
  if (known == nullptr) return;
  for (const Node& item : list.items) {
    if (!item.is(Node::Kind::string) || item.text.empty()) continue;
    if (std::find(known->begin(), known->end(), item.text) != known->end()) continue;
    faults_.add(item.place, "grants.verbs: store " + quote(grant.store) + " has no verb " +
                                quote(item.text) + or_nearest(item.text, *known));
  }
}

void Reader::check_scope(const Grant& grant, const Node& table) {
  const Store* store = config_.store(grant.store);
  const auto only_for = [&](std::string_view key, std::string_view kind) {
    const Node* n = table.find(key);
    if (n == nullptr || (store != nullptr && store->kind == kind)) return;
    if (store == nullptr && grant.store != kBuiltIn) return;  // told already
    faults_.add(n->place, "grants." + std::string(key) + ": only stores of kind " + quote(kind) +
                              " have them; " + quote(grant.store) + " is none");
  };
  only_for("collections", "document");
  only_for("key_prefixes", "key_value");
  only_for("statements", "sql");
  const Node* statements = table.find("statements");
  if (statements == nullptr || !statements->is(Node::Kind::array)) return;
  std::vector<std::string> names;
  for (const Statement& s : config_.statements) names.push_back(s.name);
  for (const Node& item : statements->items) {
    if (!item.is(Node::Kind::string) || item.text.empty()) continue;
    if (std::binary_search(names.begin(), names.end(), item.text)) continue;
    faults_.add(item.place, "grants.statements: there is no named statement " + quote(item.text) +
                                " in " + config_.daemon.statements_dir +
                                or_nearest(item.text, names));
  }
}

}  // namespace headgate::config
