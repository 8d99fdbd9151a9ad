// CsvReader reads RFC 4180 records as they come: quotes doubled, line ends inside quotes, CRLF or
// LF, a byte order mark skipped. Threads: main's. Memory: one record, at most kRecordMax bytes.
#pragma once
#include <cstdint>
#include <istream>
#include <string>
#include <vector>

namespace headgate::cli {

struct CsvField {
  std::string text;
  bool quoted = false;  // "" is an empty text; nothing at all may be a null
};

class CsvReader {
 public:
  static constexpr std::size_t kRecordMax = 16u << 20;

  CsvReader(std::istream& in, std::string name, char delimiter)
      : in_(in), name_(std::move(name)), delimiter_(delimiter) {}
  // The next record; false at the end. Throws Usage that names file and line.
  bool next(std::vector<CsvField>& record);
  // Whether a blank line is a record of one empty field, or nothing (the default).
  void blank_is_record(bool yes) { blank_is_record_ = yes; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t line() const { return record_line_; }  // where the record begins

 private:
  int get();
  [[noreturn]] void fail(const std::string& what) const;
  void quoted(CsvField& field);

  std::istream& in_;
  std::string name_;
  char delimiter_;
  std::uint64_t bytes_ = 0;
  std::uint64_t line_ = 1;
  std::uint64_t record_line_ = 1;
  std::size_t size_ = 0;
  bool blank_is_record_ = false;
};

}  // namespace headgate::cli
