// Reader turns the merged tree into a Config and notes every fault on its way; it never stops at
// one.
//
// Owner:   load(). Threads: one. Order matters: [daemon] first (directories), then statements,
//          stores, services, and last grants, which name all of them.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.hpp"
#include "daemon/config/settings.hpp"
#include "daemon/config/tree.hpp"

namespace headgate::config {

inline constexpr std::size_t kFaultsMax = 1000;   // more are not worth reading
inline constexpr std::size_t kNamesMax = 10'000;  // stores, services; grants: ten times as many

class Faults {
 public:
  void add(const Place& place, std::string what) {
    if (list_.size() < kFaultsMax) list_.push_back({place, std::move(what)});
  }
  [[nodiscard]] bool empty() const { return list_.empty(); }
  [[nodiscard]] std::vector<ConfigFault>& list() { return list_; }

 private:
  std::vector<ConfigFault> list_;
};

class Reader {
 public:
  Reader(const LoadOptions& options, Config& into, Faults& faults)
      : options_(options), config_(into), faults_(faults) {}
  void read(const Node& root);

 private:
  // sections.cpp
  void read_daemon(const Node& table);
  void check_daemon();
  void check_pool(const Pool& pool, const std::string& prefix, const Node& at);
  void read_stores(const Node& table);
  void read_store(const std::string& name, const Node& table);
  void read_services(const Node& table);
  void read_service(const std::string& name, const Node& table);
  void read_uid(Service& service, const Node& item);
  void read_curve_key(Service& service, const Node& item);
  // grants.cpp
  void read_grants(const Node& array);
  void read_grant(const Node& table);
  void check_verbs(const Grant& grant, const Node& list);
  void check_scope(const Grant& grant, const Node& table);
  // servers.cpp
  void read_server(Store& store, const Node& table, const PluginSchema* known);
  void read_endpoints(Store& store, const Node& table);
  void read_tls(Store& store, const Node& value);
  void check_tls(const Store& store, const Node& table);
  void check_certificates(const Store& store, const Node* tls);
  // credentials.cpp
  void read_credentials(const Node& array);
  void read_credential(const Node& table);
  void check_accounts();
  // options.cpp
  void read_options(Store& store, const Node* table, const Place& at);
  const PluginSchema* schema(const Node& plugin);

  // values.cpp
  template <class T>
  void read_settings(const Node& table, const std::string& section,
                     std::span<const Setting<T>> settings, T& into,
                     std::initializer_list<std::string_view> others);
  template <class T>
  void read_value(const Node& value, const std::string& path, const Setting<T>& s, T& into);
  void read_number(const Node& v, const std::string& path, Unit unit, double min, double max,
                   double& into);
  void read_source(const Node& value, const std::string& path, SecretSource& into, bool now);
  std::optional<std::string> string_at(const Node& table, std::string_view key,
                                       const std::string& section);
  std::vector<std::string> strings_at(const Node& table, std::string_view key,
                                      const std::string& section);
  bool expect(const Node& n, Node::Kind kind, const std::string& path);
  void unknown(const std::string& key, const Node& value, const std::string& section,
               const std::vector<std::string_view>& known);
  bool good_name(const std::string& name, const Node& at, std::string_view of);

  const LoadOptions& options_;
  Config& config_;
  Faults& faults_;
  std::map<std::uint32_t, std::pair<std::string, Place>> uids_;  // whose, and where
  bool daemon_named_ = false;                                    // by "@daemon" among unix_users
  std::map<std::string, std::pair<std::string, Place>> curve_keys_;
  std::map<std::string, std::optional<PluginSchema>> schemas_;  // nullopt: was told already
  std::map<std::string, std::string> store_plugin_;             // name -> plugin
  bool stores_told_ = true;  // false: a store was refused, so a grant may name it
};

extern template void Reader::read_settings(const Node&, const std::string&,
                                           std::span<const Setting<Daemon>>, Daemon&,
                                           std::initializer_list<std::string_view>);
extern template void Reader::read_settings(const Node&, const std::string&,
                                           std::span<const Setting<Pool>>, Pool&,
                                           std::initializer_list<std::string_view>);
extern template void Reader::read_settings(const Node&, const std::string&,
                                           std::span<const Setting<Service>>, Service&,
                                           std::initializer_list<std::string_view>);
extern template void Reader::read_settings(const Node&, const std::string&,
                                           std::span<const Setting<Limits>>, Limits&,
                                           std::initializer_list<std::string_view>);

// The path of `text`, said in the file of `place`: absolute, against that file's directory.
std::string absolute(const std::string& text, const Place& place);
// {address, port} of "tcp://address:port" with a numeric address, or nothing.
struct TcpAddress {
  bool loopback;
};
std::optional<TcpAddress> parse_tcp(std::string_view text);
// A 32-byte key in Z85 (ZeroMQ RFC 32).
bool is_z85_key(std::string_view text);

}  // namespace headgate::config
