// Plans: which format, which writer, and the header.
#include "plugins/postgres/wire/result.hpp"

#include <algorithm>

#include "plugins/postgres/wire/clean_text.hpp"
#include "plugins/postgres/wire/decode.hpp"

namespace headgate::postgres::wire {

void write_binary(proto::Writer& w, const Type& type, Bytes v) {
  switch (type.codec) {
    case Codec::as_text:
      return write_utf8(w, v);
    case Codec::boolean:
      return write_boolean(w, v);
    case Codec::int2:
      return write_int2(w, v);
    case Codec::int4:
      return write_int4(w, v);
    case Codec::int8:
      return write_int8(w, v);
    case Codec::float4:
      return write_float4(w, v);
    case Codec::float8:
      return write_float8(w, v);
    case Codec::oid:
      return write_oid(w, v);
    case Codec::xid8:
      return write_xid8(w, v);
    case Codec::text:
      return write_utf8(w, v);
    case Codec::char1:
      return write_char1(w, v);
    case Codec::bytea:
      return write_bytea(w, v);
    case Codec::numeric:
      return write_numeric(w, v);
    case Codec::date:
      return write_date(w, v);
    case Codec::time:
      return write_time(w, v);
    case Codec::timetz:
      return write_timetz(w, v);
    case Codec::timestamp:
      return write_timestamp(w, v);
    case Codec::timestamptz:
      return write_timestamptz(w, v);
    case Codec::interval:
      return write_interval(w, v);
    case Codec::uuid:
      return write_uuid(w, v);
    case Codec::json:
      return write_json(w, v);
    case Codec::jsonb:
      return write_jsonb(w, v);
    case Codec::inet:
      return write_inet(w, v);
    case Codec::macaddr:
      return write_macaddr(w, v);
    case Codec::macaddr8:
      return write_macaddr8(w, v);
    case Codec::bits:
      return write_bits(w, v);
    case Codec::array:
    case Codec::vector:
      return write_array(w, type, v);
    case Codec::range:
      return write_range(w, type, v);
    case Codec::multirange:
      return write_multirange(w, type, v);
    case Codec::composite:
      return write_composite(w, type, v);
  }
}

void write_text(proto::Writer& w, const Type& type, Bytes v) {
  if (type.codec == Codec::json || type.codec == Codec::jsonb) return write_json(w, v);
  write_utf8(w, v);
}

namespace {

// [name, type, nullable, precision, scale]: precision and scale of numeric(p, s) alone.
void header_column(proto::Writer& w, const Field& f, const Type& type) {
  w.array(5);
  proto::valid_utf8(f.name) ? w.str(f.name) : w.str(clean_text(f.name, 255));
  w.str(type.name);
  w.nil();
  const std::int32_t typmod = type.domain && f.typmod < 0 ? type.typmod : f.typmod;
  if (type.codec != Codec::numeric || typmod < 4) {
    w.nil();
    w.nil();
    return;
  }
  w.uint(static_cast<std::uint32_t>(typmod - 4) >> 16);
  w.sint((((typmod - 4) & 0x7ff) ^ 1024) - 1024);
}

}  // namespace

ResultPlan::ResultPlan(Bytes row_description, TypeCatalog& catalog, int format) : has_rows_(true) {
  RowDescription fields(row_description);
  proto::VectorOut out;
  proto::Writer w(&out);
  w.array(static_cast<std::uint32_t>(fields.count()));
  Field f;
  while (fields.next(&f)) {
    const TypePtr type = catalog.type(f.type);
    const std::int16_t wanted = format == kBest          ? type->format()
                                : format == kAsDescribed ? f.format
                                                         : static_cast<std::int16_t>(format);
    header_column(w, f, *type);
    columns_.push_back({writer_for(*type, wanted), type, clean_text(f.name, 63)});
    formats_.push_back(wanted);
  }
  header_.assign(out.view().begin(), out.view().end());
  const bool same = std::all_of(formats_.begin(), formats_.end(),
                                [this](std::int16_t x) { return x == formats_[0]; });
  if (!formats_.empty() && same) formats_.resize(1);
}

std::vector<Oid> ResultPlan::types_in(Bytes row_description) {
  RowDescription fields(row_description);
  std::vector<Oid> out;
  Field f;
  while (fields.next(&f)) out.push_back(f.type);
  return out;
}

template <Codec C>
void ResultPlan::write_fast(proto::Writer& w, const ResultPlan& p, const Column& c, Bytes v) {
  if constexpr (C == Codec::boolean) return write_boolean(w, v);
  if constexpr (C == Codec::int2) return write_int2(w, v);
  if constexpr (C == Codec::int4) return write_int4(w, v);
  if constexpr (C == Codec::int8) return write_int8(w, v);
  if constexpr (C == Codec::float4) return write_float4(w, v);
  if constexpr (C == Codec::float8) return write_float8(w, v);
  if constexpr (C == Codec::bytea) return write_bytea(w, v);
  if constexpr (C == Codec::text) {
    if (!proto::valid_utf8(proto::text_of(v))) [[unlikely]]
      return write_any(w, p, c, v);  // which refuses it by the column's name
    return w.str(proto::text_of(v));
  }
}

void ResultPlan::write_any(proto::Writer& w, const ResultPlan& p, const Column& c, Bytes v) {
  try {
    write_binary(w, *c.type, v);
  } catch (Unrepresentable& e) {
    p.name(c, e);
    throw;
  }
}

void ResultPlan::write_as_text(proto::Writer& w, const ResultPlan& p, const Column& c, Bytes v) {
  try {
    write_text(w, *c.type, v);
  } catch (Unrepresentable& e) {
    p.name(c, e);
    throw;
  }
}

decltype(ResultPlan::Column::write) ResultPlan::writer_for(const Type& type, std::int16_t format) {
  if (format == 0) return write_as_text;
  switch (type.codec) {
    case Codec::boolean:
      return write_fast<Codec::boolean>;
    case Codec::int2:
      return write_fast<Codec::int2>;
    case Codec::int4:
      return write_fast<Codec::int4>;
    case Codec::int8:
      return write_fast<Codec::int8>;
    case Codec::float4:
      return write_fast<Codec::float4>;
    case Codec::float8:
      return write_fast<Codec::float8>;
    case Codec::bytea:
      return write_fast<Codec::bytea>;
    case Codec::text:
      return write_fast<Codec::text>;
    default:
      return write_any;
  }
}

void ResultPlan::name(const Column& c, Unrepresentable& e) const {
  e.message =
      "column " + std::to_string(&c - columns_.data() + 1) + " (" + c.name + ") " + e.message;
}

void ResultPlan::wrong_count(Bytes data_row) const {
  DataRow row(data_row);
  throw ProtocolFault("the server sent a row of " + std::to_string(row.count()) +
                      " values to a result of " + std::to_string(columns_.size()) + " columns");
}
void ResultPlan::cut_short() { throw ProtocolFault("the server's DataRow is cut short"); }
void ResultPlan::left_over() {
  throw ProtocolFault("the server's DataRow is longer than its contents");
}

}  // namespace headgate::postgres::wire
