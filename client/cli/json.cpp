#include "json.hpp"

#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "cli.hpp"

namespace headgate::cli {
namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::size_t kIntegerDigitsMax = 20'000;  // what {"$integer": ...} reads

// The library's own reader of trees, but for integers that would become doubles, and for keys that
// stand twice in one object, of which it would take the last.
class Exact : public nlohmann::detail::json_sax_dom_parser<Json> {
 public:
  using json_sax_dom_parser::json_sax_dom_parser;
  bool number_float(double v, const std::string& text) {
    if (text.find_first_of(".eE") == std::string::npos) {
      throw Usage("the integer " + text + " has more than 64 bits: write {\"$integer\": \"" + text +
                  "\"}");
    }
    return json_sax_dom_parser::number_float(v, text);
  }
  bool start_object(std::size_t size) {
    keys_.emplace_back();
    return json_sax_dom_parser::start_object(size);
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second)
      throw Usage("the key " + Json(name).dump() + " stands twice in one JSON object");
    return json_sax_dom_parser::key(name);
  }
  bool end_object() {
    keys_.pop_back();
    return json_sax_dom_parser::end_object();
  }

 private:
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

std::string hex(Bytes b) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t c : b) {
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

std::string_view text_of(const msgpack::object_ext& e) { return {e.data(), e.size}; }

// A big-endian two's complement number in decimal digits.
std::string decimal_of(Bytes bytes) {
  const bool negative = !bytes.empty() && (bytes[0] & 0x80) != 0;
  std::vector<std::uint32_t> limbs;  // little endian magnitude
  unsigned carry = negative ? 1 : 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::uint8_t b = bytes[bytes.size() - 1 - i];
    carry += negative ? static_cast<std::uint8_t>(~b) : b;
    if (i % 4 == 0) limbs.push_back(0);
    limbs.back() |= (carry & 0xff) << (8 * (i % 4));
    carry >>= 8;
  }
  std::string digits;
  while (!limbs.empty()) {
    constexpr std::uint64_t kBillion = 1'000'000'000;
    std::uint64_t rest = 0;
    for (std::size_t i = limbs.size(); i-- > 0;) {
      rest = rest << 32 | limbs[i];
      limbs[i] = static_cast<std::uint32_t>(rest / kBillion);
      rest %= kBillion;
    }
    while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
    for (int i = 0; i < 9; ++i, rest /= 10) digits += static_cast<char>('0' + rest % 10);
  }
  while (digits.size() > 1 && digits.back() == '0') digits.pop_back();
  if (digits.empty()) digits = "0";
  if (negative) digits += '-';
  return {digits.rbegin(), digits.rend()};
}

template <class T>
Json tagged(const char* key, const msgpack::object& o) {
  T v;
  if (!detail::read_ext(detail::item_of(o), &v)) return nullptr;
  return Json{{key, proto::to_text(v)}};
}

Json ext_to_json(const msgpack::object& o) {
  const auto type = static_cast<proto::Ext>(o.via.ext.type());
  const proto::Item item = detail::item_of(o);
  Json out;
  switch (type) {
    case proto::Ext::timestamp:
      out = tagged<Timestamp>("$date", o);
      break;
    case proto::Ext::date:
      out = tagged<Date>("$day", o);
      break;
    case proto::Ext::time:
      out = tagged<TimeOfDay>("$time", o);
      break;
    case proto::Ext::local_timestamp:
      out = tagged<LocalTimestamp>("$localDate", o);
      break;
    case proto::Ext::interval:
      out = tagged<Interval>("$interval", o);
      break;
    case proto::Ext::uuid:
      out = tagged<Uuid>("$uuid", o);
      break;
    case proto::Ext::decimal: {
      proto::Decimal v;
      if (read(item, &v)) out = Json{{"$decimal", proto::to_text(v)}};
      break;
    }
    case proto::Ext::json:
      out = Json{{"$json", text_of(o.via.ext)}};
      break;
    case proto::Ext::big_integer: {
      proto::BigInteger v;
      if (read(item, &v)) out = Json{{"$integer", decimal_of(v.bytes)}};
      break;
    }
    case proto::Ext::bson_value: {
      proto::BsonValue v;
      if (!read(item, &v)) break;
      if (v.type == 7) {
        out = Json{{"$oid", hex(v.bytes)}};
      } else {
        const std::string_view bytes(reinterpret_cast<const char*>(v.bytes.data()), v.bytes.size());
        out = Json{{"$bson", {{"type", v.type}, {"base64", base64(bytes)}}}};
      }
      break;
    }
    case proto::Ext::bson_document:
      out = Json{{"$rawBson", base64(text_of(o.via.ext))}};
      break;
  }
  if (!out.is_null()) return out;
  return Json{{"$ext", {{"type", o.via.ext.type()}, {"base64", base64(text_of(o.via.ext))}}}};
}

[[noreturn]] void refuse(const std::string& key, std::string_view form) {
  throw Usage("{\"" + key + "\": ...}: expected " + std::string(form));
}

const std::string& text(const std::string& key, const Json& v, std::string_view form) {
  if (!v.is_string()) refuse(key, form);
  return v.get_ref<const std::string&>();
}

template <class T, class Parse>
void pack_parsed(Packer& p, const std::string& key, const Json& v, std::string_view form,
                 Parse parse) {
  const auto value = parse(text(key, v, form));
  if (!value) refuse(key, form);
  p.pack(static_cast<const T&>(*value));
}

void pack_bytes(Packer& p, std::string bytes) { p.pack(Binary{std::move(bytes)}); }

std::vector<std::uint8_t> octets(const std::string& s) { return {s.begin(), s.end()}; }

// Two's complement, as few bytes as it takes, of a decimal integer.
void pack_integer(Packer& p, const std::string& key, const std::string& digits) {
  constexpr std::string_view kForm = "an integer as text, like \"-170141183460469231731\"";
  const bool negative = digits.starts_with('-');
  const std::string_view number = std::string_view(digits).substr(negative ? 1 : 0);
  if (number.empty() || number.size() > kIntegerDigitsMax ||
      number.find_first_not_of("0123456789") != std::string_view::npos) {
    refuse(key, kForm);
  }
  std::vector<std::uint8_t> bytes = {0};  // little endian magnitude
  for (const char c : number) {
    unsigned carry = static_cast<unsigned>(c - '0');
    for (std::uint8_t& b : bytes) {
      carry += b * 10u;
      b = static_cast<std::uint8_t>(carry);
      carry >>= 8;
    }
    if (carry != 0) bytes.push_back(static_cast<std::uint8_t>(carry));
  }
  std::uint64_t small = 0;
  bool fits = true;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    if (i >= 8 && bytes[i] != 0) fits = false;
    if (i < 8) small |= std::uint64_t{bytes[i]} << (8 * i);
  }
  if (fits && !negative) {
    p.pack(small);
    return;
  }
  if (fits && small <= std::uint64_t{1} << 63) {
    p.pack(static_cast<std::int64_t>(~small + 1));
    return;
  }
  bytes.push_back(0);  // room for the sign
  if (negative) {
    unsigned carry = 1;
    for (std::uint8_t& b : bytes) {
      carry += static_cast<std::uint8_t>(~b);
      b = static_cast<std::uint8_t>(carry);
      carry >>= 8;
    }
  }
  const std::uint8_t sign = negative ? 0xff : 0;
  while (bytes.size() > 1 && bytes.back() == sign &&
         ((bytes[bytes.size() - 2] ^ sign) & 0x80) == 0) {
    bytes.pop_back();
  }
  p.pack(BigInteger{{bytes.rbegin(), bytes.rend()}});
}

using PackTagged = void (*)(Packer&, const std::string&, const Json&);

void pack_oid(Packer& p, const std::string& key, const Json& v) {
  constexpr std::string_view kForm = "24 hexadecimal digits";
  const std::string& digits = text(key, v, kForm);
  if (digits.size() != 24 ||
      digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
    refuse(key, kForm);
  }
  ObjectId id;
  for (std::size_t i = 0; i < 12; ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(std::stoul(digits.substr(2 * i, 2), nullptr, 16));
  }
  p.pack(id);
}

void pack_binary(Packer& p, const std::string& key, const Json& v) {
  // MongoDB writes {"$binary": {"base64": ..., "subType": "00"}}.
  if (v.is_object() && v.contains("base64") && v.value("subType", "00") == "00") {
    return pack_bytes(p, from_base64(text(key, v["base64"], "base64")));
  }
  pack_bytes(p, from_base64(text(key, v, "base64")));
}

void pack_float(Packer& p, const std::string& key, const Json& v) {
  const std::string& word = text(key, v, "\"NaN\", \"Infinity\" or \"-Infinity\"");
  if (word == "NaN")
    pack_real(p, std::nan(""));
  else if (word == "Infinity")
    pack_real(p, HUGE_VAL);
  else if (word == "-Infinity")
    pack_real(p, -HUGE_VAL);
  else
    refuse(key, "\"NaN\", \"Infinity\" or \"-Infinity\"");
}

void pack_bson(Packer& p, const std::string& key, const Json& v) {
  constexpr std::string_view kForm = "{\"type\": 0 to 255, \"base64\": \"...\"}";
  if (!v.is_object() || v.size() != 2 || !v.contains("type") || !v.contains("base64") ||
      !v["type"].is_number_unsigned() || v["type"].get<std::uint64_t>() > 255) {
    refuse(key, kForm);
  }
  p.pack(
      Bson{v["type"].get<std::uint8_t>(), octets(from_base64(text(key, v["base64"], "base64")))});
}

const std::map<std::string_view, PackTagged>& tags() {
  using K = const std::string&;
  using V = const Json&;
  static const std::map<std::string_view, PackTagged> kTags = {
      {"$binary", pack_binary},
      {"$oid", pack_oid},
      {"$float", pack_float},
      {"$bson", pack_bson},
      {"$date",
       [](Packer& p, K k, V v) {
         pack_parsed<Timestamp>(p, k, v, "an instant like \"2026-01-31T08:15:00Z\"",
                                proto::parse_timestamp);
       }},
      {"$day",
       [](Packer& p, K k, V v) {
         pack_parsed<Date>(p, k, v, "a date like \"2026-01-31\"", proto::parse_date);
       }},
      {"$time",
       [](Packer& p, K k, V v) {
         pack_parsed<TimeOfDay>(p, k, v, "a time like \"08:15:00\"", proto::parse_time);
       }},
      {"$localDate",
       [](Packer& p, K k, V v) {
         pack_parsed<LocalTimestamp>(p, k, v, "a date and time like \"2026-01-31T08:15:00\"",
                                     proto::parse_local_timestamp);
       }},
      {"$interval",
       [](Packer& p, K k, V v) {
         pack_parsed<Interval>(p, k, v, "an interval like \"P1DT2H\"", proto::parse_interval);
       }},
      {"$uuid",
       [](Packer& p, K k, V v) { pack_parsed<Uuid>(p, k, v, "a UUID", proto::parse_uuid); }},
      {"$decimal",
       [](Packer& p, K k, V v) {
         constexpr std::string_view kForm = "a number as text, like \"12.50\"";
         try {
           p.pack(Decimal(text(k, v, kForm)));
         } catch (const ValueError&) {
           refuse(k, kForm);
         }
       }},
      {"$json", [](Packer& p, K k, V v) { p.pack(headgate::Json{text(k, v, "JSON as text")}); }},
      {"$integer",
       [](Packer& p, K k, V v) { pack_integer(p, k, text(k, v, "an integer as text")); }},
      {"$rawBson",
       [](Packer& p, K k, V v) { p.pack(RawBson{octets(from_base64(text(k, v, "base64")))}); }},
  };
  return kTags;
}

}  // namespace

std::string base64(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : kBase64[group >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

std::string from_base64(std::string_view text) {
  std::string out;
  std::uint32_t group = 0;
  int bits = 0;
  std::string_view digits = text;
  while (digits.ends_with('=') && text.size() - digits.size() < 2) digits.remove_suffix(1);
  for (const char c : digits) {
    const std::size_t v = kBase64.find(c);
    if (v == std::string_view::npos) throw Usage("expected base64, found a character that is none");
    group = group << 6 | static_cast<std::uint32_t>(v);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(group >> bits & 0xff);
    }
  }
  if (text.size() % 4 != 0) throw Usage("expected base64 with a length of four times something");
  return out;
}

Json parse_json(std::string_view input, std::string_view what) {
  Json out;
  Exact handler(out, false);
  const bool good = Json::sax_parse(input.begin(), input.end(), &handler);
  if (!good || handler.is_errored()) {
    // Once more for the sentence.
    try {
      const Json again = Json::parse(input);
    } catch (const Json::out_of_range& e) {
      throw Usage(std::string(what) + ": a number is out of range");
    } catch (const Json::parse_error& e) {
      const std::string text = e.what();
      throw Usage(std::string(what) + ": expected JSON: " + text.substr(text.find("] ") + 2));
    }
    throw Usage(std::string(what) + ": expected JSON");
  }
  return out;
}

void pack_real(Packer& p, double v) {
  proto::VectorOut out(16);
  proto::Writer(&out).real(v);
  p.pack_bin_body(reinterpret_cast<const char*>(out.view().data()),
                  static_cast<std::uint32_t>(out.size()));
}

void pack_json(Packer& p, const Json& v) {
  switch (v.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
      p.pack_nil();
      return;
    case Json::value_t::boolean:
      p.pack(v.get<bool>());
      return;
    case Json::value_t::number_integer:
      p.pack(v.get<std::int64_t>());
      return;
    case Json::value_t::number_unsigned:
      p.pack(v.get<std::uint64_t>());
      return;
    case Json::value_t::number_float:
      pack_real(p, v.get<double>());
      return;
    case Json::value_t::string:
      p.pack(v.get_ref<const std::string&>());
      return;
    case Json::value_t::binary:
      p.pack_nil();
      return;
    case Json::value_t::array:
      p.pack_array(static_cast<std::uint32_t>(v.size()));
      for (const Json& i : v) pack_json(p, i);
      return;
    case Json::value_t::object:
      break;
  }
  if (v.size() == 1) {
    const auto tag = tags().find(v.begin().key());
    if (tag != tags().end()) return tag->second(p, v.begin().key(), v.begin().value());
  }
  p.pack_map(static_cast<std::uint32_t>(v.size()));
  for (const auto& [key, value] : v.items()) {
    p.pack(key);
    pack_json(p, value);
  }
}

std::vector<std::uint8_t> pack_json(const Json& v) {
  Buffer b;
  Packer p(b);
  pack_json(p, v);
  return b.take();
}

Json to_json(const msgpack::object& o) {
  switch (o.type) {
    case msgpack::type::NIL:
      return nullptr;
    case msgpack::type::BOOLEAN:
      return o.via.boolean;
    case msgpack::type::POSITIVE_INTEGER:
      return o.via.u64;
    case msgpack::type::NEGATIVE_INTEGER:
      return o.via.i64;
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      if (std::isfinite(o.via.f64)) return o.via.f64;
      return Json{{"$float", std::isnan(o.via.f64) ? "NaN"
                             : o.via.f64 > 0       ? "Infinity"
                                                   : "-Infinity"}};
    case msgpack::type::STR:
      return std::string(o.via.str.ptr, o.via.str.size);
    case msgpack::type::BIN:
      return Json{{"$binary", base64({o.via.bin.ptr, o.via.bin.size})}};
    case msgpack::type::EXT:
      return ext_to_json(o);
    case msgpack::type::ARRAY: {
      Json out = Json::array();
      for (std::uint32_t i = 0; i < o.via.array.size; ++i)
        out.push_back(to_json(o.via.array.ptr[i]));
      return out;
    }
    case msgpack::type::MAP: {
      Json out = Json::object();
      for (std::uint32_t i = 0; i < o.via.map.size; ++i) {
        const msgpack::object& k = o.via.map.ptr[i].key;
        const std::string key = k.type == msgpack::type::STR
                                    ? std::string(k.via.str.ptr, k.via.str.size)
                                    : dump(to_json(k));
        out[key] = to_json(o.via.map.ptr[i].val);
      }
      return out;
    }
  }
  return nullptr;
}

Json to_json(Bytes b) { return to_json(Value::parse(b).object()); }

std::string dump(const Json& v) { return v.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace headgate::cli
