// Looks, makes what is missing in one transaction, and looks again.
#include "plugins/postgres/init.hpp"

#include <algorithm>

#include "plugins/postgres/keys.hpp"
#include "plugins/postgres/login.hpp"

namespace headgate::postgres {
namespace {

// Whoever runs this twice at once waits for the other: CREATE ... IF NOT EXISTS alone can fail
// then.
constexpr const char* kLock = "SELECT pg_catalog.pg_advisory_xact_lock(7522525896800416870)";

class Database {
 public:
  explicit Database(PGconn* conn) : conn_(conn) { PQsetnonblocking(conn, 0); }

  // The first value of the last result; nothing: "".
  std::string run(const std::string& sql, const char* what) {
    PGresult* r = PQexec(conn_, sql.c_str());
    const ExecStatusType status = PQresultStatus(r);
    std::string value;
    if (status == PGRES_TUPLES_OK && PQntuples(r) > 0) value = PQgetvalue(r, 0, 0);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      PQclear(r);
      return value;
    }
    const char* words = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
    const char* state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
    // Without one the connection was lost, and all may have been done.
    const bool untold = state == nullptr;
    sdk::Error e(
        untold ? sdk::Code::unavailable : sdk::Code::store_error,
        untold ? sdk::Outcome::unknown : sdk::Outcome::rolled_back,
        std::string("cannot ") + what + ": " + (words != nullptr ? words : PQerrorMessage(conn_)));
    if (state != nullptr) e.sqlstate = state;
    if (e.sqlstate == "42501") e.code = sdk::Code::denied;
    for (char& c : e.message)
      if (c == '\n') c = ' ';
    PQclear(r);
    throw e;
  }

 private:
  PGconn* conn_;
};

}  // namespace

std::string init_database(const hg_host* host, const hg_connect& connect, const Options& options) {
  LoginSettings settings;
  const std::uint64_t now = host->now_us(host);
  settings.statement_timeout_ms = static_cast<std::int64_t>(std::max<std::uint64_t>(
      connect.deadline_us > now ? (connect.deadline_us - now) / 1000 : 1, 1));
  const Session session = log_in(host, connect, options, settings);
  Database db(session.libpq.get());
  const std::string name = keys_table(options);
  const auto literal = [](const std::string& text) {
    std::string out = "E'";
    for (const char c : text) out += c == '\'' || c == '\\' ? std::string{'\\', c} : std::string{c};
    return out + "'";
  };
  std::string done;
  // What another one committed while this one waited for the lock must be seen.
  db.run("BEGIN ISOLATION LEVEL READ COMMITTED", "begin");
  db.run(kLock, "wait for another one that does this");
  const bool there =
      db.run("SELECT to_regclass(" + literal(name) + ") IS NOT NULL", "look for the table") == "t";
  if (!there) {
    db.run(keys_table_ddl(options), "make the table");
    done += "made the table " + name + "\n";
  } else {
    done += "the table " + name + " was there\n";
  }
  const std::string columns = db.run(
      "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname)"
      " FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(" +
          literal(name) + ") AND attnum > 0 AND NOT attisdropped",
      "look at its columns");
  if (columns != kKeysColumns)
    throw sdk::Error(sdk::Code::conflict, sdk::Outcome::rolled_back,
                     "there is a table " + name + " that is not Headgate's: it has the columns " +
                         columns.substr(0, 300));
  const bool unique = db.run(
                          "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = "
                          "to_regclass(" +
                              literal(name) +
                              ") AND i.indisunique AND i.indisvalid "
                              "AND i.indpred IS NULL AND i.indnkeyatts = 2 AND (SELECT array_agg("
                              "a.attname::text ORDER BY a.attname) FROM pg_catalog.pg_attribute a "
                              "WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) = "
                              "ARRAY['key', 'service'])",
                          "look at its key") == "t";
  if (!unique)
    throw sdk::Error(sdk::Code::conflict, sdk::Outcome::rolled_back,
                     "the table " + name + " has no unique key of (service, key)");
  const bool index = db.run(
                         "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN "
                         "pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = "
                         "i.indkey[0] WHERE i.indrelid = to_regclass(" +
                             literal(name) + ") AND a.attname = 'expires')",
                         "look for the index") == "t";
  if (!index) {
    db.run(keys_index_ddl(options), "make the index on `expires`");
    done += "made its index on expires\n";
  }
  const bool may = db.run("SELECT bool_and(has_table_privilege(to_regclass(" + literal(name) +
                              "), p)) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p",
                          "look at the account's rights") == "t";
  db.run("COMMIT", "commit");
  done += "account " + std::string(sdk::text(connect.account)) +
          (may ? " may use it; every other account that writes needs:\n"
               : " may not use it; every account that writes needs:\n") +
          "  GRANT SELECT, INSERT, UPDATE, DELETE ON " + name + " TO ...;\n";
  return done;
}

}  // namespace headgate::postgres
