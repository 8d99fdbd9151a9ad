// The SQLite plugin: one file is one store, of kind sql, document or key_value.
//
// Threads: describe() from any; the table is made once.
#include <array>

#include "plugins/sqlite/describe.hpp"
#include "plugins/sqlite/driver.hpp"

namespace headgate::sqlite {
namespace {

struct KindEntry {
  void (*describe)(proto::Writer&);
  std::unique_ptr<Kind> (*make)(const hg_host*, const hg_driver_config&);
  Transactions transactions;
};

// In the order of describe: hg_driver_config.kind counts here.
constexpr KindEntry kKinds[] = {
    {describe_sql, make_sql_kind, Transactions::savepoints},
    {describe_document, make_document_kind, Transactions::plain},
    {describe_key_value, make_key_value_kind, Transactions::none},
};

hg_bytes describe() {
  static const std::vector<std::uint8_t> text = [] {
    proto::VectorOut out(16384);
    proto::Writer w(&out);
    w.map(8);
    w.str("name");
    w.str("sqlite");
    w.str("version");
    w.str(HEADGATE_VERSION);
    w.str("product");
    w.str(std::string("SQLite ") + sqlite3_libversion());
    w.str("kinds");
    w.array(static_cast<std::uint32_t>(std::size(kKinds)));
    for (const KindEntry& k : kKinds) describe_kind(w, k.describe);
    w.str("lanes");
    describe_lanes(w);
    w.str("options");
    describe_options(w);
    w.str("endpoints");
    w.boolean(false);
    w.str("keeps_secrets");
    w.boolean(false);
    return std::vector<std::uint8_t>(out.view().begin(), out.view().end());
  }();
  return {text.data(), text.size()};
}

std::unique_ptr<sdk::Driver> open(const hg_host* host, const hg_driver_config& config) {
  if (config.kind >= std::size(kKinds)) throw sdk::invalid("no such kind");
  const KindEntry& k = kKinds[config.kind];
  return std::make_unique<SqliteDriver>(host, config, k.make(host, config), k.transactions);
}

constexpr sdk::Plugin kPlugin = {"sqlite", HEADGATE_VERSION, describe, open};

}  // namespace
}  // namespace headgate::sqlite

HEADGATE_PLUGIN(headgate::sqlite::kPlugin)
