// Ext values and their texts, at the edges that the vectors do not list one by one.
#include "proto/values.hpp"

#include <gtest/gtest.h>

#include <random>

namespace headgate::proto {
namespace {

template <class T>
T trip(const T& v) {
  VectorOut out;
  Writer w(&out);
  write(w, v);
  Cursor c(out.view());
  T back;
  EXPECT_TRUE(read(c.next(), &back));
  return back;
}

TEST(Dates, EveryDayOfEightCenturiesInOrder) {
  // Walks the calendar by its own rules, beside the arithmetic.
  int y = -400, m = 1, d = 1;
  const auto first = parse_date("-0400-01-01");
  ASSERT_TRUE(first.has_value());
  for (std::int32_t days = first->days;; ++days) {
    char text[32];
    std::snprintf(text, sizeof text, y < 0 ? "-%04d-%02d-%02d" : "%04d-%02d-%02d", std::abs(y), m,
                  d);
    ASSERT_EQ(to_text(Date{days}), text);
    ASSERT_EQ(parse_date(text), Date{days});
    if (y == 410) break;
    const bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    const int lengths[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (++d > lengths[m - 1]) {
      d = 1;
      if (++m > 12) m = 1, ++y;
    }
  }
}

TEST(Dates, EdgesAndRefusals) {
  EXPECT_EQ(to_text(Date{Date::kInfinity - 1}), "+5881580-07-10");
  EXPECT_EQ(parse_date("+5881580-07-10"), Date{Date::kInfinity - 1});
  EXPECT_FALSE(parse_date("+5881580-07-11").has_value()) << "that is infinity's number";
  EXPECT_EQ(parse_date(to_text(Date{Date::kMinusInfinity + 1})), Date{Date::kMinusInfinity + 1});
  for (const char* bad : {"", "2026", "2026-1-1", "2026-02-29", "2026-13-01", "2026-00-10",
                          "2026-04-31", "2026-01-01 ", " 2026-01-01", "12026-01-01", "2026/01/01",
                          "20260101", "+99999999-01-01", "Infinity", "--infinity"})
    EXPECT_FALSE(parse_date(bad).has_value()) << bad;
}

TEST(Times, EdgesAndRefusals) {
  EXPECT_EQ(parse_time("24:00:00"), TimeOfDay{kDayUs});
  EXPECT_EQ(parse_time("08:15:00Z"), (TimeOfDay{29'700'000'000, 0}));
  EXPECT_EQ(parse_time("08:15:00.1-01:30:15"), (TimeOfDay{29'700'100'000, -5415}));
  for (const char* bad :
       {"24:00:01", "24:00:00.1", "25:00:00", "12:60:00", "12:00:60", "1:00:00", "12:00",
        "12:00:00.", "12:00:00.1234567", "12:00:00+16:00", "12:00:00+1", "12:00:00 "})
    EXPECT_FALSE(parse_time(bad).has_value()) << bad;
}

TEST(Timestamps, OffsetsFractionsAndRefusals) {
  EXPECT_EQ(parse_timestamp("2026-01-31T08:15:00.5+01:00"),
            parse_timestamp("2026-01-31 07:15:00.500Z"));
  EXPECT_EQ(parse_timestamp("1970-01-01t00:00:00.000000001z"), (Timestamp{0, 1}));
  EXPECT_EQ(parse_timestamp("2026-12-31T24:00:00Z"), parse_timestamp("2027-01-01T00:00:00Z"));
  for (const char* bad : {"2026-01-31T08:15:00", "2026-01-31", "2026-01-31T08:15:00.1234567890Z",
                          "2026-01-31T08:15:00ZZ", "2026-01-31X08:15:00Z"})
    EXPECT_FALSE(parse_timestamp(bad).has_value()) << bad;
  EXPECT_FALSE(parse_local_timestamp("2026-01-31T08:15:00Z").has_value());
  EXPECT_FALSE(parse_local_timestamp("+294247-01-10T04:00:54.775807").has_value());
  EXPECT_FALSE(parse_local_timestamp("+999999-01-10T04:00:54").has_value());
  EXPECT_EQ(to_text(LocalTimestamp{LocalTimestamp::kMinusInfinity + 1}),
            "-290308-12-21T19:59:05.224193");
}

TEST(Timestamps, TheShortestFormIsWritten) {
  auto size = [](Timestamp t) {
    VectorOut out;
    Writer w(&out);
    write(w, t);
    EXPECT_EQ(trip(t), t);
    return out.size();
  };
  EXPECT_EQ(size({0, 0}), 6u);
  EXPECT_EQ(size({0xffffffff, 0}), 6u);
  EXPECT_EQ(size({0x100000000, 0}), 10u);
  EXPECT_EQ(size({1, 1}), 10u);
  EXPECT_EQ(size({(1ll << 34) - 1, 999'999'999}), 10u);
  EXPECT_EQ(size({1ll << 34, 0}), 15u);
  EXPECT_EQ(size({-1, 0}), 15u);
}

TEST(Intervals, TextBothWays) {
  for (const Interval i :
       {Interval{0, 0, 0}, Interval{-13, 5, -1}, Interval{INT32_MAX, INT32_MIN, INT64_MAX},
        Interval{INT32_MIN, INT32_MAX, INT64_MIN}, Interval{0, 0, 3'600'000'001}})
    EXPECT_EQ(parse_interval(to_text(i)), i) << to_text(i);
  EXPECT_EQ(parse_interval("P1Y-1M"), (Interval{11, 0, 0}));
  for (const char* bad :
       {"", "P", "PT", "P1", "P1H", "PT1D", "P1M1Y", "P1D1D", "PT1.5H", "PT1.1234567S", "P1YT",
        "1Y", "P9999999999Y", "PT99999999999999999H", "P--1D", "P1.5D"})
    EXPECT_FALSE(parse_interval(bad).has_value()) << bad;
}

TEST(Decimals, TextBothWays) {
  auto text = [](std::string_view s) -> std::string {
    std::string digits;
    const auto d = parse_decimal(s, &digits);
    return d.has_value() ? to_text(*d) : "refused";
  };
  EXPECT_EQ(text("12.50"), "12.50");
  EXPECT_EQ(text("+12.50"), "12.50");
  EXPECT_EQ(text("-0"), "0") << "there is one zero";
  EXPECT_EQ(text("-0.00"), "0.00");
  EXPECT_EQ(text("00012"), "12");
  EXPECT_EQ(text(".5"), "0.5");
  EXPECT_EQ(text("5."), "5");
  EXPECT_EQ(text("1e3"), "1000");
  EXPECT_EQ(text("1.5E-3"), "0.0015");
  EXPECT_EQ(text("1e32768"), "1" + std::string(32768, '0'));
  for (const char* bad : {"", "-", ".", "1e", "1e+", "0x1", "1,5", "1 ", "NaN", "inf", "1e32769",
                          "1e-32768", "1.2.3", "--1"})
    EXPECT_EQ(text(bad), "refused") << bad;
  EXPECT_EQ(text(std::string(150'000, '9')).size(), 150'000u);
  EXPECT_EQ(text(std::string(150'001, '9')), "refused");
  EXPECT_EQ(text(std::string(200'000, '0') + "1"), "1") << "leading zeros are not digits";
}

TEST(Decimals, RandomOnesKeepEveryDigit) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string digits = std::to_string(random() % 10 == 0 ? random() % 10 : random());
    const Decimal d{(random() & 1) != 0 && digits != "0",
                    static_cast<std::int16_t>(static_cast<int>(random() % 60)), digits};
    std::string own;
    const auto back = parse_decimal(to_text(d), &own);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->digits, d.digits);
    EXPECT_EQ(back->scale, d.scale);
    EXPECT_EQ(back->negative, d.negative);
  }
}

TEST(Uuids, TextBothWays) {
  const auto u = parse_uuid("123E4567-e89b-12d3-A456-426614174000");
  ASSERT_TRUE(u.has_value());
  EXPECT_EQ(to_text(*u), "123e4567-e89b-12d3-a456-426614174000");
  EXPECT_EQ(trip(*u), *u);
  for (const char* bad :
       {"", "123e4567e89b12d3a456426614174000", "123e4567-e89b-12d3-a456-42661417400",
        "123e4567-e89b-12d3-a456-42661417400g", "123e4567-e89b-12d3-a456+426614174000",
        "-23e4567-e89b-12d3-a456-426614174000", "+1234567-e89b-12d3-a456-426614174000"})
    EXPECT_FALSE(parse_uuid(bad).has_value()) << bad;
}

// A payload of every small length for every type number: read() decides alike every time, and
// valid_ext() with it.
TEST(Exts, RandomPayloads) {
  std::mt19937_64 random(11);
  int valid = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::array<std::uint8_t, 20> bytes{};
    for (auto& b : bytes) b = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : 0);
    Item it;
    it.type = Type::ext;
    it.ext = static_cast<std::int8_t>(static_cast<int>(random() % 20) - 1);
    it.bytes = Bytes(bytes).first(random() % bytes.size());
    valid += valid_ext(it) ? 1 : 0;
  }
  EXPECT_GT(valid, 1000);
  Item none;
  EXPECT_FALSE(valid_ext(none));
}

}  // namespace
}  // namespace headgate::proto
