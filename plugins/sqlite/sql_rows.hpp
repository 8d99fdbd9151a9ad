// sql_rows: a statement's result, from SQLite's columns straight into the reply.
//
// A reply is {columns: [[name, type, nullable, precision, scale], ...], rows: [[...], ...]}; as a
// stream its first part carries the columns and the later ones rows alone. Text that is valid for
// its declared type (DATE, UUID, ...) leaves as that type; README.md, "Types". Text that is not
// UTF-8 is an error. Threads: a connection's worker.
#pragma once
#include <memory>
#include <vector>

#include "plugins/sqlite/database.hpp"

namespace headgate::sqlite {

// What the declared type of a column says about its values.
enum class Declared : std::uint8_t {
  plain,
  boolean,
  decimal,
  date,
  time,
  timestamp,
  uuid,
  json,
  interval
};
struct DeclaredType {
  Declared kind = Declared::plain;
  int precision = -1;
  int scale = -1;
};
DeclaredType read_declared(const char* type);

// The header of a statement's result, made once a compilation.
struct ResultShape {
  int reprepares = -1;
  std::vector<std::uint8_t> header;
  std::vector<DeclaredType> types;
};

class RowWriter {
 public:
  struct Limits {
    std::uint64_t fetch = 0;  // rows a part; 0: no stream
    std::uint64_t part_max = 0;
  };
  RowWriter(Database& db, Statement& statement, sdk::Sink& sink, Limits limits);

  // Steps to the end and writes the whole result. Throws Error.
  void run();

 private:
  const ResultShape& shape();
  void begin_part(bool first);
  void end_part();
  void row();
  void value(int column, const DeclaredType& type);
  void text(int column, const DeclaredType& type);
  void decimal(int column, const DeclaredType& type, std::string_view digits);
  void check();
  Database& db_;
  Statement& statement_;
  sqlite3_stmt* stmt_;
  sdk::Sink& sink_;
  proto::Writer w_;
  Limits limits_;
  std::shared_ptr<ResultShape> own_;  // of a statement that is not in the cache
  std::uint64_t rows_at_ = 0;         // where the part's row count is patched
  std::uint32_t rows_ = 0;            // in this part
  std::uint64_t bytes_ = 0;           // about how many are in this part
  std::uint64_t all_rows_ = 0;
};

// Writes {columns: nil, rows: nil}.
void write_no_result(proto::Writer& w);
// Throws too_large or cancelled when a write has failed.
void need_room(const proto::Writer& w, const sdk::Sink& sink);

}  // namespace headgate::sqlite
