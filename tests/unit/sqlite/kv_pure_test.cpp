// The parts of the key-value kind that need no store: patterns, numbers, versions, describe.
#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "plugins/sqlite/kv_glob.hpp"
#include "plugins/sqlite/kv_numbers.hpp"
#include "plugins/sqlite/kv_request.hpp"

namespace headgate::sqlite {
namespace {

using proto::bytes_of;

bool matches(std::string_view pattern, std::string_view text) {
  return Glob(bytes_of(pattern)).matches(bytes_of(text));
}

// Redis's stringmatchlen, told again in its own recursive form: the second opinion.
bool redis_match(std::string_view p, std::string_view s) {
  while (!p.empty() && !s.empty()) {
    switch (p[0]) {
      case '*':
        while (p.size() > 1 && p[1] == '*') p.remove_prefix(1);
        if (p.size() == 1) return true;
        for (std::size_t i = 0; i <= s.size(); ++i)
          if (redis_match(p.substr(1), s.substr(i))) return true;
        return false;
      case '?':
        s.remove_prefix(1);
        break;
      case '[': {
        p.remove_prefix(1);
        const bool inverted = !p.empty() && p[0] == '^';
        if (inverted) p.remove_prefix(1);
        bool match = false;
        const auto c = static_cast<unsigned char>(s[0]);
        for (; !p.empty() && p[0] != ']'; p.remove_prefix(1)) {
          if (p[0] == '\\' && p.size() >= 2) {
            p.remove_prefix(1);
            match = match || p[0] == s[0];
          } else if (p.size() >= 3 && p[1] == '-') {
            auto low = static_cast<unsigned char>(p[0]), high = static_cast<unsigned char>(p[2]);
            if (low > high) std::swap(low, high);
            p.remove_prefix(2);
            match = match || (c >= low && c <= high);
          } else {
            match = match || p[0] == s[0];
          }
        }
        if (match == inverted) return false;
        s.remove_prefix(1);
        if (p.empty()) return s.empty();
        break;
      }
      case '\\':
        if (p.size() >= 2) p.remove_prefix(1);
        [[fallthrough]];
      default:
        if (p[0] != s[0]) return false;
        s.remove_prefix(1);
    }
    p.remove_prefix(1);
    if (s.empty()) {
      while (!p.empty() && p[0] == '*') p.remove_prefix(1);
      break;
    }
  }
  return p.empty() && s.empty();
}

TEST(KvGlob, Rules) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("*", std::string_view("a\0b", 3)));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_TRUE(matches("", ""));
  EXPECT_TRUE(matches("a?c", "abc"));
  EXPECT_FALSE(matches("a?c", "ac"));
  EXPECT_TRUE(matches("a*c*e", "abcde"));
  EXPECT_TRUE(matches("*.txt", "a.txt.txt"));
  EXPECT_TRUE(matches("[a-c]x", "bx"));
  EXPECT_TRUE(matches("[c-a]x", "bx"));
  EXPECT_FALSE(matches("[^a-c]x", "bx"));
  EXPECT_TRUE(matches("\\*", "*"));
  EXPECT_FALSE(matches("\\*", "x"));
  EXPECT_TRUE(matches("[\\]]", "]"));
  EXPECT_TRUE(matches("[abc", "b"));
  EXPECT_TRUE(matches("a\\", "a\\"));
  EXPECT_FALSE(matches("a**b", "ac"));
}

TEST(KvGlob, AgreesWithRedis) {
  std::mt19937 random(7);
  const std::string letters = "ab*?[]^\\-";
  const auto word = [&](std::size_t max, std::size_t of) {
    std::string s(random() % max, 'x');
    for (char& c : s) c = letters[random() % of];
    return s;
  };
  for (int i = 0; i < 200'000; ++i) {
    const std::string pattern = word(8, letters.size()), text = word(8, i % 2 ? 2 : letters.size());
    if (pattern.empty()) continue;
    // Redis stops at an empty text before it has looked at the pattern's stars.
    if (text.empty()) continue;
    ASSERT_EQ(matches(pattern, text), redis_match(pattern, text)) << pattern << " / " << text;
  }
}

// Whatever matches lies in the range that the literal prefix gives.
TEST(KvGlob, LiteralPrefixBoundsEveryMatch) {
  std::mt19937 random(11);
  const std::string letters = "ab*?[]\\\xff";
  for (int i = 0; i < 100'000; ++i) {
    std::string p(1 + random() % 6, 'x'), t(random() % 6, 'x');
    for (char& c : p) c = letters[random() % letters.size()];
    for (char& c : t) c = letters[random() % letters.size()];
    const Glob g(bytes_of(p));
    ASSERT_EQ(g.literal(), Glob::literal_of(bytes_of(p)));
    const bool yes = g.matches(bytes_of(t));
    const std::string to = after_prefix(g.literal());
    if (yes) {
      ASSERT_GE(t, g.literal()) << p;
      ASSERT_TRUE(to.empty() || t < to) << p;
    }
    ASSERT_TRUE(!g.exact() || yes == (t == g.literal())) << p << " / " << t;
    ASSERT_TRUE(!g.whole_range() || yes == t.starts_with(g.literal())) << p << " / " << t;
  }
}

TEST(KvGlob, ManyStarsAreNotExponential) {
  std::string pattern;
  for (int i = 0; i < 300; ++i) pattern += "a*";
  pattern += 'b';
  const Glob g(bytes_of(pattern));
  EXPECT_FALSE(g.matches(bytes_of(std::string(20'000, 'a'))));
  EXPECT_LT(g.steps(), 300u * 2 * 20'000u);
}

TEST(KvGlob, AfterPrefix) {
  EXPECT_EQ(after_prefix("ab"), "ac");
  EXPECT_EQ(after_prefix("a\xff"), "b");
  EXPECT_EQ(after_prefix("\xff\xff"), "");
  EXPECT_EQ(after_prefix(""), "");
}

TEST(KvNumbers, IntegersHaveOneForm) {
  EXPECT_EQ(parse_integer("0"), 0);
  EXPECT_EQ(parse_integer("-9223372036854775808"), INT64_MIN);
  EXPECT_EQ(parse_integer("9223372036854775807"), INT64_MAX);
  for (const char* bad : {"", "-", "+1", " 1", "1 ", "01", "-0", "00", "9223372036854775808", "1.0",
                          "1e3", "0x1", "a"})
    EXPECT_FALSE(parse_integer(bad)) << bad;
}

TEST(KvNumbers, FloatsAddAsRedisDoes) {
  EXPECT_EQ(add_float("10.50", 0.1), "10.6");
  EXPECT_EQ(add_float("0.1", 0.2), "0.3");
  EXPECT_EQ(add_float("5.0e3", 2.0e2), "5200");
  EXPECT_EQ(add_float("3", 1.5), "4.5");
  EXPECT_EQ(add_float("-1", 1.0), "0");
  EXPECT_EQ(add_float("1", -1.5), "-0.5");
  for (const char* bad : {"", " 1", "1 ", "nan", "inf", "-inf", "1e5000", "0x10", "abc", "1.2.3"})
    EXPECT_FALSE(add_float(bad, 1.0)) << bad;
  EXPECT_FALSE(add_float("1", std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(add_float("1.7e308", 1.7e308));
  EXPECT_EQ(to_double("10.6"), 10.6);
}

TEST(KvVersions, TokensRoundTripAndRefuseTheRest) {
  for (const std::int64_t v :
       {std::int64_t{1}, std::int64_t{255}, std::int64_t{1} << 40, INT64_MAX}) {
    const VersionToken t = version_token(v);
    EXPECT_EQ(parse_version(t), v);
  }
  EXPECT_FALSE(parse_version(bytes_of("short")));
  EXPECT_FALSE(parse_version(bytes_of("ninebytes")));
  EXPECT_FALSE(parse_version(bytes_of("\xff\xff\xff\xff\xff\xff\xff\xff")));
  EXPECT_FALSE(parse_version(bytes_of(std::string_view("\0\0\0\0\0\0\0\0", 8))));
}

// describe and proto/verbs.json name the same verbs, with the same access.
TEST(KvDescribe, IsTheTableOfVerbs) {
  std::ifstream in(std::string(HEADGATE_SOURCE_DIR) + "/proto/verbs.json");
  ASSERT_TRUE(in.good());
  const nlohmann::json table = nlohmann::json::parse(in);
  proto::VectorOut out;
  proto::Writer w(&out);
  describe_key_value(w);
  const nlohmann::json said = nlohmann::json::from_msgpack(out.view().begin(), out.view().end());
  EXPECT_EQ(said["kind"], "key_value");
  for (const auto& [name, verb] : table["key_value"].items()) {
    ASSERT_TRUE(said["verbs"].contains(name)) << name;
    EXPECT_EQ(said["verbs"][name]["access"], verb["access"]) << name;
    EXPECT_EQ(said["verbs"][name]["waits"], verb.value("waits", false)) << name;
    EXPECT_EQ(said["verbs"][name]["streams"], verb.contains("stream")) << name;
  }
  for (const auto& [name, verb] : table["common"].items())
    EXPECT_TRUE(said["verbs"].contains(name)) << name;
  EXPECT_EQ(said["verbs"].size(), table["key_value"].size() + table["common"].size());
}

}  // namespace
}  // namespace headgate::sqlite
