// Writing and reading canonical Extended JSON; see document_json.hpp.
#include "plugins/sqlite/document_json.hpp"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "plugins/sqlite/document_error.hpp"
#include "proto/cursor.hpp"

namespace headgate::sqlite::doc {
namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void append_string(std::string& out, std::string_view s) {
  out += '"';
  std::size_t from = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(s, from, i - from);
    from = i + 1;
    out += '\\';
    switch (c) {
      case '"':
      case '\\':
        out += static_cast<char>(c);
        break;
      case '\n':
        out += 'n';
        break;
      case '\t':
        out += 't';
        break;
      case '\r':
        out += 'r';
        break;
      default:
        out += "u00";
        out += kHex[c >> 4];
        out += kHex[c & 15];
    }
  }
  out.append(s, from, s.size() - from);
  out += '"';
}

template <class T>
void append_number(std::string& out, T n) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, n).ptr;
  out.append(text, end);
}

void append_double(std::string& out, double d) {
  if (std::isnan(d))
    out += "NaN";
  else if (std::isinf(d))
    out += d < 0 ? "-Infinity" : "Infinity";
  else {
    const std::size_t from = out.size();
    append_number(out, d);
    if (out.find_first_of(".e", from) == std::string::npos) out += ".0";
  }
}

void append_base64(std::string& out, std::string_view s) {
  for (std::size_t i = 0; i < s.size(); i += 3) {
    const auto at = [&](std::size_t k) -> unsigned {
      return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0;
    };
    const unsigned n = at(0) << 16 | at(1) << 8 | at(2);
    out += kBase64[n >> 18];
    out += kBase64[n >> 12 & 63];
    out += i + 1 < s.size() ? kBase64[n >> 6 & 63] : '=';
    out += i + 2 < s.size() ? kBase64[n & 63] : '=';
  }
}

void append_hex(std::string& out, std::string_view s) {
  for (const char c : s) {
    out += kHex[static_cast<unsigned char>(c) >> 4];
    out += kHex[static_cast<unsigned char>(c) & 15];
  }
}

}  // namespace

void append_json(std::string& out, const Value& v) {
  switch (v.tag()) {
    case Tag::null:
      out += "null";
      break;
    case Tag::boolean:
      out += v.as_bool() ? "true" : "false";
      break;
    case Tag::string:
      append_string(out, v.text());
      break;
    case Tag::int32:
      out += R"({"$numberInt":")";
      append_number(out, v.as_int());
      out += "\"}";
      break;
    case Tag::int64:
      out += R"({"$numberLong":")";
      append_number(out, v.as_int());
      out += "\"}";
      break;
    case Tag::floating:
      out += R"({"$numberDouble":")";
      append_double(out, v.as_double());
      out += "\"}";
      break;
    case Tag::decimal:
      out += R"({"$numberDecimal":")" + v.as_decimal().text() + "\"}";
      break;
    case Tag::date:
      out += R"({"$date":{"$numberLong":")";
      append_number(out, v.as_int());
      out += "\"}}";
      break;
    case Tag::object_id:
      out += R"({"$oid":")";
      append_hex(out, v.text());
      out += "\"}";
      break;
    case Tag::binary:
      out += R"({"$binary":{"base64":")";
      append_base64(out, v.text());
      out += R"(","subType":")";
      append_hex(out, std::string(1, static_cast<char>(v.subtype())));
      out += "\"}}";
      break;
    case Tag::regex:
      out += R"({"$regularExpression":{"pattern":)";
      append_string(out, v.as_regex().pattern);
      out += R"(,"options":)";
      append_string(out, v.as_regex().options);
      out += "}}";
      break;
    case Tag::code:
      out += R"({"$code":)";
      append_string(out, v.text());
      out += '}';
      break;
    case Tag::timestamp:
      out += R"({"$timestamp":{"t":)";
      append_number(out, v.as_timestamp() >> 32);
      out += ",\"i\":";
      append_number(out, v.as_timestamp() & 0xffffffff);
      out += "}}";
      break;
    case Tag::undefined:
      out += R"({"$undefined":true})";
      break;
    case Tag::min_key:
      out += R"({"$minKey":1})";
      break;
    case Tag::max_key:
      out += R"({"$maxKey":1})";
      break;
    case Tag::array: {
      out += '[';
      bool first = true;
      for (const Value& e : v.items()) {
        if (!first) out += ',';
        first = false;
        append_json(out, e);
      }
      out += ']';
      break;
    }
    case Tag::object: {
      out += '{';
      bool first = true;
      for (const Field& f : v.fields()) {
        if (!first) out += ',';
        first = false;
        append_string(out, f.name);
        out += ':';
        append_json(out, f.value);
      }
      out += '}';
      break;
    }
  }
}

namespace {

[[noreturn]] void corrupt() { throw broken("a stored document is not canonical Extended JSON"); }

class Parser {
 public:
  explicit Parser(std::string_view s) : at_(s.data()), end_(s.data() + s.size()) {}

  Value document() {
    Value v = value();
    if (at_ != end_) corrupt();
    return v;
  }

 private:
  char peek() const { return at_ == end_ ? '\0' : *at_; }
  void need(char c) {
    if (peek() != c) corrupt();
    ++at_;
  }
  void need(std::string_view s) {
    if (static_cast<std::size_t>(end_ - at_) < s.size() ||
        std::memcmp(at_, s.data(), s.size()) != 0)
      corrupt();
    at_ += s.size();
  }

  Value value() {
    switch (peek()) {
      case '"':
        return Value::string(string());
      case '{':
        return object();
      case '[':
        return array();
      case 't':
        need("true");
        return Value::boolean(true);
      case 'f':
        need("false");
        return Value::boolean(false);
      case 'n':
        need("null");
        return {};
      default:
        corrupt();
    }
  }

  void enter() {
    if (++depth_ > 2 * kNestingMax) corrupt();
  }

  Value array() {
    enter();
    Array out;
    need('[');
    if (peek() != ']') {
      out.push_back(value());
      while (peek() == ',') {
        ++at_;
        out.push_back(value());
      }
    }
    need(']');
    --depth_;
    return Value::array(std::move(out));
  }

  Value object() {
    need('{');
    Object out;
    if (peek() == '}') {
      ++at_;
      return Value::object();
    }
    enter();
    while (true) {
      std::string name = string();
      need(':');
      if (out.empty() && name.size() > 1 && name[0] == '$') {
        std::optional<Value> special = wrapper(name);
        if (special) {
          need('}');
          --depth_;
          return std::move(*special);
        }
      }
      out.push_back({std::move(name), value()});
      if (peek() != ',') break;
      ++at_;
    }
    need('}');
    --depth_;
    return Value::object(std::move(out));
  }

  // After `{"$name":`. Nothing: an ordinary field ($ref, $id, $db of a DBRef).
  std::optional<Value> wrapper(std::string_view name) {
    if (name == "$numberInt") {
      const auto n = number<std::int32_t>(string());
      return Value::int32(n);
    }
    if (name == "$numberLong") return Value::int64(number<std::int64_t>(string()));
    if (name == "$numberDouble") return Value::floating(real(string()));
    if (name == "$oid") {
      std::string id = unhex(string());
      if (id.size() != 12) corrupt();
      return Value::object_id(std::move(id));
    }
    if (name == "$date") {
      need(R"({"$numberLong":)");
      const auto ms = number<std::int64_t>(string());
      need('}');
      return Value::date(ms);
    }
    if (name == "$numberDecimal") {
      const std::optional<Decimal> d = Decimal::parse(string());
      if (!d) corrupt();
      return Value::decimal(*d);
    }
    if (name == "$binary") return binary();
    if (name == "$regularExpression") {
      Regex r;
      need(R"({"pattern":)");
      r.pattern = string();
      need(R"(,"options":)");
      r.options = string();
      need('}');
      return Value::regex(std::move(r));
    }
    if (name == "$timestamp") {
      need(R"({"t":)");
      const auto t = digits();
      need(R"(,"i":)");
      const auto i = digits();
      need('}');
      return Value::timestamp(t << 32 | i);
    }
    if (name == "$code") return Value::code(string());
    if (name == "$minKey" || name == "$maxKey") {
      need('1');
      return Value::plain(name == "$minKey" ? Tag::min_key : Tag::max_key);
    }
    if (name == "$undefined") {
      need("true");
      return Value::plain(Tag::undefined);
    }
    return std::nullopt;
  }

  Value binary() {
    need(R"({"base64":)");
    std::string bytes = unbase64(string());
    need(R"(,"subType":)");
    const std::string subtype = unhex(string());
    need('}');
    if (subtype.size() != 1) corrupt();
    return Value::binary(std::move(bytes), static_cast<std::uint8_t>(subtype[0]));
  }

  std::uint64_t digits() {
    std::uint32_t n = 0;
    const auto r = std::from_chars(at_, end_, n);
    if (r.ec != std::errc{}) corrupt();
    at_ = r.ptr;
    return n;
  }

  template <class T>
  static T number(const std::string& s) {
    T n{};
    const auto r = std::from_chars(s.data(), s.data() + s.size(), n);
    if (r.ec != std::errc{} || r.ptr != s.data() + s.size()) corrupt();
    return n;
  }

  static double real(const std::string& s) {
    if (s == "NaN") return std::numeric_limits<double>::quiet_NaN();
    if (s == "Infinity") return HUGE_VAL;
    if (s == "-Infinity") return -HUGE_VAL;
    return number<double>(s);
  }

  static std::string unhex(const std::string& s) {
    if (s.size() % 2 != 0) corrupt();
    std::string out;
    for (std::size_t i = 0; i < s.size(); i += 2) {
      const char* hi = std::strchr(kHex, s[i]);
      const char* lo = std::strchr(kHex, s[i + 1]);
      if (hi == nullptr || lo == nullptr || *hi == 0 || *lo == 0) corrupt();
      out += static_cast<char>((hi - kHex) << 4 | (lo - kHex));
    }
    return out;
  }

  static std::string unbase64(const std::string& s) {
    if (s.size() % 4 != 0) corrupt();
    std::string out;
    for (std::size_t i = 0; i < s.size(); i += 4) {
      unsigned n = 0;
      int pad = 0;
      for (std::size_t k = 0; k < 4; ++k) {
        const char c = s[i + k];
        const char* at = c == '=' || c == '\0' ? nullptr : std::strchr(kBase64, c);
        if (c == '=' && i + 4 == s.size() && k >= 2)
          ++pad;
        else if (at == nullptr || pad > 0)
          corrupt();
        n = n << 6 | (at == nullptr ? 0u : static_cast<unsigned>(at - kBase64));
      }
      const char bytes[] = {static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                            static_cast<char>(n)};
      out.append(bytes, static_cast<std::size_t>(3 - pad));
    }
    return out;
  }

  std::string string() {
    need('"');
    std::string out;
    while (true) {
      const char* from = at_;
      while (at_ != end_ && *at_ != '"' && *at_ != '\\') ++at_;
      out.append(from, at_);
      if (at_ == end_) corrupt();
      if (*at_++ == '"') return out;
      switch (peek()) {
        case '"':
        case '\\':
        case '/':
          out += *at_;
          break;
        case 'n':
          out += '\n';
          break;
        case 't':
          out += '\t';
          break;
        case 'r':
          out += '\r';
          break;
        case 'u': {
          if (end_ - at_ < 5 || at_[1] != '0' || at_[2] != '0') corrupt();
          out += unhex(std::string(at_ + 3, 2));
          at_ += 4;
          break;
        }
        default:
          corrupt();
      }
      ++at_;
    }
  }

  const char* at_;
  const char* end_;
  int depth_ = 0;
};

}  // namespace

Value parse_json(std::string_view text) { return Parser(text).document(); }

}  // namespace headgate::sqlite::doc
