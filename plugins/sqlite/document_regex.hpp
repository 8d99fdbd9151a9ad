// Pattern is a compiled regular expression (PCRE2, as MongoDB's), with a limit on what it may cost.
//
// Owner: a filter or an expression. Threads: one at a time, copies included.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

class Pattern {
 public:
  // Throws Error (invalid) for a pattern that does not compile, is longer than 32764 bytes, or an
  // option that is not i, m, x, s or u.
  explicit Pattern(const Regex& regex);

  // Throws Error (invalid) when the search costs more than the limit.
  [[nodiscard]] bool search(std::string_view text) const;
  [[nodiscard]] const Regex& source() const { return source_; }
  // What every match begins with; empty where that is not plain to see. Index bounds use it.
  [[nodiscard]] std::string literal_prefix() const;

 private:
  struct Compiled;
  Regex source_;
  std::shared_ptr<Compiled> compiled_;  // copies share it, scratch included
};

}  // namespace headgate::sqlite::doc
