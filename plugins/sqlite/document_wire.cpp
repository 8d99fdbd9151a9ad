// The mapping; see document_wire.hpp.
#include "plugins/sqlite/document_wire.hpp"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "plugins/sqlite/document_error.hpp"
#include "proto/values.hpp"

namespace headgate::sqlite::doc {
namespace {

using proto::Bytes;
using proto::Type;

constexpr auto kExtBson = static_cast<std::int8_t>(proto::Ext::bson_value);
constexpr int kDepthMax = static_cast<int>(proto::kDepthMax) - 4;  // the reply's own levels

std::uint64_t little_endian(Bytes b) {
  std::uint64_t n = 0;
  for (std::size_t i = b.size(); i > 0; --i) n = n << 8 | b[i - 1];
  return n;
}

Value read_date(const proto::Item& item) {
  proto::Timestamp t;
  if (!proto::read(item, &t) || t.seconds == proto::Timestamp::kInfinity ||
      t.seconds == proto::Timestamp::kMinusInfinity)
    throw bad("a timestamp is malformed, or out of the range of a document's date");
  if (t.nanos % 1'000'000 != 0)
    throw bad("a document's date has whole milliseconds: this timestamp is finer");
  return Value::date(t.seconds * 1000 + t.nanos / 1'000'000);
}

Value read_decimal(const proto::Item& item) {
  proto::Decimal d;
  if (!proto::read(item, &d)) throw bad("a decimal is malformed");
  const std::optional<Decimal> exact = Decimal::parse(
      std::string(d.negative ? "-" : "") + std::string(d.digits) + "E" + std::to_string(-d.scale));
  if (!exact) throw bad("a document's decimal has at most 34 digits and an exponent within 6144");
  return Value::decimal(*exact);
}

std::string c_string(Bytes& b) {
  const auto nul = std::find(b.begin(), b.end(), std::uint8_t{0});
  if (nul == b.end()) throw bad("a regular expression of ext 16 ends both its parts with a NUL");
  std::string s(b.begin(), nul);
  if (!proto::valid_utf8(s)) throw bad("text must be UTF-8");
  b = b.subspan(s.size() + 1);
  return s;
}

std::string bson_string(Bytes b) {
  if (b.size() < 5 || little_endian(b.first(4)) != b.size() - 4 || b.back() != 0)
    throw bad("a code of ext 16 is a length, text and a NUL, as in BSON");
  std::string s(b.begin() + 4, b.end() - 1);
  if (!proto::valid_utf8(s)) throw bad("text must be UTF-8");
  return s;
}

Value read_bson(Bytes b) {
  if (b.empty()) throw bad("ext 16 is a type byte and the value's BSON bytes");
  const std::uint8_t type = b[0];
  b = b.subspan(1);
  const auto sized = [&](std::size_t n) {
    if (b.size() != n) throw bad("ext 16 has the wrong number of bytes for its type");
  };
  switch (static_cast<Tag>(type)) {
    case Tag::object_id:
      sized(12);
      return Value::object_id(std::string(b.begin(), b.end()));
    case Tag::int64:
      sized(8);
      return Value::int64(static_cast<std::int64_t>(little_endian(b)));
    case Tag::int32:
      sized(4);
      return Value::int32(static_cast<std::int32_t>(little_endian(b)));
    case Tag::timestamp:
      sized(8);
      return Value::timestamp(little_endian(b));
    case Tag::decimal: {
      sized(16);
      Decimal::Bid bid;
      std::copy(b.begin(), b.end(), bid.begin());
      return Value::decimal(Decimal::from_bid(bid));
    }
    case Tag::min_key:
      sized(0);
      return Value::plain(Tag::min_key);
    case Tag::max_key:
      sized(0);
      return Value::plain(Tag::max_key);
    case Tag::regex: {
      Regex r;
      r.pattern = c_string(b);
      r.options = c_string(b);
      sized(0);
      return Value::regex(std::move(r));
    }
    case Tag::code:
      return Value::code(bson_string(b));
    case Tag::binary: {
      if (b.size() < 5 || little_endian(b.first(4)) != b.size() - 5)
        throw bad("a binary of ext 16 is a length, a subtype and the bytes, as in BSON");
      return Value::binary(std::string(b.begin() + 5, b.end()), b[4]);
    }
    default:
      throw bad("ext 16 holds a BSON type that has no place here: " + std::to_string(type));
  }
}

void check_names(const Object& fields) {
  if (fields.size() <= 16) {
    for (std::size_t i = 0; i < fields.size(); ++i)
      for (std::size_t k = 0; k < i; ++k)
        if (fields[i].name == fields[k].name)
          throw bad("field " + quoted(fields[i].name) + " is given twice");
    return;
  }
  std::unordered_set<std::string_view> seen;
  for (const Field& f : fields)
    if (!seen.insert(f.name).second) throw bad("field " + quoted(f.name) + " is given twice");
}

Value read(proto::Cursor& c, int depth);

Value read_object(proto::Cursor& c, std::uint32_t n, int depth) {
  Object fields;
  fields.reserve(std::min<std::size_t>(n, 64));
  for (std::uint32_t i = 0; i < n; ++i) {
    if (c.peek() != Type::str) throw bad("a document's field names are strings");
    const std::string_view name = c.read_str();
    if (name.find('\0') != std::string_view::npos) throw bad("a field's name holds a NUL");
    fields.push_back({std::string(name), read(c, depth + 1)});
  }
  check_names(fields);
  return Value::object(std::move(fields));
}

Value read(proto::Cursor& c, int depth) {
  if (depth > static_cast<int>(proto::kDepthMax)) throw bad("the value nests too deeply");
  const proto::Item item = c.next();
  switch (item.type) {
    case Type::nil:
      return {};
    case Type::boolean:
      return Value::boolean(item.boolean);
    case Type::uint:
      if (item.uint > INT64_MAX)
        throw bad("a document's integer has at most 64 bits with its sign");
      return Value::integer(static_cast<std::int64_t>(item.uint));
    case Type::sint:
      return Value::integer(item.sint);
    case Type::float32:
    case Type::float64:
      return Value::floating(item.real);
    case Type::str:
      if (!proto::valid_utf8(proto::text_of(item.bytes))) throw bad("text must be UTF-8");
      return Value::string(std::string(proto::text_of(item.bytes)));
    case Type::bin:
      return Value::binary(std::string(proto::text_of(item.bytes)));
    case Type::array: {
      Array items;
      items.reserve(std::min<std::size_t>(item.count, 64));
      for (std::uint32_t i = 0; i < item.count; ++i) items.push_back(read(c, depth + 1));
      return Value::array(std::move(items));
    }
    case Type::map:
      return read_object(c, item.count, depth);
    case Type::ext:
      if (item.ext == static_cast<std::int8_t>(proto::Ext::timestamp)) return read_date(item);
      if (item.ext == static_cast<std::int8_t>(proto::Ext::decimal)) return read_decimal(item);
      if (item.ext == kExtBson) return read_bson(item.bytes);
      throw bad("a document has no value of ext type " + std::to_string(item.ext));
    case Type::invalid:
      break;
  }
  throw bad("the body is not well-formed msgpack");
}

void write_bson(proto::Writer& w, Tag tag, std::string_view payload) {
  w.ext_header(kExtBson, static_cast<std::uint32_t>(payload.size() + 1));
  const auto type = static_cast<std::uint8_t>(tag);
  w.raw({&type, 1});
  w.raw(proto::bytes_of(payload));
}

std::string little_endian(std::uint64_t n, std::size_t bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes; ++i) out += static_cast<char>(n >> (8 * i));
  return out;
}

void write_date(proto::Writer& w, std::int64_t ms) {
  proto::Timestamp t{ms / 1000, 0};
  std::int64_t rest = ms % 1000;
  if (rest < 0) rest += 1000, --t.seconds;
  t.nanos = static_cast<std::uint32_t>(rest) * 1'000'000;
  if (t.seconds > t.kSecondsMax || t.seconds < -t.kSecondsMax)
    throw bad("a computed date is out of the range of a timestamp");
  proto::write(w, t);
}

void write(proto::Writer& w, const Value& v, int depth) {
  if (depth > kDepthMax) throw too_large("a document of the reply nests too deeply");
  switch (v.tag()) {
    case Tag::null:
    case Tag::undefined:
      w.nil();
      break;
    case Tag::boolean:
      w.boolean(v.as_bool());
      break;
    case Tag::int32:
      w.sint(v.as_int());
      break;
    case Tag::int64:
      if (v.as_int() >= INT32_MIN && v.as_int() <= INT32_MAX)
        write_bson(w, Tag::int64, little_endian(static_cast<std::uint64_t>(v.as_int()), 8));
      else
        w.sint(v.as_int());
      break;
    case Tag::floating:
      w.real(v.as_double());
      break;
    case Tag::string:
      w.str(v.text());
      break;
    case Tag::date:
      write_date(w, v.as_int());
      break;
    case Tag::object_id:
      write_bson(w, v.tag(), v.text());
      break;
    case Tag::decimal: {
      const Decimal::Bid bid = v.as_decimal().bid();
      write_bson(w, v.tag(), {reinterpret_cast<const char*>(bid.data()), bid.size()});
      break;
    }
    case Tag::timestamp:
      write_bson(w, v.tag(), little_endian(v.as_timestamp(), 8));
      break;
    case Tag::regex: {
      const Regex& r = v.as_regex();
      write_bson(w, v.tag(), r.pattern + '\0' + r.options + '\0');
      break;
    }
    case Tag::code:
      write_bson(w, v.tag(), little_endian(v.text().size() + 1, 4) + v.text() + '\0');
      break;
    case Tag::binary:
      if (v.subtype() == 0)
        w.bin(proto::bytes_of(v.text()));
      else
        write_bson(w, v.tag(),
                   little_endian(v.text().size(), 4) + static_cast<char>(v.subtype()) + v.text());
      break;
    case Tag::min_key:
    case Tag::max_key:
      write_bson(w, v.tag(), {});
      break;
    case Tag::array:
      w.array(static_cast<std::uint32_t>(v.items().size()));
      for (const Value& e : v.items()) write(w, e, depth + 1);
      break;
    case Tag::object:
      w.map(static_cast<std::uint32_t>(v.fields().size()));
      for (const Field& f : v.fields()) {
        w.str(f.name);
        write(w, f.value, depth + 1);
      }
      break;
  }
}

void check_fields(const Value& v) {
  if (v.is(Tag::array)) {
    for (const Value& e : v.items()) check_fields(e);
  } else if (v.is(Tag::object)) {
    for (const Field& f : v.fields()) {
      if (!f.name.empty() && f.name[0] == '$' && f.name != "$ref" && f.name != "$id" &&
          f.name != "$db")
        throw bad("a stored field's name may not begin with `$`: " + quoted(f.name));
      check_fields(f.value);
    }
  }
}

}  // namespace

Value read_value(proto::Cursor& c) { return read(c, 0); }

Value read_value(Bytes msgpack) {
  proto::Cursor c(msgpack);
  return read(c, 0);
}

void write_value(proto::Writer& w, const Value& v) { write(w, v, 0); }

void check_storable(const Value& document) {
  if (nesting(document) > kNestingMax)
    throw too_large("a document nests at most " + std::to_string(kNestingMax) + " levels");
  check_fields(document);
  if (bson_size(document) > kDocumentMax) throw too_large("a document has at most 16 MiB");
}

}  // namespace headgate::sqlite::doc
