// Door: the ext types and their texts. A value that is read is written back byte for byte (a
// timestamp: to the same value), and its text is parsed back to it.
#include "proto/values.hpp"

#include <cstdlib>
#include <string>

using namespace headgate::proto;

namespace {
void must(bool b) {
  if (!b) std::abort();
}

template <class T>
void same_bytes(const Item& it, const T& v) {
  VectorOut out;
  Writer w(&out);
  write(w, v);
  Cursor c(out.view());
  const Item back = c.next();
  must(c.at_end() && back.ext == it.ext);
  must(std::equal(back.bytes.begin(), back.bytes.end(), it.bytes.begin(), it.bytes.end()));
}

template <class T, class Parse>
void text_back(const T& v, Parse parse) {
  const auto back = parse(to_text(v));
  must(back.has_value() && *back == v);
}

void as_ext(const Item& it) {
  Timestamp t;
  if (read(it, &t)) {
    VectorOut out;
    Writer w(&out);
    write(w, t);
    Cursor c(out.view());
    Timestamp back;
    must(read(c.next(), &back) && back == t);
    text_back(t, parse_timestamp);
  }
  Date date;
  if (read(it, &date)) same_bytes(it, date), text_back(date, parse_date);
  TimeOfDay time;
  if (read(it, &time)) same_bytes(it, time), text_back(time, parse_time);
  LocalTimestamp local;
  if (read(it, &local)) same_bytes(it, local), text_back(local, parse_local_timestamp);
  Interval interval;
  if (read(it, &interval)) same_bytes(it, interval), text_back(interval, parse_interval);
  Uuid uuid;
  if (read(it, &uuid)) same_bytes(it, uuid), text_back(uuid, parse_uuid);
  Decimal decimal;
  if (read(it, &decimal)) {
    same_bytes(it, decimal);
    std::string digits;
    const auto back = parse_decimal(to_text(decimal), &digits);
    // Text knows no negative scale: 5e3 is 5000; and may then have more digits than a Decimal.
    if (decimal.scale >= 0)
      must(back.has_value() && back->digits == decimal.digits && back->scale == decimal.scale);
  }
  Json json;
  if (read(it, &json)) same_bytes(it, json);
  BigInteger big;
  if (read(it, &big)) same_bytes(it, big);
  BsonValue bson;
  if (read(it, &bson)) same_bytes(it, bson);
  BsonDocument document;
  if (read(it, &document)) same_bytes(it, document);
  (void)valid_ext(it);
}

void as_text(std::string_view s) {
  if (const auto v = parse_timestamp(s)) text_back(*v, parse_timestamp);
  if (const auto v = parse_date(s)) text_back(*v, parse_date);
  if (const auto v = parse_time(s)) text_back(*v, parse_time);
  if (const auto v = parse_local_timestamp(s)) text_back(*v, parse_local_timestamp);
  if (const auto v = parse_interval(s)) text_back(*v, parse_interval);
  if (const auto v = parse_uuid(s)) text_back(*v, parse_uuid);
  std::string digits, again;
  if (const auto v = parse_decimal(s, &digits); v.has_value() && v->scale >= 0) {
    const auto back = parse_decimal(to_text(*v), &again);
    must(back.has_value() && back->digits == v->digits && back->scale == v->scale);
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // The first byte is the ext type; the rest its payload, and a text.
  Item it;
  it.type = Type::ext;
  it.ext = static_cast<std::int8_t>(data[0]);
  it.bytes = {data + 1, size - 1};
  as_ext(it);
  as_text(text_of(it.bytes));
  return 0;
}
