// Tables for people: columns aligned by what a terminal shows, not by bytes; and CSV for programs.
//
// Threads: main's. Rows may come in pieces: widths are those of the first kMeasured rows, and a
// longer cell of a later row pushes its line to the right rather than being cut.
#pragma once
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace headgate::cli {

inline constexpr std::size_t kMeasured = 1000;

// Columns of a terminal that the text takes. REQUIRES: setlocale() with a UTF-8 locale.
std::size_t display_width(std::string_view text);
// The text with line ends, control characters and bytes that are no UTF-8 made visible, so that a
// value can neither break the table nor speak to the terminal.
std::string visible(std::string_view text);

struct Cell {
  std::string text;
  bool right = false;  // numbers
  bool null = false;
};
using Row = std::vector<Cell>;

class Table {
 public:
  explicit Table(std::vector<std::string> columns, std::FILE* out = stdout);
  void add(Row row);
  // Writes what is still held. The number of rows in all.
  std::size_t end();

 private:
  void begin();
  void write(const Row& row);
  void pad(const Cell& cell, std::size_t column, bool last);

  std::vector<std::string> columns_;
  std::FILE* out_;
  std::vector<Row> held_;
  std::vector<std::size_t> widths_;
  std::vector<bool> right_;
  std::size_t count_ = 0;
  bool begun_ = false;
};

// One record of CSV (RFC 4180), line end included. A null is empty and an empty text is "".
std::string csv_line(const Row& row);
std::string csv_line(const std::vector<std::string>& texts);

}  // namespace headgate::cli
