// SQL text cut into statements, and what kind each one is.
//
// It knows quotes, comments, PostgreSQL's $tag$ texts and the BEGIN ... END of CREATE TRIGGER; it
// checks nothing: the store does. Threads: pure functions.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace headgate::cli {

struct Cut {
  std::vector<std::string> statements;  // without the semicolon
  std::string rest;                     // what follows the last semicolon, trimmed
};
Cut cut(std::string_view sql);

// Its first words, in capitals: "SELECT", "BEGIN".
std::string first_word(std::string_view sql);
// Whether the verb is `query` (rows, may stream), else `execute`.
bool is_query(std::string_view sql);

}  // namespace headgate::cli
