// The catalogue of named statements: statements_dir/*.sql, each a row of blocks
//
//   -- name: orders_by_customer
//   SELECT id, total FROM orders WHERE customer = :customer
//
// A block is the text under its heading, without blank ends and a last semicolon: one statement, in
// UTF-8. Comments may stand before the first heading; anything else there is a fault. A comment
// `-- access: read` or `-- access: write` between a heading and its text is for the plugins
// (plugins/sdk/catalogue.hpp). Threads: pure but for reading the files.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "daemon/config/config.hpp"

namespace headgate::config {

inline constexpr std::size_t kStatementsMax = 10'000;

// Appends to `into` what `text` (of `file`) holds, and to `faults` what is wrong with it. A name
// that `into` has already is refused, naming both places.
void parse_statements(std::string_view text, const std::string& file, std::vector<Statement>& into,
                      std::vector<ConfigFault>& faults);

// All *.sql of the directory in the order of their names; a directory that is missing has none.
void read_statements(const std::string& directory, std::vector<Statement>& into,
                     std::vector<ConfigFault>& faults);

}  // namespace headgate::config
