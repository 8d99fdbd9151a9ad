// What a reply looks like: a table, lines, JSON or CSV, by its own shape and the format asked for.
//
// Threads: main's. Everything goes to stdout; counts and remarks of the table format to stderr, so
// that a pipe holds data alone.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli.hpp"
#include "json.hpp"
#include "table.hpp"

namespace headgate::cli {

// A value as a person reads it: text as it is, bytes as text where they are UTF-8 (else \x..),
// dates and numbers in their own form, the rest as JSON.
Cell cell_of(const msgpack::object& o);

// Rows that come in pieces: {columns, rows} first, then {rows}. JSON is one object that is written
// as it grows.
class RowsWriter {
 public:
  explicit RowsWriter(Format format) : format_(format) {}
  void piece(Bytes body);
  // After the last one. `meta` gives rows_affected and warnings.
  void end(const ReplyMeta& meta);

 private:
  void begin(const msgpack::object& columns);
  void row(const msgpack::object& r);
  Format format_;
  bool begun_ = false;
  bool has_rows_ = false;
  std::size_t count_ = 0;
  std::unique_ptr<Table> table_;
};

// A whole reply of any verb.
void print_reply(const Reply& reply, Format format);
// A piece of a stream of documents, keys or anything else: lines.
void print_piece(Bytes body, Format format);
void print_warnings(const ReplyMeta& meta);

}  // namespace headgate::cli
