// backup: one consistent copy of the store, streamed as pieces of a SQLite file.
#pragma once
#include "plugins/sqlite/driver.hpp"

namespace headgate::sqlite {

// Copies what `db`'s read transaction sees into a file beside the store that has no name any more
// (so that a crash leaves nothing behind), then streams it: each part one bin, the reply nil.
// Throws Error. REQUIRES: a read transaction on db.
void run_backup(SqliteDriver& driver, const hg_call& call, Database& db, sdk::Sink& sink);

}  // namespace headgate::sqlite
