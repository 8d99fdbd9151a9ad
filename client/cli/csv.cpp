#include "csv.hpp"

#include "cli.hpp"

namespace headgate::cli {

int CsvReader::get() {
  const int c = in_.rdbuf()->sbumpc();
  if (c == std::istream::traits_type::eof()) return -1;
  ++bytes_;
  if (c == '\n') ++line_;
  if (++size_ > kRecordMax) fail("a record of more than 16 MiB: is a quote missing?");
  return c;
}

void CsvReader::fail(const std::string& what) const {
  throw Usage(name_ + ":" + std::to_string(record_line_) + ": " + what);
}

// After the opening quote, up to and with the closing one.
void CsvReader::quoted(CsvField& field) {
  field.quoted = true;
  for (;;) {
    const int c = get();
    if (c < 0) fail("a quote is never closed");
    if (c != '"') {
      field.text += static_cast<char>(c);
    } else if (in_.rdbuf()->sgetc() == '"') {
      field.text += static_cast<char>(get());
    } else {
      return;
    }
  }
}

bool CsvReader::next(std::vector<CsvField>& record) {
  record.clear();
  size_ = 0;
  record_line_ = line_;
  if (bytes_ == 0) {
    for (const int mark : {0xef, 0xbb, 0xbf}) {
      if (in_.rdbuf()->sgetc() != mark) break;
      get();
    }
  }
  CsvField field;
  bool any = false;
  for (;;) {
    const int c = get();
    if (c < 0) {
      if (!any) return false;
      record.push_back(std::move(field));
      return true;
    }
    any = true;
    if (c == '\r' && in_.rdbuf()->sgetc() == '\n') continue;
    if (c == '\n') {
      const bool blank = record.empty() && field.text.empty() && !field.quoted;
      if (blank && !blank_is_record_) {
        any = false;
        record_line_ = line_;
        continue;
      }
      record.push_back(std::move(field));
      return true;
    }
    if (c == delimiter_) {
      record.push_back(std::move(field));
      field = {};
    } else if (c == '"') {
      if (!field.text.empty() || field.quoted) fail("a quote in the middle of a field");
      quoted(field);
    } else {
      if (field.quoted) fail("text after a closing quote");
      field.text += static_cast<char>(c);
    }
  }
}

}  // namespace headgate::cli
