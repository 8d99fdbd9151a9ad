// Kind is what a SQLite store does with the verbs of one kind: sql, document or key_value.
//
// The connections (write_connection, read_connection) own transactions, savepoints, deadlines,
// group commit, leases and retries; a Kind only reads a body, works on the Database and writes a
// reply. It may be called again for the same call after the sink was rewound.
//
// Owner:   the SqliteDriver. Threads: route from any; execute from the workers of several
//          connections at once, each with its own Database. So a Kind's members are constant after
//          construction, or guarded.
#pragma once
#include <memory>
#include <string_view>

#include "plugins/sqlite/database.hpp"

namespace headgate::sqlite {

// Lanes, in the order of describe.
enum Lane : std::uint32_t { kWriteLane = 0, kReadLane = 1 };
constexpr std::int64_t kReadsInFlight = 8;  // on one reader, of calls that have been quick

// read_only_sql_transaction: it writes where it may only read. A reader's call goes to the writer.
constexpr const char* kWritesSqlstate = "25006";

class Kind {
 public:
  virtual ~Kind() = default;

  // Once, on the writer's first connection, inside a transaction: internal tables (headgate_*).
  virtual void prepare(Database& db) = 0;

  // No I/O. Throws Error for an unknown verb, an unknown field, a wrong type. Fills everything of
  // Route that it knows; names what the body uses through touches. `batch`, `ping`, `describe`,
  // `explain`, `backup` and transaction verbs are routed by the driver: it calls route for the
  // items of a batch and the inner verb of an explain.
  virtual sdk::Route route(std::string_view verb, proto::Bytes body, const hg_call& call,
                           const sdk::Touches& touches) = 0;

  // Executes one verb: inside a savepoint of the writer's transaction, or inside a read
  // transaction. Throws Error; then everything it did is rolled back and its reply rewound, except
  // that an error thrown as PartialFailure keeps both.
  virtual void execute(std::string_view verb, proto::Bytes body, const hg_call& call, Database& db,
                       sdk::Sink& sink, sdk::Done& done) = 0;

  // What explain answers: writes one msgpack value, the plan.
  virtual void explain(std::string_view verb, proto::Bytes body, Database& db, sdk::Sink& sink) = 0;

  // After the writer's transaction with this call has committed, on the writer's thread: the place
  // for host->wake. Default: nothing.
  virtual void committed(std::string_view /*verb*/, proto::Bytes /*body*/) {}
};

// An error whose reply body and effects stay (insert_many that failed midway): HG_DONE_KEEP_BODY.
struct PartialFailure : sdk::Error {
  using sdk::Error::Error;
};

std::unique_ptr<Kind> make_sql_kind(const hg_host* host, const hg_driver_config& config);
std::unique_ptr<Kind> make_document_kind(const hg_host* host, const hg_driver_config& config);
std::unique_ptr<Kind> make_key_value_kind(const hg_host* host, const hg_driver_config& config);

// Each kind's entry in describe: a msgpack map {kind, verbs, capabilities, limits}, written into w.
void describe_sql(proto::Writer& w);
void describe_document(proto::Writer& w);
void describe_key_value(proto::Writer& w);

}  // namespace headgate::sqlite
