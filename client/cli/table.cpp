#include "table.hpp"

#include <cwchar>

namespace headgate::cli {
namespace {

struct Decoded {
  char32_t code = 0;
  std::size_t size = 0;  // 0: no UTF-8
};

Decoded decode(std::string_view s) {
  std::mbstate_t state{};
  wchar_t wide = 0;
  const std::size_t n = std::mbrtowc(&wide, s.data(), s.size(), &state);
  if (n == static_cast<std::size_t>(-1) || n == static_cast<std::size_t>(-2)) return {};
  return {static_cast<char32_t>(wide), n == 0 ? 1 : n};
}

bool bidirectional(char32_t c) {
  return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x200e || c == 0x200f;
}

std::string csv_field(std::string_view text) {
  if (!text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos) {
    return std::string(text);
  }
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Decoded d = decode(text);
    const int w = d.size == 0 ? 1 : ::wcwidth(static_cast<wchar_t>(d.code));
    width += w > 0 ? static_cast<std::size_t>(w) : 0;
    text.remove_prefix(d.size == 0 ? 1 : d.size);
  }
  return width;
}

std::string visible(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Decoded d = decode(text);
    char escaped[16];
    if (d.size == 0) {
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(text[0]));
      out += escaped;
    } else if (d.code == '\n' || d.code == '\r' || d.code == '\t') {
      out += d.code == '\n' ? "\\n" : d.code == '\r' ? "\\r" : "\\t";
    } else if (d.code < 0x20 || (d.code >= 0x7f && d.code < 0xa0)) {
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(d.code));
      out += escaped;
    } else if (bidirectional(d.code) || d.code == 0x2028 || d.code == 0x2029) {
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(d.code));
      out += escaped;
    } else {
      out.append(text.substr(0, d.size));
    }
    text.remove_prefix(d.size == 0 ? 1 : d.size);
  }
  return out;
}

Table::Table(std::vector<std::string> columns, std::FILE* out) : out_(out) {
  for (const std::string& c : columns) columns_.push_back(visible(c));
  for (const std::string& c : columns_) widths_.push_back(display_width(c));
  right_.assign(columns_.size(), true);
}

void Table::add(Row row) {
  row.resize(columns_.size());
  for (Cell& c : row) c.text = visible(c.text);
  ++count_;
  if (begun_) return write(row);
  for (std::size_t i = 0; i < row.size(); ++i) {
    widths_[i] = std::max(widths_[i], display_width(row[i].text));
    if (!row[i].right && !row[i].null) right_[i] = false;
  }
  held_.push_back(std::move(row));
  if (held_.size() == kMeasured) begin();
}

std::size_t Table::end() {
  if (!begun_) begin();
  return count_;
}

void Table::begin() {
  begun_ = true;
  if (held_.empty()) right_.assign(columns_.size(), false);
  std::string rule;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const bool last = i + 1 == columns_.size();
    pad({columns_[i], right_[i], false}, i, last);
    for (std::size_t k = 0; k < widths_[i]; ++k) rule += "\xe2\x94\x80";
    if (!last) rule += "  ";
  }
  std::fprintf(out_, "\n%s\n", rule.c_str());
  for (const Row& r : held_) write(r);
  held_.clear();
}

void Table::write(const Row& row) {
  for (std::size_t i = 0; i < row.size(); ++i) pad(row[i], i, i + 1 == row.size());
  std::fputc('\n', out_);
}

void Table::pad(const Cell& cell, std::size_t column, bool last) {
  const std::size_t width = display_width(cell.text);
  const int space = width < widths_[column] ? static_cast<int>(widths_[column] - width) : 0;
  if (right_[column]) std::fprintf(out_, "%*s", space, "");
  std::fwrite(cell.text.data(), 1, cell.text.size(), out_);
  if (!right_[column] && !last) std::fprintf(out_, "%*s", space, "");
  if (!last) std::fputs("  ", out_);
}

std::string csv_line(const Row& row) {
  std::string out;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i > 0) out += ',';
    if (!row[i].null) out += csv_field(row[i].text);
  }
  return out + "\r\n";
}
std::string csv_line(const std::vector<std::string>& texts) {
  Row row;
  for (const std::string& t : texts) row.push_back({t, false, false});
  return csv_line(row);
}

}  // namespace headgate::cli
