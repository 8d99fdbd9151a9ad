// Catalogue is a sql store's named statements, for the verb `run`.
//
// Comment lines before a text may say `-- access: read` or `-- access: write`, which is what a
// grant must give: a statement declared `read` never writes. `-- shared` is for plugins whose
// connections are shared by callers: it says that the text leaves nothing behind in a session.
//
// Owner: a driver. Constant after construction.
#pragma once
#include <map>
#include <string>
#include <string_view>

#include "plugins/sdk/driver.hpp"

namespace headgate::sdk {

enum class StatementAccess { by_text, read, write };

struct NamedStatement {
  std::string text;
  StatementAccess access = StatementAccess::by_text;
  bool shared = false;
};

class Catalogue {
 public:
  // A msgpack map name -> text (hg_driver_config.statements), or empty. Throws Error (invalid) that
  // names the statement.
  explicit Catalogue(Bytes statements);
  // Throws Error (not_found).
  [[nodiscard]] const NamedStatement& find(std::string_view name) const;

 private:
  std::map<std::string, NamedStatement, std::less<>> statements_;
};

}  // namespace headgate::sdk
