// PostgresDriver is one store: its options, its statements, and where its verbs go.
//
// Owner:   the host. Threads: route() from any; the rest guarded or constant.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "plugins/postgres/describe.hpp"
#include "plugins/postgres/items.hpp"
#include "plugins/postgres/options.hpp"
#include "plugins/postgres/statements.hpp"
#include "plugins/sdk/catalogue.hpp"

namespace headgate::postgres {

class PostgresDriver : public sdk::Driver {
 public:
  PostgresDriver(const hg_host* host, const hg_driver_config& config);

  sdk::Route route(const hg_call& call, const sdk::Touches& touches) override;
  std::unique_ptr<sdk::Connection> open(const hg_connect& connect, std::int32_t* fd) override;
  std::string prepare_store(bool dry_run) override;
  std::string init_store(const hg_connect& connect) override;

  [[nodiscard]] const hg_host* host() const { return host_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] Statements& statements() { return statements_; }
  [[nodiscard]] const sdk::Catalogue& catalogue() const { return catalogue_; }
  [[nodiscard]] std::uint64_t reply_max() const { return reply_max_; }
  [[nodiscard]] std::uint64_t part_max() const { return part_max_; }
  void log(int level, std::string_view message) const;

 private:
  sdk::Route route_batch(const hg_call& call, const sdk::Touches& touches);
  sdk::Route route_single(std::string_view verb, proto::Bytes body, const hg_call& call,
                          const sdk::Touches& touches);
  [[nodiscard]] bool shares(const Item& item, const hg_call& call) const;

  const hg_host* host_;
  Options options_;
  Statements statements_;
  sdk::Catalogue catalogue_;
  std::uint64_t driver_id_;
  std::uint64_t reply_max_;
  std::uint64_t part_max_;
};

// begin, commit, rollback, savepoint, release, rollback_to.
bool is_transaction_verb(std::string_view verb);

}  // namespace headgate::postgres
