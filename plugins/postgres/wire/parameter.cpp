// Which form a value takes, and whom to refuse.
#include "plugins/postgres/wire/parameter.hpp"

#include "plugins/postgres/wire/encode.hpp"

namespace headgate::postgres::wire {
namespace {

const char* kind_of(const proto::Item& it) {
  switch (it.type) {
    case proto::Type::nil:
      return "NULL";
    case proto::Type::boolean:
      return "a bool";
    case proto::Type::uint:
    case proto::Type::sint:
      return "an integer";
    case proto::Type::float32:
    case proto::Type::float64:
      return "a float";
    case proto::Type::str:
      return "text";
    case proto::Type::bin:
      return "bytes";
    case proto::Type::array:
      return "a list";
    case proto::Type::map:
      return "a map";
    case proto::Type::invalid:
      return "nothing";
    case proto::Type::ext:
      break;
  }
  switch (static_cast<proto::Ext>(it.ext)) {
    case proto::Ext::timestamp:
      return "a timestamp with zone";
    case proto::Ext::decimal:
      return "a decimal";
    case proto::Ext::date:
      return "a date";
    case proto::Ext::time:
      return "a time of day";
    case proto::Ext::local_timestamp:
      return "a timestamp without zone";
    case proto::Ext::interval:
      return "an interval";
    case proto::Ext::uuid:
      return "a UUID";
    case proto::Ext::json:
      return "JSON";
    case proto::Ext::big_integer:
      return "an integer beyond 64 bits";
    default:
      return "a BSON value";
  }
}

// Types that the server reads from text in more forms than we do.
bool read_by_server(const Type& type) {
  switch (type.codec) {
    case Codec::as_text:
    case Codec::inet:
    case Codec::macaddr:
    case Codec::macaddr8:
    case Codec::bits:
    case Codec::range:
    case Codec::multirange:
      return true;
    default:
      return false;
  }
}

std::int16_t encode_top(const Encoding& e, const Type& type, proto::Cursor& value, Form form) {
  if (form == Form::best && read_by_server(type) && value.peek() == proto::Type::str) {
    const proto::Item it = value.next();
    if (it.type != proto::Type::str) e.mismatch(type, it);
    need_no_nul(e, it.bytes);
    e.out.put32(static_cast<std::uint32_t>(it.bytes.size()));
    e.out.put(it.bytes);
    return 0;
  }
  if (type.codec == Codec::as_text && value.peek() != proto::Type::nil) {
    if (form == Form::binary)
      e.refuse("0A000", "type " + type.name + " cannot be loaded in binary");
    e.mismatch(type, value.next());
  }
  encode_binary(e, type, value);
  return 1;
}

void encode_boolean(const Encoding& e, const Type& type, const proto::Item& it) {
  if (it.type != proto::Type::boolean) e.mismatch(type, it);
  e.out.put8(it.boolean ? 1 : 0);
}

void encode_bytea(const Encoding& e, const Type& type, const proto::Item& it) {
  if (it.type != proto::Type::bin) e.mismatch(type, it);
  e.out.put(it.bytes);
}

void encode_item(const Encoding& e, const Type& type, const proto::Item& it, proto::Cursor& c) {
  switch (type.codec) {
    case Codec::as_text:
      e.mismatch(type, it);
    case Codec::boolean:
      return encode_boolean(e, type, it);
    case Codec::int2:
    case Codec::int4:
    case Codec::int8:
    case Codec::oid:
    case Codec::xid8:
      return encode_integer(e, type, it);
    case Codec::float4:
    case Codec::float8:
      return encode_float(e, type, it);
    case Codec::numeric:
      return encode_numeric(e, type, it);
    case Codec::text:
    case Codec::char1:
      return encode_string(e, type, it);
    case Codec::bytea:
      return encode_bytea(e, type, it);
    case Codec::date:
    case Codec::time:
    case Codec::timetz:
    case Codec::timestamp:
    case Codec::timestamptz:
    case Codec::interval:
      return encode_time(e, type, it);
    case Codec::uuid:
      return encode_uuid(e, type, it);
    case Codec::json:
    case Codec::jsonb:
      return encode_json(e, type, it);
    case Codec::inet:
      return encode_inet(e, type, it);
    case Codec::macaddr:
    case Codec::macaddr8:
      return encode_macaddr(e, type, it);
    case Codec::bits:
      return encode_bits(e, type, it);
    case Codec::array:
    case Codec::vector:
      return encode_array(e, type, it, c);
    case Codec::range:
      return encode_range(e, type, it, c);
    case Codec::multirange:
      return encode_multirange(e, type, it, c);
    case Codec::composite:
      return encode_composite(e, type, it, c);
  }
}

}  // namespace

void Encoding::refuse(const char* sqlstate, std::string_view why) const {
  sdk::Error error(sdk::Code::invalid, sdk::Outcome::rejected,
                   std::string(where) + ": " + std::string(why));
  error.sqlstate = sqlstate;
  throw error;
}

void Encoding::mismatch(const Type& type, const proto::Item& it) const {
  if (it.type == proto::Type::invalid) refuse("07001", "the value is cut short");
  refuse("42804", std::string(kind_of(it)) + " is no value for type " + type.name);
}

void Encoding::bad_ext(const proto::Item& it) const {
  refuse("22P02", "the ext value of type " + std::to_string(it.ext) + " is malformed");
}

void encode_binary(const Encoding& e, const Type& type, proto::Cursor& value) {
  const proto::Item it = value.next();
  if (!value.ok()) e.refuse("07001", "the value is cut short");
  if (it.type == proto::Type::nil) return e.out.put32(0xffffffff);
  const std::size_t at = e.out.size();
  e.out.put32(0);
  encode_item(e, type, it, value);
  const std::size_t size = e.out.size() - at - 4;
  if (size > kParameterBytesMax) e.refuse("54000", "the value is too long");
  store32(e.out.at(at), static_cast<std::uint32_t>(size));
}

std::int16_t encode_value(OutBuffer& out, const Type& type, proto::Cursor& value,
                          std::string_view where, Form form) {
  const std::size_t start = out.size();
  try {
    return encode_top({out, where}, type, value, form);
  } catch (...) {
    out.truncate(start);
    throw;
  }
}

}  // namespace headgate::postgres::wire
