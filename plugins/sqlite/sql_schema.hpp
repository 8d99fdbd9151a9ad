// sql_schema: tables, columns, keys and indexes, as {columns, rows}. The gateway's own are not
// shown.
#pragma once
#include "plugins/sqlite/database.hpp"

namespace headgate::sqlite {

// Each throws Error (not_found) for a table that is not there. `schema`: empty or "main".
void write_tables(Database& db, sdk::Sink& sink);
void write_columns(Database& db, std::string_view table, sdk::Sink& sink);
void write_keys(Database& db, std::string_view table, sdk::Sink& sink);
void write_indexes(Database& db, std::string_view table, sdk::Sink& sink);

// Names of the columns that an INSERT can give, in order.
std::vector<std::string> insertable_columns(Database& db, std::string_view table);

}  // namespace headgate::sqlite
