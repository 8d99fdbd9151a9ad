// The parts of describe that no kind writes, and the sql kind's entry.
#include "plugins/sqlite/describe.hpp"

#include <algorithm>
#include <vector>

#include "plugins/sqlite/kind.hpp"
#include "plugins/sqlite/options.hpp"

namespace headgate::sqlite {
namespace {

constexpr VerbEntry kCommon[] = {
    {"ping", "read"},    {"describe", "read"},
    {"batch", "read"},  // each item's own access is asked for through touch()
    {"explain", "read"}, {"backup", "admin", true},
};

constexpr VerbEntry kSql[] = {
    {"query", "read", true},    {"execute", "write", true}, {"execute_many", "write"},
    {"run", "read", true},  // a statement that writes needs write access: the driver sees to it
    {"begin", "read"},      // without read_only the transaction may write: it takes the writer
    {"commit", "read"},         {"rollback", "read"},       {"savepoint", "read"},
    {"release", "read"},        {"rollback_to", "read"},    {"copy_in", "write", false, true},
    {"copy_out", "read", true}, {"tables", "read"},         {"columns", "read"},
    {"keys", "read"},           {"indexes", "read"},
};

constexpr std::string_view kSqlCapabilities[] = {
    "transactions", "savepoints", "streams",           "copy",
    "introspect",   "returning",  "explain",           "backup",
    "idempotency",  "read_only",  "named_statements",  "last_id",
    "recursive",    "cancel",     "transactional_ddl", "deferred_constraints",
    "strict_types"};

}  // namespace

void describe_lanes(proto::Writer& w) {
  const Options otherwise;
  w.array(2);
  sdk::describe_lane(w, {.name = "write",
                         .model = "blocking",
                         .connections = 1,
                         .connections_max = 1,
                         .per = "store",
                         .inflight = otherwise.batch_max,
                         .batch = otherwise.batch_max,
                         .lease = true,
                         .read_only = false,
                         .cancel = "operation",
                         .option = {}});
  sdk::describe_lane(w, {.name = "read",
                         .model = "blocking",
                         .connections = otherwise.readers,
                         .connections_max = 64,
                         .per = "pool",
                         .inflight = kReadsInFlight,
                         .batch = 1,
                         .lease = true,
                         .read_only = true,
                         .cancel = "operation",
                         .option = "readers"});
}

void describe_kind(proto::Writer& w, void (*kind)(proto::Writer&)) {
  proto::VectorOut out(4096);
  proto::Writer own(&out);
  kind(own);
  proto::Cursor c(out.view());
  const std::uint32_t fields = c.read_map();
  w.map(fields);
  for (std::uint32_t i = 0; i < fields; ++i) {
    const std::string_view name = c.read_str();
    w.str(name);
    if (name != "verbs") {
      w.raw(c.skip());
      continue;
    }
    const std::uint32_t n = c.read_map();
    std::vector<std::string_view> there;
    proto::VectorOut pairs(4096);
    proto::Writer p(&pairs);
    for (std::uint32_t k = 0; k < n; ++k) {
      there.push_back(c.read_str());
      p.str(there.back());
      p.raw(c.skip());
    }
    std::uint32_t added = 0;
    for (const VerbEntry& v : kCommon) {
      if (std::find(there.begin(), there.end(), v.name) != there.end()) continue;
      describe_verb(p, v);
      ++added;
    }
    w.map(n + added);
    w.raw(pairs.view());
  }
}

void describe_sql(proto::Writer& w) {
  w.map(4);
  w.str("kind");
  w.str("sql");
  w.str("verbs");
  w.map(static_cast<std::uint32_t>(std::size(kSql)));
  for (const VerbEntry& v : kSql) describe_verb(w, v);
  w.str("capabilities");
  w.array(static_cast<std::uint32_t>(std::size(kSqlCapabilities)));
  for (const std::string_view c : kSqlCapabilities) w.str(c);
  w.str("limits");
  w.map(3);
  w.str("parameters");
  w.sint(32766);
  w.str("statement_bytes");
  w.sint(1 << 20);
  w.str("batch_items");
  w.sint(proto::kBatchItemsMax);
}

}  // namespace headgate::sqlite
