// [[credentials]]: which account a service, an access, or both log in to a store with.
#include <algorithm>

#include "daemon/config/reader.hpp"
#include "daemon/config/units.hpp"

namespace headgate::config {
namespace {

// How particular it is; -1: it is none of this service and access.
int rank(const Credential& c, std::string_view store, std::string_view service, Access access) {
  if (c.store != store || (!c.service.empty() && c.service != service)) return -1;
  if (c.access && *c.access != access) return -1;
  return (c.service.empty() ? 0 : 2) + (c.access ? 1 : 0);
}

}  // namespace

std::string name_of(const Credential& c) {
  std::string out = c.store;
  if (!c.service.empty()) out += "/" + c.service;
  if (c.access) out += *c.access == Access::read ? ":read" : ":write";
  return out;
}

void Reader::read_credentials(const Node& array) {
  const bool tables = array.is(Node::Kind::array) &&
                      std::all_of(array.items.begin(), array.items.end(),
                                  [](const Node& n) { return n.is(Node::Kind::table); });
  if (!tables) {
    return faults_.add(array.place, "credentials: expected [[credentials]] tables");
  }
  if (array.items.size() > kNamesMax) {
    return faults_.add(array.place, "more than " + std::to_string(kNamesMax) + " credentials");
  }
  for (const Node& item : array.items) read_credential(item);
}

void Reader::read_credential(const Node& table) {
  static const std::vector<std::string_view> kKnown = {"store", "service", "access", "account",
                                                       "password"};
  for (const auto& [key, value] : table.entries) {
    if (std::find(kKnown.begin(), kKnown.end(), key) == kKnown.end()) {
      unknown(key, value, "credentials", kKnown);
    }
  }
  Credential c;
  c.place = table.place;
  c.store = string_at(table, "store", "credentials").value_or("");
  c.account = string_at(table, "account", "credentials").value_or("");
  if (const Store* store = config_.store(c.store)) {
    const auto schema = schemas_.find(store->plugin);
    if (schema != schemas_.end() && schema->second && !schema->second->endpoints) {
      faults_.add(table.find("store")->place, "credentials.store: plugin " + quote(store->plugin) +
                                                  " of " + quote(c.store) + " has no logins");
    }
  } else if (table.find("store") != nullptr && stores_told_) {
    faults_.add(table.find("store")->place,
                "credentials.store: there is no store " + quote(c.store));
  }
  if (table.find("service") != nullptr) {
    c.service = string_at(table, "service", "credentials").value_or("");
    if (config_.service(c.service) == nullptr) {
      faults_.add(table.find("service")->place,
                  "credentials.service: there is no service " + quote(c.service));
    }
  }
  if (const Node* access = table.find("access")) {
    if (access->is(Node::Kind::string) && access->text == "read") {
      c.access = Access::read;
    } else if (access->is(Node::Kind::string) && access->text == "write") {
      c.access = Access::write;
    } else {
      faults_.add(access->place, "credentials.access: expected \"read\" or \"write\"");
    }
  }
  if (c.service.empty() && !c.access) {
    faults_.add(table.place,
                "credentials: expected a service, an access, or both; for every service it is "
                "account and password of [stores." +
                    c.store + "]");
  }
  if (const Node* password = table.find("password")) {
    read_source(*password, "credentials.password", c.password, options_.read_passwords);
  }
  for (const Credential& other : config_.credentials) {
    if (name_of(other) != name_of(c)) continue;
    faults_.add(table.place, "credentials: " + quote(name_of(c)) + " is already defined at " +
                                 other.place.file_line());
    return;
  }
  config_.credentials.push_back(std::move(c));
}

// A grant on a store where others have accounts, and this service none.
void Reader::check_accounts() {
  std::vector<std::string> told;
  for (const Grant& g : config_.grants) {
    const Store* store = config_.store(g.store);
    if (store == nullptr || !store->account.empty()) continue;
    const std::vector<Account> all = accounts(config_, *store);
    if (all.size() < 2) continue;  // nobody has one: the plugin knows whether that can be
    const auto missing = [&](Access access) {
      return account_of(config_, *store, g.service, access) == 0;
    };
    // Whoever may write may also ask for a read-only connection; of verbs, one kind must do.
    const bool reads = missing(Access::read);
    const bool writes = missing(Access::write);
    const bool lacks = !g.access                  ? reads && writes
                       : g.access == Access::read ? reads
                                                  : reads || writes;
    const std::string both = g.service + "/" + g.store;
    if (!lacks || std::find(told.begin(), told.end(), both) != told.end()) continue;
    told.push_back(both);
    faults_.add(g.place, "grants: service " + quote(g.service) + " has no account" +
                             (reads && !writes   ? " to read with"
                              : writes && !reads ? " to write with"
                                                 : "") +
                             " on " + quote(g.store) + ": neither [stores." + g.store +
                             "] nor a [[credentials]] table names one");
  }
}

std::vector<Account> accounts(const Config& config, const Store& store) {
  std::vector<Account> out;
  if (store.endpoints.empty()) return out;
  const auto own = config.set_at.find("stores." + store.name + ".account");
  out.push_back({store.name, store.account, store.password,
                 own == config.set_at.end() ? store.place : own->second});
  for (const Credential& c : config.credentials) {
    if (c.store == store.name) out.push_back({name_of(c), c.account, c.password, c.place});
  }
  return out;
}

std::size_t account_of(const Config& config, const Store& store, std::string_view service,
                       Access access) {
  std::size_t best = 0;
  int best_rank = -1;
  std::size_t at = 0;
  for (const Credential& c : config.credentials) {
    if (c.store != store.name) continue;
    ++at;
    const int r = rank(c, store.name, service, access);
    if (r > best_rank) best = at, best_rank = r;
  }
  return best;
}

}  // namespace headgate::config
