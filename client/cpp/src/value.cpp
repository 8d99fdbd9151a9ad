// Values: parsing, the ext types' owning forms, and what a failed conversion says.
#include "headgate/value.hpp"

namespace headgate {
namespace {

const msgpack::object& nil() {
  static const msgpack::object kNil;
  return kNil;
}

std::string_view name(const msgpack::object& o) {
  switch (o.type) {
    case msgpack::type::NIL:
      return "nil";
    case msgpack::type::BOOLEAN:
      return "a bool";
    case msgpack::type::POSITIVE_INTEGER:
    case msgpack::type::NEGATIVE_INTEGER:
      return "an integer";
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      return "a float";
    case msgpack::type::STR:
      return "text";
    case msgpack::type::BIN:
      return "bytes";
    case msgpack::type::ARRAY:
      return "an array";
    case msgpack::type::MAP:
      return "a map";
    case msgpack::type::EXT:
      break;
  }
  switch (static_cast<proto::Ext>(o.via.ext.type())) {
    case proto::Ext::timestamp:
      return "a Timestamp";
    case proto::Ext::decimal:
      return "a Decimal";
    case proto::Ext::date:
      return "a Date";
    case proto::Ext::time:
      return "a TimeOfDay";
    case proto::Ext::local_timestamp:
      return "a LocalTimestamp";
    case proto::Ext::interval:
      return "an Interval";
    case proto::Ext::uuid:
      return "a Uuid";
    case proto::Ext::json:
      return "a Json";
    case proto::Ext::big_integer:
      return "a BigInteger";
    case proto::Ext::bson_value:
      return "a Bson value";
    case proto::Ext::bson_document:
      return "a RawBson";
  }
  return "an unknown ext value";
}

template <class V>
void checked(proto::Writer& w, const V& v) {
  std::array<std::uint8_t, 64> memory{};
  proto::FixedOut out(memory);
  proto::Writer own(&out);
  write(own, v);
  proto::Cursor c(out.view());
  V back;
  if (!own.ok() || !read(c.next(), &back)) throw ValueError("a value out of its type's range");
  w.raw(out.view());
}

// Of any size: read back from the bytes that were written.
template <class V>
void checked_large(proto::Writer& w, const V& v) {
  proto::VectorOut out(128);
  proto::Writer own(&out);
  write(own, v);
  proto::Cursor c(out.view());
  if (!proto::valid_ext(c.next())) throw ValueError("a value that is not in its type's form");
  w.raw(out.view());
}

std::vector<std::uint8_t> owned(Bytes b) { return {b.begin(), b.end()}; }

}  // namespace

Decimal::Decimal(std::string_view text) {
  const auto v = proto::parse_decimal(text, &digits);
  if (!v.has_value()) throw ValueError("no decimal number: " + std::string(text.substr(0, 64)));
  negative = v->negative;
  scale = v->scale;
}

std::string to_text(const Decimal& v) {
  return proto::to_text(proto::Decimal{v.negative, v.scale, v.digits});
}

std::string to_text(const ObjectId& v) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string s;
  for (const std::uint8_t b : v.bytes) s += {kHex[b >> 4], kHex[b & 15]};
  return s;
}

Value Value::parse(Bytes b) {
  auto owner = std::make_shared<const msgpack::object_handle>(detail::parse(b));
  const msgpack::object* at = &owner->get();
  return {std::move(owner), at};
}

Value Value::copy_of(const msgpack::object& o) {
  auto owner = std::make_shared<const msgpack::object_handle>(msgpack::clone(o));
  const msgpack::object* at = &owner->get();
  return {std::move(owner), at};
}

const msgpack::object& Value::object() const { return at_ != nullptr ? *at_ : nil(); }

std::size_t Value::size() const {
  if (is_map()) return object().via.map.size;
  return is_array() ? object().via.array.size : 0;
}

Value Value::operator[](std::string_view key) const {
  const msgpack::object* o = detail::field(object(), key);
  return o != nullptr ? Value(owner_, o) : Value();
}

Value Value::at(std::size_t i) const {
  if (!is_array() || i >= size()) throw ValueError("no element " + std::to_string(i));
  return {owner_, &object().via.array.ptr[i]};
}

std::string Value::key_at(std::size_t i) const {
  if (!is_map() || i >= size()) throw ValueError("no key " + std::to_string(i));
  return detail::convert<std::string>(object().via.map.ptr[i].key);
}

Value Value::value_at(std::size_t i) const {
  if (!is_map() || i >= size()) throw ValueError("no value " + std::to_string(i));
  return {owner_, &object().via.map.ptr[i].val};
}

namespace detail {

void no_form(const msgpack::object& o, std::string_view wanted) {
  // __PRETTY_FUNCTION__ of convert: `... [with T = X]`.
  const std::size_t at = wanted.find("T = ");
  if (at != std::string_view::npos) wanted = wanted.substr(at + 4, wanted.rfind(']') - at - 4);
  throw ValueError(std::string(name(o)) + " has no exact form as " + std::string(wanted));
}

msgpack::object_handle parse(Bytes b) {
  if (proto::check(b, proto::kDepthMax, UINT32_MAX) != proto::Shape::good)
    throw ValueError("bytes that are not one msgpack value");
  return msgpack::unpack(reinterpret_cast<const char*>(b.data()), b.size());
}

const msgpack::object* field(const msgpack::object& map, std::string_view key) {
  if (map.type != msgpack::type::MAP) return nullptr;
  for (std::uint32_t i = 0; i < map.via.map.size; ++i) {
    const msgpack::object_kv& kv = map.via.map.ptr[i];
    if (kv.key.type == msgpack::type::STR &&
        std::string_view(kv.key.via.str.ptr, kv.key.via.str.size) == key)
      return &kv.val;
  }
  return nullptr;
}

proto::Item item_of(const msgpack::object& o) {
  proto::Item it;
  if (o.type != msgpack::type::EXT) return it;
  it.type = proto::Type::ext;
  it.ext = o.via.ext.type();
  it.bytes = {reinterpret_cast<const std::uint8_t*>(o.via.ext.data()), o.via.ext.size};
  return it;
}

void write_ext(proto::Writer& w, const Timestamp& v) { checked(w, v); }
void write_ext(proto::Writer& w, const Date& v) { checked(w, v); }
void write_ext(proto::Writer& w, const TimeOfDay& v) { checked(w, v); }
void write_ext(proto::Writer& w, const LocalTimestamp& v) { checked(w, v); }
void write_ext(proto::Writer& w, const Interval& v) { checked(w, v); }
void write_ext(proto::Writer& w, const Uuid& v) { checked(w, v); }
void write_ext(proto::Writer& w, const Decimal& v) {
  checked_large(w, proto::Decimal{v.negative, v.scale, v.digits});
}
void write_ext(proto::Writer& w, const Json& v) { checked_large(w, proto::Json{v.text}); }
void write_ext(proto::Writer& w, const BigInteger& v) {
  checked_large(w, proto::BigInteger{v.bytes});
}
void write_ext(proto::Writer& w, const Bson& v) {
  checked_large(w, proto::BsonValue{v.type, v.bytes});
}
void write_ext(proto::Writer& w, const ObjectId& v) { write(w, proto::BsonValue{0x07, v.bytes}); }
void write_ext(proto::Writer& w, const RawBson& v) {
  checked_large(w, proto::BsonDocument{v.bytes});
}

bool read_ext(const proto::Item& it, Timestamp* out) { return read(it, out); }
bool read_ext(const proto::Item& it, Date* out) { return read(it, out); }
bool read_ext(const proto::Item& it, TimeOfDay* out) { return read(it, out); }
bool read_ext(const proto::Item& it, LocalTimestamp* out) { return read(it, out); }
bool read_ext(const proto::Item& it, Interval* out) { return read(it, out); }
bool read_ext(const proto::Item& it, Uuid* out) { return read(it, out); }

bool read_ext(const proto::Item& it, Decimal* out) {
  proto::Decimal v;
  if (!read(it, &v)) return false;
  out->negative = v.negative;
  out->scale = v.scale;
  out->digits = v.digits;
  return true;
}

bool read_ext(const proto::Item& it, Json* out) {
  proto::Json v;
  if (!read(it, &v)) return false;
  out->text = v.text;
  return true;
}

bool read_ext(const proto::Item& it, BigInteger* out) {
  proto::BigInteger v;
  if (!read(it, &v)) return false;
  out->bytes = owned(v.bytes);
  return true;
}

bool read_ext(const proto::Item& it, Bson* out) {
  proto::BsonValue v;
  if (!read(it, &v)) return false;
  out->type = v.type;
  out->bytes = owned(v.bytes);
  return true;
}

bool read_ext(const proto::Item& it, ObjectId* out) {
  proto::BsonValue v;
  if (!read(it, &v) || v.type != 0x07) return false;
  std::copy(v.bytes.begin(), v.bytes.end(), out->bytes.begin());
  return true;
}

bool read_ext(const proto::Item& it, RawBson* out) {
  proto::BsonDocument v;
  if (!read(it, &v)) return false;
  out->bytes = owned(v.bytes);
  return true;
}

}  // namespace detail
}  // namespace headgate
