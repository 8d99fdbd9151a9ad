// Every query gives the same answer with and without indexes: random documents, filters, orders and
// windows against a plain scan; and the bounds that indexes are read with.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "plugins/sqlite/document_json.hpp"
#include "plugins/sqlite/document_key.hpp"
#include "plugins/sqlite/document_scan.hpp"
#include "plugins/sqlite/document_update.hpp"
#include "tests/unit/sqlite/bare_host.hpp"
#include "tests/unit/sqlite/document_random.hpp"
#include "tests/unit/sqlite/document_text.hpp"

namespace headgate::sqlite::doc {
namespace {

class Indexes : public ::testing::Test {
 protected:
  Indexes() {
    char name[] = "/tmp/headgate-doc-XXXXXX";
    dir_ = mkdtemp(name);
    Options options;
    options.synchronous_full = false;
    db_.emplace(&test::BareHost::the(), dir_ + "/x.db", Database::Mode::write, options);
    db_->exec("BEGIN IMMEDIATE");
    Store::prepare(*db_);
    store_.emplace(*db_);
  }
  ~Indexes() override {
    store_.reset();
    db_.reset();
    std::filesystem::remove_all(dir_);
  }

  void insert(const char* collection, Value document) {
    place_id(document);
    Collection c = store_->find_or_make(collection);
    store_->insert(c, document);
  }
  void index(const char* collection, const char* keys, bool unique = false) {
    Collection c = store_->find_or_make(collection);
    Index i;
    i.order = read_sort(V(keys));
    i.unique = unique;
    store_->make_index(c, i);
  }
  Plan plan_of(const char* collection, const char* filter, const char* order = "{}") {
    collection_ = *store_->find(collection);
    return plan(collection_, Filter(V(filter)), read_sort(V(order)));
  }
  std::vector<Value> answer(const char* collection, const Query& q) {
    Watch watch(&test::BareHost::the(), nullptr, *db_);
    std::vector<Value> out;
    run_query(*store_, *db_, *store_->find(collection), q, watch, [&](Found&& f) {
      out.push_back(std::move(f.document));
      return true;
    });
    return out;
  }

  std::string dir_;
  std::optional<Database> db_;
  std::optional<Store> store_;
  Collection collection_;
};

using Random = std::mt19937_64;

// a and c are often arrays, b is a scalar, d.x and d.y share a document or an array of them.
Value random_document(Random& random, int id) {
  Value v = Value::object({{"_id", Value::int32(id)}});
  if (random() % 5 != 0) v.set("a", random_value(random, random() % 2 == 0 ? 2 : 0));
  if (random() % 5 != 0) v.set("b", random_scalar(random));
  if (random() % 3 == 0 && v.find("a") != nullptr && !v.find("a")->is(Tag::array))
    v.set("c", random_value(random, 1));
  const auto pair = [&] {
    Value d = Value::object();
    if (random() % 4 != 0) d.set("x", random_scalar(random));
    if (random() % 4 != 0) d.set("y", random_scalar(random));
    return d;
  };
  switch (random() % 4) {
    case 0:
      v.set("d", pair());
      break;
    case 1: {
      Array items;
      for (auto n = random() % 4; n > 0; --n)
        items.push_back(random() % 6 == 0 ? random_value(random, 1) : pair());
      v.set("d", Value::array(std::move(items)));
      break;
    }
    case 2:
      v.set("d", random_scalar(random));
      break;
    default:
      break;
  }
  return v;
}

Value random_condition(Random& random);

Value one_operator(Random& random) {
  const auto value = [&] { return random_value(random, random() % 4 == 0 ? 2 : 0); };
  const auto plain = [&] {
    Value v = value();
    while (v.is(Tag::regex)) v = value();
    return v;
  };
  switch (random() % 12) {
    case 0:
      return Value::object({{"$gt", plain()}});
    case 1:
      return Value::object({{"$gte", plain()}});
    case 2:
      return Value::object({{"$lt", plain()}});
    case 3:
      return Value::object({{"$lte", plain()}});
    case 4:
      return Value::object({{"$gte", plain()}, {"$lt", plain()}});
    case 5:
    case 6: {
      Array list;
      for (auto n = random() % 4; n > 0; --n) list.push_back(value());
      return Value::object({{random() % 4 == 0 ? "$nin" : "$in", Value::array(std::move(list))}});
    }
    case 7:
      return Value::object({{"$ne", plain()}});
    case 8:
      return Value::object({{"$exists", Value::boolean(random() % 2 == 0)}});
    case 9:
      return Value::object({{"$regex", Value::string(random() % 2 == 0 ? "^a" : "^b.*")}});
    case 10:
      return Value::object({{"$elemMatch", Value::object({{"$gte", plain()}, {"$lte", plain()}})}});
    default:
      return Value::object({{"$not", Value::object({{"$gt", plain()}})}});
  }
}

Value random_condition(Random& random) {
  if (random() % 5 < 2) return random_value(random, random() % 3 == 0 ? 2 : 0);
  if (random() % 8 == 0)
    return Value::object({{"$all", Value::array({random_scalar(random), random_scalar(random)})}});
  return one_operator(random);
}

const char* random_path(Random& random) {
  static constexpr const char* kPaths[] = {"a",   "a",   "a",   "b", "b",   "c",   "d.x",
                                           "d.x", "d.y", "_id", "d", "a.a", "a.0", "d.0.x"};
  return kPaths[random() % std::size(kPaths)];
}

Value random_filter(Random& random, int depth) {
  Value v = Value::object();
  if (depth == 2 && random() % 6 == 0) {
    Array branches;
    for (int k = 0; k < 2; ++k)
      branches.push_back(Value::object({{random_path(random), random_condition(random)}}));
    v.set("$or", Value::array(std::move(branches)));
    return v;
  }
  const auto n = random() % 3 + (depth == 0 ? 1 : 0);
  for (std::uint64_t i = 0; i < n; ++i) {
    if (depth > 0 && random() % 5 == 0) {
      static constexpr const char* kLogic[] = {"$or", "$or", "$and", "$nor"};
      Array branches;
      for (auto k = 1 + random() % 3; k > 0; --k)
        branches.push_back(random_filter(random, depth - 1));
      v.set(kLogic[random() % 4], Value::array(std::move(branches)));
    } else {
      v.set(random_path(random), random_condition(random));
    }
  }
  return v;
}

std::vector<SortKey> random_order(Random& random) {
  if (random() % 2 == 0) return {};
  static constexpr const char* kOrders[] = {"{'a': 1}",
                                            "{'a': -1}",
                                            "{'b': 1}",
                                            "{'b': -1, 'a': -1}",
                                            "{'b': 1, 'a': 1}",
                                            "{'a': 1, 'b': -1}",
                                            "{'d.x': 1, 'd.y': 1}",
                                            "{'d.x': -1}",
                                            "{'_id': -1}",
                                            "{'c': 1}",
                                            "{'d.y': -1, 'b': 1}",
                                            "{'a': -1, 'b': 1}"};
  return read_sort(V(kOrders[random() % std::size(kOrders)]));
}

std::string answers(const std::vector<Value>& documents) {
  std::string out;
  for (const Value& d : documents) out += to_json(*d.find("_id")) + " ";
  return out;
}

TEST_F(Indexes, EveryQueryGivesTheSameAnswer) {
  const std::uint64_t seed = 20260131;
  Random random(seed);
  int used = 0, ordered = 0, several = 0, found = 0;
  for (int round = 0; round < 10; ++round) {
    const std::string plain = "plain" + std::to_string(round),
                      fast = "fast" + std::to_string(round);
    store_->make(plain);
    store_->make(fast);
    // Some indexes before the documents, some after: both ways of filling them.
    static constexpr const char* kIndexes[] = {
        "{'a': 1}",         "{'b': -1}",          "{'d.x': 1}", "{'d.x': 1, 'd.y': 1}",
        "{'b': 1, 'a': 1}", "{'a': -1, 'b': 1}",  "{'c': 1}",   "{'d.y': -1, 'b': 1}",
        "{'a': 1, 'b': 1}", "{'b': 1, 'd.x': 1}", "{'a.a': 1}", "{'d': 1}"};
    std::vector<const char*> chosen;
    for (const char* keys : kIndexes)
      if (random() % 2 == 0) chosen.push_back(keys);
    const std::size_t early = chosen.size() / 2;
    for (std::size_t i = 0; i < early; ++i) index(fast.c_str(), chosen[i]);
    for (int id = 0; id < 80; ++id) {
      Value d = random_document(random, id);
      try {
        Collection c = *store_->find(fast);
        store_->insert(c, d);
      } catch (const sdk::Error&) {
        continue;  // arrays side by side
      }
      insert(plain.c_str(), d);
    }
    for (std::size_t i = early; i < chosen.size(); ++i) {
      db_->exec("SAVEPOINT try_index");
      try {
        index(fast.c_str(), chosen[i]);
      } catch (const sdk::Error&) {
        db_->exec("ROLLBACK TO try_index");
      }
      db_->exec("RELEASE try_index");
    }
    // Changes and removals keep the indexes true.
    Collection a = *store_->find(plain), b = *store_->find(fast);
    for (int i = 0; i < 40; ++i) {
      const std::int64_t id = static_cast<std::int64_t>(random() % 80) + 1;
      const std::optional<Value> before = store_->read(b, id);
      if (!before || !identical(*before, store_->read(a, id).value_or(Value()))) continue;
      if (i % 4 == 0) {
        store_->remove(b, id, *before);
        store_->remove(a, id, *before);
        continue;
      }
      const Value after = random_document(random, static_cast<int>(before->find("_id")->as_int()));
      try {
        store_->replace(b, id, *before, after);
      } catch (const sdk::Error&) {
        continue;
      }
      store_->replace(a, id, *before, after);
    }
    for (int i = 0; i < 400; ++i) {
      const Value filter = random_filter(random, 2);
      Query q;
      q.filter = Filter(filter);
      q.order = random_order(random);
      q.skip = random() % 4 == 0 ? static_cast<std::int64_t>(random() % 5) : 0;
      q.limit = random() % 2 == 0 ? static_cast<std::int64_t>(random() % 8) : 0;
      std::vector<Value> expected;
      try {
        expected = answer(plain.c_str(), q);
      } catch (const sdk::Error& e) {
        ASSERT_NE(e.message.find("side by side"), std::string::npos) << e.message;
        continue;
      }
      const Plan p = plan(b, q.filter, q.order);
      used += p.way != Plan::Way::collection;
      ordered += p.way == Plan::Way::ordered;
      several += p.scans.size() > 1;
      found += !expected.empty();
      const std::vector<Value> got = answer(fast.c_str(), q);
      std::string order;
      for (const SortKey& k : q.order) order += k.path.text() + (k.descending ? " -1 " : " 1 ");
      ASSERT_EQ(answers(got), answers(expected))
          << "seed " << seed << " round " << round << " filter " << to_json(filter) << " order "
          << order << " skip " << q.skip << " limit " << q.limit << " index "
          << (p.scans.empty() ? "none" : p.scans[0].index->name);
    }
  }
  // The test means something: indexes were used, in order, several at once, and answers were found.
  EXPECT_GT(used, 1000);
  EXPECT_GT(ordered, 200);
  EXPECT_GT(several, 50);
  EXPECT_GT(found, 1000);
}

TEST_F(Indexes, TheBoundsAreThoseOfTheCondition) {
  for (int i = 0; i < 100; ++i)
    insert("c",
           Value::object(
               {{"_id", Value::int32(i)}, {"a", Value::int32(i % 10)}, {"b", Value::int32(i)}}));
  index("c", "{'a': 1, 'b': -1}");
  index("c", "{'b': 1}");
  const Plan both = plan_of("c", "{'a': 3, 'b': {'$gt': 20, '$lt': 40}}");
  ASSERT_EQ(both.way, Plan::Way::scans);
  EXPECT_EQ(both.scans[0].index->name, "a_1_b_-1");
  EXPECT_EQ(both.scans[0].bounded, (std::vector<std::string>{"a", "b"}));
  ASSERT_EQ(both.scans[0].ranges.size(), 1u);
  EXPECT_EQ(plan_of("c", "{'a': {'$in': [1, 2, 2]}}").scans[0].ranges.size(), 2u);
  EXPECT_EQ(plan_of("c", "{'_id': 5, 'a': 1}").scans[0].index->name, "_id_");
  EXPECT_EQ(plan_of("c", "{'b': {'$gt': 5, '$lt': 3}}").scans[0].ranges.size(),
            0u);  // no array is there: never true
  EXPECT_EQ(plan_of("c", "{'q': 5}").way, Plan::Way::collection);
  EXPECT_EQ(plan_of("c", "{'a': {'$ne': 5}}").way, Plan::Way::collection);
  EXPECT_EQ(plan_of("c", "{}", "{'b': -1}").way, Plan::Way::ordered);
  EXPECT_TRUE(plan_of("c", "{}", "{'b': -1}").backward);
  EXPECT_EQ(plan_of("c", "{}", "{'a': -1, 'b': 1}").way, Plan::Way::ordered);
  EXPECT_EQ(plan_of("c", "{}", "{'a': 1, 'b': 1}").way, Plan::Way::collection);
  EXPECT_EQ(plan_of("c", "{'a': 3}", "{'b': 1}").way, Plan::Way::ordered);
  EXPECT_EQ(plan_of("c", "{'a': 3}", "{'a': 1, 'b': 1}").way, Plan::Way::ordered);
  EXPECT_EQ(plan_of("c", "{'a': {'$in': [1, 2]}}", "{'b': 1}").way, Plan::Way::scans);
  const Plan either = plan_of("c", "{'$or': [{'a': 1}, {'b': {'$gt': 50}}]}");
  EXPECT_EQ(either.scans.size(), 2u);
  EXPECT_EQ(plan_of("c", "{'$or': [{'a': 1}, {'q': 1}]}").way, Plan::Way::collection);
}

TEST_F(Indexes, AnArrayWidensWhatTwoConditionsMayMean) {
  insert("c", V("{'_id': 1, 'a': [1, 9]}"));
  index("c", "{'a': 1}");
  Query q;
  q.filter = Filter(V("{'a': {'$gt': 5, '$lt': 3}}"));
  EXPECT_EQ(answer("c", q).size(), 1u);
  EXPECT_EQ(plan_of("c", "{'a': {'$gt': 5, '$lt': 3}}").scans[0].ranges.size(), 1u);
  insert("p", V("{'_id': 1, 'd': [{'x': 1, 'y': 2}, {'x': 3, 'y': 4}]}"));
  index("p", "{'d.x': 1, 'd.y': 1}");
  q.filter = Filter(V("{'d.x': 1, 'd.y': 4}"));
  EXPECT_EQ(answer("p", q).size(), 1u);
}

TEST_F(Indexes, UniqueMeansEveryKeyOnce) {
  index("c", "{'a': 1}", true);
  insert("c", V("{'_id': 1, 'a': [1, 2, 2]}"));
  EXPECT_THROW(insert("c", V("{'_id': 2, 'a': 2.0}")), sdk::Error);
  EXPECT_THROW(insert("c", V("{'_id': 2, 'a': [3, 1]}")), sdk::Error);
  EXPECT_THROW(insert("c", V("{'_id': 1.0, 'a': 9}")), sdk::Error);
  insert("c", V("{'_id': 2, 'a': 3}"));
  insert("c", V("{'_id': 3}"));
  EXPECT_THROW(insert("c", V("{'_id': 4, 'a': null}")), sdk::Error);  // missing counts as null
  Collection c = *store_->find("c");
  EXPECT_EQ(store_->count(c), 3);
  EXPECT_THROW(store_->replace(c, 2, V("{'_id': 2, 'a': 3}"), V("{'_id': 2, 'a': 1}")), sdk::Error);
  store_->replace(c, 2, V("{'_id': 2, 'a': 3}"), V("{'_id': 2, 'a': [3, 4]}"));
  Query q;
  q.filter = Filter(V("{'a': 4}"));
  EXPECT_EQ(answer("c", q).size(), 1u);
  insert("d", V("{'_id': 1, 'a': 1}"));
  insert("d", V("{'_id': 2, 'a': 1}"));
  EXPECT_THROW(index("d", "{'a': 1}", true), sdk::Error);
}

TEST_F(Indexes, ArraysSideBySideAreRefused) {
  index("c", "{'a': 1, 'b': 1}");
  EXPECT_THROW(insert("c", V("{'a': [1], 'b': [2]}")), sdk::Error);
  insert("c", V("{'a': [1], 'b': 2}"));
  EXPECT_THROW(index("c", "{'a.0': 1}"), sdk::Error);
}

}  // namespace
}  // namespace headgate::sqlite::doc
