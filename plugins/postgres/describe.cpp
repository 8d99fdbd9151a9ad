// The one table of verbs, lanes and capabilities.
#include "plugins/postgres/describe.hpp"

#include <vector>

#include "plugins/postgres/options.hpp"
#include "plugins/sdk/describe.hpp"

namespace headgate::postgres {
namespace {

constexpr sdk::VerbEntry kVerbs[] = {
    {"ping", "read"},
    {"describe", "read"},
    {"batch", "read"},  // each item's own access is asked for through touch()
    {"explain", "read"},
    {"query", "read", true},
    {"execute", "write", true},
    {"execute_many", "write"},
    {"run", "read", true},  // a statement that writes needs write access: the store sees to it
    {"begin", "read"},
    {"commit", "read"},
    {"rollback", "read"},
    {"savepoint", "read"},
    {"release", "read"},
    {"rollback_to", "read"},
    {"copy_in", "write", false, true},
    {"copy_out", "read", true},
    {"tables", "read"},
    {"columns", "read"},
    {"keys", "read"},
    {"indexes", "read"},
    {"listen", "read", true},
};

constexpr std::string_view kCapabilities[] = {"transactions", "savepoints",
                                              "streams",      "copy",
                                              "introspect",   "returning",
                                              "explain",      "read_only",
                                              "cancel",       "named_statements",
                                              "recursive",    "transactional_ddl",
                                              "arrays",       "deferred_constraints",
                                              "strict_types", "division_by_zero",
                                              "row_locks",    "prepare",
                                              "pipeline",     "server",
                                              "idempotency",  "listen"};

void lane(proto::Writer& w, std::string_view name, std::int64_t connections,
          std::int64_t connections_max, std::int64_t inflight, bool lease, std::string_view cancel,
          std::string_view option) {
  sdk::describe_lane(w, {.name = name,
                         .model = "event",
                         .connections = connections,
                         .connections_max = connections_max,
                         .per = "pool",
                         .inflight = inflight,
                         .batch = inflight,
                         .lease = lease,
                         .read_only = false,
                         .cancel = cancel,
                         .option = option});
}

void kind(proto::Writer& w) {
  w.map(4);
  w.str("kind");
  w.str("sql");
  w.str("verbs");
  w.map(static_cast<std::uint32_t>(std::size(kVerbs)));
  for (const sdk::VerbEntry& v : kVerbs) sdk::describe_verb(w, v);
  w.str("capabilities");
  w.array(static_cast<std::uint32_t>(std::size(kCapabilities)));
  for (const std::string_view c : kCapabilities) w.str(c);
  w.str("limits");
  w.map(3);
  w.str("parameters");
  w.sint(65535);
  w.str("statement_bytes");
  w.sint(1 << 20);
  w.str("batch_items");
  w.sint(proto::kBatchItemsMax);
}

}  // namespace

hg_bytes describe() {
  static const std::vector<std::uint8_t> text = [] {
    const Options otherwise;
    proto::VectorOut out(8192);
    proto::Writer w(&out);
    w.map(8);
    w.str("name");
    w.str("postgres");
    w.str("version");
    w.str(HEADGATE_VERSION);
    w.str("product");
    w.str("PostgreSQL");
    w.str("kinds");
    w.array(1);
    kind(w);
    w.str("lanes");
    w.array(3);
    lane(w, "shared", otherwise.shared_connections, 16, kSharedInflight, false, "none",
         "shared_connections");
    lane(w, "exclusive", otherwise.connections, 1000, 1, true, "operation", "connections");
    lane(w, "listen", 1, 1, kListenersMax, false, "operation", {});
    w.str("options");
    describe_options(w);
    w.str("endpoints");
    w.boolean(true);
    w.str("keeps_secrets");
    // libpq keeps the password inside its PGconn, which lives as long as the connection.
    w.boolean(true);
    return std::vector<std::uint8_t>(out.view().begin(), out.view().end());
  }();
  return {text.data(), text.size()};
}

}  // namespace headgate::postgres
