// Filters against the behaviour that MongoDB's manual and its own path tests describe.
#include <gtest/gtest.h>

#include "plugins/sdk/driver.hpp"
#include "plugins/sqlite/document_filter.hpp"
#include "tests/unit/sqlite/document_text.hpp"

namespace headgate::sqlite::doc {
namespace {

struct Case {
  const char* filter;
  const char* yes;  // a list of documents that match
  const char* no;   // and of those that do not
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.filter; }

class Matching : public ::testing::TestWithParam<Case> {};

TEST_P(Matching, AsInMongoDB) {
  const Filter filter(V(GetParam().filter));
  for (const Value& d : V(GetParam().yes).items())
    EXPECT_TRUE(filter.matches(d)) << GetParam().filter << " on " << show(d);
  for (const Value& d : V(GetParam().no).items())
    EXPECT_FALSE(filter.matches(d)) << GetParam().filter << " on " << show(d);
}

INSTANTIATE_TEST_SUITE_P(
    Equality, Matching,
    ::testing::Values(
        Case{"{}", "[{}, {'a': 1}]", "[]"},
        Case{"{'a': 1}",
             "[{'a': 1}, {'a': 1.0}, {'a': {'$numberLong': '1'}}, {'a': {'$numberDecimal': "
             "'1.0'}}, {'a': [1]}, {'a': [2, 1]}]",
             "[{}, {'a': 2}, {'a': '1'}, {'a': true}, {'a': [[1]]}, {'a': {'b': 1}}]"},
        Case{"{'a': null}", "[{}, {'a': null}, {'a': [null]}, {'b': 1}]",
             "[{'a': 0}, {'a': []}, {'a': [1]}, {'a': {}}, {'a': false}]"},
        Case{"{'a': [1, 2]}", "[{'a': [1, 2]}, {'a': [[1, 2]]}, {'a': [1.0, 2]}]",
             "[{'a': [2, 1]}, {'a': [1, 2, 3]}, {'a': 1}]"},
        Case{"{'a': []}", "[{'a': []}, {'a': [[]]}]", "[{}, {'a': [1]}, {'a': null}]"},
        Case{"{'a': {'x': 1, 'y': 2}}", "[{'a': {'x': 1, 'y': 2}}, {'a': [{'x': 1, 'y': 2}]}]",
             "[{'a': {'y': 2, 'x': 1}}, {'a': {'x': 1, 'y': 2, 'z': 3}}]"},
        Case{"{'a': {'$numberDouble': 'NaN'}}",
             "[{'a': {'$numberDouble': 'NaN'}}, {'a': {'$numberDecimal': 'NaN'}}]",
             "[{'a': 0}, {}]"},
        Case{"{'a': 0}", "[{'a': -0.0}, {'a': {'$numberDecimal': '-0'}}]",
             "[{'a': null}, {'a': false}]"},
        Case{"{'a': {'$eq': {'$regex': '^x', '$re': 1}}}", "[{'a': {'$regex': '^x', '$re': 1}}]",
             "[{'a': 'xx'}]"},
        Case{"{'a': {'$ne': 1}}", "[{}, {'a': 2}, {'a': null}, {'a': []}]",
             "[{'a': 1}, {'a': [1, 2]}]"}));

INSTANTIATE_TEST_SUITE_P(
    Comparison, Matching,
    ::testing::Values(
        Case{"{'a': {'$gt': 5}}",
             "[{'a': 6}, {'a': 5.5}, {'a': {'$numberDecimal': '5.1'}}, {'a': [1, 9]}, {'a': "
             "{'$numberDouble': 'Infinity'}}]",
             "[{'a': 5}, {'a': '6'}, {'a': null}, {}, {'a': {'$numberDouble': 'NaN'}}, {'a': "
             "[[9]]}, {'a': true}]"},
        Case{"{'a': {'$lt': 5}}", "[{'a': 4}, {'a': {'$numberDouble': '-Infinity'}}]",
             "[{'a': {'$numberDouble': 'NaN'}}, {'a': null}, {}, {'a': 'a'}]"},
        Case{"{'a': {'$gte': null}}", "[{}, {'a': null}]", "[{'a': 0}]"},
        Case{"{'a': {'$gt': null}}", "[]", "[{}, {'a': null}, {'a': 1}]"},
        Case{"{'a': {'$lte': {'$numberDouble': 'NaN'}}}", "[{'a': {'$numberDouble': 'NaN'}}]",
             "[{'a': 1}]"},
        Case{"{'a': {'$lt': {'$numberDouble': 'NaN'}}}", "[]",
             "[{'a': {'$numberDouble': 'NaN'}}, {'a': 1}]"},
        Case{"{'a': {'$gt': 1, '$lt': 3}}", "[{'a': 2}, {'a': [0, 5]}, {'a': [2]}]",
             "[{'a': [0, 1]}, {'a': [5, 6]}, {'a': 3}]"},
        Case{"{'a': {'$gt': [1, 2]}}",
             "[{'a': [1, 3]}, {'a': [2]}, {'a': [1, 2, 0]}, {'a': [[1, 3]]}]",
             "[{'a': [1, 2]}, {'a': [1]}, {'a': 3}]"},
        Case{"{'a': {'$gte': {'x': 2}}}", "[{'a': {'x': 2}}, {'a': {'x': 3}}]",
             "[{'a': {'x': 1}}, {'a': 5}]"},
        Case{"{'a': {'$lt': {'$maxKey': 1}}}", "[{'a': 1}, {'a': 'x'}, {}]",
             "[{'a': {'$maxKey': 1}}]"},
        Case{"{'a': {'$gt': {'$minKey': 1}}}", "[{'a': 1}, {'a': null}]",
             "[{'a': {'$minKey': 1}}]"},
        Case{"{'a': {'$gte': false}}", "[{'a': false}, {'a': true}]", "[{'a': 1}, {}]"},
        Case{"{'a': {'$in': [1, 'x', null]}}",
             "[{'a': 1.0}, {'a': 'x'}, {}, {'a': null}, {'a': [5, 'x']}]", "[{'a': 2}, {'a': []}]"},
        Case{"{'a': {'$in': [[1, 2]]}}", "[{'a': [1, 2]}, {'a': [[1, 2]]}]",
             "[{'a': 1}, {'a': [1]}]"},
        Case{"{'a': {'$in': []}}", "[]", "[{}, {'a': 1}]"},
        Case{"{'a': {'$in': [{'$regex': '^x', '$re': 1}, 5]}}",
             "[{'a': 'xy'}, {'a': 5}, {'a': ['xy']}]", "[{'a': 'y'}]"},
        Case{"{'a': {'$nin': [1, null]}}", "[{'a': 2}, {'a': []}]",
             "[{}, {'a': 1}, {'a': [1, 2]}, {'a': null}]"}));

INSTANTIATE_TEST_SUITE_P(
    Paths, Matching,
    ::testing::Values(
        Case{"{'a.b': 1}", "[{'a': {'b': 1}}, {'a': [{'b': 1}]}, {'a': [{'b': 2}, {'b': [0, 1]}]}]",
             "[{'a.b': 1}, {'a': [[{'b': 1}]]}, {'a': {'b': {'c': 1}}}]"},
        Case{"{'a.b': null}",
             "[{}, {'a': 5}, {'a': {}}, {'a': null}, {'a': [{}]}, {'a': [{'b': 1}, {}]}, {'a': "
             "{'b': null}}]",
             "[{'a': []}, {'a': [5]}, {'a': [{'b': 1}]}, {'a': {'b': 1}}]"},
        Case{"{'a.b': {'$exists': false}}", "[{}, {'a': 5}, {'a': []}, {'a': [5]}, {'a': [{}]}]",
             "[{'a': {'b': null}}, {'a': [{}, {'b': 1}]}]"},
        Case{"{'a.0': 1}", "[{'a': [1, 2]}, {'a': {'0': 1}}, {'a': [{'0': 1}]}]",
             "[{'a': [2, 1]}, {'a': 1}, {'a': [[1]]}]"},
        Case{"{'a.1.b': 4}",
             "[{'a': [5, {'b': 4}]}, {'a': [5, [{'b': 4}]]}, {'a': [{'1': {'b': 4}}]}]",
             "[{'a': [{'b': 4}, 5]}]"},
        Case{"{'a.0.b': null}", "[{'a': [{'c': 1}]}, {'a': [{'b': 1}]}]", "[{'a': [1]}]"},
        Case{"{'a.b.c': {'$gt': 2}}", "[{'a': [{'b': [{'c': 1}, {'c': 3}]}]}]",
             "[{'a': [{'b': [{'c': 1}]}]}, {'a': [[{'b': {'c': 3}}]]}]"}));

INSTANTIATE_TEST_SUITE_P(
    Operators, Matching,
    ::testing::Values(
        Case{"{'$and': [{'a': 1}, {'b': 2}]}", "[{'a': 1, 'b': 2}]", "[{'a': 1}]"},
        Case{"{'$or': [{'a': 1}, {'b': 2}]}", "[{'a': 1}, {'b': 2}]", "[{'a': 2}]"},
        Case{"{'$nor': [{'a': 1}, {'b': 2}]}", "[{}, {'a': 2}]", "[{'a': 1}, {'b': 2}]"},
        Case{"{'a': {'$not': {'$gt': 5}}}", "[{}, {'a': 5}, {'a': 'x'}]",
             "[{'a': 6}, {'a': [1, 6]}]"},
        Case{"{'a': {'$not': {'$regex': '^x', '$re': 1}}}", "[{}, {'a': 1}, {'a': 'y'}]",
             "[{'a': 'x'}]"},
        Case{"{'a': {'$exists': true}}", "[{'a': null}, {'a': []}]", "[{}]"},
        Case{"{'a': {'$type': 'number'}}",
             "[{'a': 1}, {'a': 1.5}, {'a': [1]}, {'a': {'$numberDecimal': '1'}}]",
             "[{'a': '1'}, {}, {'a': [[1]]}]"},
        Case{"{'a': {'$type': ['string', 8]}}", "[{'a': 'x'}, {'a': true}]", "[{'a': 1}]"},
        Case{"{'a': {'$type': 'array'}}", "[{'a': []}, {'a': [1]}, {'a': [[]]}]", "[{'a': 1}]"},
        Case{"{'a': {'$type': -1}}", "[{'a': {'$minKey': 1}}]", "[{'a': {'$maxKey': 1}}]"},
        Case{"{'a': {'$all': [1, 2]}}", "[{'a': [2, 3, 1]}]", "[{'a': [1]}, {'a': 1}, {}]"},
        Case{"{'a': {'$all': [1]}}", "[{'a': 1}, {'a': [1, 2]}]", "[{'a': 2}]"},
        Case{"{'a': {'$all': [[1, 2]]}}", "[{'a': [1, 2]}, {'a': [[1, 2]]}]", "[{'a': [[1], 2]}]"},
        Case{"{'a': {'$all': []}}", "[]", "[{}, {'a': []}]"},
        Case{"{'a': {'$all': [{'$elemMatch': {'x': 1}}, {'$elemMatch': {'x': 2}}]}}",
             "[{'a': [{'x': 1}, {'x': 2}]}]", "[{'a': [{'x': 1}]}]"},
        Case{"{'a': {'$elemMatch': {'$gt': 1, '$lt': 3}}}", "[{'a': [0, 2]}]",
             "[{'a': [0, 5]}, {'a': 2}, {'a': []}]"},
        Case{"{'a': {'$elemMatch': {'x': 1, 'y': 2}}}", "[{'a': [{'x': 1, 'y': 2}]}]",
             "[{'a': [{'x': 1}, {'y': 2}]}, {'a': {'x': 1, 'y': 2}}]"},
        Case{"{'a': {'$elemMatch': {'$or': [{'x': 1}, {'y': 2}]}}}", "[{'a': [{'y': 2}]}]",
             "[{'a': [{'y': 3}]}]"},
        Case{"{'a': {'$elemMatch': {'$elemMatch': {'$gt': 5}}}}", "[{'a': [[1, 6]]}]",
             "[{'a': [6]}]"},
        Case{"{'a': {'$elemMatch': {'$ne': 1}}}", "[{'a': [1, 2]}]", "[{'a': [1]}, {'a': 2}]"},
        Case{"{'a': {'$size': 2}}", "[{'a': [1, 2]}, {'a': [[], []]}]",
             "[{'a': [1]}, {'a': 2}, {'a': [[1, 2]]}, {}]"},
        Case{"{'a': {'$mod': [4, 1]}}",
             "[{'a': 5}, {'a': 5.9}, {'a': [2, 9]}, {'a': {'$numberDecimal': '13'}}]",
             "[{'a': 4}, {'a': -3}, {'a': '5'}, {'a': {'$numberDouble': 'Infinity'}}]"},
        Case{"{'a': {'$mod': [4, -3]}}", "[{'a': -3}]", "[{'a': 1}]"},
        Case{"{'a': {'$regex': 'B.c', '$options': 'is'}}", "[{'a': 'ab\\nC'}, {'a': [1, 'bxc']}]",
             "[{'a': 'bc'}, {'a': 1}]"},
        Case{"{'a': {'$regex': '^é$', '$options': 'i'}}", "[{'a': 'É'}]", "[{'a': 'e'}]"},
        Case{"{'a': {'$regex': '^b', '$options': 'm'}}", "[{'a': 'a\\nb'}]", "[{'a': 'ab'}]"},
        Case{"{'$expr': {'$gt': ['$a', '$b']}}", "[{'a': 2, 'b': 1}, {'a': 'x', 'b': 5}]",
             "[{'a': 1, 'b': 2}, {}]"},
        Case{"{'$comment': 'why', 'a': 1}", "[{'a': 1}]", "[{'a': 2}]"},
        Case{"{'a': {'$ref': 'c', '$id': 5}}", "[{'a': {'$ref': 'c', '$id': 5}}]", "[{'a': 5}]"}));

struct Wrong {
  const char* filter;
  proto::Code code;
  const char* named;
};
class Refusing : public ::testing::TestWithParam<Wrong> {};
TEST_P(Refusing, ByName) {
  try {
    const Filter filter(V(GetParam().filter));
    FAIL() << GetParam().filter << " was taken";
  } catch (const sdk::Error& e) {
    EXPECT_EQ(e.code, GetParam().code) << GetParam().filter << ": " << e.message;
    EXPECT_NE(e.message.find(GetParam().named), std::string::npos) << e.message;
  }
}
constexpr auto kBad = proto::Code::invalid;
constexpr auto kNo = proto::Code::unsupported;
INSTANTIATE_TEST_SUITE_P(
    Filters, Refusing,
    ::testing::Values(
        Wrong{"{'$where': '1'}", kNo, "$where"}, Wrong{"{'a': {'$near': 1}}", kNo, "$near"},
        Wrong{"{'$jsonSchema': {}}", kNo, "$jsonSchema"},
        Wrong{"{'$expr': {'$function': {}}}", kNo, "$function"},
        Wrong{"{'a': {'$gt': 1, 'b': 2}}", kBad, "b"}, Wrong{"{'a': {'$in': 1}}", kBad, "$in"},
        Wrong{"{'a': {'$in': [{'$gt': 1}]}}", kBad, "$in"}, Wrong{"{'$or': []}", kBad, "$or"},
        Wrong{"{'$and': [1]}", kBad, "$and"}, Wrong{"{'a': {'$mod': [0, 1]}}", kBad, "$mod"},
        Wrong{"{'a': {'$mod': [1]}}", kBad, "$mod"}, Wrong{"{'a': {'$size': -1}}", kBad, "$size"},
        Wrong{"{'a': {'$size': 1.5}}", kBad, "$size"},
        Wrong{"{'a': {'$regex': '('}}", kBad, "$regex"},
        Wrong{"{'a': {'$regex': 'a', '$options': 'q'}}", kBad, "q"},
        Wrong{"{'a': {'$options': 'i'}}", kBad, "$options"},
        Wrong{"{'a': {'$type': 'thing'}}", kBad, "$type"},
        Wrong{"{'a': {'$type': []}}", kBad, "$type"},
        Wrong{"{'a': {'$ne': {'$regex': 'a', '$re': 1}}}", kBad, "$ne"},
        Wrong{"{'a': {'$not': 5}}", kBad, "$not"}, Wrong{"{'a': {'$not': {}}}", kBad, "$not"},
        Wrong{"{'a': {'$elemMatch': 1}}", kBad, "$elemMatch"},
        Wrong{"{'a': {'$all': [{'$gt': 1}]}}", kBad, "$all"}, Wrong{"{'a..b': 1}", kBad, "`a..b`"},
        Wrong{"{'.a': {'$gt': 1}}", kBad, "`.a`"}, Wrong{"{'a.': null}", kBad, "`a.`"},
        Wrong{"{'': 1}", kBad, "empty"}, Wrong{"[]", kBad, "filter"}));

TEST(Filters, APatternThatExplodesIsStopped) {
  const Filter filter(V("{'a': {'$regex': '(a*)*b'}}"));
  try {
    static_cast<void>(
        filter.matches(Value::object({{"a", Value::string(std::string(5000, 'a'))}})));
    // PCRE2 may see at once that there is no b; then there is nothing to stop.
  } catch (const sdk::Error& e) {
    EXPECT_EQ(e.code, proto::Code::invalid);
  }
  const Filter worse(V("{'a': {'$regex': '(x+x+)+y'}}"));
  EXPECT_THROW(static_cast<void>(worse.matches(
                   Value::object({{"a", Value::string(std::string(200, 'x') + "z y")}}))),
               sdk::Error);
}

TEST(Filters, ThePositionIsThatOfTheElement) {
  const auto position = [](const char* filter, const char* document) {
    std::optional<std::size_t> at;
    EXPECT_TRUE(Filter(V(filter)).matches(V(document), &at)) << filter;
    return at;
  };
  EXPECT_EQ(position("{'a': 3}", "{'a': [1, 3]}"), 1u);
  EXPECT_EQ(position("{'a.b': 3}", "{'a': [{'b': 1}, {'b': 2}, {'b': 3}]}"), 2u);
  EXPECT_EQ(position("{'a': {'$elemMatch': {'b': 3}}}", "{'a': [{'b': 1}, {'b': 3}]}"), 1u);
  EXPECT_EQ(position("{'x.a': {'$gt': 2}}", "{'x': {'a': [1, 2, 3]}}"), 2u);
  EXPECT_EQ(position("{'a': 3}", "{'a': 3}"), std::nullopt);
}

TEST(ElementFilter, IsWhatPullAsks) {
  const auto pulls = [](const char* condition, const char* element) {
    return ElementFilter(V(condition)).matches(V(element));
  };
  EXPECT_TRUE(pulls("3", "3.0"));
  EXPECT_FALSE(pulls("3", "[3]"));
  EXPECT_TRUE(pulls("{'$gte': 3}", "5"));
  EXPECT_FALSE(pulls("{'$gte': 3}", "'5'"));
  EXPECT_TRUE(pulls("{'a': 1}", "{'a': 1, 'b': 2}"));
  EXPECT_FALSE(pulls("{'a': 1}", "1"));
  EXPECT_TRUE(pulls("{'$regex': '^x', '$re': 1}", "'xy'"));
  EXPECT_TRUE(pulls("[1, 2]", "[1, 2]"));
}

}  // namespace
}  // namespace headgate::sqlite::doc
