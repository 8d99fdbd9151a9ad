// Config is the operator's intent, checked: what one reading of the files said, or every fault in
// them. Start here; settings.hpp is the one table behind parsing, `show config`, the docs and
// etc/headgate.toml.
//
// Owner:   Gateway (one in force; a reload makes another and swaps). Threads: read-only once made.
// Holds:   every name in a grant exists, every number is inside its range, no uid and no key
//          belongs to two services, and every piece knows the file and line it came from.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/core/call.hpp"
#include "daemon/core/log.hpp"
#include "daemon/core/secret.hpp"
#include "daemon/core/time.hpp"

namespace headgate::config {

// Where something stands in the files.
struct Place {
  std::string file;
  std::uint32_t line = 0;  // from 1; 0: nowhere (a default)
  std::uint32_t column = 0;
  [[nodiscard]] std::string text() const;  // "file:line:column"
  [[nodiscard]] std::string file_line() const;
};

// Something that is wrong, and what was expected instead.
struct ConfigFault {
  Place place;
  std::string what;
  [[nodiscard]] std::string text() const;  // "file:line:column: what"
};

// Where a secret is to be had. The secret itself is read by read_secret(), never kept here.
struct SecretSource {
  enum class From : std::uint8_t { none, systemd, file, env, command };
  From from = From::none;
  std::string name;                  // credential, path or variable
  std::vector<std::string> command;  // program (absolute) and arguments
  Place place;
  bool operator==(const SecretSource& o) const {
    return from == o.from && name == o.name && command == o.command;
  }
};

// [daemon]
struct Daemon {
  std::string listen_ipc = "/run/headgate/headgate.sock";  // "": none
  std::uint32_t ipc_mode = 0660;
  std::string listen_tcp;   // "tcp://address:port", "": none
  SecretSource server_key;  // CURVE secret key; needed for listen_tcp
  bool allow_plain_tcp_on_loopback = false;
  bool allow_env_secrets = false;
  std::string plugin_dir = "/usr/lib/headgate/plugins";
  std::string state_dir = "/var/lib/headgate";
  std::string statements_dir = "/etc/headgate/statements";  // may be missing: no named statements
  Micros secrets_look_every = std::chrono::seconds(5);  // at files of secrets; 0: at a reload alone
  Level log_level = Level::info;
  Micros drain_timeout = std::chrono::seconds(30);
  Micros default_timeout = std::chrono::seconds(5);  // of a request that names none
  Micros timeout_max = std::chrono::hours(24);       // what a request may ask for
  std::uint32_t clients_max = 16'384;  // the daemon takes less when RLIMIT_NOFILE says so
  std::uint32_t calls_max = 65'536;    // inflight
  std::uint32_t calls_per_peer_max = 4'096;
  std::uint64_t message_max = 20u << 20;
  std::uint64_t reply_max = 8u << 20;
  std::uint64_t part_max = 256u << 10;
  std::uint64_t parked_max = 4u << 20;  // a peer
  std::uint32_t threads_max = 64;       // connection workers over all stores
  bool batch_scheduling = true;         // docs/adr/0004
};

// The numbers of a store's pools: [store_defaults], overridden in [stores.NAME]. Fields and
// defaults are those of pool::Settings; give_numbers() carries them over (a test keeps the two
// alike).
struct Pool {
  std::uint32_t connections_min = 0;
  std::uint32_t connections_max = 16;
  Micros idle_max = std::chrono::minutes(10);
  Micros lifetime_max = std::chrono::hours(1);
  Micros check_after = std::chrono::seconds(30);
  Micros connect_timeout = std::chrono::seconds(5);
  std::uint32_t connects_max = 2;
  std::uint32_t queue_calls_max = 4096;
  std::uint64_t queue_bytes_max = 64u << 20;
  Micros lease_idle = std::chrono::seconds(10);
  Micros lease_total = std::chrono::seconds(60);
  Micros writer_lease_idle = std::chrono::seconds(1);
  Micros writer_lease_total = std::chrono::seconds(5);
  Micros stall_store = std::chrono::seconds(10);
  Micros stall_caller = std::chrono::seconds(30);
  Micros stream_max = std::chrono::hours(1);
  std::uint32_t attempts_max = 3;
  Micros backoff_base{20'000};
  Micros backoff_cap{2'000'000};
  double budget_service = 0.10;
  double budget_store = 0.20;
  std::uint32_t budget_floor = 3;
  double breaker_ratio = 0.5;
  std::uint32_t breaker_min_calls = 20;
  Micros breaker_window = std::chrono::seconds(10);
  Micros breaker_open_min = std::chrono::seconds(1);
  Micros breaker_open_max = std::chrono::seconds(30);
};

template <class Settings>
void give_numbers(const Pool& from, Settings& to) {
  to.connections_min = from.connections_min;
  to.connections_max = from.connections_max;
  to.idle_max = from.idle_max;
  to.lifetime_max = from.lifetime_max;
  to.check_after = from.check_after;
  to.connect_timeout = from.connect_timeout;
  to.connects_max = from.connects_max;
  to.queue_calls_max = from.queue_calls_max;
  to.queue_bytes_max = from.queue_bytes_max;
  to.lease_idle = from.lease_idle;
  to.lease_total = from.lease_total;
  to.writer_lease_idle = from.writer_lease_idle;
  to.writer_lease_total = from.writer_lease_total;
  to.stall_store = from.stall_store;
  to.stall_caller = from.stall_caller;
  to.stream_max = from.stream_max;
  to.attempts_max = from.attempts_max;
  to.backoff_base = from.backoff_base;
  to.backoff_cap = from.backoff_cap;
  to.budget_service = from.budget_service;
  to.budget_store = from.budget_store;
  to.budget_floor = from.budget_floor;
  to.breaker_ratio = from.breaker_ratio;
  to.breaker_min_calls = from.breaker_min_calls;
  to.breaker_window = from.breaker_window;
  to.breaker_open_min = from.breaker_open_min;
  to.breaker_open_max = from.breaker_open_max;
}

// How a store's servers are talked to over the network. There is no "prefer": either the server
// proves who it is, or `off` stands in the file.
struct Tls {
  enum class Mode : std::uint8_t { verify_full, verify_ca, off };
  Mode mode = Mode::verify_full;  // verify_ca: any name, if the chain is right
  std::string min_version = "1.2";
  std::string ca_file;              // "": the system's
  std::string cert_file, key_file;  // of a client certificate
  std::string server_name;          // to expect in the certificate; "": the endpoint's host
  bool operator==(const Tls&) const = default;
};

// [[credentials]]: what logs in in place of a store's own account.
struct Credential {
  std::string service;  // "": every service
  std::string store;
  std::optional<Access> access;  // none: both
  std::string account;
  SecretSource password;  // from none: logs in without one
  Place place;
};

// [stores.NAME]
struct Store {
  std::string name;
  std::string plugin;
  std::string kind;                   // sql, document, key_value
  std::vector<std::uint8_t> options;  // msgpack map, as hg_driver_config.options takes it
  std::map<std::string, std::string> shown_options;  // as text; secrets are left out
  std::vector<std::string> endpoints;       // "host:port" or a socket's path; none: embedded
  std::vector<std::string> read_endpoints;  // that serve read pools
  Tls tls;
  std::string account;
  SecretSource password;
  Pool pool;
  Place place;
};

// [services.NAME]
struct Service {
  std::string name;
  std::vector<std::uint32_t> uids;      // unix_users, resolved; "@daemon" is our own user
  std::vector<std::string> curve_keys;  // Z85, 40 characters
  std::uint32_t weight = 1;             // share of a store under load, against other services
  Place place;
};

// Bounds on one grant; 0: none beyond the daemon's own.
struct Limits {
  std::uint32_t calls_max = 0;  // at the same time
  std::uint32_t calls_per_second = 0;
  Micros timeout_max{0};
  bool operator==(const Limits&) const = default;
};

// [[grants]]: either access or verbs.
struct Grant {
  std::string service;
  std::string store;  // or "headgate", the built-in one
  std::optional<Access> access;
  std::vector<std::string> verbs;
  std::vector<std::string> collections;   // empty: all. document stores
  std::vector<std::string> key_prefixes;  // empty: all. key_value stores
  std::vector<std::string> statements;    // empty: any SQL; else these named ones alone. sql stores
  Limits limits;
  Place place;
};

// One `-- name: ...` block of statements_dir/*.sql.
struct Statement {
  std::string name;
  std::string text;
  Place place;
};

struct Config {
  Daemon daemon;
  Pool store_defaults;
  std::vector<Store> stores;            // by name
  std::vector<Service> services;        // by name
  std::vector<Grant> grants;            // in the order of the files
  std::vector<Credential> credentials;  // in the order of the files
  std::vector<Statement> statements;    // by name
  std::vector<std::string> files;       // that were read, in order
  std::map<std::string, Place> set_at;  // "daemon.log_level" -> where; absent: the default
  std::vector<ConfigFault> warnings;    // what is allowed, and should not surprise anybody

  [[nodiscard]] const Store* store(std::string_view name) const;
  [[nodiscard]] const Service* service(std::string_view name) const;
};

// "orders:read", "orders/billing", "orders/billing:write": for logs and for the server's list of
// sessions.
std::string name_of(const Credential& credential);
// One account of a store. The store's own has the store's name.
struct Account {
  std::string name;
  std::string account;
  SecretSource password;
  Place place;
};
// The store's own first, then those of [[credentials]]. Empty: the plugin has no logins.
std::vector<Account> accounts(const Config& config, const Store& store);
// Which of them a service logs in with: the most particular one, its own before one for an access.
std::size_t account_of(const Config& config, const Store& store, std::string_view service,
                       Access access);
// The key of Config::set_at for one endpoint of "endpoints" or "read_endpoints".
std::string endpoint_key(std::string_view store, std::string_view list, std::size_t at);
// As hg_connect.tls has it: a msgpack map.
std::vector<std::uint8_t> pack_tls(const Tls& tls);

// The catalogue as hg_driver_config.statements takes it: a msgpack map name -> text.
std::vector<std::uint8_t> pack_statements(const Config& config);

// What a plugin's describe says about stores; lets the files be checked against it.
struct OptionSchema {
  enum class Type : std::uint8_t { str, integer, boolean, list, duration_ms, bytes };
  std::string name;
  Type type = Type::str;
  bool required = false;
  bool secret = false;
  std::optional<std::int64_t> min, max;  // of a number; of a str or list: its length
  std::vector<std::string> values = {};  // that a str may have; empty: any
};
struct PluginSchema {
  std::vector<OptionSchema> options;
  bool endpoints = false;                                 // its stores name servers, and log in
  std::map<std::string, std::vector<std::string>> verbs;  // kind -> its verbs
};
// Loads the plugin's description; the error is a sentence for the operator.
using SchemaOf = std::function<tl::expected<PluginSchema, std::string>(
    const std::string& plugin_dir, const std::string& plugin)>;

struct LoadOptions {
  SchemaOf schema_of;  // empty: plugin options and verbs go unchecked
  // Stores' passwords that lie in files are read, so that one that cannot be is a fault. At start
  // they are not: one store without its password is no reason to serve nobody.
  bool read_passwords = false;
  // "daemon.log_level=debug": read after the files, and over them. What stands right of '=' is a
  // TOML value, or, where it is none, a string.
  std::vector<std::string> overrides;
};

// Reads `file`, then the *.toml of the directory conf.d beside it in the order of their names.
// Either a Config, or every fault that was found (at least one). A relative path in a file is
// taken from that file's directory; one in an override, from the working directory.
tl::expected<Config, std::vector<ConfigFault>> load(const std::string& file,
                                                    const LoadOptions& options = {});

// The same of a text that stands for a file of that name; no drop-ins.
tl::expected<Config, std::vector<ConfigFault>> load_text(std::string_view text,
                                                         const std::string& name,
                                                         const LoadOptions& options = {});

// `headgated --check`: prints "file: ok" to stdout and returns 0, or every fault, one a line, to
// stderr and returns 1.
int check(const std::string& file, const LoadOptions& options = {});

// Reads a secret from its source. The error is a sentence that names the source, never the secret.
// A file must belong to root or to our user and must not be readable or writable by others.
tl::expected<Secret, std::string> read_secret(const SecretSource& source);

// True when systemd has given this process credentials (LoadCredential=).
bool in_a_unit();

// True when fd is the journal's stream (JOURNAL_STREAM names its device and inode,
// systemd.exec(5)).
bool is_journal(int fd);

// Whether the same driver serves both: a store is made of its plugin, kind and options once.
bool made_alike(const Store& a, const Store& b);

// What a reload from `before` to `after` changes, by name of the setting ("daemon.log_level",
// "stores.orders.lease_idle", "services.app", "grants"), sorted.
struct Difference {
  std::vector<std::string> changed;        // takes effect at once
  std::vector<std::string> needs_restart;  // stays as it was until the daemon is started again
};
Difference diff(const Config& before, const Config& after);

// `show config`: every setting in force.
struct ShownSetting {
  std::string name, value, fallback;  // TOML values; fallback: the default
  bool restart = false;
  std::string place;  // "default", or file:line
};
std::vector<ShownSetting> show(const Config& config);

}  // namespace headgate::config
