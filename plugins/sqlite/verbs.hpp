// verbs: executing one call, whatever its kind: the kind's own verbs, and those every store has.
//
// Threads: a connection's worker.
#pragma once
#include "plugins/sqlite/driver.hpp"

namespace headgate::sqlite {

// Executes the call inside the caller's transaction or savepoint. Throws Error. `leased`: inside an
// interactive transaction, where a deferred foreign key may wait for a later call.
void execute_call(SqliteDriver& driver, const hg_call& call, Database& db, sdk::Sink& sink,
                  sdk::Done& done, bool leased);

// Tells the kind that the call's effects are in the store, the items of a batch one by one.
void tell_committed(Kind& kind, const hg_call& call);

// The exception in flight as an Error; what is no Error becomes `internal`.
sdk::Error current_error();

// True when statements of this transaction left a foreign key open that only COMMIT would refuse.
bool has_open_foreign_key(Database& db);
sdk::Error open_foreign_key();

// "name" quoted as an identifier. Throws Error (invalid) for a NUL in it.
std::string quoted(std::string_view name);

}  // namespace headgate::sqlite
