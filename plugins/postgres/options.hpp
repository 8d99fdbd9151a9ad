// Options of a PostgreSQL store, checked.
//
// Owner: the PostgresDriver. Constant after construction.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "plugins/sdk/driver.hpp"

namespace headgate::postgres {

// What may run on a connection that many callers share.
enum class Sharing : std::uint8_t {
  automatic,  // what the text shows to be independent of a session
  declared,   // only named statements marked `-- shared`
  off
};

struct Options {
  std::string database;
  Sharing sharing = Sharing::automatic;
  bool ask_lost_commit = false;
  std::string isolation;  // of transactions that name none; empty: the server's default
  std::string keys_schema = "public";  // where headgate_idempotency is
  std::vector<std::string> init;       // statements for each new session, and again after a reset
  std::int64_t shared_connections = 2;
  std::int64_t connections = 8;           // of the exclusive lane
  std::int64_t shared_timeout_ms = 1000;  // statement_timeout of shared connections
  std::int64_t slow_ms = 20;              // a statement above it leaves the shared lane
  std::int64_t statements_max = 256;      // prepared statements that a connection keeps
  std::int64_t stall_ms = 10'000;         // a server that says nothing for so long is given up
  std::int64_t keep_keys_ms = 24LL * 3600 * 1000;
};

// Reads hg_driver_config.options. Throws Error (invalid) that names the option.
Options read_options(const hg_driver_config& config);
// The options' entry of describe.
void describe_options(proto::Writer& w);

// `isolation` as SQL says it; empty when it is no level.
std::string_view isolation_sql(std::string_view level);

}  // namespace headgate::postgres
