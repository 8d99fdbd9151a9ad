// Values as PostgreSQL prints them: written again here, from its documentation, as the second
// opinion on what the codec decodes.
#include <charconv>

#include "proto/values.hpp"
#include "tests/unit/postgres_wire/support.hpp"

namespace headgate::postgres::wire::test {
namespace {

template <class T>
std::string ext_text(const proto::Item& it) {
  T v;
  if (!proto::read(it, &v)) throw std::runtime_error("an ext value that is not in its form");
  return proto::to_text(v);
}

template <class Float>
std::string float_text(Float v) {
  if (v != v) return "NaN";
  if (v - v != 0) return v > 0 ? "Infinity" : "-Infinity";
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, v).ptr};
}

// 2026-01-31T08:15:00.5Z -> 2026-01-31 08:15:00.5+00; astronomical years -> BC.
std::string wall(std::string s) {
  if (s == "infinity" || s == "-infinity") return s;
  const bool negative = s[0] == '-';
  if (negative || s[0] == '+') s.erase(0, 1);
  const std::size_t dash = s.find('-');
  int year = std::stoi(s.substr(0, dash)) * (negative ? -1 : 1);
  const bool bc = year <= 0;
  if (bc) year = 1 - year;
  std::string digits = std::to_string(year);
  while (digits.size() < 4) digits.insert(0, "0");
  s = digits + s.substr(dash);
  if (const std::size_t t = s.find('T'); t != std::string::npos) s[t] = ' ';
  if (s.back() == 'Z') s.replace(s.size() - 1, 1, "+00");
  return bc ? s + " BC" : s;
}

// +01:00 -> +01
std::string short_offset(std::string s) {
  if (s.size() >= 6 && s.ends_with(":00") && (s[s.size() - 6] == '+' || s[s.size() - 6] == '-'))
    s.resize(s.size() - 3);
  return s;
}

std::string quoted(const std::string& s, std::string_view specials, bool doubled) {
  const bool null = s.size() == 4 && (s == "NULL" || s == "null");
  bool needed = s.empty() || (!doubled && null);
  std::string inside;
  for (const char c : s) {
    needed = needed || specials.find(c) != std::string_view::npos || (c >= '\t' && c <= '\r') ||
             c == ' ' || c == '"' || c == '\\';
    if (c == '"' || c == '\\') inside += doubled ? c : '\\';
    inside += c;
  }
  return needed ? "\"" + inside + "\"" : s;
}

std::string list_text(const Type& type, proto::Cursor& c) {
  std::string out = "{";
  const std::uint32_t n = c.read_array();
  for (std::uint32_t i = 0; i < n; ++i) {
    if (i != 0) out += ',';
    if (c.read_nil())
      out += "NULL";
    else if (c.peek() == proto::Type::array && type.element->codec != Codec::multirange)
      out += list_text(type, c);
    else
      out += quoted(pg_text(*type.element, c), "{},", false);
  }
  return out + "}";
}

std::string range_text(const Type& type, proto::Cursor& c) {
  if (c.read_map() != 3 || c.read_str() != "lower") throw std::runtime_error("no range");
  std::string bound[2];
  for (int i = 0; i < 2; ++i) {
    if (i == 1 && c.read_str() != "upper") throw std::runtime_error("no upper");
    if (!c.read_nil()) bound[i] = quoted(pg_text(*type.element, c), "()[],", true);
  }
  if (c.read_str() != "bounds") throw std::runtime_error("no bounds");
  const std::string b(c.read_str());
  return b == "empty" ? b : b.substr(0, 1) + bound[0] + "," + bound[1] + b.substr(1);
}

std::string multirange_text(const Type& type, proto::Cursor& c) {
  std::string out = "{";
  const std::uint32_t n = c.read_array();
  for (std::uint32_t i = 0; i < n; ++i) out += (i == 0 ? "" : ",") + range_text(*type.element, c);
  return out + "}";
}

std::string composite_text(const Type& type, proto::Cursor& c) {
  std::string out = "(";
  if (c.read_map() != type.members.size()) throw std::runtime_error("no composite");
  for (const Type::Member& m : type.members) {
    if (&m != type.members.data()) out += ',';
    if (c.read_str() != m.name) throw std::runtime_error("another column");
    if (!c.read_nil()) out += quoted(pg_text(*m.type, c), "(),", true);
  }
  return out + ")";
}

std::string vector_text(const Type& type, proto::Cursor& c) {
  std::string out;
  const std::uint32_t n = c.read_array();
  for (std::uint32_t i = 0; i < n; ++i) out += (i == 0 ? "" : " ") + pg_text(*type.element, c);
  return out;
}

std::string item_text(const Type& type, const proto::Item& it) {
  switch (it.type) {
    case proto::Type::boolean:
      return it.boolean ? "t" : "f";
    case proto::Type::uint:
      return std::to_string(it.uint);
    case proto::Type::sint:
      return std::to_string(it.sint);
    case proto::Type::float32:
      return float_text(static_cast<float>(it.real));
    case proto::Type::float64:
      return float_text(it.real);
    case proto::Type::str:
      return std::string(proto::text_of(it.bytes));
    case proto::Type::bin:
      return "\\x" + to_hex(it.bytes);
    case proto::Type::ext:
      break;
    default:
      throw std::runtime_error("an unexpected value of type " + type.name);
  }
  switch (static_cast<proto::Ext>(it.ext)) {
    case proto::Ext::timestamp:
      return wall(ext_text<proto::Timestamp>(it));
    case proto::Ext::decimal:
      return ext_text<proto::Decimal>(it);
    case proto::Ext::date:
      return wall(ext_text<proto::Date>(it));
    case proto::Ext::time:
      return short_offset(ext_text<proto::TimeOfDay>(it));
    case proto::Ext::local_timestamp:
      return wall(ext_text<proto::LocalTimestamp>(it));
    case proto::Ext::interval:
      return ext_text<proto::Interval>(it);
    case proto::Ext::uuid:
      return ext_text<proto::Uuid>(it);
    case proto::Ext::json:
      return std::string(proto::text_of(it.bytes));
    default:
      throw std::runtime_error("an unexpected ext value");
  }
}

}  // namespace

std::string pg_text(const Type& type, proto::Cursor& c) {
  switch (type.codec) {
    case Codec::array:
      return list_text(type, c);
    case Codec::multirange:
      return multirange_text(type, c);
    case Codec::vector:
      return vector_text(type, c);
    case Codec::range:
      return range_text(type, c);
    case Codec::composite:
      return composite_text(type, c);
    default:
      return item_text(type, c.next());
  }
}

}  // namespace headgate::postgres::wire::test
