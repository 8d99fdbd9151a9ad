// `headgate sql STORE --import FILE --into TABLE`: a CSV file as one upload, all rows or none.
//
// A cell becomes a number where the table's column says so and the text is one exactly; else it is
// text, for the store to judge. Ctrl-C cancels the upload: nothing is applied.
#include "import.hpp"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "cli.hpp"
#include "csv.hpp"
#include "json.hpp"
#include "output.hpp"

namespace headgate::cli {
namespace {

constexpr std::size_t kPieceBytes = 128u << 10;
constexpr std::uint32_t kPieceRows = 10'000;

std::vector<std::string> split_names(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    out.push_back(list.substr(at, comma - at));
    if (out.back().empty()) throw Usage("--columns: expected names with commas between them");
    at = comma + 1;
  }
  return out;
}

// A bar on stderr, at most ten times a second, only for a person.
class Progress {
 public:
  explicit Progress(std::uint64_t total) : total_(total), shown_(::isatty(2) != 0) {}
  ~Progress() {
    if (drawn_) std::fputs("\r\x1b[K", stderr);
  }
  void at(std::uint64_t bytes, std::uint64_t rows) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    drawn_ = true;
    std::fputs(progress_line(bytes, total_, rows).c_str(), stderr);
  }

 private:
  std::uint64_t total_;
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

// The kind of each column, by the store's own words for its type.
std::vector<ColumnKind> kinds_of(Session& s, const SqlArgs& a,
                                 const std::vector<std::string>& names) {
  const Reply r = s.done(a.store, "columns", pack(Doc("table", a.into)), s.call_options());
  const msgpack::object_handle h = detail::parse(r.body());
  std::vector<std::pair<std::string, ColumnKind>> table;
  const msgpack::object* rows = detail::field(h.get(), "rows");
  if (rows != nullptr && rows->type == msgpack::type::ARRAY) {
    for (std::uint32_t i = 0; i < rows->via.array.size; ++i) {
      const msgpack::object& row = rows->via.array.ptr[i];
      if (row.type != msgpack::type::ARRAY || row.via.array.size < 2) continue;
      table.emplace_back(cell_of(row.via.array.ptr[0]).text,
                         column_kind(cell_of(row.via.array.ptr[1]).text));
    }
  }
  if (table.empty()) throw Usage("store " + a.store + " has no table " + a.into);
  std::vector<ColumnKind> out;
  if (names.empty()) {
    for (const auto& [name, kind] : table) out.push_back(kind);
    return out;
  }
  for (const std::string& n : names) {
    const auto found =
        std::find_if(table.begin(), table.end(), [&](const auto& c) { return c.first == n; });
    if (found == table.end()) throw Usage("table " + a.into + " has no column " + n);
    out.push_back(found->second);
  }
  return out;
}

class Piece {
 public:
  Packer& packer() { return packer_; }
  void end_row() { ++rows_; }
  [[nodiscard]] bool full() const {
    return rows_ >= kPieceRows || buffer_.view().size() >= kPieceBytes;
  }
  [[nodiscard]] bool empty() const { return rows_ == 0; }
  std::vector<std::uint8_t> take() {
    Buffer whole;
    Packer(whole).pack_array(rows_);
    whole.write(reinterpret_cast<const char*>(buffer_.view().data()), buffer_.view().size());
    buffer_.clear();
    rows_ = 0;
    return whole.take();
  }

 private:
  Buffer buffer_;
  Packer packer_{buffer_};
  std::uint32_t rows_ = 0;
};

}  // namespace

ColumnKind column_kind(std::string_view type) {
  std::string t(type);
  for (char& c : t) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  const auto has = [&](std::string_view w) { return t.find(w) != std::string::npos; };
  if (has("INTERVAL") || has("POINT")) return ColumnKind::text;
  if (has("INT") || has("SERIAL")) return ColumnKind::integer;
  if (has("REAL") || has("FLOA") || has("DOUB")) return ColumnKind::real;
  if (has("BOOL")) return ColumnKind::boolean;
  return ColumnKind::text;
}

void pack_cell(Packer& p, const CsvField& cell, ColumnKind kind, const std::string& null) {
  if (!cell.quoted && cell.text == null) {
    p.pack_nil();
    return;
  }
  const char* end = cell.text.data() + cell.text.size();
  if (kind == ColumnKind::integer) {
    std::int64_t n = 0;
    const auto r = std::from_chars(cell.text.data(), end, n);
    if (r.ec == std::errc{} && r.ptr == end) return static_cast<void>(p.pack(n));
  }
  if (kind == ColumnKind::real) {
    double n = 0;
    const auto r = std::from_chars(cell.text.data(), end, n);
    if (r.ec == std::errc{} && r.ptr == end && std::isfinite(n)) return pack_real(p, n);
  }
  if (kind == ColumnKind::boolean && (cell.text == "true" || cell.text == "false")) {
    return static_cast<void>(p.pack(cell.text == "true"));
  }
  p.pack(cell.text);
}

std::string progress_line(std::uint64_t bytes, std::uint64_t total, std::uint64_t rows) {
  constexpr std::size_t kWidth = 30;
  char text[160];
  if (total == 0) {
    std::snprintf(text, sizeof text, "\r%llu rows", static_cast<unsigned long long>(rows));
    return text;
  }
  const double share = std::min(1.0, static_cast<double>(bytes) / static_cast<double>(total));
  const auto full = static_cast<std::size_t>(share * kWidth);
  std::snprintf(text, sizeof text, "\r[%s%s] %3d %%  %llu rows", std::string(full, '#').c_str(),
                std::string(kWidth - full, ' ').c_str(), static_cast<int>(share * 100),
                static_cast<unsigned long long>(rows));
  return text;
}

int run_import(Session& s, const SqlArgs& a) {
  if (a.into.empty()) throw Usage("--import needs --into TABLE");
  std::ifstream file;
  std::uint64_t total = 0;
  if (a.import != "-") {
    file.open(a.import, std::ios::binary);
    if (!file) throw Usage(a.import + " cannot be read: " + std::strerror(errno));
    std::error_code ignored;
    total = std::filesystem::file_size(a.import, ignored);
    if (ignored) total = 0;
  }
  CsvReader csv(a.import == "-" ? std::cin : file, a.import, a.delimiter);
  std::vector<CsvField> record;
  std::vector<std::string> columns;
  if (!a.columns.empty()) columns = split_names(a.columns);
  if (!a.no_header) {
    if (!csv.next(record)) throw Usage(a.import + " is empty");
    if (columns.empty()) {
      for (const CsvField& f : record) columns.push_back(f.text);
    }
  }
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (std::find(columns.begin(), columns.begin() + static_cast<std::ptrdiff_t>(i), columns[i]) !=
        columns.begin() + static_cast<std::ptrdiff_t>(i))
      throw Usage(a.import + ": column " + columns[i] + " is named twice");
  }
  const std::vector<ColumnKind> kinds = kinds_of(s, a, columns);
  csv.blank_is_record(kinds.size() == 1);  // its only cell is NULL, as an export writes it
  Doc target("table", a.into);
  if (!columns.empty()) target.add("columns", columns);

  Upload upload = s.client().upload(a.store, "copy_in", pack(target), s.call_options(a.words));
  const Interrupt::During during(s.interrupt(), [&upload] { upload.cancel(); });
  Piece piece;
  std::uint64_t rows = 0;
  {
    Progress progress(total);
    while (csv.next(record)) {
      if (record.size() != kinds.size()) {
        throw Usage(a.import + ":" + std::to_string(csv.line()) + ": expected " +
                    std::to_string(kinds.size()) + " fields, found " +
                    std::to_string(record.size()) + "; nothing was imported");
      }
      piece.packer().pack_array(static_cast<std::uint32_t>(record.size()));
      for (std::size_t i = 0; i < record.size(); ++i) {
        pack_cell(piece.packer(), record[i], kinds[i], a.null);
      }
      piece.end_row();
      ++rows;
      if (piece.full()) upload.send(piece.take());
      progress.at(csv.bytes(), rows);
    }
    if (!piece.empty()) upload.send(piece.take());
  }
  const Reply r = upload.finish();
  RowsWriter out(s.options().format);
  out.piece(r.body());
  out.end(r.meta);
  return kOk;
}

}  // namespace headgate::cli
