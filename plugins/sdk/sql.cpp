#include "plugins/sdk/sql.hpp"

#include <algorithm>

namespace headgate::sdk {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

}  // namespace

std::string copy_out_text(const Fields& f, std::string (*quote_column)(std::string_view),
                          std::string (*quote_table)(std::string_view)) {
  if (f.has("sql") == f.has("table")) throw invalid("copy_out: give either `table` or `sql`");
  if (f.has("sql")) {
    if (f.has("columns")) throw invalid("copy_out: `columns` go with `table`");
    return std::string(f.str("sql"));
  }
  std::string text = "SELECT ";
  if (f.raw("columns").empty()) {
    text += "*";
  } else {
    proto::Cursor c = f.at("columns");
    const std::uint32_t n = c.read_array();
    if (!c.ok() || n == 0) throw f.wrong("columns", "a list of names");
    for (std::uint32_t i = 0; i < n; ++i) {
      text += (i > 0 ? ", " : "") + quote_column(c.read_str());
      if (!c.ok()) throw f.wrong("columns", "a list of names");
    }
  }
  return text + " FROM " + quote_table(f.str("table"));
}

std::uint64_t sql_digest(std::string_view s) {
  while (!s.empty() && (is_space(s.back()) || s.back() == ';')) s.remove_suffix(1);
  std::uint64_t h = 0xcbf29ce484222325ULL;  // FNV-1a
  const auto put = [&h](char c) { h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL; };
  char before = ' ';
  for (std::size_t i = 0; i < s.size();) {
    const char c = s[i];
    if (c == '\'') {
      for (++i; i < s.size(); ++i)
        if (s[i] == '\'' && !(i + 1 < s.size() && s[i + 1] == '\'' && ++i < s.size())) break;
      ++i;
      put(before = '?');
    } else if (c == '-' && s.substr(i, 2) == "--") {
      i = std::min(s.find('\n', i), s.size());
    } else if (c == '/' && s.substr(i, 2) == "/*") {
      const std::size_t end = s.find("*/", i + 2);
      i = end == std::string_view::npos ? s.size() : end + 2;
    } else if (is_digit(c) && !is_word(before) && before != '?') {
      while (i < s.size() && (is_word(s[i]) || s[i] == '.')) ++i;
      put(before = '?');
    } else if (is_space(c) || c == ';') {
      if (before != ' ') put(before = ' ');
      ++i;
    } else {
      put(before = c);
      ++i;
    }
  }
  return h;
}

}  // namespace headgate::sdk
