// The PostgreSQL plugin: kind sql, over libpq's login and a wire codec of our own.
//
// Threads: describe() from any; the table is made once.
#include "plugins/postgres/describe.hpp"
#include "plugins/postgres/driver.hpp"

namespace headgate::postgres {
namespace {

std::unique_ptr<sdk::Driver> open(const hg_host* host, const hg_driver_config& config) {
  if (config.kind != 0) throw sdk::invalid("no such kind");
  return std::make_unique<PostgresDriver>(host, config);
}

constexpr sdk::Plugin kPlugin = {"postgres", HEADGATE_VERSION, describe, open};

}  // namespace
}  // namespace headgate::postgres

HEADGATE_PLUGIN(headgate::postgres::kPlugin)
