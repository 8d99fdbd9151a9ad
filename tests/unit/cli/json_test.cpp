// JSON and the protocol's values: there and back again.
#include "json.hpp"

#include <gtest/gtest.h>

#include "cli.hpp"

namespace headgate::cli {
namespace {

std::string there_and_back(const std::string& text) {
  return dump(to_json(pack_json(parse_json(text, "x"))));
}
std::string refusal(const std::string& text) {
  try {
    return "taken: " + there_and_back(text);
  } catch (const Usage& e) {
    return e.what();
  }
}

TEST(Json, EveryFormReturnsAsItWas) {
  for (const char* text : {"null",
                           "true",
                           "0",
                           "-1",
                           "18446744073709551615",
                           "-9223372036854775808",
                           "1.0",
                           "1e+300",
                           R"("text")",
                           R"("Zürich \"x\"\n")",
                           "[]",
                           "{}",
                           R"({"b":1,"a":[{"x":null}]})",
                           R"({"$binary":""})",
                           R"({"$binary":"AAH/"})",
                           R"({"$date":"2026-01-31T08:15:00Z"})",
                           R"({"$date":"1969-12-31T23:59:59.5Z"})",
                           R"({"$day":"0001-01-01"})",
                           R"({"$time":"08:15:00.5+01:00"})",
                           R"({"$localDate":"2026-01-31T08:15:00"})",
                           R"({"$interval":"P1Y2M3DT4H5M6.5S"})",
                           R"({"$decimal":"-12.50"})",
                           R"({"$decimal":"0.000"})",
                           R"({"$uuid":"0190c1a0-0000-7000-8000-000000000001"})",
                           R"({"$json":"[1, 2]"})",
                           R"({"$integer":"18446744073709551616"})",
                           R"({"$integer":"-9223372036854775809"})",
                           R"({"$integer":"-340282366920938463463374607431768211456"})",
                           R"({"$integer":"170141183460469231731687303715884105727"})",
                           R"({"$oid":"65b9f0c2a1b2c3d4e5f60718"})",
                           R"({"$float":"NaN"})",
                           R"({"$float":"-Infinity"})",
                           R"({"$gt":5})",
                           R"({"$date":"2026-01-31T08:15:00Z","x":1})"}) {
    EXPECT_EQ(there_and_back(text), text);
  }
}

TEST(Json, ShortIntegersAreIntegers) {
  EXPECT_EQ(there_and_back(R"({"$integer":"5"})"), "5");
  EXPECT_EQ(there_and_back(R"({"$integer":"-5"})"), "-5");
  EXPECT_EQ(there_and_back(R"({"$integer":"-9223372036854775808"})"), "-9223372036854775808");
  EXPECT_EQ(there_and_back(R"({"$integer":"18446744073709551615"})"), "18446744073709551615");
  EXPECT_EQ(there_and_back(R"({"$integer":"000"})"), "0");
}

TEST(Json, MongosBinaryIsRead) {
  EXPECT_EQ(there_and_back(R"({"$binary":{"base64":"AAE=","subType":"00"}})"),
            R"({"$binary":"AAE="})");
}

TEST(Json, NothingIsRoundedInSilence) {
  EXPECT_NE(refusal("18446744073709551616").find("more than 64 bits"), std::string::npos);
  EXPECT_NE(refusal(R"([{"a": -9223372036854775809}])").find("more than 64 bits"),
            std::string::npos);
}

TEST(Json, WhatIsNoneIsSaid) {
  EXPECT_NE(refusal("").find("expected JSON"), std::string::npos);
  EXPECT_NE(refusal("{} {}").find("expected JSON"), std::string::npos);
  EXPECT_NE(refusal("'x'").find("expected JSON"), std::string::npos);
  EXPECT_EQ(refusal(R"({"$date":"yesterday"})"),
            "{\"$date\": ...}: expected an instant like \"2026-01-31T08:15:00Z\"");
  EXPECT_NE(refusal(R"({"$date":5})").find("expected an instant"), std::string::npos);
  EXPECT_NE(refusal(R"({"$oid":"xyz"})").find("24 hexadecimal"), std::string::npos);
  EXPECT_NE(refusal(R"({"$decimal":"1,5"})").find("a number as text"), std::string::npos);
  EXPECT_NE(refusal(R"({"$integer":"1.5"})").find("an integer as text"), std::string::npos);
  EXPECT_NE(refusal(R"({"$binary":"AA"})").find("base64"), std::string::npos);
  EXPECT_NE(refusal(R"({"$binary":"A*=="})").find("base64"), std::string::npos);
  EXPECT_NE(refusal(R"({"$float":"1.5"})").find("NaN"), std::string::npos);
}

TEST(Json, Base64) {
  for (const std::string& bytes :
       {std::string(), std::string("f"), std::string("fo"), std::string("foo"),
        std::string("\0\xff\x10", 3), std::string(1000, '\x80')}) {
    EXPECT_EQ(from_base64(base64(bytes)), bytes);
  }
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("fo"), "Zm8=");
}

TEST(Json, BrokenTextIsShownAndNotThrown) {
  Buffer b;
  Packer(b).pack(std::string("a\xff"));
  EXPECT_EQ(dump(Json(std::string("a\xff"))), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace headgate::cli
