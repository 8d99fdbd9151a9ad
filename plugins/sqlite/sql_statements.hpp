// Catalogue is a store's named statements, for the verb `run`.
//
// A text may begin with comment lines; `-- access: read` or `-- access: write` among them says what
// a grant must give, and is kept: a statement declared `read` never writes.
//
// Owner: the SqlKind. Constant after construction.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "plugins/sdk/driver.hpp"

namespace headgate::sqlite {

enum class StatementAccess { by_text, read, write };

struct NamedStatement {
  std::string text;
  StatementAccess access = StatementAccess::by_text;
};

class Catalogue {
 public:
  // A msgpack map name -> text, or empty. Throws Error (invalid) that names the statement.
  explicit Catalogue(proto::Bytes statements);
  // Throws Error (not_found).
  [[nodiscard]] const NamedStatement& find(std::string_view name) const;

 private:
  std::map<std::string, NamedStatement, std::less<>> statements_;
};

}  // namespace headgate::sqlite
