// SQL text cut into statements, and what kind each one is.
//
// What the command line takes for one statement of a file, the gateway takes for one in its
// catalogue. It knows quotes, comments, PostgreSQL's $tag$ and E'' texts and the BEGIN ... END of
// triggers and functions; it checks nothing: the store does. Threads: pure functions.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace headgate::proto {

struct Cut {
  std::vector<std::string> statements;  // without the semicolon
  std::string rest;                     // what follows the last semicolon, trimmed
};
Cut cut(std::string_view sql);

// Its first words, in capitals: "SELECT", "BEGIN".
std::string first_word(std::string_view sql);
// Whether the verb is `query` (rows, may stream), else `execute`.
bool is_query(std::string_view sql);

}  // namespace headgate::proto
