// Expressions, projections and stages against the behaviour that MongoDB's manual describes.
#include "plugins/sqlite/document_pipeline.hpp"

#include <gtest/gtest.h>

#include "plugins/sdk/driver.hpp"
#include "plugins/sqlite/document_expression.hpp"
#include "plugins/sqlite/document_projection.hpp"
#include "tests/unit/sqlite/document_text.hpp"

namespace headgate::sqlite::doc {
namespace {

constexpr const char* kDocument =
    "{'a': 4, 'b': {'c': 5}, 's': 'Grün', 'n': null, 't': [1, 2, 3], 'o': [{'x': 1}, {'x': 2}, "
    "{'y': 1}, 5], "
    "'d': {'$date': 86461001}, 'z': 0, 'l': {'$numberLong': '7'}, 'f': 2.5, 'e': []}";

struct Value2 {
  const char* expression;
  const char* value;  // null pointer: missing
};
void PrintTo(const Value2& c, std::ostream* out) { *out << c.expression; }

class Evaluating : public ::testing::TestWithParam<Value2> {};
TEST_P(Evaluating, AsInMongoDB) {
  const std::optional<Value> v = Expression(V(GetParam().expression)).evaluate(V(kDocument));
  if (GetParam().value == nullptr) {
    EXPECT_FALSE(v) << show(*v);
  } else {
    ASSERT_TRUE(v) << "missing";
    EXPECT_TRUE(identical(*v, V(GetParam().value))) << show(*v);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Expressions, Evaluating,
    ::testing::Values(
        Value2{"5", "5"}, Value2{"'$a'", "4"}, Value2{"'$b.c'", "5"}, Value2{"'$q'", nullptr},
        Value2{"'$a.b'", nullptr}, Value2{"'$$ROOT.a'", "4"}, Value2{"'$o.x'", "[1, 2]"},
        Value2{"'$t.x'", "[]"}, Value2{"{'$literal': '$a'}", "'$a'"},
        Value2{"['$a', '$q']", "[4, null]"},
        Value2{"{'x': '$a', 'y': '$q', 'z': {'w': 1}}", "{'x': 4, 'z': {'w': 1}}"},
        Value2{"'$$REMOVE'", nullptr}, Value2{"{'$add': ['$a', 1]}", "5"},
        Value2{"{'$add': ['$a', '$n']}", "null"}, Value2{"{'$add': ['$a', '$q']}", "null"},
        Value2{"{'$add': ['$d', 1000]}", "{'$date': 86462001}"},
        Value2{"{'$subtract': ['$d', {'$literal': {'$date': 1}}]}", "{'$numberLong': '86461000'}"},
        Value2{"{'$subtract': [2147483647, -1]}", "{'$numberLong': '2147483648'}"},
        Value2{"{'$multiply': ['$a', '$l']}", "{'$numberLong': '28'}"},
        Value2{"{'$divide': ['$a', 8]}", "0.5"},
        Value2{"{'$mod': ['$l', 4]}", "{'$numberLong': '3'}"}, Value2{"{'$mod': [-5, 3]}", "-2"},
        Value2{"{'$abs': -3}", "3"}, Value2{"{'$floor': 2.7}", "2.0"},
        Value2{"{'$ceil': '$f'}", "3.0"}, Value2{"{'$sqrt': 16}", "4.0"},
        Value2{"{'$pow': [2, 10]}", "1024"},
        Value2{"{'$pow': [2, 40]}", "{'$numberLong': '1099511627776'}"},
        Value2{"{'$trunc': -2.7}", "-2.0"}, Value2{"{'$concat': ['x', '$s']}", "'xGrün'"},
        Value2{"{'$concat': ['x', '$n']}", "null"}, Value2{"{'$toUpper': '$s'}", "'GRüN'"},
        Value2{"{'$toLower': '$n'}", "''"}, Value2{"{'$substrCP': ['$s', 2, 2]}", "'ün'"},
        Value2{"{'$substrCP': ['$s', 9, 2]}", "''"}, Value2{"{'$strLenCP': '$s'}", "4"},
        Value2{"{'$strLenBytes': '$s'}", "5"},
        Value2{"{'$split': ['a,b,', ',']}", "['a', 'b', '']"},
        Value2{"{'$indexOfCP': ['$s', 'n']}", "3"}, Value2{"{'$cmp': [1, 2.0]}", "-1"},
        Value2{"{'$eq': ['$q', null]}", "false"}, Value2{"{'$lt': ['$q', null]}", "true"},
        Value2{"{'$gt': ['x', 5]}", "true"}, Value2{"{'$ne': [1, 1.0]}", "false"},
        Value2{"{'$and': [1, 'x', {}]}", "true"}, Value2{"{'$and': []}", "true"},
        Value2{"{'$or': [0, '$n', '$q']}", "false"}, Value2{"{'$not': ['$z']}", "true"},
        Value2{"{'$cond': ['$z', 1, 2]}", "2"},
        Value2{"{'$cond': {'if': '$a', 'then': 'y', 'else': 'n'}}", "'y'"},
        Value2{"{'$ifNull': ['$n', '$q', 7]}", "7"},
        Value2{"{'$switch': {'branches': [{'case': {'$gt': ['$a', 5]}, 'then': 1}, {'case': true, "
               "'then': 2}]}}",
               "2"},
        Value2{"{'$size': '$t'}", "3"}, Value2{"{'$arrayElemAt': ['$t', -1]}", "3"},
        Value2{"{'$arrayElemAt': ['$t', 9]}", nullptr}, Value2{"{'$first': '$t'}", "1"},
        Value2{"{'$last': '$e'}", nullptr}, Value2{"{'$slice': ['$t', -2]}", "[2, 3]"},
        Value2{"{'$slice': ['$t', 1, 5]}", "[2, 3]"}, Value2{"{'$slice': ['$t', 2]}", "[1, 2]"},
        Value2{"{'$concatArrays': ['$t', [9]]}", "[1, 2, 3, 9]"},
        Value2{"{'$in': [2.0, '$t']}", "true"}, Value2{"{'$isArray': ['$t']}", "true"},
        Value2{"{'$type': '$q'}", "'missing'"}, Value2{"{'$type': '$l'}", "'long'"},
        Value2{"{'$map': {'input': '$t', 'as': 'i', 'in': {'$multiply': ['$$i', '$a']}}}",
               "[4, 8, 12]"},
        Value2{"{'$filter': {'input': '$t', 'cond': {'$gte': ['$$this', 2]}}}", "[2, 3]"},
        Value2{"{'$let': {'vars': {'x': 2, 'y': '$a'}, 'in': {'$add': ['$$x', '$$y']}}}", "6"},
        Value2{"{'$sum': '$t'}", "6"}, Value2{"{'$avg': ['$a', '$z', '$s']}", "2.0"},
        Value2{"{'$max': '$t'}", "3"}, Value2{"{'$min': ['$n', 5, 'x']}", "5"},
        Value2{"{'$mergeObjects': ['$b', {'d': 1}, '$n']}", "{'c': 5, 'd': 1}"},
        Value2{"{'$toString': '$d'}", "'1970-01-02T00:01:01.001Z'"},
        Value2{"{'$toInt': '12'}", "12"}, Value2{"{'$toDouble': '1.5'}", "1.5"},
        Value2{"{'$year': '$d'}", "1970"}, Value2{"{'$dayOfMonth': '$d'}", "2"},
        Value2{"{'$minute': '$d'}", "1"}, Value2{"{'$millisecond': '$d'}", "1"},
        Value2{"{'$dayOfWeek': '$d'}", "6"}, Value2{"{'$year': {'date': '$d'}}", "1970"},
        Value2{"{'$year': {'date': '$n'}}", "null"}, Value2{"{'$add': []}", "0"},
        Value2{"{'$multiply': []}", "1"}, Value2{"{'$concat': []}", "''"},
        Value2{"{'$concatArrays': []}", "[]"}, Value2{"{'$mergeObjects': []}", "{}"},
        Value2{"{'$sum': []}", "0"}, Value2{"{'$avg': []}", "null"}, Value2{"{'$max': []}", "null"},
        Value2{"{'$toUpper': '$a'}", "'4'"}, Value2{"{'$toUpper': 1e21}", "'1E+21'"},
        Value2{"{'$toLower': {'$literal': {'$numberDecimal': '1E+30'}}}", "'1e+30'"},
        Value2{"{'$toLower': '$d'}", "'1970-01-02t00:01:01.001z'"},
        Value2{"{'$indexOfCP': ['ünün', 'ü', 1]}", "2"},
        Value2{"{'$indexOfCP': ['ünün', 'ü', 1, 2]}", "-1"},
        Value2{"{'$indexOfCP': ['ünün', 'nü', 0, 2]}", "1"},
        Value2{"{'$indexOfCP': ['ab', '', 2]}", "-1"}, Value2{"{'$indexOfCP': ['', '', 5]}", "0"},
        Value2{"{'$indexOfCP': ['ab', 'a', 9]}", "-1"}, Value2{"{'$pow': [0, 0]}", "1"},
        Value2{"{'$pow': [2, -1]}", "0.5"},
        Value2{"{'$regexMatch': {'input': '$s', 'regex': '^gr', 'options': 'i'}}", "true"}));

TEST(Expressions, WhatIsWrongIsRefused) {
  for (const auto& [expression, code, name] :
       std::initializer_list<std::tuple<const char*, proto::Code, const char*>>{
           {"{'$function': {'body': 'x'}}", proto::Code::unsupported, "$function"},
           {"{'$accumulator': {}}", proto::Code::unsupported, "$accumulator"},
           {"{'$reduce': {}}", proto::Code::unsupported, "$reduce"},
           {"'$$NOW'", proto::Code::unsupported, "$$NOW"},
           {"{'$trunc': ['$f', 1]}", proto::Code::unsupported, "$trunc with places"},
           {"{'$year': {'date': '$d', 'timezone': 'UTC'}}", proto::Code::unsupported,
            "$year: `timezone`"},
           {"{'$year': {}}", proto::Code::invalid, "date"},
           {"'$a..b'", proto::Code::invalid, "`$a..b`"},
           {"'$$ROOT.'", proto::Code::invalid, "`$$ROOT.`"},
           {"'$$ROOT..a'", proto::Code::invalid, "`$$ROOT..a`"},
           {"{'$add': 1, '$b': 2}", proto::Code::invalid, "$b"},
           {"{'$divide': [1]}", proto::Code::invalid, "$divide"},
           {"{'$cond': [1]}", proto::Code::invalid, "$cond"},
           {"{'a.b': 1}", proto::Code::invalid, "a.b"},
           {"{'$let': {'vars': {}, 'in': '$$x'}}", proto::Code::unsupported, "$$x"}}) {
    try {
      Expression e(V(expression));
      FAIL() << expression;
    } catch (const sdk::Error& e) {
      EXPECT_EQ(e.code, code) << expression << e.message;
      EXPECT_NE(e.message.find(name), std::string::npos) << e.message;
    }
  }
  for (const char* expression :
       {"{'$add': ['$s', 1]}", "{'$divide': [1, '$z']}", "{'$mod': [1, 0]}", "{'$size': '$a'}",
        "{'$toUpper': '$t'}", "{'$concat': ['$a']}", "{'$in': [1, '$a']}",
        "{'$substrCP': ['$s', -1, 1]}", "{'$toInt': 'x'}", "{'$toInt': 3000000000}",
        "{'$year': '$a'}", "{'$split': ['$s', '']}", "{'$pow': [0, -1]}", "{'$pow': [0.0, -0.5]}",
        "{'$pow': [{'$literal': {'$numberDecimal': '0'}}, -1]}", "{'$indexOfCP': ['a', 'a', -1]}",
        "{'$indexOfCP': ['a', 'a', null]}", "{'$toUpper': true}",
        "{'$switch': {'branches': [{'case': false, 'then': 1}]}}"})
    EXPECT_THROW(Expression(V(expression)).evaluate(V(kDocument)), sdk::Error) << expression;
}

TEST(Expressions, CostIsBounded) {
  Array many;
  for (int i = 0; i < 3000; ++i) many.push_back(Value::int32(i));
  Value document = Value::object({{"a", Value::array(many)}});
  try {
    (void)Expression(V("{'$map': {'input': '$a', 'as': 'x', 'in': {'$map': {'input': '$a', "
                       "'as': 'y', 'in': {'$add': ['$$x', '$$y']}}}}}"))
        .evaluate(document);
    FAIL();
  } catch (const sdk::Error& e) {
    EXPECT_EQ(e.code, proto::Code::too_large);
  }
  document.set("s", Value::string(std::string(1 << 20, 'x')));
  try {
    (void)Expression(V("{'$map': {'input': '$a', 'in': '$s'}}")).evaluate(document);
    FAIL();
  } catch (const sdk::Error& e) {
    EXPECT_EQ(e.code, proto::Code::too_large);
  }
}

struct Projected {
  const char* projection;
  const char* document;
  const char* result;
};
void PrintTo(const Projected& c, std::ostream* out) { *out << c.projection; }
class Projecting : public ::testing::TestWithParam<Projected> {};
TEST_P(Projecting, AsInMongoDB) {
  const Value v =
      Projection(Projection::Form::find, V(GetParam().projection)).apply(V(GetParam().document));
  EXPECT_TRUE(identical(v, V(GetParam().result))) << show(v);
}
constexpr const char* kPerson =
    "{'_id': 1, 'name': 'ada', 'home': {'city': 'l', 'zip': 1}, 'tags': [{'t': 1, 'u': 2}, 5, "
    "[{'t': 3}]]}";
INSTANTIATE_TEST_SUITE_P(
    Projections, Projecting,
    ::testing::Values(
        Projected{"{}", "{'a': 1}", "{'a': 1}"},
        Projected{"{'name': 1}", kPerson, "{'_id': 1, 'name': 'ada'}"},
        Projected{"{'name': true, '_id': 0}", kPerson, "{'name': 'ada'}"},
        Projected{"{'home.city': 1, '_id': 0}", kPerson, "{'home': {'city': 'l'}}"},
        Projected{"{'home': {'city': 1}, '_id': 0}", kPerson, "{'home': {'city': 'l'}}"},
        Projected{"{'tags.t': 1, '_id': 0}", kPerson, "{'tags': [{'t': 1}, [{'t': 3}]]}"},
        Projected{"{'name.x': 1, '_id': 0}", kPerson, "{}"},
        Projected{"{'home': 0, 'tags': 0}", kPerson, "{'_id': 1, 'name': 'ada'}"},
        Projected{"{'tags.t': 0, 'home.zip': 0}", kPerson,
                  "{'_id': 1, 'name': 'ada', 'home': {'city': 'l'}, 'tags': [{'u': 2}, 5, [{}]]}"},
        Projected{"{'_id': 0}", "{'_id': 1, 'a': 2}", "{'a': 2}"},
        Projected{"{'_id': 1}", "{'_id': 1, 'a': 2}", "{'_id': 1}"},
        Projected{"{'a': 0, '_id': 1}", "{'_id': 1, 'a': 2, 'b': 3}", "{'_id': 1, 'b': 3}"},
        Projected{"{'n': '$home.city', '_id': 0}", kPerson, "{'n': 'l'}"},
        Projected{"{'zip': 1, 'name': 1}", kPerson, "{'_id': 1, 'name': 'ada'}"}));

TEST(Projections, WhatIsWrongIsRefused) {
  for (const auto& [projection, code] : std::initializer_list<std::pair<const char*, proto::Code>>{
           {"{'a': 1, 'b': 0}", proto::Code::invalid},
           {"{'a': 1, 'a.b': 1}", proto::Code::invalid},
           {"{'a': 0, 'b': '$c'}", proto::Code::invalid},
           {"{'a': {'$slice': 1}}", proto::Code::unsupported},
           {"{'a': {'$elemMatch': {'b': 1}}}", proto::Code::unsupported},
           {"{'a.$': 1}", proto::Code::unsupported},
           {"{'a..b': 1}", proto::Code::invalid},
           {"{'a.': 0}", proto::Code::invalid},
           {"{'a': {'': 1}}", proto::Code::invalid},
           {"5", proto::Code::invalid}}) {
    try {
      Projection p(Projection::Form::find, V(projection));
      FAIL() << projection;
    } catch (const sdk::Error& e) {
      EXPECT_EQ(e.code, code) << projection << ": " << e.message;
    }
  }
}

Value run(const char* stages, const char* documents) {
  Array out;
  const Pipeline p(V(stages));
  const Filter first(p.first_match());
  p.run(
      false,
      [&](const Pipeline::Push& push) {
        for (const Value& d : V(documents).items())
          if (first.matches(d) && !push(d)) return;
      },
      [&](Value v) {
        out.push_back(std::move(v));
        return true;
      },
      {});
  return Value::array(std::move(out));
}

struct Piped {
  const char* stages;
  const char* in;
  const char* out;
};
void PrintTo(const Piped& c, std::ostream* out) { *out << c.stages; }
class Piping : public ::testing::TestWithParam<Piped> {};
TEST_P(Piping, AsInMongoDB) {
  const Value v = run(GetParam().stages, GetParam().in);
  EXPECT_TRUE(identical(v, V(GetParam().out))) << show(v);
}
constexpr const char* kRows =
    "[{'k': 'a', 'v': 1}, {'k': 'b', 'v': 5}, {'k': 'a', 'v': 3}, {'k': 'c', 'v': -1}, {'v': 2}, "
    "{'k': null, 'v': 2}]";
INSTANTIATE_TEST_SUITE_P(
    Stages, Piping,
    ::testing::Values(
        Piped{"[]", "[{'a': 1}]", "[{'a': 1}]"},
        Piped{"[{'$match': {'v': {'$gt': 2}}}, {'$match': {'k': 'a'}}]", kRows,
              "[{'k': 'a', 'v': 3}]"},
        Piped{"[{'$group': {'_id': '$k', 'n': {'$sum': 1}, 'sum': {'$sum': '$v'}, 'avg': {'$avg': "
              "'$v'}, 'all': {'$push': '$v'}}}]",
              kRows,
              "[{'_id': 'a', 'n': 2, 'sum': 4, 'avg': 2.0, 'all': [1, 3]}, {'_id': 'b', 'n': 1, "
              "'sum': 5, 'avg': 5.0, 'all': [5]}, {'_id': 'c', 'n': 1, 'sum': -1, 'avg': -1.0, "
              "'all': [-1]},"
              " {'_id': null, 'n': 2, 'sum': 4, 'avg': 2.0, 'all': [2, 2]}]"},
        Piped{"[{'$group': {'_id': null, 'min': {'$min': '$v'}, 'max': {'$max': '$v'}, 'first': "
              "{'$first': '$k'}, 'last': {'$last': '$v'}, 'set': {'$addToSet': '$v'}, 'c': "
              "{'$count': {}}}}]",
              kRows,
              "[{'_id': null, 'min': -1, 'max': 5, 'first': 'a', 'last': 2, 'set': [1, 5, 3, -1, "
              "2], 'c': 6}]"},
        Piped{"[{'$group': {'_id': {'x': '$v'}}}, {'$limit': 1}]", kRows, "[{'_id': {'x': 1}}]"},
        Piped{"[{'$group': {'_id': 1.0, 'a': {'$avg': '$s'}}}]", kRows,
              "[{'_id': 1.0, 'a': null}]"},
        Piped{"[{'$group': {'_id': null}}]", "[]", "[]"},
        Piped{"[{'$sort': {'k': 1, 'v': -1}}, {'$project': {'_id': 0, 'v': 1}}]", kRows,
              "[{'v': 2}, {'v': 2}, {'v': 3}, {'v': 1}, {'v': 5}, {'v': -1}]"},
        Piped{"[{'$sort': {'a': 1}}]", "[{'a': [3, 9]}, {'a': []}, {'a': 4}, {'a': null}, {}]",
              "[{'a': []}, {'a': null}, {}, {'a': [3, 9]}, {'a': 4}]"},
        Piped{"[{'$sort': {'a': -1}}]", "[{'a': 5}, {'a': [3, 9]}, {'a': []}]",
              "[{'a': [3, 9]}, {'a': 5}, {'a': []}]"},
        Piped{"[{'$skip': 1}, {'$limit': 2}, {'$skip': 1}]", kRows, "[{'k': 'a', 'v': 3}]"},
        Piped{"[{'$unwind': '$t'}]",
              "[{'i': 1, 't': ['a', 'b']}, {'i': 2, 't': []}, {'i': 3}, {'i': 4, 't': 'x'}, {'i': "
              "5, 't': null}]",
              "[{'i': 1, 't': 'a'}, {'i': 1, 't': 'b'}, {'i': 4, 't': 'x'}]"},
        Piped{"[{'$unwind': {'path': '$t', 'preserveNullAndEmptyArrays': true, "
              "'includeArrayIndex': 'n'}}]",
              "[{'t': ['a']}, {'t': []}, {'u': 3}]",
              "[{'t': 'a', 'n': {'$numberLong': '0'}}, {'n': null}, {'u': 3, 'n': null}]"},
        Piped{"[{'$unwind': '$a.b'}]", "[{'a': {'b': [1, 2], 'c': 3}}]",
              "[{'a': {'b': 1, 'c': 3}}, {'a': {'b': 2, 'c': 3}}]"},
        Piped{"[{'$count': 'n'}]", kRows, "[{'n': 6}]"},
        Piped{"[{'$match': {'v': 99}}, {'$count': 'n'}]", kRows, "[]"},
        Piped{"[{'$addFields': {'w': {'$add': ['$v', 1]}, 'o.x': 1}}, {'$limit': 1}]", kRows,
              "[{'k': 'a', 'v': 1, 'w': 2, 'o': {'x': 1}}]"},
        Piped{"[{'$set': {'v': 0, 'k': '$$REMOVE'}}, {'$limit': 1}]", kRows, "[{'v': 0}]"},
        Piped{"[{'$set': {'a': {'y': 2}}}]", "[{'a': {'x': 1}}]", "[{'a': {'x': 1, 'y': 2}}]"},
        Piped{"[{'$unset': ['k', 'q']}, {'$limit': 1}]", kRows, "[{'v': 1}]"},
        Piped{"[{'$replaceRoot': {'newRoot': '$a'}}]", "[{'a': {'b': 1}}]", "[{'b': 1}]"},
        Piped{"[{'$project': {'s': {'$slice': ['$t', 1]}, 'u': '$t.q', 'w': ['$a']}}]",
              "[{'_id': 1, 't': [7, 8], 'a': 2}]", "[{'_id': 1, 's': [7], 'u': [], 'w': [2]}]"}));

TEST(Stages, WhatIsWrongIsRefused) {
  for (const auto& [stages, code, name] :
       std::initializer_list<std::tuple<const char*, proto::Code, const char*>>{
           {"[{'$out': 'x'}]", proto::Code::unsupported, "$out"},
           {"[{'$merge': {}}]", proto::Code::unsupported, "$merge"},
           {"[{'$lookup': {}}]", proto::Code::unsupported, "$lookup"},
           {"[{'$group': {'_id': 1, 'a': {'$accumulator': {}}}}]", proto::Code::unsupported,
            "$accumulator"},
           {"[{'$group': {}}]", proto::Code::invalid, "_id"},
           {"[{'$group': {'_id': 1, 'a': 5}}]", proto::Code::invalid, "a"},
           {"[{'$limit': 0}]", proto::Code::invalid, "$limit"},
           {"[{'$skip': -1}]", proto::Code::invalid, "$skip"},
           {"[{'$sort': {'a': 2}}]", proto::Code::invalid, "a"},
           {"[{'$sort': {}}]", proto::Code::invalid, "$sort"},
           {"[{'$sort': {'a': {'$meta': 'textScore'}}}]", proto::Code::unsupported, "$meta"},
           {"[{'$sort': {'a..b': 1}}]", proto::Code::invalid, "`a..b`"},
           {"[{'$sort': {'$natural': 1}}]", proto::Code::unsupported, "$natural"},
           {"[{'$unset': '.a'}]", proto::Code::invalid, "`.a`"},
           {"[{'$set': {'a.': 1}}]", proto::Code::invalid, "`a.`"},
           {"[{'$unwind': '$a..b'}]", proto::Code::invalid, "`a..b`"},
           {"[{'$group': {'_id': '$a.'}}]", proto::Code::invalid, "`$a.`"},
           {"[{'$unwind': 't'}]", proto::Code::invalid, "$unwind"},
           {"[{'$count': '$n'}]", proto::Code::invalid, "$count"},
           {"[{'$project': {}}]", proto::Code::invalid, "field"},
           {"[{'$match': 5}]", proto::Code::invalid, "filter"},
           {"[{'$match': {}, '$limit': 1}]", proto::Code::invalid, "stage"},
           {"{}", proto::Code::invalid, "pipeline"}}) {
    try {
      Pipeline p(V(stages));
      FAIL() << stages;
    } catch (const sdk::Error& e) {
      EXPECT_EQ(e.code, code) << stages << ": " << e.message;
      EXPECT_NE(e.message.find(name), std::string::npos) << e.message;
    }
  }
  EXPECT_THROW(run("[{'$sort': {'a': 1, 'b': 1}}]", "[{'a': [1, 2], 'b': [1, 2]}]"), sdk::Error);
}

TEST(Stages, WhatTheyHoldIsBounded) {
  for (const char* stages :
       {"[{'$sort': {'a': 1}}]", "[{'$group': {'_id': '$a', 's': {'$push': '$s'}}}]",
        "[{'$group': {'_id': null, 's': {'$addToSet': {'$concat': ['$s', {'$toString': "
        "'$a'}]}}}}]"}) {
    int pushed = 0;
    try {
      Pipeline(V(stages)).run(
          false,
          [&](const Pipeline::Push& push) {
            for (; pushed < 1000; ++pushed)
              push(Value::object(
                  {{"a", Value::int32(pushed)}, {"s", Value::string(std::string(1 << 18, 'x'))}}));
          },
          [](Value) { return true; }, {});
      FAIL() << stages;
    } catch (const sdk::Error& e) {
      EXPECT_EQ(e.code, proto::Code::too_large) << e.message;
      EXPECT_GT(pushed, 50);
      EXPECT_LT(pushed, 300);
    }
  }
}

}  // namespace
}  // namespace headgate::sqlite::doc
