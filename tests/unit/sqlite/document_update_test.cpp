// Updates against the behaviour that MongoDB's manual describes.
#include "plugins/sqlite/document_update.hpp"

#include <gtest/gtest.h>

#include "plugins/sdk/driver.hpp"
#include "tests/unit/sqlite/document_text.hpp"

namespace headgate::sqlite::doc {
namespace {

struct Change {
  const char* before;
  const char* update;
  const char* after;  // null pointer: refused as invalid
};
void PrintTo(const Change& c, std::ostream* out) { *out << c.update; }

class Updating : public ::testing::TestWithParam<Change> {};
TEST_P(Updating, AsInMongoDB) {
  const Change& c = GetParam();
  Value v = V(c.before);
  if (c.after == nullptr) {
    try {
      Update(V(c.update)).apply(v, {});
      FAIL() << c.update << " gave " << show(v);
    } catch (const sdk::Error& e) {
      EXPECT_EQ(e.code, proto::Code::invalid) << e.message;
    }
    return;
  }
  Update(V(c.update)).apply(v, {});
  EXPECT_TRUE(identical(v, V(c.after)))
      << c.update << "\n  gave " << show(v) << "\n  not  " << show(V(c.after));
}

INSTANTIATE_TEST_SUITE_P(
    Fields, Updating,
    ::testing::Values(
        Change{"{'a': 1}", "{'$set': {'a': 2, 'b.c': 3}}", "{'a': 2, 'b': {'c': 3}}"},
        Change{"{}", "{'$set': {'b': 1, 'a': 2, '10': 3, '9': 4}}",
               "{'9': 4, '10': 3, 'a': 2, 'b': 1}"},
        Change{"{'a': [1, 2]}", "{'$set': {'a.1': 5, 'a.3': 6}}", "{'a': [1, 5, null, 6]}"},
        Change{"{'a': [{}]}", "{'$set': {'a.0.b': 5}}", "{'a': [{'b': 5}]}"},
        Change{"{}", "{'$set': {'a.0': 5}}", "{'a': {'0': 5}}"},
        Change{"{'a': 1}", "{'$set': {'a.b': 5}}", nullptr},
        Change{"{'a': null}", "{'$set': {'a.b': 5}}", nullptr},
        Change{"{'a': [1]}", "{'$set': {'a.b': 5}}", nullptr},
        Change{"{'a': []}", "{'$set': {'a.999999999': 5}}", nullptr},
        Change{"{'a': 1, 'b': {'c': 1, 'd': 2}}", "{'$unset': {'a': '', 'b.c': 1, 'x.y': 1}}",
               "{'b': {'d': 2}}"},
        Change{"{'a': [1, 2, 3]}", "{'$unset': {'a.1': 1}}", "{'a': [1, null, 3]}"},
        Change{"{'a': 1}", "{'$inc': {'a': 4, 'n.m': -2}}", "{'a': 5, 'n': {'m': -2}}"},
        Change{"{'a': 2147483647}", "{'$inc': {'a': 1}}", "{'a': {'$numberLong': '2147483648'}}"},
        Change{"{'a': 1}", "{'$inc': {'a': 0.5}}", "{'a': 1.5}"},
        Change{"{'a': 1}", "{'$inc': {'a': {'$numberDecimal': '0.10'}}}",
               "{'a': {'$numberDecimal': '1.10'}}"},
        Change{"{'a': {'$numberLong': '9223372036854775807'}}", "{'$inc': {'a': 1}}", nullptr},
        Change{"{'a': 'x'}", "{'$inc': {'a': 1}}", nullptr},
        Change{"{'a': null}", "{'$inc': {'a': 1}}", nullptr},
        Change{"{}", "{'$inc': {'a': 'x'}}", nullptr},
        Change{"{'a': 3}", "{'$mul': {'a': 2, 'b': 5, 'c': 1.5}}", "{'a': 6, 'b': 0, 'c': 0.0}"},
        Change{"{'a': 3, 'b': 3}", "{'$min': {'a': 1, 'b': 9, 'c': 5}}",
               "{'a': 1, 'b': 3, 'c': 5}"},
        Change{"{'a': 3, 'b': 3}", "{'$max': {'a': 1, 'b': 'x'}}", "{'a': 3, 'b': 'x'}"},
        Change{"{'a': 1, 'b': 2}", "{'$rename': {'a': 'z', 'q': 'r'}}", "{'b': 2, 'z': 1}"},
        Change{"{'a': 1, 'b': 2}", "{'$rename': {'a': 'b'}}", "{'b': 1}"},
        Change{"{'a': {'x': 1}}", "{'$rename': {'a.x': 'b.y'}}", "{'a': {}, 'b': {'y': 1}}"},
        Change{"{'a': [{'x': 1}]}", "{'$rename': {'a.0.x': 'b'}}", nullptr},
        Change{"{'a': 1}", "{'$rename': {'a': 'a.b'}}", nullptr},
        Change{"{'a': 1}", "{'$setOnInsert': {'a': 5}}", "{'a': 1}"},
        Change{"{'_id': 1}", "{'$set': {'_id': 2}}", nullptr},
        Change{"{'_id': 1}", "{'$unset': {'_id': 1}}", nullptr},
        Change{"{'_id': 1}", "{'$set': {'_id': 1, 'a': 1}}", "{'_id': 1, 'a': 1}"}));

INSTANTIATE_TEST_SUITE_P(
    Arrays, Updating,
    ::testing::Values(
        Change{"{'a': [1]}", "{'$push': {'a': 2, 'b': 3}}", "{'a': [1, 2], 'b': [3]}"},
        Change{"{'a': [1]}", "{'$push': {'a': [2, 3]}}", "{'a': [1, [2, 3]]}"},
        Change{"{'a': [1]}", "{'$push': {'a': {'$each': [2, 3]}}}", "{'a': [1, 2, 3]}"},
        Change{"{'a': [1, 2]}", "{'$push': {'a': {'$each': [8, 9], '$position': 1}}}",
               "{'a': [1, 8, 9, 2]}"},
        Change{"{'a': [1, 2]}", "{'$push': {'a': {'$each': [9], '$position': -1}}}",
               "{'a': [1, 9, 2]}"},
        Change{"{'a': [1, 2]}", "{'$push': {'a': {'$each': [9], '$position': 100}}}",
               "{'a': [1, 2, 9]}"},
        Change{"{'a': [5, 1]}", "{'$push': {'a': {'$each': [3], '$sort': 1}}}", "{'a': [1, 3, 5]}"},
        Change{"{'a': [5, 1]}", "{'$push': {'a': {'$each': [3, 'x'], '$sort': -1, '$slice': 2}}}",
               "{'a': ['x', 5]}"},
        Change{"{'a': [1, 2, 3]}", "{'$push': {'a': {'$each': [4], '$slice': -2}}}",
               "{'a': [3, 4]}"},
        Change{"{'a': [1, 2, 3]}", "{'$push': {'a': {'$each': [], '$slice': 0}}}", "{'a': []}"},
        Change{"{'a': [{'s': 2}]}",
               "{'$push': {'a': {'$each': [{'s': 1}, {'t': 1}], '$sort': {'s': 1}}}}",
               "{'a': [{'t': 1}, {'s': 1}, {'s': 2}]}"},
        Change{"{'a': 1}", "{'$push': {'a': 2}}", nullptr},
        Change{"{}", "{'$push': {'a': {'$each': 2}}}", nullptr},
        Change{"{}", "{'$push': {'a': {'$position': 2}}}", nullptr},
        Change{"{'a': [1, 2]}", "{'$addToSet': {'a': 2.0}}", "{'a': [1, 2]}"},
        Change{"{'a': [1, 2]}", "{'$addToSet': {'a': {'$each': [2, 7, 7]}, 'b': 1}}",
               "{'a': [1, 2, 7], 'b': [1]}"},
        Change{"{'a': [{'x': 1, 'y': 2}]}", "{'$addToSet': {'a': {'y': 2, 'x': 1}}}",
               "{'a': [{'x': 1, 'y': 2}, {'y': 2, 'x': 1}]}"},
        Change{"{'a': [1, 2, 3, 2]}", "{'$pull': {'a': 2, 'b': 1}}", "{'a': [1, 3]}"},
        Change{"{'a': [1, 2, 3, 'x']}", "{'$pull': {'a': {'$gte': 2}}}", "{'a': [1, 'x']}"},
        Change{"{'a': [{'b': 1, 'c': 2}, {'b': 2}, 1]}", "{'$pull': {'a': {'b': 1}}}",
               "{'a': [{'b': 2}, 1]}"},
        Change{"{'a': [{'b': [1, 2]}, {'b': [5]}]}",
               "{'$pull': {'a': {'b': {'$elemMatch': {'$gt': 4}}}}}", "{'a': [{'b': [1, 2]}]}"},
        Change{"{'a': [1, 2, 3]}", "{'$pull': {'a': {'$in': [1, 3]}}}", "{'a': [2]}"},
        Change{"{'a': 1}", "{'$pull': {'a': 1}}", nullptr},
        Change{"{'a': [1, 2, 3, 1]}", "{'$pullAll': {'a': [1, 3.0]}}", "{'a': [2]}"},
        Change{"{'a': [1, 2, 3]}", "{'$pop': {'a': 1, 'b': 1}}", "{'a': [1, 2]}"},
        Change{"{'a': [1, 2, 3]}", "{'$pop': {'a': -1}}", "{'a': [2, 3]}"},
        Change{"{'a': []}", "{'$pop': {'a': 1}}", "{'a': []}"},
        Change{"{}", "{'$pop': {'a': 2}}", nullptr}));

INSTANTIATE_TEST_SUITE_P(
    Shapes, Updating,
    ::testing::Values(Change{"{}", "{}", nullptr}, Change{"{}", "{'a': 1}", nullptr},
                      Change{"{}", "{'$set': 1}", nullptr},
                      Change{"{}", "{'$set': {'a': 1}, '$inc': {'a': 1}}", nullptr},
                      Change{"{}", "{'$set': {'a': 1, 'a.b': 1}}", nullptr},
                      Change{"{}", "{'$set': {'a.b': 1}, '$unset': {'a': 1}}", nullptr},
                      Change{"{}", "{'$set': {'a': 1, 'a.b.c': 1, 'b': 1}}", nullptr},
                      Change{"{}", "{'$rename': {'a': 'b'}, '$set': {'b': 1}}", nullptr},
                      Change{"{}", "{'$set': {'a..b': 1}}", nullptr},
                      Change{"{}", "{'$set': {'': 1}}", nullptr},
                      Change{"{}", "{'$set': {'a.$': 1}}", nullptr},
                      Change{"{}", "{'$set': {'$a': 1}}", nullptr},
                      Change{"{}", "{'$set': {'a': 1, 'ab': 2}}", "{'a': 1, 'ab': 2}"},
                      Change{"{'x': 1}", "{'$set': {}}", "{'x': 1}"}));

TEST(Updates, WhatIsNotSupportedIsNamed) {
  for (const auto& [update, name] : std::initializer_list<std::pair<const char*, const char*>>{
           {"{'$bit': {'a': 1}}", "$bit"},
           {"[{'$set': {'a': 1}}]", "pipeline"},
           {"{'$set': {'a.$[]': 1}}", "$[]"},
           {"{'$set': {'a.$[x].b': 1}}", "$[x]"},
           {"{'$push': {'a': {'$each': [], '$what': 1}}}", "$what"}}) {
    try {
      Update u(V(update));
      FAIL() << update;
    } catch (const sdk::Error& e) {
      EXPECT_EQ(e.code, proto::Code::unsupported);
      EXPECT_NE(e.message.find(name), std::string::npos) << e.message;
    }
  }
}

TEST(Updates, APathHasNoEmptyPart) {
  for (const char* path : {"a..b", ".a", "a."})
    for (const std::string update : {"{'$set': {'" + std::string(path) + "': 1}}",
                                     "{'$rename': {'x': '" + std::string(path) + "'}}",
                                     "{'$pull': {'x': {'" + std::string(path) + "': 1}}}"}) {
      try {
        Update u(V(update));
        FAIL() << update;
      } catch (const sdk::Error& e) {
        EXPECT_EQ(e.code, proto::Code::invalid);
        EXPECT_NE(e.message.find("`" + std::string(path) + "`"), std::string::npos) << e.message;
      }
    }
}

TEST(Updates, ThePositionalOperator) {
  Value v = V("{'a': [{'b': 1}, {'b': 2}]}");
  Update(V("{'$set': {'a.$.b': 9}, '$inc': {'n': 1}}")).apply(v, {.position = 1});
  EXPECT_TRUE(identical(v, V("{'a': [{'b': 1}, {'b': 9}], 'n': 1}"))) << show(v);
}

TEST(Updates, InsertingAndDates) {
  Value v = V("{}");
  Update(V("{'$setOnInsert': {'a': 5}, '$currentDate': {'d': true, 't': {'$type': 'timestamp'}}}"))
      .apply(v, {.inserting = true, .now_ms = 1500});
  EXPECT_TRUE(identical(*v.find("a"), V("5")));
  EXPECT_TRUE(identical(*v.find("d"), Value::date(1500)));
  EXPECT_TRUE(identical(*v.find("t"), Value::timestamp(std::uint64_t{1} << 32 | 1)));
  EXPECT_THROW(Update(V("{'$currentDate': {'d': 1}}")), sdk::Error);
}

TEST(Updates, AnUpsertBeginsWithTheFiltersEqualities) {
  EXPECT_TRUE(identical(
      upsert_base(V("{'a': 1, 'b.c': 2, 'd': {'$gt': 1}, 'e': {'$eq': 5}, 'f': {'$in': [7]}, 'g': "
                    "{'$in': [1, 2]},"
                    " '$and': [{'h': 1}], '$or': [{'i': 1}], 'r': {'$regex': 'x', '$re': 1}}")),
      V("{'a': 1, 'b': {'c': 2}, 'e': 5, 'f': 7, 'h': 1, 'i': 1}")));
  EXPECT_THROW(upsert_base(V("{'a': 1, '$and': [{'a': 2}]}")), sdk::Error);
  EXPECT_THROW(upsert_base(V("{'a.b': 1, 'a': {'c': 1}}")), sdk::Error);
  EXPECT_THROW(upsert_base(V("{'a': {'c': 1}, 'a.b': 1}")), sdk::Error);
  EXPECT_TRUE(identical(upsert_base(V("{'a.b': 1, 'a.c': 2, 'ab': 3}")),
                        V("{'a': {'b': 1, 'c': 2}, 'ab': 3}")));
  Value v = V("{'a': 1, '_id': 5}");
  place_id(v);
  EXPECT_TRUE(identical(v, V("{'_id': 5, 'a': 1}")));
  v = V("{'a': 1}");
  place_id(v);
  EXPECT_EQ(v.fields()[0].name, "_id");
  EXPECT_EQ(v.fields()[0].value.tag(), Tag::object_id);
}

}  // namespace
}  // namespace headgate::sqlite::doc
