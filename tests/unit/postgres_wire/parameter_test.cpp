// The strict half of parameters: what is taken, what is refused and with which SQLSTATE.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "proto/values.hpp"
#include "tests/unit/postgres_wire/support.hpp"

namespace headgate::postgres::wire::test {
namespace {

using Write = std::function<void(proto::Writer&)>;

Oid oid_of(const std::string& name) {
  for (Oid oid = 1; oid < 10'000; ++oid)
    if (const TypePtr t = TypeCatalog::builtin(oid); t != nullptr && t->name == name) return oid;
  throw std::runtime_error("no type " + name);
}

// "1:" or "0:" (the format) and the bytes in hex; or the SQLSTATE of the refusal.
std::string given(const Type& type, const Write& write, Form form = Form::best) {
  proto::VectorOut value;
  proto::Writer w(&value);
  write(w);
  proto::Cursor c(value.view());
  OutBuffer out;
  out.put8(7);
  try {
    const int format = encode_value(out, type, c, "parameter 1", form);
    EXPECT_TRUE(c.at_end());
    return std::to_string(format) + ":" + to_hex(out.view().subspan(1));
  } catch (const sdk::Error& e) {
    EXPECT_EQ(out.size(), 1u) << "a trace is left";
    EXPECT_EQ(e.code, sdk::Code::invalid);
    EXPECT_EQ(e.outcome, sdk::Outcome::rejected);
    EXPECT_TRUE(e.message.starts_with("parameter 1: ")) << e.message;
    return e.sqlstate;
  }
}
std::string given(const std::string& type, const Write& write, Form form = Form::best) {
  return given(*TypeCatalog::builtin(oid_of(type)), write, form);
}

Write integer(std::int64_t v) {
  return [v](proto::Writer& w) { w.sint(v); };
}
Write unsigned_integer(std::uint64_t v) {
  return [v](proto::Writer& w) { w.uint(v); };
}
Write real(double v) {
  return [v](proto::Writer& w) { w.real(v); };
}
Write text(std::string v) {
  return [v](proto::Writer& w) { w.str(v); };
}
template <class T>
Write ext(T v) {
  return [v](proto::Writer& w) { proto::write(w, v); };
}
const Write kTrue = [](proto::Writer& w) { w.boolean(true); };
const Write kNil = [](proto::Writer& w) { w.nil(); };
const Write kMap = [](proto::Writer& w) { w.map(0); };
const Write kList = [](proto::Writer& w) { w.array(0); };
const Write kBin = [](proto::Writer& w) { w.bin(proto::bytes_of("x")); };

TEST(WireParameters, Integers) {
  EXPECT_EQ(given("int2", integer(-32768)), "1:000000028000");
  EXPECT_EQ(given("int2", integer(32768)), "22003");
  EXPECT_EQ(given("int4", integer(-1)), "1:00000004ffffffff");
  EXPECT_EQ(given("int4", integer(std::int64_t{1} << 31)), "22003");
  EXPECT_EQ(given("int4", integer(-(std::int64_t{1} << 31) - 1)), "22003");
  EXPECT_EQ(given("int8", integer(INT64_MIN)), "1:000000088000000000000000");
  EXPECT_EQ(given("int8", unsigned_integer(std::uint64_t{1} << 63)), "22003");
  EXPECT_EQ(given("oid", unsigned_integer(0xffffffff)), "1:00000004ffffffff");
  EXPECT_EQ(given("oid", integer(-1)), "22003");
  EXPECT_EQ(given("xid8", unsigned_integer(UINT64_MAX)), "1:00000008ffffffffffffffff");
  for (const Write& w :
       {text("1"), real(1), kTrue, kBin, kMap, kList, ext(proto::Decimal{false, 0, "1"})})
    for (const char* type : {"int2", "int4", "int8", "oid"}) EXPECT_EQ(given(type, w), "42804");
  const std::uint8_t big[9] = {1};
  EXPECT_EQ(given("int8", ext(proto::BigInteger{Bytes(big)})), "22003");
}

TEST(WireParameters, NullsOfEveryType) {
  for (const char* type : {"int4", "text", "money", "int4[]", "int4range", "jsonb", "numeric"})
    EXPECT_EQ(given(type, kNil), "1:ffffffff") << type;
}

TEST(WireParameters, Floats) {
  EXPECT_EQ(given("float8", real(1.5)), "1:000000083ff8000000000000");
  EXPECT_EQ(given("float8", integer(3)), "1:000000084008000000000000");
  EXPECT_EQ(given("float8", integer((std::int64_t{1} << 53) + 1)), "22003");
  EXPECT_EQ(given("float8", unsigned_integer(UINT64_MAX)), "22003");
  EXPECT_EQ(given("float8", integer(INT64_MAX)), "22003");
  EXPECT_EQ(given("float8", real(std::numeric_limits<double>::infinity())),
            "1:000000087ff0000000000000");
  EXPECT_EQ(given("float8", real(std::nan(""))), "1:000000087ff8000000000000");
  EXPECT_EQ(given("float4", real(0.1)), "1:000000043dcccccd");
  EXPECT_EQ(given("float4", real(1e39)), "22003");
  EXPECT_EQ(given("float4", real(1e-60)), "22003");
  EXPECT_EQ(given("float4", integer(16'777'217)), "22003");
  EXPECT_EQ(given("float4", real(-std::numeric_limits<double>::infinity())), "1:00000004ff800000");
  EXPECT_EQ(given("float8", text("1")), "42804");
  EXPECT_EQ(given("float8", ext(proto::Decimal{false, 1, "15"})), "42804");
}

TEST(WireParameters, Numeric) {
  EXPECT_EQ(given("numeric", integer(0)), "1:000000080000000000000000");
  EXPECT_EQ(given("numeric", integer(-12345)),
            "1:0000000c00020001400000000001"
            "0929");
  EXPECT_EQ(given("numeric", real(0.1)), "1:0000000a0001ffff0000000103e8");
  EXPECT_EQ(given("numeric", ext(proto::Decimal{false, -3, "5"})),
            "1:0000000a00010000000000001388");
  EXPECT_EQ(given("numeric", ext(proto::Decimal{false, 2, "0"})), "1:000000080000000000000002");
  EXPECT_EQ(given("numeric", ext(proto::Decimal{false, 16'384, "1"})), "22003");
  EXPECT_EQ(given("numeric", ext(proto::Decimal{false, -32'768, "1"})).substr(0, 2), "1:");
  const std::string digits(131'073, '9');
  EXPECT_EQ(given("numeric", ext(proto::Decimal{false, 0, digits})), "22003");
  // 2^64 and -2^64 - 1
  const std::uint8_t big[9] = {1};
  EXPECT_EQ(given("numeric", ext(proto::BigInteger{Bytes(big)})),
            given("numeric", ext(proto::Decimal{false, 0, "18446744073709551616"})));
  std::uint8_t low[9] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  EXPECT_EQ(given("numeric", ext(proto::BigInteger{Bytes(low)})),
            given("numeric", ext(proto::Decimal{true, 0, "18446744073709551617"})));
  const Input longer(kBigIntegerParamMax + 1, 1);
  EXPECT_EQ(given("numeric", ext(proto::BigInteger{Bytes(longer)})), "22003");
  EXPECT_EQ(given("numeric", text("1.5")), "42804");
}

TEST(WireParameters, TextAndBytes) {
  EXPECT_EQ(given("text", text("ü")), "1:00000002c3bc");
  EXPECT_EQ(given("text", text(std::string("a\0", 2))), "22021");
  EXPECT_EQ(given("text", integer(1)), "42804");
  EXPECT_EQ(given("text", ext(proto::Uuid{})), "42804");
  EXPECT_EQ(given("text", kMap), "42804");
  EXPECT_EQ(given("bytea", kBin), "1:0000000178");
  EXPECT_EQ(given("bytea", text("x")), "42804");
  EXPECT_EQ(given("bool", kTrue), "1:0000000101");
  EXPECT_EQ(given("bool", integer(1)), "42804");
  EXPECT_EQ(given("char", text("ab")), "22001");
  EXPECT_EQ(given("json", text("{}")), "1:000000027b7d");
  EXPECT_EQ(given("jsonb", ext(proto::Json{"{}"})), "1:00000003017b7d");
  EXPECT_EQ(given("json", text("")), "22P02");
  EXPECT_EQ(given("json", kMap), "42804");
  EXPECT_EQ(given("uuid", text("00010203-0405-0607-0809-0a0b0c0d0eff")),
            "1:00000010000102030405060708090a0b0c0d0eff");
  EXPECT_EQ(given("uuid", text("no")), "22P02");
}

TEST(WireParameters, WhatTheServerReads) {
  EXPECT_EQ(given("money", text("$1")), "0:000000022431");
  EXPECT_EQ(given("inet", text("10.1/16")), "0:0000000731302e312f3136");
  EXPECT_EQ(given("int4range", text("[1,2)")), "0:000000055b312c3229");
  EXPECT_EQ(given("money", integer(1)), "42804");
  EXPECT_EQ(given("money", text(std::string("\0", 1))), "22021");
  EXPECT_EQ(given("money", text("$1"), Form::binary), "0A000");
  EXPECT_EQ(given("inet", text("10.0.0.1"), Form::binary), "1:00000008022000040a000001");
  EXPECT_EQ(given("inet", text("10.0.0.1/33"), Form::binary), "22P02");
  EXPECT_EQ(given("bit", text("102"), Form::binary), "22P02");
}

TEST(WireParameters, DatesAndTimes) {
  EXPECT_EQ(given("date", ext(proto::Date{10'957})), "1:0000000400000000");
  EXPECT_EQ(given("date", text("2000-01-01")), "1:0000000400000000");
  EXPECT_EQ(given("date", text("1/2/2000")), "22007");
  EXPECT_EQ(given("date", ext(proto::Date{INT32_MIN + 1})), "22008");
  EXPECT_EQ(given("date", ext(proto::Date{INT32_MAX})), "1:000000047fffffff");
  EXPECT_EQ(given("date", ext(proto::LocalTimestamp{0})), "42804");
  EXPECT_EQ(given("timestamp", ext(proto::Timestamp{})), "42804");
  EXPECT_EQ(given("timestamp", ext(proto::LocalTimestamp{INT64_MIN + 1})), "22008");
  EXPECT_EQ(given("timestamptz", ext(proto::LocalTimestamp{})), "42804");
  EXPECT_EQ(given("timestamptz", ext(proto::Timestamp{946'684'800, 1000})),
            "1:000000080000000000000001");
  EXPECT_EQ(given("timestamptz", ext(proto::Timestamp{0, 1})), "22008");
  EXPECT_EQ(given("timestamptz", ext(proto::Timestamp{proto::Timestamp::kSecondsMax, 0})), "22008");
  EXPECT_EQ(given("timestamptz", ext(proto::Timestamp{INT64_MIN, 0})),
            "1:000000088000000000000000");
  EXPECT_EQ(given("time", ext(proto::TimeOfDay{1, 3600})), "42804");
  EXPECT_EQ(given("timetz", ext(proto::TimeOfDay{1, std::nullopt})), "42804");
  EXPECT_EQ(given("timetz", ext(proto::TimeOfDay{1, 3600})), "1:0000000c0000000000000001fffff1f0");
  EXPECT_EQ(given("interval", ext(proto::Interval{INT32_MAX, INT32_MAX, INT64_MAX})), "22008");
}

Write list(std::vector<Write> items) {
  return [items](proto::Writer& w) {
    w.array(static_cast<std::uint32_t>(items.size()));
    for (const Write& i : items) i(w);
  };
}

TEST(WireParameters, Arrays) {
  EXPECT_EQ(given("int4[]", list({})), "1:0000000c000000000000000000000017");
  EXPECT_EQ(given("int4[]", list({integer(1), kNil})),
            "1:0000002000000001000000010000001700000002000000010000000400000001ffffffff");
  EXPECT_EQ(given("int4[]", list({list({integer(1)}), list({integer(2)})})).substr(0, 2), "1:");
  EXPECT_EQ(given("int4[]", list({list({integer(1)}), list({})})), "2202E");
  EXPECT_EQ(given("int4[]", list({list({integer(1)}), integer(2)})), "2202E");
  EXPECT_EQ(given("int4[]", list({list({integer(1)}), kNil})), "2202E");
  EXPECT_EQ(given("int4[]", list({integer(1), list({integer(1)})})), "2202E");
  EXPECT_EQ(given("int4[]", list({list({})})), "2202E");
  EXPECT_EQ(given("int4[]", list({text("x")})), "42804");
  EXPECT_EQ(given("int4[]", text("{1}")), "42804");
  EXPECT_EQ(given("int4", list({integer(1)})), "42804");
  Write deep = list({integer(1)});
  for (int i = 0; i < 5; ++i) deep = list({deep});
  EXPECT_EQ(given("int4[]", deep).substr(0, 2), "1:");
  EXPECT_EQ(given("int4[]", list({deep})), "54000");
  EXPECT_EQ(given("int2vector", list({integer(1), kNil})), "22004");
  EXPECT_EQ(given("money[]", list({text("1")})), "42804");
  EXPECT_EQ(given("money[]", text("{1}")), "0:000000037b317d");
}

Write range(std::vector<std::pair<std::string, Write>> items) {
  return [items](proto::Writer& w) {
    w.map(static_cast<std::uint32_t>(items.size()));
    for (const auto& [k, v] : items) {
      w.str(k);
      v(w);
    }
  };
}

TEST(WireParameters, Ranges) {
  EXPECT_EQ(given("int4range", range({{"lower", integer(1)}})), "1:00000009120000000400000001");
  EXPECT_EQ(given("int4range", range({})), "1:0000000118");
  EXPECT_EQ(given("int4range", range({{"bounds", text("empty")}})), "1:0000000101");
  EXPECT_EQ(given("int4range", range({{"bounds", text("empty")}, {"lower", integer(1)}})), "22P02");
  EXPECT_EQ(given("int4range", range({{"bounds", text("[")}})), "22P02");
  EXPECT_EQ(given("int4range", range({{"low", integer(1)}})), "22P02");
  EXPECT_EQ(given("int4range", range({{"lower", integer(1)}, {"lower", integer(1)}})), "22P02");
  EXPECT_EQ(given("int4range", range({{"lower", text("x")}})), "42804");
  EXPECT_EQ(given("int4multirange", list({kNil})), "22004");
  EXPECT_EQ(given("int4multirange", list({range({})})), "1:00000009000000010000000118");
}

TEST(WireParameters, Composites) {
  TypeCatalog catalog = recorded_catalog();
  const Input types = read_file(recorded_path("types.jsonl"));
  const std::string lines(types.begin(), types.end());
  const std::size_t at = lines.find("\"pair\", \"oid\": ");
  const TypePtr pair = catalog.type(static_cast<Oid>(std::stoul(lines.substr(at + 15))));
  ASSERT_EQ(pair->codec, Codec::composite);
  const std::string both = given(*pair, list({integer(1), text("x")}));
  EXPECT_EQ(both.substr(0, 2), "1:");
  EXPECT_EQ(given(*pair, range({{"B b", text("x")}, {"a", integer(1)}})), both);
  EXPECT_EQ(given(*pair, range({{"a", integer(1)}})), given(*pair, list({integer(1), kNil})));
  EXPECT_EQ(given(*pair, range({{"b", text("x")}})), "42703");
  EXPECT_EQ(given(*pair, range({{"a", integer(1)}, {"a", integer(1)}})), "42701");
  EXPECT_EQ(given(*pair, list({integer(1)})), "42804");
  EXPECT_EQ(given(*pair, text("(1,x)")), "42804");
}

TEST(WireParameters, CutBodies) {
  const TypePtr type = TypeCatalog::builtin(1007);
  proto::VectorOut value;
  proto::Writer w(&value);
  list({integer(70'000), integer(2)})(w);
  for (std::size_t n = 0; n < value.size(); ++n) {
    OutBuffer out;
    proto::Cursor c(value.view().first(n));
    EXPECT_THROW(encode_value(out, *type, c, "parameter 1"), sdk::Error) << n;
    EXPECT_TRUE(out.empty());
  }
}

}  // namespace
}  // namespace headgate::postgres::wire::test
