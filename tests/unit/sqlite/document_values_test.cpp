// Values: order, keys, decimals, the stored form and the wire form.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "plugins/sdk/driver.hpp"
#include "plugins/sqlite/document_arithmetic.hpp"
#include "plugins/sqlite/document_json.hpp"
#include "plugins/sqlite/document_key.hpp"
#include "plugins/sqlite/document_wire.hpp"
#include "tests/unit/sqlite/document_random.hpp"
#include "tests/unit/sqlite/document_text.hpp"

namespace headgate::sqlite::doc {
namespace {

int sign(int n) { return n < 0 ? -1 : (n > 0 ? 1 : 0); }

std::vector<std::uint8_t> pack(const Value& v) {
  proto::VectorOut out;
  proto::Writer w(&out);
  write_value(w, v);
  return {out.view().begin(), out.view().end()};
}

// MongoDB's order of types, and of values within them; equal ones stand on one line.
TEST(DocumentValues, TheOrderIsMongoDBs) {
  const std::vector<std::vector<Value>> order = {
      {V("{'$minKey': 1}")},
      {Value::plain(Tag::undefined)},
      {V("null")},
      {V("{'$numberDouble': 'NaN'}"), V("{'$numberDecimal': 'NaN'}")},
      {V("{'$numberDouble': '-Infinity'}"), V("{'$numberDecimal': '-Infinity'}")},
      {V("{'$numberDecimal': '-1E+400'}")},
      {Value::floating(-1.7e308)},
      {Value::int64(INT64_MIN), Value::floating(-9223372036854775808.0)},
      {Value::int64(INT64_MIN + 1)},
      {V("-2"), V("{'$numberLong': '-2'}"), V("-2.0"), V("{'$numberDecimal': '-2.00'}")},
      {V("-1.5"), V("{'$numberDecimal': '-1.5'}")},
      {V("-1")},
      {V("{'$numberDecimal': '-1E-6000'}")},
      {V("0"), V("0.0"), V("-0.0"), V("{'$numberDecimal': '0E+10'}"),
       V("{'$numberDecimal': '-0'}")},
      {Value::floating(5e-324)},
      {V("{'$numberDecimal': '0.1'}")},
      {V("0.1")},  // the double nearest to 0.1 is a little more
      {V("1"), V("1.0")},
      {V("{'$numberDecimal': '9007199254740992'}"), Value::floating(9007199254740992.0)},
      {Value::int64(9007199254740993)},
      {Value::int64(INT64_MAX)},
      {Value::floating(9223372036854775808.0)},
      {V("{'$numberDouble': 'Infinity'}"), V("{'$numberDecimal': 'Infinity'}")},
      {V("''")},
      {Value::string(std::string("\0", 1))},
      {V("'A'")},
      {V("'a'")},
      {Value::string(std::string("a\0b", 3))},
      {V("'aa'")},
      {V("'b'")},
      {V("'é'")},
      {V("{}")},
      {V("{'a': 1}"), V("{'a': 1.0}")},
      {V("{'a': 1, 'b': 1}")},
      {V("{'a': 2}")},
      {V("{'b': 0}")},
      {V("{'a': 'x'}")},
      {V("[]")},
      {V("[1]")},
      {V("[1, 1]")},
      {V("[2]")},
      {V("['a']")},
      {V("[[]]")},
      {Value::binary("")},
      {Value::binary("b")},
      {Value::binary("a", 5)},
      {Value::binary("aa")},
      {V("{'$oid': '000000000000000000000001'}")},
      {V("{'$oid': 'ff0000000000000000000000'}")},
      {V("false")},
      {V("true")},
      {Value::date(-1)},
      {Value::date(0)},
      {Value::date(1)},
      {Value::timestamp(1)},
      {Value::timestamp(std::uint64_t{1} << 63)},
      {V("{'$regex': 'a', '$re': 1}")},
      {V("{'$regex': 'a', '$options': 'i', '$re': 1}")},
      {V("{'$regex': 'b', '$re': 1}")},
      {Value::code("f")},
      {V("{'$maxKey': 1}")}};
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t k = 0; k < order.size(); ++k)
      for (const Value& a : order[i])
        for (const Value& b : order[k]) {
          const int expected = i < k ? -1 : (i > k ? 1 : 0);
          EXPECT_EQ(sign(compare(a, b)), expected) << show(a) << " against " << show(b);
          EXPECT_EQ(sign(key_of(a).compare(key_of(b))), expected)
              << "keys of " << show(a) << " and " << show(b);
        }
}

TEST(DocumentValues, KeysOrderAsValuesDoAndFollowEachOther) {
  std::mt19937_64 random(20260101);
  for (int i = 0; i < 40'000; ++i) {
    const Value a = random_value(random, 2), b = random_value(random, 2);
    ASSERT_EQ(sign(key_of(a).compare(key_of(b))), sign(compare(a, b))) << show(a) << " " << show(b);
    // Two fields, the second descending.
    const Value c = random_value(random, 1), d = random_value(random, 1);
    std::string x = key_of(a), y = key_of(b);
    append_key(x, c, true);
    append_key(y, d, true);
    const int first = compare(a, b);
    ASSERT_EQ(sign(x.compare(y)), sign(first != 0 ? first : compare(d, c)));
  }
}

TEST(DocumentValues, NumbersOfAllTypesOrderTransitively) {
  std::mt19937_64 random(7);
  const auto number = [&]() -> Value {
    switch (random() % 6) {
      case 0:
        return Value::integer(static_cast<std::int64_t>(random()) >> (random() % 63));
      case 1:
        return Value::floating(std::ldexp(static_cast<double>(static_cast<std::int64_t>(random())),
                                          static_cast<int>(random() % 200) - 100));
      case 2:
        return Value::decimal(Decimal::from_double(
            static_cast<double>(static_cast<int>(random() % 2000) - 1000) / 8));
      case 3:
        return Value::floating(static_cast<double>(static_cast<int>(random() % 2000) - 1000) / 8);
      case 4:
        return Value::int64((std::int64_t{1} << 53) + static_cast<int>(random() % 5) - 2);
      default:
        return Value::floating(9007199254740992.0 + 2.0 * static_cast<double>(random() % 3));
    }
  };
  for (int i = 0; i < 60'000; ++i) {
    const Value a = number(), b = number();
    ASSERT_EQ(sign(compare(a, b)), sign(key_of(a).compare(key_of(b)))) << show(a) << " " << show(b);
    ASSERT_EQ(sign(compare(a, b)), -sign(compare(b, a)));
  }
}

TEST(DocumentValues, TheStoredFormGivesBackEveryValue) {
  const char* stored =
      R"({"_id":{"$oid":"0102030405060708090a0b0c"},"i":{"$numberInt":"-5"},)"
      R"("l":{"$numberLong":"5"},)"
      R"("d":{"$numberDouble":"1.0"},"e":{"$numberDouble":"1e+300"},"z":{"$numberDouble":"-0.0"},)"
      R"("n":{"$numberDouble":"NaN"},"dec":{"$numberDecimal":"1.50"},)"
      R"("s":"q\"\\\n\u0001é","b":{"$binary":{"base64":"AP8=","subType":"04"}},)"
      R"("t":true,"x":null,"w":{"$date":{"$numberLong":"-1"}},)"
      R"("r":{"$regularExpression":{"pattern":"a/b","options":"im"}},)"
      R"("c":{"$code":"f"},"ts":{"$timestamp":{"t":4294967295,"i":1}},)"
      R"("mi":{"$minKey":1},"ma":{"$maxKey":1},)"
      R"("a":[[],{},{"$ref":"x","$id":{"$numberInt":"1"}}]})";
  EXPECT_EQ(to_json(parse_json(stored)), stored);
  std::mt19937_64 random(3);
  for (int i = 0; i < 20'000; ++i) {
    const Value v = random_value(random, 3);
    const Value back = parse_json(to_json(v));
    ASSERT_TRUE(identical(v, back)) << show(v) << " became " << show(back);
    const std::vector<std::uint8_t> bytes = pack(v);
    const Value wire = read_value(bytes);
    ASSERT_TRUE(identical(v, wire)) << show(v) << " became " << show(wire);
    ASSERT_EQ(proto::check(bytes), proto::Shape::good);
  }
}

TEST(DocumentValues, WhatIsNotOurStoredFormIsRefused) {
  for (const char* text :
       {"", "{", "{\"a\":1}", "[", "nul", "\"a", "\"\\u12", "\"\\q\"", "{\"$oid\":\"01\"}",
        "{\"$numberInt\":\"x\"}", "{\"$numberInt\":\"99999999999\"}",
        "{\"$binary\":{\"base64\":\"A\",\"subType\":\"00\"}}", "{\"$date\":{\"$numberLong\":\"\"}}",
        "true x", "{\"$numberDecimal\":\"1.x\"}", "{\"$minKey\":2}"})
    EXPECT_THROW(parse_json(text), sdk::Error) << text;
  EXPECT_THROW(parse_json(std::string(5000, '[')), sdk::Error);
}

TEST(DocumentValues, PlainIntegersTakeTheSmallerType) {
  const auto one = [](std::initializer_list<std::uint8_t> bytes) {
    return read_value(std::vector<std::uint8_t>(bytes));
  };
  EXPECT_EQ(one({5}).tag(), Tag::int32);
  EXPECT_EQ(one({0xce, 0x7f, 0xff, 0xff, 0xff}).tag(), Tag::int32);
  EXPECT_EQ(one({0xce, 0x80, 0, 0, 0}).tag(), Tag::int64);
  EXPECT_EQ(one({0xd2, 0x80, 0, 0, 0}).tag(), Tag::int32);
  EXPECT_THROW(one({0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0}), sdk::Error);
  EXPECT_EQ(pack(Value::int64(5)),
            (std::vector<std::uint8_t>{0xc7, 9, 16, 0x12, 5, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(pack(Value::int64(INT64_C(5'000'000'000)))[0], 0xcf);
}

TEST(DocumentValues, TheWireRefusesWhatBsonHasNot) {
  const auto refused = [](std::vector<std::uint8_t> bytes) {
    EXPECT_THROW(read_value(bytes), sdk::Error);
  };
  refused({0x81, 0x01, 0x02});                                // a key that is no string
  refused({0x81, 0xa1, 0x00, 0x02});                          // a NUL in a key
  refused({0x82, 0xa1, 'a', 1, 0xa1, 'a', 2});                // a key twice
  refused({0xa1, 0xff});                                      // not UTF-8
  refused({0xd7, 0xff, 0, 0, 0, 4, 0, 0, 0, 0});              // a timestamp of one nanosecond
  refused({0xd6, 0x02, 0, 0, 0, 1});                          // a date of SQL
  refused({0xd4, 0x10, 0x07});                                // an ObjectId without bytes
  refused({0xd4, 0x10, 0x06});                                // undefined
  refused({0xc7, 2, 0x10, 0x0b, 'a'});                        // a regex without NULs
  refused({0xc7, 5, 0x10, 0x05, 9, 0, 0, 0});                 // a binary that lies about its length
  std::vector<std::uint8_t> digits = {0xc7, 38, 1, 0, 0, 0};  // 35 digits
  digits.insert(digits.end(), 35, '1');
  refused(digits);
}

TEST(DocumentValues, WhatMayBeStoredHasLimits) {
  Value deep = V("1");
  for (int i = 0; i < 99; ++i) deep = Value::array({deep});
  EXPECT_NO_THROW(check_storable(Value::object({{"a", deep}})));
  EXPECT_THROW(check_storable(Value::object({{"a", Value::array({deep})}})), sdk::Error);
  EXPECT_THROW(check_storable(V("{'a': {'$b': 1}}")), sdk::Error);
  EXPECT_THROW(check_storable(V("{'a': [{'$oidx': 1}]}")), sdk::Error);
  EXPECT_NO_THROW(check_storable(V("{'a': {'$ref': 'c', '$id': 1}}")));
  EXPECT_NO_THROW(
      check_storable(Value::object({{"s", Value::string(std::string(kDocumentMax - 13, 'x'))}})));
  EXPECT_THROW(
      check_storable(Value::object({{"s", Value::string(std::string(kDocumentMax - 12, 'x'))}})),
      sdk::Error);
}

Decimal D(std::string_view text) { return *Decimal::parse(text); }

TEST(DocumentDecimal, TextIsThatOfTheSpecification) {
  for (const char* same :
       {"0", "1", "-1", "0.1", "12.500", "1E+3", "1.23E+5", "0.000001", "1E-7", "1.2E-7", "-0",
        "0E+3", "0.00", "9.999999999999999999999999999999999E+6144", "1E-6176", "NaN", "Infinity",
        "-Infinity"})
    EXPECT_EQ(D(same).text(), same);
  EXPECT_EQ(D("1e3").text(), "1E+3");
  EXPECT_EQ(D("+.5").text(), "0.5");
  EXPECT_EQ(D("1E+6144").text(), "1.000000000000000000000000000000000E+6144");
  for (const char* wrong : {"", "-", ".", "1.2.3", "1e", "1e+", "x", "1x",
                            "12345678901234567890123456789012345", "1E+6145", "1E-6177", "0x1"})
    EXPECT_FALSE(Decimal::parse(wrong)) << wrong;
}

TEST(DocumentDecimal, Arithmetic) {
  EXPECT_EQ((D("0.1") + D("0.2")).text(), "0.3");
  EXPECT_EQ((D("1E+34") + D("1")).text(), "1.000000000000000000000000000000000E+34");
  EXPECT_EQ((D("9999999999999999999999999999999999") + D("1")).text(),
            "1.000000000000000000000000000000000E+34");
  EXPECT_EQ((D("1E+40") + D("-1")).text(), "1.000000000000000000000000000000000E+40");
  EXPECT_EQ((D("5") + D("-5")).text(), "0");
  EXPECT_EQ((D("1.10") * D("2.0")).text(), "2.200");
  EXPECT_EQ(
      (D("9999999999999999999999999999999999") * D("9999999999999999999999999999999999")).text(),
      "9.999999999999999999999999999999998E+67");
  EXPECT_EQ((D("1") / D("3")).text(), "0.3333333333333333333333333333333333");
  EXPECT_EQ((D("2") / D("3")).text(), "0.6666666666666666666666666666666667");
  EXPECT_EQ((D("6") / D("2")).text(), "3");
  EXPECT_TRUE((D("1") / D("0")).is_infinite());
  EXPECT_TRUE((D("Infinity") + D("-Infinity")).is_nan());
  EXPECT_TRUE((D("9E+6144") * D("10")).is_infinite());
  EXPECT_EQ((D("1E-6176") * D("0.1")).text(), "0E-6176");
  EXPECT_EQ(remainder(D("7.5"), D("-2")).text(), "1.5");
  EXPECT_EQ(remainder(D("1E+30"), D("7")).text(), "1");
  EXPECT_EQ(D("-9223372036854775808").to_int(), INT64_MIN);
  EXPECT_FALSE(D("9223372036854775808").to_int());
  EXPECT_EQ(D("2.9").to_int(), 2);
}

TEST(DocumentDecimal, BytesAreThoseOfTheSpecification) {
  // From the BSON corpus: 1 and -1.0, NaN, Infinity.
  const auto hex = [](const Decimal& d) {
    std::string out;
    for (const std::uint8_t b : d.bid())
      out += "0123456789ABCDEF"[b >> 4], out += "0123456789ABCDEF"[b & 15];
    return out;
  };
  EXPECT_EQ(hex(D("1")), "01000000000000000000000000004030");
  EXPECT_EQ(hex(D("-1.0")),
            "0A00000000000000000000000000"
            "3EB0");
  EXPECT_EQ(hex(D("NaN")), "0000000000000000000000000000007C");
  EXPECT_EQ(hex(D("-Infinity")), "000000000000000000000000000000F8");
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    const Decimal d =
        Decimal::make(random() % 2 == 0,
                      std::to_string(random()) + std::to_string(random() % 100'000'000'000'000),
                      static_cast<int>(random() % 12'287) - 6176);
    ASSERT_EQ(Decimal::from_bid(d.bid()), d) << d.text();
    if (d.is_infinite()) continue;
    ASSERT_EQ(*Decimal::parse(d.text()), d) << d.text();
  }
}

TEST(DocumentArithmetic, TheWidestTypeWins) {
  EXPECT_TRUE(identical(add(V("1"), V("2")), V("3")));
  EXPECT_TRUE(identical(add(Value::int32(INT32_MAX), V("1")), Value::int64(INT64_C(2147483648))));
  EXPECT_TRUE(identical(add(V("1"), V("{'$numberLong': '2'}")), V("{'$numberLong': '3'}")));
  EXPECT_TRUE(identical(add(V("1"), V("2.5")), V("3.5")));
  EXPECT_TRUE(
      identical(add(V("0.1"), V("{'$numberDecimal': '0.2'}")), V("{'$numberDecimal': '0.3'}")));
  EXPECT_FALSE(add_exact(Value::int64(INT64_MAX), V("1")));
  EXPECT_EQ(add(Value::int64(INT64_MAX), V("1")).tag(), Tag::floating);
  EXPECT_TRUE(identical(modulo(Value::int64(INT64_MIN), V("-1")), V("{'$numberLong': '0'}")));
  Sum sum;
  for (int i = 0; i < 10; ++i) sum.add(V("0.1"));
  sum.add(V("'no number'"));
  EXPECT_EQ(sum.total().as_double(), 1.0);
  EXPECT_EQ(sum.average().as_double(), 0.1);
  Sum big;
  big.add(Value::int64(INT64_MAX));
  big.add(Value::int64(INT64_MAX));
  big.add(Value::int64(-INT64_MAX));
  EXPECT_TRUE(identical(big.total(), Value::int64(INT64_MAX)));
}

}  // namespace
}  // namespace headgate::sqlite::doc
