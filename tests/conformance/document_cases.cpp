// Document cases: types, filters, updates, aggregation, indexes.
#include <set>
#include <thread>

#include "tests/conformance/case.hpp"

namespace headgate::conformance {
namespace {

using List = std::vector<Json>;

Json ask(Context& x, const char* verb, Json body, const char* collection = "") {
  body["collection"] = x.unique + collection;
  const Reply r = x.caller->call(verb, body);
  expect_ok(r, verb);
  return r.body;
}
Reply tell(Context& x, const char* verb, Json body) {
  body["collection"] = x.unique;
  return x.caller->call(verb, body);
}
void insert(Context& x, const List& documents) {
  ask(x, "insert_many", {{"documents", documents}});
}
// The _ids of what a filter finds, in order of _id.
Json ids(Context& x, const Json& filter) {
  const Json r =
      ask(x, "find", {{"filter", filter}, {"sort", {{"_id", 1}}}, {"projection", {{"_id", 1}}}});
  Json out = Json::array();
  for (const Json& d : r.at("documents")) out.push_back(d.at("_id"));
  return out;
}
Json one(Context& x, const Json& filter) {
  return ask(x, "find_one", {{"filter", filter}}).at("document");
}
Json ext(int code, std::vector<std::uint8_t> bytes) {
  return Json::binary(std::move(bytes), static_cast<std::uint8_t>(code));
}
Json object_id(std::uint8_t last) { return ext(16, {7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, last}); }
Json arr(std::initializer_list<Json> values) {
  Json out = Json::array();
  for (const Json& v : values) out.push_back(v);
  return out;
}

// Ten documents that the filter cases share.
void people(Context& x) {
  insert(
      x,
      {{{"_id", 1},
        {"name", "ada"},
        {"age", 36},
        {"tags", arr({"math", "code"})},
        {"home", {{"city", "london"}, {"zip", 1}}}},
       {{"_id", 2},
        {"name", "bob"},
        {"age", 20},
        {"tags", Json::array()},
        {"home", {{"city", "paris"}}}},
       {{"_id", 3}, {"name", "cid"}, {"age", nullptr}, {"tags", arr({"code"})}},
       {{"_id", 4}, {"name", "dan"}, {"age", 20.5}, {"scores", arr({1, 5, 9})}},
       {{"_id", 5},
        {"name", "eve"},
        {"scores", arr({2, 4})},
        {"items", arr({{{"sku", "a"}, {"qty", 1}}, {{"sku", "b"}, {"qty", 9}}})}},
       {{"_id", 6}, {"name", "Fay"}, {"age", 60}, {"items", arr({{{"sku", "a"}, {"qty", 9}}})}}});
}

CASE(insert_one, "doc.insert_one", "document", V("insert_one", "find_one"), V()) {
  const Json r = ask(x, "insert_one", {{"document", {{"a", 1}}}});
  const Json id = r.at("inserted_id");
  expect(id.is_binary() && id.get_binary().subtype() == 16 && id.get_binary().at(0) == 7,
         "an ObjectId is made: " + show(id));
  expect_eq(one(x, {{"_id", id}}), Json({{"_id", id}, {"a", 1}}), "_id first");
  expect_eq(ask(x, "insert_one", {{"document", {{"a", 1}, {"_id", "mine"}}}}).at("inserted_id"),
            "mine", "a given _id");
}

CASE(insert_many_ordered, "doc.insert_many_ordered", "document", V("insert_many", "find"), V()) {
  const Reply r =
      tell(x, "insert_many", {{"documents", List{{{"_id", 1}}, {{"_id", 1}}, {{"_id", 2}}}}});
  expect_code(r, Code::exists, "a duplicate in the middle");
  expect_eq(r.body.at("write_errors").size(), 1, "one error");
  expect_eq(r.body.at("write_errors")[0].at("index"), 1, "its index");
  expect_eq(ids(x, Json::object()), arr({1}), "it stopped there");
}

CASE(insert_many_unordered, "doc.insert_many_unordered", "document", V("insert_many", "find"),
     V()) {
  const Reply r =
      tell(x, "insert_many",
           {{"ordered", false},
            {"documents", List{{{"_id", 1}}, {{"_id", 1}}, {{"_id", 2}}, {{"_id", 1}}}}});
  expect_code(r, Code::exists, "duplicates");
  std::set<int> failed;
  for (const Json& e : r.body.at("write_errors")) failed.insert(e.at("index").get<int>());
  expect(failed == std::set<int>{1, 3}, "every failed index is listed: " + show(r.body));
  expect_eq(ids(x, Json::object()), arr({1, 2}), "the others are there");
}

CASE(duplicate_key, "doc.duplicate_key", "document", V("insert_one"), V()) {
  ask(x, "insert_one", {{"document", {{"_id", 5}}}});
  const Reply r = tell(x, "insert_one", {{"document", {{"_id", 5}}}});
  expect_code(r, Code::exists, "again");
  expect(r.outcome == Outcome::rejected || r.outcome == Outcome::rolled_back,
         "nothing was applied");
  expect_code(tell(x, "insert_one", {{"document", {{"_id", 5.0}}}}), Code::exists,
              "5.0 is the same _id as 5");
}

CASE(types, "doc.types", "document", V("insert_one", "find_one"), V()) {
  const Json doc = {{"_id", 1},
                    {"i32", 7},
                    {"big", 5'000'000'000LL},
                    {"i64", ext(16, {0x12, 7, 0, 0, 0, 0, 0, 0, 0})},
                    {"f", 1.5},
                    {"whole", 2.0},
                    {"s", "gr\xc3\xbc\xc3\x9f"},
                    {"b", bin(std::string("\0\xff", 2))},
                    {"t", true},
                    {"n", nullptr},
                    {"oid", object_id(9)},
                    {"when", ext(255, {0x5e, 0, 0, 1})},
                    {"arr", arr({1, arr({}), Json::object()})},
                    {"min", ext(16, {0xff})},
                    {"max", ext(16, {0x7f})}};
  ask(x, "insert_one", {{"document", doc}});
  const Json back = one(x, {{"_id", 1}});
  for (auto& [k, v] : doc.items()) expect_eq(back.at(k), v, k.c_str());
  expect(back.at("whole").is_number_float(), "2.0 stays a float");
  // Decimal: exact.
  const Json dec = ext(1, {0, 0, 2, '1', '2', '5', '0'});
  ask(x, "insert_one", {{"document", {{"_id", 2}, {"d", dec}}}});
  const Json d = one(x, {{"_id", 2}}).at("d");
  expect(d.is_binary(), "a decimal: " + show(d));
}

CASE(nested_100, "doc.nested_100", "document", V("insert_one", "find_one"), V()) {
  Json deep = 1;
  for (int i = 0; i < 95; ++i) deep = Json{{"a", deep}};
  ask(x, "insert_one", {{"document", {{"_id", 1}, {"deep", deep}}}});
  expect_eq(one(x, {{"_id", 1}}).at("deep"), deep, "95 levels");
}

CASE(field_order, "doc.field_order", "document", V("insert_one", "find_one"), V()) {
  const Json doc = {{"_id", 1}, {"z", 1}, {"a", 2}, {"m", {{"y", 1}, {"b", 2}}}};
  ask(x, "insert_one", {{"document", doc}});
  expect_eq(show(one(x, {{"_id", 1}})), show(doc), "the order of fields");
}

CASE(too_big, "doc.too_big", "document", V("insert_one"), V()) {
  const Reply r =
      tell(x, "insert_one", {{"document", {{"_id", 1}, {"s", std::string((16 << 20) + 1, 'x')}}}});
  expect_code(r, Code::too_large, "above 16 MiB");
}

CASE(find_compare, "doc.find_compare", "document", V("insert_many", "find"), V()) {
  people(x);
  expect_eq(ids(x, {{"age", 20}}), arr({2}), "implicit equality");
  expect_eq(ids(x, {{"age", {{"$eq", 36}}}}), arr({1}), "$eq");
  expect_eq(ids(x, {{"age", {{"$ne", 20}}}}), arr({1, 3, 4, 5, 6}), "$ne counts the missing");
  expect_eq(ids(x, {{"age", {{"$gt", 20}}}}), arr({1, 4, 6}), "$gt across int and float");
  expect_eq(ids(x, {{"age", {{"$gte", 20}, {"$lt", 36}}}}), arr({2, 4}), "a range");
  expect_eq(ids(x, {{"age", {{"$lte", 20}}}}), arr({2}), "$lte");
  expect_eq(ids(x, {{"age", {{"$in", arr({36, 60, "x"})}}}}), arr({1, 6}), "$in");
  expect_eq(ids(x, {{"age", {{"$nin", arr({36, 60})}}}}), arr({2, 3, 4, 5}), "$nin");
  expect_eq(ids(x, {{"age", {{"$gt", "a"}}}}), Json::array(),
            "a string does not compare with numbers");
  expect_eq(ids(x, {{"scores", {{"$gt", 8}}}}), arr({4}), "an element of an array");
  expect_eq(ids(x, {{"scores", 4}}), arr({5}), "equality with an element");
  expect_eq(ids(x, {{"scores", arr({2, 4})}}), arr({5}), "equality with the whole array");
}

CASE(find_logic, "doc.find_logic", "document", V("insert_many", "find"), V()) {
  people(x);
  expect_eq(ids(x, {{"$or", arr({{{"name", "ada"}}, {{"age", 60}}})}}), arr({1, 6}), "$or");
  expect_eq(ids(x, {{"$and", arr({{{"tags", "code"}}, {{"tags", "math"}}})}}), arr({1}), "$and");
  expect_eq(ids(x, {{"$nor", arr({{{"age", 20}}, {{"age", 60}}, {{"name", "ada"}}})}}),
            arr({3, 4, 5}), "$nor");
  expect_eq(ids(x, {{"age", {{"$not", {{"$gt", 20}}}}}}), arr({2, 3, 5}),
            "$not counts the missing");
}

CASE(find_path, "doc.find_path", "document", V("insert_many", "find"), V()) {
  people(x);
  expect_eq(ids(x, {{"home.city", "paris"}}), arr({2}), "a dotted path");
  expect_eq(ids(x, {{"home", {{"city", "paris"}}}}), arr({2}), "a whole sub-document");
  expect_eq(ids(x, {{"home", {{"zip", 1}, {"city", "london"}}}}), Json::array(),
            "in another order it is another");
  expect_eq(ids(x, {{"scores.1", 5}}), arr({4}), "an array index");
  expect_eq(ids(x, {{"items.sku", "b"}}), arr({5}), "through an array");
  expect_eq(ids(x, {{"items.0.qty", 9}}), arr({6}), "index and field");
}

CASE(find_exists_null, "doc.find_exists_null", "document", V("insert_many", "find"), V()) {
  people(x);
  expect_eq(ids(x, {{"age", {{"$exists", false}}}}), arr({5}), "$exists false");
  expect_eq(ids(x, {{"age", {{"$exists", true}}}}), arr({1, 2, 3, 4, 6}),
            "$exists true counts null");
  expect_eq(ids(x, {{"age", nullptr}}), arr({3, 5}), "null matches null and missing");
  expect_eq(ids(x, {{"age", {{"$type", "null"}}}}), arr({3}), "$type null");
}

CASE(find_regex, "doc.find_regex", "document", V("insert_many", "find"), V()) {
  people(x);
  expect_eq(ids(x, {{"name", {{"$regex", "^[a-c]"}}}}), arr({1, 2, 3}), "$regex");
  expect_eq(ids(x, {{"name", {{"$regex", "^f"}, {"$options", "i"}}}}), arr({6}), "$options i");
  expect_eq(ids(x, {{"tags", {{"$regex", "^ma"}}}}), arr({1}), "in an array");
  expect_code(tell(x, "find", {{"filter", {{"name", {{"$regex", "("}}}}}}), Code::invalid,
              "a bad pattern");
}

CASE(find_elem_match, "doc.find_elem_match", "document", V("insert_many", "find"), V()) {
  people(x);
  expect_eq(ids(x, {{"items", {{"$elemMatch", {{"sku", "a"}, {"qty", 9}}}}}}), arr({6}),
            "one element meets both");
  expect_eq(ids(x, {{"items.sku", "a"}, {"items.qty", 9}}), arr({5, 6}),
            "without it, different elements may");
  expect_eq(ids(x, {{"scores", {{"$elemMatch", {{"$gt", 2}, {"$lt", 5}}}}}}), arr({5}),
            "of values");
  expect_eq(ids(x, {{"tags", {{"$all", arr({"code", "math"})}}}}), arr({1}), "$all");
  expect_eq(ids(x, {{"tags", {{"$size", 0}}}}), arr({2}), "$size");
}

CASE(find_projection, "doc.find_projection", "document", V("insert_many", "find_one"), V()) {
  people(x);
  auto project = [&](Json p) {
    return ask(x, "find_one", {{"filter", {{"_id", 1}}}, {"projection", p}}).at("document");
  };
  expect_eq(project({{"name", 1}}), Json({{"_id", 1}, {"name", "ada"}}), "inclusion keeps _id");
  expect_eq(project({{"name", 1}, {"_id", 0}}), Json({{"name", "ada"}}), "without _id");
  expect_eq(project({{"home.city", 1}, {"_id", 0}}), Json({{"home", {{"city", "london"}}}}),
            "dotted");
  const Json rest = project({{"home", 0}, {"tags", 0}});
  expect_eq(rest, Json({{"_id", 1}, {"name", "ada"}, {"age", 36}}), "exclusion");
  expect_code(tell(x, "find_one", {{"projection", {{"a", 1}, {"b", 0}}}}), Code::invalid, "both");
}

CASE(find_sort_multi, "doc.find_sort_multi", "document", V("insert_many", "find"), V()) {
  insert(x, {{{"_id", 1}, {"a", 1}, {"b", "x"}},
             {{"_id", 2}, {"a", 2}, {"b", "x"}},
             {{"_id", 3}, {"a", 1}, {"b", "y"}},
             {{"_id", 4}, {"b", "z"}},
             {{"_id", 5}, {"a", "s"}}});
  auto sorted = [&](Json sort) {
    const Json found = ask(x, "find", {{"sort", sort}});
    Json out = Json::array();
    for (const Json& d : found.at("documents")) out.push_back(d.at("_id"));
    return out;
  };
  expect_eq(sorted({{"a", 1}, {"b", -1}}), arr({4, 3, 1, 2, 5}),
            "missing first, numbers before strings");
  expect_eq(sorted({{"a", -1}, {"_id", 1}}), arr({5, 2, 1, 3, 4}), "descending");
  expect_eq(sorted(arr({arr({"b", 1}), arr({"_id", -1})})), arr({5, 2, 1, 3, 4}),
            "as a list of pairs");
}

CASE(find_skip_limit, "doc.find_skip_limit", "document", V("insert_many", "find"), V()) {
  List all;
  for (int i = 0; i < 20; ++i) all.push_back({{"_id", i}});
  insert(x, all);
  const Json r =
      ask(x, "find", {{"sort", {{"_id", 1}}}, {"skip", 5}, {"limit", 3}}).at("documents");
  expect_eq(r, arr({{{"_id", 5}}, {{"_id", 6}}, {{"_id", 7}}}), "skip and limit");
  expect_code(tell(x, "find", {{"skip", -1}}), Code::invalid, "a negative skip");
}

CASE(find_one_missing, "doc.find_one_missing", "document", V("find_one"), V()) {
  expect_eq(one(x, {{"_id", "none"}}), nullptr, "nil, no error, even without the collection");
}

CASE(find_bad_operator, "doc.find_bad_operator", "document", V("find"), V()) {
  for (const Json& bad :
       {Json{{"a", {{"$near", 1}}}}, Json{{"$where", "1"}}, Json{{"$foo", 1}},
        Json{{"a", {{"$in", 1}}}}, Json{{"$or", 1}}, Json{{"$or", Json::array()}}}) {
    const Reply r = tell(x, "find", {{"filter", bad}});
    expect(r.code == Code::invalid || r.code == Code::unsupported || r.code == Code::denied,
           show(bad) + ": " + show(r));
  }
  const Reply named = tell(x, "find", {{"filter", {{"a", {{"$geoWithin", 1}}}}}});
  expect(named.message.find("$geoWithin") != std::string::npos,
         "the operator is named: " + named.message);
}

Json updated(Context& x, Json before, Json update) {
  before["_id"] = 1;
  ask(x, "delete_many", {{"filter", Json::object()}});
  ask(x, "insert_one", {{"document", before}});
  const Json r = ask(x, "update_one", {{"filter", {{"_id", 1}}}, {"update", update}});
  expect_eq(r.at("matched_count"), 1, "matched");
  Json after = one(x, {{"_id", 1}});
  after.erase("_id");
  return after;
}

CASE(update_set_unset_inc, "doc.update_set_unset_inc", "document",
     V("update_one", "find_one", "insert_one", "delete_many"), V()) {
  expect_eq(updated(x, {{"a", 1}}, {{"$set", {{"a", 2}, {"b.c", 3}}}}),
            Json({{"a", 2}, {"b", {{"c", 3}}}}), "$set");
  expect_eq(updated(x, {{"a", 1}, {"b", 2}}, {{"$unset", {{"a", ""}}}}), Json({{"b", 2}}),
            "$unset");
  expect_eq(updated(x, {{"a", 1}}, {{"$inc", {{"a", 4}, {"n", -2}}}}), Json({{"a", 5}, {"n", -2}}),
            "$inc");
  expect_eq(updated(x, {{"a", 3}}, {{"$mul", {{"a", 2}, {"n", 2}}}}), Json({{"a", 6}, {"n", 0}}),
            "$mul");
  expect_eq(updated(x, {{"a", 3}, {"b", 3}}, {{"$min", {{"a", 1}, {"b", 9}}}}),
            Json({{"a", 1}, {"b", 3}}), "$min");
  expect_eq(updated(x, {{"a", 3}, {"b", 3}}, {{"$max", {{"a", 1}, {"b", 9}}}}),
            Json({{"a", 3}, {"b", 9}}), "$max");
  expect_eq(updated(x, {{"a", 3}}, {{"$rename", {{"a", "z"}}}}), Json({{"z", 3}}), "$rename");
  expect_code(
      tell(x, "update_one", {{"filter", Json::object()}, {"update", {{"$inc", {{"z", "x"}}}}}}),
      Code::invalid, "$inc by a string");
  expect_code(tell(x, "update_one", {{"filter", Json::object()}, {"update", {{"z", 1}}}}),
              Code::invalid, "no operator");
  const Reply bad =
      tell(x, "update_one", {{"filter", Json::object()}, {"update", {{"$bit", {{"z", 1}}}}}});
  expect(!bad.ok() && bad.message.find("$bit") != std::string::npos,
         "an unknown operator is named: " + show(bad));
}

CASE(update_arrays, "doc.update_push_pull_addtoset", "document",
     V("update_one", "find_one", "insert_one", "delete_many"), V()) {
  const Json a = {{"a", arr({1, 2, 3, 2})}};
  expect_eq(updated(x, a, {{"$push", {{"a", 9}}}}).at("a"), arr({1, 2, 3, 2, 9}), "$push");
  expect_eq(updated(x, a, {{"$push", {{"a", {{"$each", arr({8, 9})}}}}}}).at("a"),
            arr({1, 2, 3, 2, 8, 9}), "$push $each");
  expect_eq(updated(x, a, {{"$addToSet", {{"a", 2}}}}).at("a"), arr({1, 2, 3, 2}),
            "$addToSet of a member");
  expect_eq(updated(x, a, {{"$addToSet", {{"a", {{"$each", arr({2, 7})}}}}}}).at("a"),
            arr({1, 2, 3, 2, 7}), "$addToSet $each");
  expect_eq(updated(x, a, {{"$pull", {{"a", 2}}}}).at("a"), arr({1, 3}), "$pull");
  expect_eq(updated(x, a, {{"$pull", {{"a", {{"$gte", 2}}}}}}).at("a"), arr({1}),
            "$pull by condition");
  expect_eq(updated(x, a, {{"$pop", {{"a", 1}}}}).at("a"), arr({1, 2, 3}), "$pop last");
  expect_eq(updated(x, a, {{"$pop", {{"a", -1}}}}).at("a"), arr({2, 3, 2}), "$pop first");
  expect_eq(updated(x, Json::object(), {{"$push", {{"n", 1}}}}).at("n"), arr({1}),
            "$push makes the array");
  expect_code(
      tell(x, "update_one", {{"filter", Json::object()}, {"update", {{"$push", {{"_id", 1}}}}}}),
      Code::invalid, "$push to no array");
}

CASE(update_upsert_id, "doc.update_upsert_id", "document", V("update_one", "find_one"), V()) {
  const Json r = ask(x, "update_one",
                     {{"filter", {{"_id", "u"}, {"kind", "new"}}},
                      {"update", {{"$set", {{"n", 1}}}}},
                      {"upsert", true}});
  expect_eq(r.at("upserted_id"), "u", "upserted_id");
  expect_eq(r.at("matched_count"), 0, "matched");
  expect_eq(one(x, {{"_id", "u"}}), Json({{"_id", "u"}, {"kind", "new"}, {"n", 1}}),
            "equalities of the filter are set");
  const Json again =
      ask(x, "update_one",
          {{"filter", {{"_id", "u"}}}, {"update", {{"$set", {{"n", 2}}}}}, {"upsert", true}});
  expect_eq(again.at("upserted_id"), nullptr, "nothing new");
}

CASE(update_counts, "doc.update_counts", "document", V("update_many", "insert_many"), V()) {
  insert(x, {{{"_id", 1}, {"a", 1}}, {{"_id", 2}, {"a", 2}}, {{"_id", 3}, {"a", 2}}});
  const Json r =
      ask(x, "update_many", {{"filter", Json::object()}, {"update", {{"$set", {{"a", 2}}}}}});
  expect_eq(r.at("matched_count"), 3, "matched");
  expect_eq(r.at("modified_count"), 1, "modified: two had the value already");
}

CASE(update_many, "doc.update_many", "document", V("update_many", "insert_many", "find"), V()) {
  people(x);
  expect_eq(ask(x, "update_many",
                {{"filter", {{"age", {{"$gte", 20}}}}}, {"update", {{"$inc", {{"age", 1}}}}}})
                .at("modified_count"),
            4, "modified");
  expect_eq(ids(x, {{"age", {{"$in", arr({37, 21, 21.5, 61})}}}}), arr({1, 2, 4, 6}),
            "all of them");
}

CASE(replace, "doc.replace", "document", V("replace_one", "insert_one", "find_one"), V()) {
  ask(x, "insert_one", {{"document", {{"_id", 1}, {"a", 1}, {"b", 2}}}});
  expect_eq(ask(x, "replace_one", {{"filter", {{"_id", 1}}}, {"replacement", {{"c", 3}}}})
                .at("modified_count"),
            1, "modified");
  expect_eq(one(x, {{"_id", 1}}), Json({{"_id", 1}, {"c", 3}}), "replaced as a whole");
  expect_eq(ask(x, "replace_one",
                {{"filter", {{"_id", 2}}}, {"replacement", {{"c", 4}}}, {"upsert", true}})
                .at("upserted_id"),
            2, "upsert");
  expect_code(
      tell(x, "replace_one", {{"filter", {{"_id", 1}}}, {"replacement", {{"$set", {{"a", 1}}}}}}),
      Code::invalid, "an operator");
}

CASE(immutable_id, "doc.replace_immutable_id", "document",
     V("replace_one", "update_one", "insert_one"), V()) {
  ask(x, "insert_one", {{"document", {{"_id", 1}, {"a", 1}}}});
  expect_code(tell(x, "replace_one", {{"filter", {{"a", 1}}}, {"replacement", {{"_id", 2}}}}),
              Code::invalid, "replace");
  expect_code(tell(x, "update_one", {{"filter", {{"a", 1}}}, {"update", {{"$set", {{"_id", 2}}}}}}),
              Code::invalid, "update");
}

CASE(deletes, "doc.delete_one", "document", V("delete_one", "delete_many", "insert_many", "find"),
     V()) {
  people(x);
  expect_eq(ask(x, "delete_one", {{"filter", {{"age", {{"$gte", 20}}}}}}).at("deleted_count"), 1,
            "delete_one");
  expect_eq(ask(x, "delete_many", {{"filter", {{"age", {{"$gte", 20}}}}}}).at("deleted_count"), 3,
            "delete_many");
  expect_eq(ask(x, "delete_many", {{"filter", {{"age", 99}}}}).at("deleted_count"), 0, "none");
  expect_eq(ids(x, Json::object()), arr({3, 5}), "what is left");
}

CASE(find_and_update, "doc.find_one_and_update", "document",
     V("find_one_and_update", "insert_many"), V()) {
  insert(x, {{{"_id", 1}, {"n", 5}}, {{"_id", 2}, {"n", 9}}});
  const Json inc = {{"$inc", {{"n", 1}}}};
  expect_eq(ask(x, "find_one_and_update",
                {{"filter", Json::object()}, {"sort", {{"n", -1}}}, {"update", inc}})
                .at("document"),
            Json({{"_id", 2}, {"n", 9}}), "before");
  expect_eq(ask(x, "find_one_and_update",
                {{"filter", {{"_id", 1}}}, {"update", inc}, {"return_document", "after"}})
                .at("document"),
            Json({{"_id", 1}, {"n", 6}}), "after");
  expect_eq(
      ask(x, "find_one_and_update", {{"filter", {{"_id", 7}}}, {"update", inc}}).at("document"),
      nullptr, "none");
  expect_eq(ask(x, "find_one_and_update",
                {{"filter", {{"_id", 7}}},
                 {"update", inc},
                 {"upsert", true},
                 {"return_document", "after"}})
                .at("document"),
            Json({{"_id", 7}, {"n", 1}}), "upsert");
}
CASE(find_and_replace, "doc.find_one_and_replace", "document",
     V("find_one_and_replace", "insert_one"), V()) {
  ask(x, "insert_one", {{"document", {{"_id", 1}, {"n", 5}}}});
  expect_eq(
      ask(x, "find_one_and_replace",
          {{"filter", {{"_id", 1}}}, {"replacement", {{"m", 1}}}, {"return_document", "after"}})
          .at("document"),
      Json({{"_id", 1}, {"m", 1}}), "after");
}
CASE(find_and_delete, "doc.find_one_and_delete", "document",
     V("find_one_and_delete", "insert_many", "find"), V()) {
  insert(x, {{{"_id", 1}, {"n", 5}}, {{"_id", 2}, {"n", 9}}});
  expect_eq(ask(x, "find_one_and_delete",
                {{"filter", Json::object()}, {"sort", {{"n", -1}}}, {"projection", {{"_id", 1}}}})
                .at("document"),
            Json({{"_id", 2}}), "what was deleted");
  expect_eq(ids(x, Json::object()), arr({1}), "left");
}

CASE(cas_race, "doc.find_and_update_race", "document",
     V("find_one_and_update", "insert_one", "find_one"), V()) {
  ask(x, "insert_one", {{"document", {{"_id", 1}, {"n", 0}}}});
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      auto c = x.target.caller();
      for (int n = 0; n < 25; ++n)
        c->call("find_one_and_update", {{"collection", x.unique},
                                        {"filter", {{"_id", 1}}},
                                        {"update", {{"$inc", {{"n", 1}}}}}});
    });
  for (auto& t : threads) t.join();
  expect_eq(one(x, {{"_id", 1}}).at("n"), 200, "no update is lost");
}

Json op(const char* verb, Json body) { return Json{{verb, std::move(body)}}; }

CASE(bulk_mixed, "doc.bulk_mixed", "document", V("bulk_write", "find"), V()) {
  const Json r = ask(
      x, "bulk_write",
      {{"operations",
        arr({op("insert_one", {{"document", {{"_id", 1}, {"a", 1}}}}),
             op("insert_one", {{"document", {{"_id", 2}, {"a", 1}}}}),
             op("update_many", {{"filter", {{"a", 1}}}, {"update", {{"$set", {{"a", 2}}}}}}),
             op("update_one",
                {{"filter", {{"_id", 3}}}, {"update", {{"$set", {{"a", 3}}}}}, {"upsert", true}}),
             op("replace_one", {{"filter", {{"_id", 1}}}, {"replacement", {{"b", 1}}}}),
             op("delete_one", {{"filter", {{"_id", 2}}}})})}});
  expect_eq(r.at("inserted_count"), 2, "inserted");
  expect_eq(r.at("modified_count"), 3, "modified");
  expect_eq(r.at("deleted_count"), 1, "deleted");
  expect_eq(r.at("upserted_count"), 1, "upserted");
  expect_eq(ids(x, Json::object()), arr({1, 3}), "left");
}

CASE(bulk_ordered, "doc.bulk_ordered_stop", "document", V("bulk_write", "find"), V()) {
  const Json ops = arr({op("insert_one", {{"document", {{"_id", 1}}}}),
                        op("insert_one", {{"document", {{"_id", 1}}}}),
                        op("insert_one", {{"document", {{"_id", 2}}}})});
  const Reply r = tell(x, "bulk_write", {{"operations", ops}});
  expect_code(r, Code::exists, "stops");
  expect_eq(r.body.at("inserted_count"), 1, "before the error");
  expect_eq(ids(x, Json::object()), arr({1}), "stopped");
}
CASE(bulk_unordered, "doc.bulk_unordered_all", "document", V("bulk_write", "find"), V()) {
  const Json ops = arr({op("insert_one", {{"document", {{"_id", 1}}}}),
                        op("insert_one", {{"document", {{"_id", 1}}}}),
                        op("insert_one", {{"document", {{"_id", 2}}}})});
  const Reply r = tell(x, "bulk_write", {{"operations", ops}, {"ordered", false}});
  expect_code(r, Code::exists, "an error");
  expect_eq(r.body.at("write_errors")[0].at("index"), 1, "which");
  expect_eq(ids(x, Json::object()), arr({1, 2}), "the others");
}

Json aggregate(Context& x, Json pipeline) {
  return ask(x, "aggregate", {{"pipeline", pipeline}}).at("documents");
}

CASE(agg_group, "doc.agg_match_group_sort", "document", V("aggregate", "insert_many"), V()) {
  insert(x, {{{"_id", 1}, {"k", "a"}, {"v", 1}},
             {{"_id", 2}, {"k", "b"}, {"v", 5}},
             {{"_id", 3}, {"k", "a"}, {"v", 3}},
             {{"_id", 4}, {"k", "c"}, {"v", -1}}});
  const Json r = aggregate(x, arr({{{"$match", {{"v", {{"$gt", 0}}}}}},
                                   {{"$group",
                                     {{"_id", "$k"},
                                      {"n", {{"$sum", 1}}},
                                      {"sum", {{"$sum", "$v"}}},
                                      {"avg", {{"$avg", "$v"}}},
                                      {"max", {{"$max", "$v"}}},
                                      {"min", {{"$min", "$v"}}},
                                      {"all", {{"$push", "$v"}}}}}},
                                   {{"$sort", {{"sum", -1}}}}}));
  expect_eq(r,
            arr({{{"_id", "b"},
                  {"n", 1},
                  {"sum", 5},
                  {"avg", 5.0},
                  {"max", 5},
                  {"min", 5},
                  {"all", arr({5})}},
                 {{"_id", "a"},
                  {"n", 2},
                  {"sum", 4},
                  {"avg", 2.0},
                  {"max", 3},
                  {"min", 1},
                  {"all", arr({1, 3})}}}),
            "groups");
}

CASE(agg_project, "doc.agg_project_expr", "document", V("aggregate", "insert_many"), V()) {
  insert(x, {{{"_id", 1}, {"a", 4}, {"b", {{"c", 5}}}}});
  expect_eq(
      aggregate(
          x,
          arr({{{"$project", {{"_id", 0}, {"c", "$b.c"}, {"sum", {{"$add", arr({"$a", 1})}}}}}}})),
      arr({{{"c", 5}, {"sum", 5}}}), "expressions");
}

CASE(agg_unwind, "doc.agg_unwind_skip_limit_count", "document", V("aggregate", "insert_many"),
     V()) {
  insert(x, {{{"_id", 1}, {"t", arr({"a", "b", "c"})}},
             {{"_id", 2}, {"t", Json::array()}},
             {{"_id", 3}}});
  expect_eq(aggregate(x, arr({{{"$unwind", "$t"}}, {{"$skip", 1}}, {{"$limit", 1}}})),
            arr({{{"_id", 1}, {"t", "b"}}}), "$unwind, $skip, $limit");
  expect_eq(aggregate(x, arr({{{"$unwind", "$t"}}, {{"$count", "n"}}})), arr({{{"n", 3}}}),
            "$count");
}

CASE(agg_error, "doc.agg_error", "document", V("aggregate"), V()) {
  for (const char* stage : {"$out", "$merge", "$nonsense", "$function"}) {
    const Reply r = tell(x, "aggregate", {{"pipeline", arr({Json{{stage, "x"}}})}});
    expect(!r.ok() && r.message.find(stage) != std::string::npos, "the stage is named: " + show(r));
  }
  expect_code(tell(x, "aggregate", {{"pipeline", arr({{{"$match", {{"a", 1}}}, {"$limit", 1}}})}}),
              Code::invalid, "two in one stage");
}

CASE(counts, "doc.count", "document",
     V("count_documents", "estimated_document_count", "distinct", "insert_many"), V()) {
  people(x);
  expect_eq(ask(x, "count_documents", {{"filter", {{"tags", "code"}}}}).at("count"), 2,
            "count_documents");
  expect_eq(ask(x, "estimated_document_count", Json::object()).at("count"), 6, "estimated");
  const Json d = ask(x, "distinct", {{"key", "tags"}}).at("values");
  expect_eq(std::set<std::string>(d.begin(), d.end()).size(), 2, "distinct of array elements");
}

// Each filter's answer with and without an index must be the same, arrays included.
CASE(index_same, "doc.index_same_answers", "document", V("create_index", "find", "insert_many"),
     V("indexes")) {
  people(x);
  List filters = {{{"age", 20}},
                  {{"age", {{"$gt", 20}}}},
                  {{"age", nullptr}},
                  {{"age", {{"$in", arr({20, 36, nullptr})}}}},
                  {{"age", {{"$ne", 20}}}},
                  {{"tags", "code"}},
                  {{"tags", Json::array()}},
                  {{"tags", arr({"code"})}},
                  {{"tags", {{"$all", arr({"code", "math"})}}}},
                  {{"scores", {{"$gt", 4}, {"$lt", 6}}}},
                  {{"scores", {{"$gte", 5}}}},
                  {{"home.city", {{"$gte", "m"}}}},
                  {{"items.sku", "a"}, {"items.qty", {{"$gt", 5}}}},
                  {{"name", {{"$regex", "^[ab]"}}}},
                  {{"age", {{"$exists", false}}}}};
  std::vector<Json> before;
  for (const Json& f : filters) before.push_back(ids(x, f));
  for (const Json& keys : List{{{"age", 1}},
                               {{"tags", 1}},
                               {{"scores", 1}},
                               {{"home.city", 1}},
                               {{"items.sku", 1}},
                               {{"name", 1}, {"age", -1}},
                               {{"age", -1}, {"name", 1}}})
    ask(x, "create_index", {{"keys", keys}});
  for (std::size_t i = 0; i < filters.size(); ++i)
    expect_eq(ids(x, filters[i]), before[i], show(filters[i]).c_str());
  const Reply plan = x.caller->call(
      "explain",
      {{"verb", "find"}, {"body", {{"collection", x.unique}, {"filter", {{"age", 20}}}}}});
  expect_ok(plan, "explain");
  expect(show(plan.body).find("IXSCAN") != std::string::npos,
         "the index is used: " + show(plan.body));
}

CASE(index_unique, "doc.index_unique", "document", V("create_index", "insert_one", "update_one"),
     V("indexes")) {
  ask(x, "create_index", {{"keys", {{"email", 1}}}, {"unique", true}});
  ask(x, "insert_one", {{"document", {{"_id", 1}, {"email", "a"}}}});
  ask(x, "insert_one", {{"document", {{"_id", 2}, {"email", "b"}}}});
  expect_code(tell(x, "insert_one", {{"document", {{"email", "a"}}}}), Code::exists, "insert");
  expect_code(
      tell(x, "update_one", {{"filter", {{"_id", 2}}}, {"update", {{"$set", {{"email", "a"}}}}}}),
      Code::exists, "update");
  ask(x, "update_one",
      {{"filter", {{"_id", 2}}}, {"update", {{"$set", {{"email", "b"}, {"n", 1}}}}}});
}

CASE(index_compound, "doc.index_compound", "document",
     V("create_index", "insert_many", "find", "explain"), V("indexes")) {
  List all;
  for (int i = 0; i < 50; ++i) all.push_back({{"_id", i}, {"a", i % 5}, {"b", i}});
  insert(x, all);
  ask(x, "create_index", {{"keys", {{"a", 1}, {"b", 1}}}});
  expect_eq(ids(x, {{"a", 3}, {"b", {{"$gt", 20}, {"$lt", 40}}}}), arr({23, 28, 33, 38}),
            "both fields");
  const Reply plan = x.caller->call(
      "explain",
      {{"verb", "find"},
       {"body", {{"collection", x.unique}, {"filter", {{"a", 3}, {"b", {{"$gt", 20}}}}}}}});
  expect(show(plan.body).find("IXSCAN") != std::string::npos, "used: " + show(plan.body));
}

CASE(index_list_drop, "doc.index_list_drop", "document",
     V("create_index", "list_indexes", "drop_index"), V("indexes")) {
  const std::string name = ask(x, "create_index", {{"keys", {{"a", 1}, {"b", -1}}}}).at("name");
  expect_eq(name, "a_1_b_-1", "the usual name");
  std::set<std::string> names;
  const Json listed = ask(x, "list_indexes", Json::object()).at("indexes");
  for (const Json& i : listed) names.insert(i.at("name"));
  expect(names.count(name) == 1, "listed: " + show(listed));
  ask(x, "drop_index", {{"name", name}});
  expect_code(tell(x, "drop_index", {{"name", name}}), Code::not_found, "gone");
}

CASE(index_conflict, "doc.index_conflict", "document", V("create_index", "insert_many"),
     V("indexes")) {
  insert(x, {{{"_id", 1}, {"a", 1}}, {{"_id", 2}, {"a", 1}}});
  const Reply r = tell(x, "create_index", {{"keys", {{"a", 1}}}, {"unique", true}});
  expect_code(r, Code::exists, "unique over duplicates");
  ask(x, "create_index", {{"keys", {{"a", 1}}}, {"name", "i"}});
  ask(x, "create_index", {{"keys", {{"a", 1}}}, {"name", "i"}});
  expect(!tell(x, "create_index", {{"keys", {{"b", 1}}}, {"name", "i"}}).ok(),
         "another index of the same name");
}

CASE(collections, "doc.coll_create_list_rename_drop", "document",
     V("create_collection", "list_collections", "rename_collection", "drop_collection",
       "insert_one"),
     V()) {
  auto names = [&] {
    std::set<std::string> out;
    const Reply r = x.caller->call("list_collections", Json::object());
    for (const Json& c : r.body.at("collections")) out.insert(c.at("name").get<std::string>());
    return out;
  };
  ask(x, "create_collection", Json::object());
  expect(names().count(x.unique) == 1, "created");
  expect(!tell(x, "create_collection", Json::object()).ok(), "twice");
  ask(x, "insert_one", {{"document", {{"_id", 1}}}});
  ask(x, "rename_collection", {{"to", x.unique + "_new"}});
  expect(names().count(x.unique) == 0 && names().count(x.unique + "_new") == 1, "renamed");
  expect_eq(ask(x, "count_documents", Json::object(), "_new").at("count"), 1, "with its documents");
  ask(x, "drop_collection", Json::object(), "_new");
  expect(names().count(x.unique + "_new") == 0, "dropped");
}

CASE(stream_parts, "doc.stream_parts", "document", V("find", "insert_many"), V()) {
  List all;
  for (int i = 0; i < 1000; ++i) all.push_back({{"_id", i}, {"text", std::string(50, 'x')}});
  insert(x, all);
  Options o;
  o.fetch = 64;
  const Reply r = x.caller->call("find", {{"collection", x.unique}, {"sort", {{"_id", 1}}}}, o);
  expect_ok(r, "find");
  expect(r.parts.size() >= 10, "parts");
  int next = 0;
  auto take = [&](const Json& body) {
    if (!body.is_object() || !body.contains("documents")) return;
    for (const Json& d : body["documents"]) expect_eq(d.at("_id"), next++, "in order");
  };
  for (const Json& p : r.parts) take(p);
  take(r.body);
  expect_eq(next, 1000, "every document once");
}

CASE(txn, "doc.txn_commit", "document", V("begin", "commit", "rollback", "insert_one", "find"),
     V("transactions")) {
  for (const bool commit : {true, false}) {
    const Reply b = x.caller->call("begin", Json::object());
    expect_ok(b, "begin");
    Options o;
    o.tx = b.id;
    expect_ok(
        x.caller->call("insert_one",
                       {{"collection", x.unique}, {"document", {{"_id", commit ? 1 : 2}}}}, o),
        "insert");
    expect_ok(x.caller->call(commit ? "commit" : "rollback", Json::object(), o), "end");
  }
  expect_eq(ids(x, Json::object()), arr({1}), "committed, and rolled back");
}

}  // namespace
}  // namespace headgate::conformance
