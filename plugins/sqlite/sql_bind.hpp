// sql_bind: a caller's parameters into a statement, strictly.
//
// What msgpack has goes as it is; ext values as their canonical text (README.md, "Types"). What
// SQLite would change or drop without a word is refused: NaN (it would become NULL), integers
// beyond 64 bits, lists and maps. Bound memory is the body's. Threads: a connection's worker.
#pragma once
#include <deque>
#include <string>

#include "plugins/sqlite/database.hpp"

namespace headgate::sqlite {

// Binds parameters and owns the texts made of ext values until the next bind or its end.
class Binder {
 public:
  explicit Binder(Statement& statement);

  // `params`: a msgpack list for ?, ?N and $N, a map for :name, @name and $name; empty: none.
  // `where` begins the messages. Throws Error (invalid) with the numbers or the name.
  void bind(proto::Bytes params, const std::string& where = {});
  // The next `count` values of a cursor as parameters 1 to count.
  void bind_row(proto::Cursor& values, int count, const std::string& where);

 private:
  enum class Style { none, positional, named };
  void bind_list(proto::Cursor& c, std::uint32_t n, const std::string& where);
  void bind_map(proto::Cursor& c, std::uint32_t n, const std::string& where);
  void value(int index, proto::Cursor& c, const std::string& what);
  void ext(int index, const proto::Item& it, const std::string& what);
  Statement& statement_;
  sqlite3_stmt* stmt_;
  Style style_ = Style::none;
  bool dollars_ = false;  // $1, $2: SQLite takes them for names in order of appearance
  int count_ = 0;         // parameters of the statement; of a list: how many it must have
  std::deque<std::string> texts_;
};

}  // namespace headgate::sqlite
