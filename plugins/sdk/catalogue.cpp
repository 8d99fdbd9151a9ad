#include "plugins/sdk/catalogue.hpp"

namespace headgate::sdk {
namespace {

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\r'))
    s.remove_suffix(1);
  return s;
}

NamedStatement read_named(std::string_view name, std::string_view text) {
  NamedStatement out{std::string(text)};
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = trimmed(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (line.empty()) continue;
    if (!line.starts_with("--")) break;
    line = trimmed(line.substr(2));
    if (line == "shared") out.shared = true;
    if (!line.starts_with("access:")) continue;
    const std::string_view word = trimmed(line.substr(7));
    if (word == "read")
      out.access = StatementAccess::read;
    else if (word == "write")
      out.access = StatementAccess::write;
    else
      throw invalid("statement `" + std::string(name) + "`: access must be read or write");
  }
  return out;
}

}  // namespace

Catalogue::Catalogue(Bytes statements) {
  if (statements.empty()) return;
  proto::Cursor c(statements);
  const std::uint32_t n = c.read_map();
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::string_view name = c.read_str();
    const std::string_view text = c.read_str();
    if (!c.ok()) throw invalid("the named statements are no map of texts");
    statements_.insert_or_assign(std::string(name), read_named(name, text));
  }
}

const NamedStatement& Catalogue::find(std::string_view name) const {
  const auto it = statements_.find(name);
  if (it == statements_.end())
    throw Error(Code::not_found, Outcome::not_sent,
                "no statement is named `" + std::string(name.substr(0, 64)) + "`");
  return it->second;
}

}  // namespace headgate::sdk
