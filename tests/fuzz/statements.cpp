// Door: the catalogue of named statements. Names stay unique, texts are never blank.
#include "daemon/config/statements.hpp"

#include <cstdlib>
#include <set>
#include <string_view>

using namespace headgate::config;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<Statement> statements;
  std::vector<ConfigFault> faults;
  parse_statements({reinterpret_cast<const char*>(data), size}, "fuzz.sql", statements, faults);
  std::set<std::string> names;
  for (const Statement& s : statements) {
    const bool blank = s.text.find_first_not_of(" \t\r\n") == std::string::npos;
    if (blank || s.name.empty() || !names.insert(s.name).second) std::abort();
  }
  return 0;
}
