// [daemon], [store_defaults], [stores.NAME] and [services.NAME].
#include <pwd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/config/files.hpp"
#include "daemon/config/reader.hpp"
#include "daemon/config/statements.hpp"
#include "daemon/config/units.hpp"

namespace headgate::config {
namespace {

constexpr std::uint32_t kOverflowUid = 65534;  // an unmapped user namespace: could be anybody
constexpr std::string_view kDaemonUser = "@daemon";
constexpr std::string_view kBuiltIn = "headgate";

std::optional<std::uint32_t> uid_of(const std::string& name) {
  std::vector<char> memory(16u << 10);
  passwd entry{};
  passwd* found = nullptr;
  ::getpwnam_r(name.c_str(), &entry, memory.data(), memory.size(), &found);
  if (found == nullptr) return std::nullopt;
  return static_cast<std::uint32_t>(entry.pw_uid);
}

}  // namespace

void Reader::read(const Node& root) {
  static const std::vector<std::string_view> kSections = {"daemon",   "store_defaults", "stores",
                                                          "services", "credentials",    "grants"};
  const auto table = [&](std::string_view key) -> const Node* {
    const Node* n = root.find(key);
    if (n == nullptr || !expect(*n, Node::Kind::table, std::string(key))) return nullptr;
    return n;
  };
  for (const auto& [key, value] : root.entries) {
    if (std::find(kSections.begin(), kSections.end(), key) == kSections.end()) {
      unknown(key, value, "", kSections);
    }
  }
  if (const Node* n = table("daemon")) read_daemon(*n);
  check_daemon();
  read_statements(config_.daemon.statements_dir, config_.statements, faults_.list());
  std::sort(config_.statements.begin(), config_.statements.end(),
            [](const Statement& a, const Statement& b) { return a.name < b.name; });
  if (const Node* n = table("store_defaults")) {
    read_settings(*n, "store_defaults", pool_settings(), config_.store_defaults, {});
    check_pool(config_.store_defaults, "store_defaults", *n);
  }
  if (const Node* n = table("stores")) read_stores(*n);
  if (const Node* n = table("services")) read_services(*n);
  if (const Node* n = root.find("credentials")) read_credentials(*n);
  if (const Node* n = root.find("grants")) read_grants(*n);
  check_accounts();
}

void Reader::read_daemon(const Node& table) {
  // First, because it decides what a secret source may be.
  if (const Node* allow = table.find("allow_env_secrets"); allow != nullptr) {
    config_.daemon.allow_env_secrets = allow->is(Node::Kind::flag) && allow->flag;
  }
  read_settings(table, "daemon", daemon_settings(), config_.daemon, {});
}

void Reader::check_daemon() {
  const Daemon& d = config_.daemon;
  const auto at = [&](std::string_view key) -> Place {
    const auto found = config_.set_at.find("daemon." + std::string(key));
    return found == config_.set_at.end() ? Place{config_.files.front(), 0, 0} : found->second;
  };
  const auto blame = [&](std::string_view a, std::string_view b) {
    const Place p = at(a);
    return p.line != 0 ? p : at(b);
  };
  if (d.listen_ipc.empty() && d.listen_tcp.empty()) {
    faults_.add(blame("listen_ipc", "listen_tcp"),
                "daemon: expected listen_ipc or listen_tcp, else nobody can call");
  }
  if (d.listen_ipc.size() >= sizeof(sockaddr_un{}.sun_path)) {
    faults_.add(at("listen_ipc"), "daemon.listen_ipc: the path of a Unix socket has at most " +
                                      std::to_string(sizeof(sockaddr_un{}.sun_path) - 1) +
                                      " bytes");
  }
  if (!d.listen_tcp.empty() && d.server_key.from == SecretSource::From::none &&
      config_.set_at.count("daemon.server_key") == 0) {
    const auto address = parse_tcp(d.listen_tcp);
    if (!d.allow_plain_tcp_on_loopback) {
      faults_.add(at("listen_tcp"),
                  "daemon.listen_tcp: expected a server_key beside it (make one with `headgate "
                  "keygen`), or allow_plain_tcp_on_loopback = true");
    } else if (address && !address->loopback) {
      faults_.add(at("listen_tcp"),
                  "daemon.listen_tcp: without server_key only a loopback "
                  "address may be listened on");
    }
  }
  if (d.allow_plain_tcp_on_loopback && d.server_key.from != SecretSource::From::none) {
    faults_.add(at("allow_plain_tcp_on_loopback"),
                "daemon.allow_plain_tcp_on_loopback: with a server_key TCP is never plain; "
                "expected one of the two");
  }
  if (d.default_timeout > d.timeout_max) {
    faults_.add(
        blame("default_timeout", "timeout_max"),
        "daemon.default_timeout: expected at most timeout_max, " + format_duration(d.timeout_max));
  }
  if (d.calls_per_peer_max > d.calls_max) {
    faults_.add(
        blame("calls_per_peer_max", "calls_max"),
        "daemon.calls_per_peer_max: expected at most calls_max, " + std::to_string(d.calls_max));
  }
  if (d.part_max > d.reply_max) {
    faults_.add(blame("part_max", "reply_max"),
                "daemon.part_max: expected at most reply_max, " + format_size(d.reply_max));
  }
  if (d.reply_max >= d.message_max) {
    faults_.add(blame("reply_max", "message_max"),
                "daemon.reply_max: expected less than message_max, " + format_size(d.message_max));
  }
}

void Reader::check_pool(const Pool& p, const std::string& prefix, const Node& table) {
  const auto order = [&](bool good, std::string_view least, std::string_view most,
                         const std::string& bound) {
    if (good) return;
    const Node* n = table.find(least);
    if (n == nullptr) n = table.find(most);
    faults_.add(n == nullptr ? table.place : n->key_place, prefix + "." + std::string(least) +
                                                               ": expected at most " +
                                                               std::string(most) + ", " + bound);
  };
  order(p.connections_min <= p.connections_max, "connections_min", "connections_max",
        std::to_string(p.connections_max));
  order(p.lease_idle <= p.lease_total, "lease_idle", "lease_total", format_duration(p.lease_total));
  order(p.writer_lease_idle <= p.writer_lease_total, "writer_lease_idle", "writer_lease_total",
        format_duration(p.writer_lease_total));
  order(p.backoff_base <= p.backoff_cap, "backoff_base", "backoff_cap",
        format_duration(p.backoff_cap));
  order(p.breaker_open_min <= p.breaker_open_max, "breaker_open_min", "breaker_open_max",
        format_duration(p.breaker_open_max));
}

void Reader::read_stores(const Node& table) {
  if (table.entries.size() > kNamesMax) {
    return faults_.add(table.place, "more than " + std::to_string(kNamesMax) + " stores");
  }
  for (const auto& [name, value] : table.entries) {
    const std::size_t known = config_.stores.size();
    if (name == kBuiltIn) {
      faults_.add(value.key_place, "stores.headgate: this name is the built-in store's");
    } else if (good_name(name, value, "store") &&
               expect(value, Node::Kind::table, "stores." + name)) {
      read_store(name, value);
    }
    if (config_.stores.size() == known) stores_told_ = false;
  }
  std::sort(config_.stores.begin(), config_.stores.end(),
            [](const Store& a, const Store& b) { return a.name < b.name; });
}

void Reader::read_store(const std::string& name, const Node& table) {
  const std::string section = "stores." + name;
  Store store;
  store.name = name;
  store.place = table.place;
  store.pool = config_.store_defaults;
  read_settings(
      table, section, pool_settings(), store.pool,
      {"plugin", "kind", "options", "endpoints", "read_endpoints", "tls", "account", "password"});
  check_pool(store.pool, section, table);
  const auto plugin = string_at(table, "plugin", section);
  const auto kind = string_at(table, "kind", section);
  if (!plugin || !kind) return;
  store.plugin = *plugin;
  store.kind = *kind;
  const Node& kind_node = *table.find("kind");
  const Node& plugin_node = *table.find("plugin");
  if (!good_name(store.plugin, plugin_node, "plugin")) return;
  const PluginSchema* known = schema(plugin_node);
  std::vector<std::string> kinds = {"sql", "document", "key_value"};
  if (known != nullptr) {
    kinds.clear();
    for (const auto& [k, verbs] : known->verbs) kinds.push_back(k);
  }
  if (std::find(kinds.begin(), kinds.end(), store.kind) == kinds.end()) {
    std::string what = section + ".kind: " + quote(store.kind) + " is none of plugin " +
                       quote(store.plugin) + "'s kinds; expected ";
    for (std::size_t i = 0; i < kinds.size(); ++i) what += (i == 0 ? "" : ", ") + quote(kinds[i]);
    return faults_.add(kind_node.place, what);
  }
  read_options(store, table.find("options"), table.place);
  read_server(store, table, known);
  store_plugin_[name] = store.plugin;
  config_.stores.push_back(std::move(store));
}

void Reader::read_services(const Node& table) {
  if (table.entries.size() > kNamesMax) {
    return faults_.add(table.place, "more than " + std::to_string(kNamesMax) + " services");
  }
  for (const auto& [name, value] : table.entries) {
    if (good_name(name, value, "service") && expect(value, Node::Kind::table, "services." + name)) {
      read_service(name, value);
    }
  }
  std::sort(config_.services.begin(), config_.services.end(),
            [](const Service& a, const Service& b) { return a.name < b.name; });
}

void Reader::read_service(const std::string& name, const Node& table) {
  const std::string section = "services." + name;
  Service service;
  service.name = name;
  service.place = table.place;
  read_settings(table, section, service_settings(), service, {"unix_users", "curve_keys"});
  const auto each = [&](std::string_view key, auto&& read) {
    const Node* list = table.find(key);
    if (list == nullptr) return;
    if (!list->is(Node::Kind::array)) {
      faults_.add(list->place, section + "." + std::string(key) + ": expected an array, not " +
                                   std::string(headgate::config::name(list->kind)));
      return;
    }
    for (const Node& item : list->items) read(item);
  };
  each("unix_users", [&](const Node& item) { read_uid(service, item); });
  each("curve_keys", [&](const Node& item) { read_curve_key(service, item); });
  if (table.find("unix_users") == nullptr && table.find("curve_keys") == nullptr) {
    faults_.add(table.place,
                section + ": expected unix_users or curve_keys, else nobody can be this service");
  }
  config_.services.push_back(std::move(service));
}

void Reader::read_uid(Service& service, const Node& item) {
  const std::string path = "services." + service.name + ".unix_users";
  std::optional<std::uint32_t> uid;
  if (item.is(Node::Kind::string)) {
    daemon_named_ = daemon_named_ || item.text == kDaemonUser;
    uid = item.text == kDaemonUser ? static_cast<std::uint32_t>(::geteuid()) : uid_of(item.text);
    if (!uid) {
      return faults_.add(item.place, path + ": there is no user " + quote(item.text) +
                                         " on this host; expected a name or a uid");
    }
  } else if (item.is(Node::Kind::integer) && item.integer >= 0 && item.integer < UINT32_MAX) {
    uid = static_cast<std::uint32_t>(item.integer);
  } else {
    const bool number = item.is(Node::Kind::integer);
    return faults_.add(item.place,
                       path + ": expected a user's name or a uid, not " +
                           (number ? std::to_string(item.integer) : std::string(name(item.kind))));
  }
  if (*uid == kOverflowUid) {
    return faults_.add(item.place, path +
                                       ": uid 65534 stands for every unmapped user and cannot "
                                       "be a service");
  }
  const auto [there, fresh] = uids_.try_emplace(*uid, service.name, item.place);
  if (!fresh) {
    std::string what = path + ": uid " + std::to_string(*uid) + " is already service " +
                       quote(there->second.first) + " at " + there->second.second.file_line();
    if (*uid == 0 && daemon_named_ && ::geteuid() == 0) {
      what += "; \"@daemon\" is root here, who runs this: " + check_as("headgate");
    }
    return faults_.add(item.place, what);
  }
  service.uids.push_back(*uid);
}

void Reader::read_curve_key(Service& service, const Node& item) {
  const std::string path = "services." + service.name + ".curve_keys";
  if (!item.is(Node::Kind::string) || !is_z85_key(item.text)) {
    return faults_.add(item.place, path +
                                       ": expected a public key of 40 Z85 characters, as "
                                       "`headgate keygen` prints it");
  }
  const auto [there, fresh] = curve_keys_.try_emplace(item.text, service.name, item.place);
  if (!fresh) {
    return faults_.add(item.place, path + ": this key is already service " +
                                       quote(there->second.first) + "'s at " +
                                       there->second.second.file_line());
  }
  service.curve_keys.push_back(item.text);
}

}  // namespace headgate::config
