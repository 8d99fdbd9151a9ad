#include "daemon/config/statements.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "daemon/config/tree.hpp"
#include "proto/cursor.hpp"
#include "proto/statements.hpp"

namespace headgate::config {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

std::string_view trim(std::string_view s) {
  const std::size_t from = s.find_first_not_of(kBlank);
  if (from == std::string_view::npos) return {};
  return s.substr(from, s.find_last_not_of(kBlank) - from + 1);
}

bool good_name(std::string_view s) {
  if (s.empty() || s.size() > 255) return false;
  return std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  });
}

// The name of a heading line (`-- name: x`), or nothing.
std::optional<std::string_view> heading(std::string_view line) {
  line = trim(line);
  if (!line.starts_with("--")) return std::nullopt;
  line = trim(line.substr(2));
  if (!line.starts_with("name:")) return std::nullopt;
  return trim(line.substr(5));
}

// The column of the first character that is no UTF-8 text, or 0.
std::uint32_t not_text(std::string_view line) {
  if (proto::valid_utf8(line) && line.find('\0') == std::string_view::npos) return 0;
  std::uint32_t column = 1;
  for (std::size_t at = 0; at < line.size(); ++column) {
    std::size_t size = 1;
    while (size <= 4 && !proto::valid_utf8(line.substr(at, size))) ++size;
    if (size > 4 || line[at] == '\0') return column;
    at += size;
  }
  return column;
}

class Parser {
 public:
  Parser(const std::string& file, std::vector<Statement>& into, std::vector<ConfigFault>& faults)
      : file_(file), into_(into), faults_(faults) {}

  void line(std::string_view text, std::uint32_t number) {
    if (const std::uint32_t column = not_text(text); column != 0) {
      fault({file_, number, column}, "expected text in UTF-8, without NUL");
    }
    if (const auto n = heading(text)) {
      finish();
      open_ = begun_ = true;
      current_ = {std::string(*n), {}, {file_, number, 1}};
      return;
    }
    if (open_) {
      if (begun_) before_text(text, number);
      current_.text += text;
      current_.text += '\n';
    } else if (const auto t = trim(text); !t.empty() && !t.starts_with("--")) {
      if (!stray_) fault({file_, number, 1}, "expected a heading `-- name: NAME` before any SQL");
      stray_ = true;
    }
  }
  void finish() {
    if (!open_) return;
    open_ = false;
    std::string_view text = trim(current_.text);
    while (text.ends_with(';')) text = trim(text.substr(0, text.size() - 1));
    if (!good_name(current_.name)) {
      return fault(current_.place,
                   "expected `-- name: NAME`, a word of letters, digits, '_', '.' and '-'");
    }
    if (only_comments(text)) {
      return fault(current_.place, "statement '" + current_.name + "' has no text");
    }
    if (const proto::Cut parts = proto::cut(text);
        parts.statements.size() + (parts.rest.empty() ? 0 : 1) > 1) {
      return fault(current_.place, "statement '" + current_.name +
                                       "': expected one statement; another one needs a heading "
                                       "`-- name: NAME` of its own");
    }
    const auto twin = std::find_if(into_.begin(), into_.end(),
                                   [&](const Statement& s) { return s.name == current_.name; });
    if (twin != into_.end()) {
      return fault(current_.place, "statement '" + current_.name + "' is already defined at " +
                                       twin->place.file_line());
    }
    if (into_.size() >= kStatementsMax) {
      return fault(current_.place,
                   "more than " + std::to_string(kStatementsMax) + " named statements");
    }
    current_.text = text;
    into_.push_back(std::move(current_));
  }

 private:
  static bool only_comments(std::string_view text) {
    while (!(text = trim(text)).empty()) {
      if (!text.starts_with("--")) return false;
      const std::size_t end = text.find('\n');
      text = end == std::string_view::npos ? std::string_view{} : text.substr(end);
    }
    return true;
  }
  // A line between a heading and its text: a comment that says something, or the text's first.
  void before_text(std::string_view text, std::uint32_t number) {
    const std::string_view whole = text;
    if ((text = trim(text)).empty()) return;
    begun_ = text.starts_with("--");
    if (!begun_ || !(text = trim(text.substr(2))).starts_with("access:")) return;
    text = trim(text.substr(7));
    if (text == "read" || text == "write") return;
    const char* at = text.empty() ? whole.data() + whole.size() : text.data();
    fault({file_, number, static_cast<std::uint32_t>(at - whole.data() + 1)},
          "expected `-- access: read` or `-- access: write`");
  }
  void fault(Place at, std::string what) { faults_.push_back({std::move(at), std::move(what)}); }

  const std::string& file_;
  std::vector<Statement>& into_;
  std::vector<ConfigFault>& faults_;
  Statement current_;
  bool open_ = false;
  bool begun_ = false;  // open_, and no text yet
  bool stray_ = false;
};

}  // namespace

void parse_statements(std::string_view text, const std::string& file, std::vector<Statement>& into,
                      std::vector<ConfigFault>& faults) {
  Parser parser(file, into, faults);
  std::uint32_t number = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    parser.line(text.substr(at, end - at), ++number);
    at = end + 1;
  }
  parser.finish();
}

void read_statements(const std::string& directory, std::vector<Statement>& into,
                     std::vector<ConfigFault>& faults) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<std::string> files;
  fs::directory_iterator entries(directory, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    if (entries->path().extension() == ".sql") files.push_back(entries->path().string());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    faults.push_back({{directory, 0, 0}, "cannot be read: " + error.message()});
    return;
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    std::ifstream in(file, std::ios::binary);
    std::string text(kFileMax + 1, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!in.is_open() || in.bad()) {
      faults.push_back({{file, 0, 0}, "cannot be read"});
      continue;
    }
    text.resize(static_cast<std::size_t>(in.gcount()));
    if (text.size() > kFileMax) {
      faults.push_back({{file, 0, 0}, "is larger than 4MiB"});
      continue;
    }
    parse_statements(text, file, into, faults);
  }
}

}  // namespace headgate::config
