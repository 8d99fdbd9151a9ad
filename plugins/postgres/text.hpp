// text: what can be known of a statement from its text alone, by PostgreSQL's lexical rules.
//
// Not a parser: it finds words, strings, comments and parameter places. Where it is unsure it says
// the careful thing (not independent, calls a function), which costs speed and never truth. It
// relies on standard_conforming_strings, which login sets.
//
// Threads: pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headgate::postgres {

// How the parameters are written. A map of parameters means `named`; else the text decides.
enum class Places : std::uint8_t { none, dollar, question, named };

struct Scan {
  std::string first;               // the first word, in lower case
  std::string text;                // with every place as $1, $2, ...
  std::vector<std::string> names;  // of named places: what $1, $2, ... are called
  std::uint32_t places = 0;        // how many parameters it takes
  Places style = Places::none;
  bool empty = true;              // no statement at all
  bool second = false;            // something follows the first statement's semicolon
  bool session = false;           // names what is bound to a session: its fate must not be shared
  bool sets_transaction = false;  // SET TRANSACTION, SET transaction_read_only, ...
  bool calls = false;             // calls a function that is not known to leave the session alone
};

// `named`: the caller gave a map.
Scan scan(std::string_view sql, bool named);

// Words that begin what a caller may do only by a verb (BEGIN, COMMIT, ...).
bool controls_transactions(std::string_view first);
// Statements that may run on a shared connection by their first word.
bool shareable_first(std::string_view first);

// A quick hash of the bytes.
std::uint64_t hash(std::string_view bytes, std::uint64_t seed);

}  // namespace headgate::postgres
