// The document kind end to end on the bare host: bodies, replies, errors, streams, transactions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/sqlite/bare_host.hpp"

namespace headgate::sqlite::test {
namespace {

using ::testing::HasSubstr;

Json list(std::initializer_list<Json> items) {
  Json out = Json::array();
  for (const Json& j : items) out.push_back(j);
  return out;
}

class Documents : public ::testing::Test {
 protected:
  Json ok(std::string_view verb, Json body, const CallOptions& o = {}) {
    const bool of_collection = verb != "explain" && verb != "list_collections" && verb != "batch" &&
                               verb != "commit" && verb != "rollback";
    if (of_collection && !body.contains("collection")) body["collection"] = "c";
    const Reply r = store.call(verb, body, o);
    EXPECT_TRUE(r.ok()) << verb << " " << body << ": " << r.message;
    return r.body;
  }
  Reply fails(std::string_view verb, Json body, int code, const char* named = "") {
    if (!body.contains("collection")) body["collection"] = "c";
    Reply r = store.call(verb, body);
    EXPECT_EQ(r.code, code) << verb << " " << body << ": " << r.message;
    EXPECT_THAT(r.message, HasSubstr(named));
    EXPECT_EQ(r.connection, HG_CONN_CLEAN);
    return r;
  }
  void insert(std::initializer_list<Json> documents) {
    ok("insert_many", {{"documents", list(documents)}});
  }
  Json find(Json filter) { return ok("find", {{"filter", std::move(filter)}}).at("documents"); }
  Json explain(const char* verb, Json body) {
    body["collection"] = "c";
    return ok("explain", {{"verb", verb}, {"body", body}}).at("plan");
  }

  BareStore store{plugin_of(make_document_kind),
                  {.options = {{"path", "store.db"}, {"synchronous", "normal"}}}};
};

TEST_F(Documents, InsertAndFind) {
  const Json id = ok("insert_one", {{"document", {{"a", 1}}}}).at("inserted_id");
  ASSERT_TRUE(id.is_binary());
  EXPECT_EQ(id.get_binary().size(), 13u);
  EXPECT_EQ(ok("find_one", {{"filter", {{"_id", id}}}}).at("document"),
            (Json{{"_id", id}, {"a", 1}}));
  EXPECT_EQ(ok("insert_one", {{"document", {{"_id", "x"}}}}).at("inserted_id"), "x");
  EXPECT_EQ(ok("find_one", {{"filter", {{"_id", "none"}}}}).at("document"), nullptr);
  EXPECT_EQ(ok("find_one", {{"collection", "nowhere"}}).at("document"), nullptr);
  EXPECT_EQ(ok("find", {{"collection", "nowhere"}}).at("documents"), Json::array());
  EXPECT_EQ(ok("count_documents", Json::object()).at("count"), 2);
  EXPECT_EQ(BareStore::touched().back(), "count_documents 1 c");
  fails("insert_one", {{"document", {{"_id", "x"}}}}, HG_EXISTS, "_id_");
  fails("insert_one", {{"document", {{"_id", Json::array()}}}}, HG_INVALID, "_id");
  fails("insert_one", {{"document", {{"$a", 1}}}}, HG_INVALID, "$a");
  EXPECT_EQ(ok("count_documents", Json::object()).at("count"), 2);
}

TEST_F(Documents, BodiesAreChecked) {
  fails("find", {{"filtr", 1}}, HG_INVALID, "filtr");
  fails("find", {{"filter", 1}}, HG_INVALID, "filter");
  fails("find", {{"limit", -1}}, HG_INVALID, "limit");
  fails("find", {{"skip", 1.5}}, HG_INVALID, "skip");
  fails("find", {{"collection", 5}}, HG_INVALID, "collection");
  fails("insert_one", Json::object(), HG_INVALID, "document");
  fails("update_one", {{"filter", Json::object()}}, HG_INVALID, "update");
  fails("create_collection", {{"collection", "a$b"}}, HG_INVALID, "$");
  fails("create_collection", {{"collection", ""}}, HG_INVALID);
  fails("replace_one",
        {{"filter", Json::object()}, {"replacement", Json::object()}, {"if_version", "x"}},
        HG_UNSUPPORTED, "if_version");
  fails("watch", Json::object(), HG_UNSUPPORTED, "watch");
  fails("find", {{"hint", "nope"}, {"collection", "c"}},
        HG_OK);  // the collection is not there either
  insert({{{"_id", 1}}});
  fails("find", {{"hint", "nope"}}, HG_INVALID, "nope");
  CallOptions stream;
  stream.fetch = 10;
  EXPECT_EQ(store.call("find_one", {{"collection", "c"}}, stream).code, HG_INVALID);
}

TEST_F(Documents, InsertManyTellsWhatFailed) {
  Reply r = fails("insert_many", {{"documents", list({{{"_id", 1}}, {{"_id", 1}}, {{"_id", 2}}})}},
                  HG_EXISTS);
  EXPECT_NE(r.flags & HG_DONE_KEEP_BODY, 0u);
  EXPECT_EQ(r.outcome, HG_APPLIED);
  EXPECT_EQ(r.body.at("inserted_ids"), (Json{1, nullptr, nullptr}));
  EXPECT_EQ(r.body.at("write_errors")[0].at("index"), 1);
  EXPECT_EQ(r.body.at("write_errors")[0].at("code"), HG_EXISTS);
  r = fails("insert_many",
            {{"ordered", false},
             {"documents", list({{{"_id", 1}}, {{"_id", 3}, {"$x", 1}}, {{"_id", 4}}})}},
            HG_EXISTS);
  EXPECT_EQ(r.body.at("write_errors").size(), 2u);
  EXPECT_EQ(find(Json::object()), list({{{"_id", 1}}, {{"_id", 4}}}));
  r = fails("insert_many", {{"documents", list({{{"_id", 1}}})}}, HG_EXISTS);
  EXPECT_EQ(r.outcome, HG_REJECTED);
  fails("insert_many", {{"documents", Json::array()}}, HG_INVALID);
}

TEST_F(Documents, UpdatesCountAndUpsert) {
  insert({{{"_id", 1}, {"a", 1}}, {{"_id", 2}, {"a", 2}}, {{"_id", 3}, {"a", 2}}});
  Json r = ok("update_many", {{"filter", Json::object()}, {"update", {{"$set", {{"a", 2}}}}}});
  EXPECT_EQ(r, (Json{{"matched_count", 3}, {"modified_count", 1}, {"upserted_id", nullptr}}));
  r = ok("update_one", {{"filter", {{"_id", 9}, {"k", "v"}}},
                        {"update", {{"$inc", {{"n", 5}}}, {"$setOnInsert", {{"s", 1}}}}},
                        {"upsert", true}});
  EXPECT_EQ(r, (Json{{"matched_count", 0}, {"modified_count", 0}, {"upserted_id", 9}}));
  EXPECT_EQ(find({{"_id", 9}}), list({{{"_id", 9}, {"k", "v"}, {"n", 5}, {"s", 1}}}));
  EXPECT_EQ(ok("update_one", {{"filter", {{"_id", 10}}}, {"update", {{"$set", {{"n", 5}}}}}})
                .at("matched_count"),
            0);
  ok("update_one",
     {{"filter", {{"_id", 1}}}, {"update", {{"$set", {{"l", list({{{"x", 1}}, {{"x", 2}}})}}}}}});
  ok("update_one", {{"filter", {{"l.x", 2}}}, {"update", {{"$set", {{"l.$.x", 7}}}}}});
  EXPECT_EQ(find({{"_id", 1}})[0].at("l"), list({{{"x", 1}}, {{"x", 7}}}));
  // One document that does not take it undoes the whole.
  insert({{{"_id", 20}, {"m", 1}}, {{"_id", 21}, {"m", "x"}}});
  fails("update_many",
        {{"filter", {{"m", {{"$exists", true}}}}}, {"update", {{"$inc", {{"m", 1}}}}}}, HG_INVALID);
  EXPECT_EQ(find({{"_id", 20}})[0].at("m"), 1);
}

TEST_F(Documents, ReplaceAndDelete) {
  insert({{{"_id", 1}, {"a", 1}}});
  EXPECT_EQ(
      ok("replace_one", {{"filter", {{"a", 1}}}, {"replacement", {{"b", 1}}}}).at("modified_count"),
      1);
  EXPECT_EQ(find(Json::object()), list({{{"_id", 1}, {"b", 1}}}));
  fails("replace_one", {{"filter", {{"_id", 1}}}, {"replacement", {{"_id", 2}}}}, HG_INVALID,
        "_id");
  fails("replace_one", {{"filter", {{"_id", 1}}}, {"replacement", {{"$set", {{"a", 1}}}}}},
        HG_INVALID, "$set");
  EXPECT_EQ(
      ok("replace_one", {{"filter", {{"_id", 5}}}, {"replacement", {{"c", 1}}}, {"upsert", true}})
          .at("upserted_id"),
      5);
  EXPECT_EQ(ok("delete_one", {{"filter", Json::object()}}).at("deleted_count"), 1);
  EXPECT_EQ(ok("delete_many", {{"filter", Json::object()}}).at("deleted_count"), 1);
  EXPECT_EQ(ok("delete_many", {{"filter", Json::object()}}).at("deleted_count"), 0);
}

TEST_F(Documents, FindOneAnd) {
  insert({{{"_id", 1}, {"n", 5}}, {{"_id", 2}, {"n", 9}}});
  const Json inc = {{"$inc", {{"n", 1}}}};
  EXPECT_EQ(ok("find_one_and_update",
               {{"filter", Json::object()}, {"sort", {{"n", -1}}}, {"update", inc}})
                .at("document"),
            (Json{{"_id", 2}, {"n", 9}}));
  EXPECT_EQ(ok("find_one_and_update", {{"filter", {{"_id", 1}}},
                                       {"update", inc},
                                       {"return_document", "after"},
                                       {"projection", {{"_id", 0}}}})
                .at("document"),
            (Json{{"n", 6}}));
  EXPECT_EQ(ok("find_one_and_update", {{"filter", {{"_id", 7}}}, {"update", inc}, {"upsert", true}})
                .at("document"),
            nullptr);
  EXPECT_EQ(
      ok("find_one_and_replace",
         {{"filter", {{"_id", 7}}}, {"replacement", {{"m", 1}}}, {"return_document", "after"}})
          .at("document"),
      (Json{{"_id", 7}, {"m", 1}}));
  EXPECT_EQ(ok("find_one_and_delete", {{"filter", {{"m", 1}}}}).at("document"),
            (Json{{"_id", 7}, {"m", 1}}));
  EXPECT_EQ(ok("find_one_and_delete", {{"filter", {{"m", 1}}}}).at("document"), nullptr);
  fails("find_one_and_update",
        {{"filter", Json::object()}, {"update", inc}, {"return_document", "never"}}, HG_INVALID,
        "return_document");
}

TEST_F(Documents, BulkWrite) {
  const auto op = [](const char* name, Json body) { return Json{{name, std::move(body)}}; };
  const Json ops =
      list({op("insert_one", {{"document", {{"_id", 1}, {"a", 1}}}}),
            op("insert_one", {{"document", {{"_id", 2}, {"a", "x"}}}}),
            op("update_one",
               {{"filter", {{"_id", 3}}}, {"update", {{"$set", {{"a", 3}}}}}, {"upsert", true}}),
            op("update_many", {{"filter", Json::object()},
                               {"update", {{"$inc", {{"a", 1}}}}}}),  // fails on "x", as a whole
            op("delete_one", {{"filter", {{"_id", 2}}}})});
  Reply r = fails("bulk_write", {{"operations", ops}, {"ordered", false}}, HG_INVALID);
  EXPECT_EQ(r.body.at("inserted_count"), 2);
  EXPECT_EQ(r.body.at("deleted_count"), 1);
  EXPECT_EQ(r.body.at("upserted_ids"), (Json{{"2", 3}}));
  EXPECT_EQ(r.body.at("write_errors")[0].at("index"), 3);
  EXPECT_EQ(find(Json::object()), list({{{"_id", 1}, {"a", 1}}, {{"_id", 3}, {"a", 3}}}));
  r = fails("bulk_write",
            {{"operations", list({op("insert_one", {{"document", {{"_id", 1}}}}),
                                  op("insert_one", {{"document", {{"_id", 9}}}})})}},
            HG_EXISTS);
  EXPECT_EQ(r.outcome, HG_REJECTED);
  EXPECT_EQ(find({{"_id", 9}}), Json::array());
  fails("bulk_write", {{"operations", list({op("drop", Json::object())})}}, HG_UNSUPPORTED, "drop");
  fails("bulk_write", {{"operations", list({op("insert_one", {{"doc", 1}})})}}, HG_INVALID, "doc");
}

TEST_F(Documents, IndexesAreUsedAndKept) {
  insert({{{"_id", 1}, {"a", 5}, {"t", Json{1, 2}}}, {{"_id", 2}, {"a", 6}}});
  EXPECT_EQ(explain("find", {{"filter", {{"a", 5}}}}).at("stage"), "COLLSCAN");
  EXPECT_EQ(ok("create_index", {{"keys", {{"a", 1}}}}).at("name"), "a_1");
  EXPECT_EQ(ok("create_index", {{"keys", {{"a", 1}}}}).at("name"), "a_1");
  EXPECT_EQ(
      ok("create_index", {{"keys", list({list({"t", -1}), list({"a", 1})})}, {"name", "both"}})
          .at("name"),
      "both");
  const Json plan = explain("find", {{"filter", {{"a", 5}}}});
  EXPECT_EQ(plan.at("stage"), "IXSCAN");
  EXPECT_EQ(plan.at("index"), "a_1");
  EXPECT_THAT(plan.at("scans")[0].at("sql_plan").get<std::string>(), HasSubstr("SEARCH"));
  EXPECT_EQ(explain("aggregate", {{"pipeline", list({{{"$match", {{"a", 5}}}}})}}).at("stage"),
            "IXSCAN");
  EXPECT_EQ(explain("find", {{"filter", {{"_id", 5}}}}).at("index"), "_id_");
  EXPECT_EQ(explain("delete_many", {{"filter", {{"a", 5}}}}).at("index"), "a_1");
  fails("create_index", {{"keys", {{"b", 1}}}, {"name", "a_1"}}, HG_CONFLICT);
  fails("create_index", {{"keys", {{"b", "text"}}}}, HG_UNSUPPORTED, "text");
  fails("create_index", {{"keys", {{"b", 2}}}}, HG_INVALID, "b");
  fails("create_index", {{"keys", {{"b..c", 1}}}}, HG_INVALID, "`b..c`");
  fails("create_index", {{"keys", {{"$**", 1}}}}, HG_UNSUPPORTED, "`$**`");
  fails("create_index", {{"keys", {{"b.$**", 1}}}}, HG_UNSUPPORTED, "`b.$**`");
  fails("find", {{"filter", Json::object()}, {"sort", {{"$natural", -1}}}}, HG_UNSUPPORTED,
        "$natural");
  fails("find", {{"filter", Json::object()}, {"hint", {{"$natural", 1}}}}, HG_UNSUPPORTED,
        "$natural");
  fails("find", {{"filter", Json::object()}, {"hint", "$natural"}}, HG_UNSUPPORTED, "$natural");
  fails("find", {{"filter", Json::object()}, {"hint", {{"a", 1}}}}, HG_INVALID, "hint");
  fails("find", {{"filter", Json::object()}, {"sort", {{"a.", -1}}}}, HG_INVALID, "`a.`");
  fails("distinct", {{"filter", Json::object()}, {"key", "a."}}, HG_INVALID, "`a.`");
  // The index of _id is there with the collection, under one name.
  EXPECT_EQ(ok("create_index", {{"keys", {{"_id", 1}}}}).at("name"), "_id_");
  EXPECT_EQ(ok("create_index", {{"keys", {{"_id", 1}}}, {"name", "mine"}}).at("name"), "_id_");
  EXPECT_EQ(ok("create_index", {{"collection", "new"}, {"keys", {{"_id", 1}}}}).at("name"), "_id_");
  fails("create_index", {{"keys", {{"_id", -1}}}}, HG_INVALID, "{_id: 1}");
  const Json indexes = ok("list_indexes", Json::object()).at("indexes");
  ASSERT_EQ(indexes.size(), 3u);
  EXPECT_EQ(indexes[0], (Json{{"name", "_id_"}, {"keys", {{"_id", 1}}}, {"unique", true}}));
  EXPECT_EQ(indexes[2].at("keys"), (Json{{"t", -1}, {"a", 1}}));
  EXPECT_EQ(ok("find", {{"filter", {{"t", 2}}}, {"hint", "both"}}).at("documents").size(), 1u);
  ok("drop_index", {{"name", "a_1"}});
  fails("drop_index", {{"name", "a_1"}}, HG_NOT_FOUND);
  fails("drop_index", {{"name", "_id_"}}, HG_INVALID);
  EXPECT_EQ(explain("find", {{"filter", {{"a", 5}}}}).at("stage"), "COLLSCAN");
}

TEST_F(Documents, CollectionsComeAndGo) {
  ok("create_collection", Json::object());
  fails("create_collection", Json::object(), HG_EXISTS);
  insert({{{"_id", 1}}});
  ok("create_index", {{"keys", {{"a", 1}}}});
  ok("rename_collection", {{"to", "d"}});
  fails("rename_collection", {{"to", "e"}}, HG_NOT_FOUND);
  ok("create_collection", Json::object());
  fails("rename_collection", {{"to", "d"}}, HG_EXISTS);
  EXPECT_EQ(ok("list_collections", Json::object()).at("collections"),
            list({{{"name", "c"}}, {{"name", "d"}}}));
  EXPECT_EQ(ok("estimated_document_count", {{"collection", "d"}}).at("count"), 1);
  ok("drop_collection", {{"collection", "d"}});
  ok("drop_collection", {{"collection", "d"}});
  EXPECT_EQ(ok("list_collections", Json::object()).at("collections"), list({{{"name", "c"}}}));
  // A name is taken again without what was under it.
  insert({{{"_id", 1}}});
  EXPECT_EQ(ok("list_indexes", Json::object()).at("indexes").size(), 1u);
}

TEST_F(Documents, AggregateAndDistinct) {
  insert({{{"_id", 1}, {"k", "a"}, {"v", 1}, {"t", Json{1, 2}}},
          {{"_id", 2}, {"k", "b"}, {"v", 5}, {"t", 2}},
          {{"_id", 3}, {"k", "a"}, {"v", 3}}});
  const Json pipeline = list({{{"$match", {{"v", {{"$gt", 0}}}}}},
                              {{"$group", {{"_id", "$k"}, {"sum", {{"$sum", "$v"}}}}}},
                              {{"$sort", {{"_id", 1}}}}});
  EXPECT_EQ(ok("aggregate", {{"pipeline", pipeline}}).at("documents"),
            list({{{"_id", "a"}, {"sum", 4}}, {{"_id", "b"}, {"sum", 5}}}));
  EXPECT_EQ(ok("aggregate", {{"collection", "nowhere"}, {"pipeline", list({{{"$count", "n"}}})}})
                .at("documents"),
            Json::array());
  EXPECT_EQ(ok("distinct", {{"key", "t"}}).at("values"), (Json{1, 2}));
  EXPECT_EQ(ok("distinct", {{"key", "t"}, {"filter", {{"k", "b"}}}}).at("values"),
            (Json::array({2})));
  ok("create_index", {{"keys", {{"v", 1}}}});
  const Json sorted = list({{{"$sort", {{"v", -1}}}}, {{"$limit", 2}}, {{"$project", {{"v", 1}}}}});
  EXPECT_EQ(ok("aggregate", {{"pipeline", sorted}}).at("documents"),
            list({{{"_id", 2}, {"v", 5}}, {{"_id", 3}, {"v", 3}}}));
  fails("aggregate", {{"pipeline", list({{{"$out", "x"}}})}}, HG_UNSUPPORTED, "$out");
}

TEST_F(Documents, StreamsInParts) {
  Json many = Json::array();
  for (int i = 0; i < 1000; ++i) many.push_back({{"_id", i}, {"s", std::string(100, 'x')}});
  ok("insert_many", {{"documents", many}});
  for (const char* verb : {"find", "aggregate"}) {
    CallOptions o;
    o.fetch = 64;
    Json body = {{"collection", "c"}};
    if (std::string(verb) == "aggregate")
      body["pipeline"] = list({{{"$sort", {{"s", 1}, {"_id", 1}}}}});
    const Reply r = store.call(verb, body, o);
    ASSERT_TRUE(r.ok()) << r.message;
    EXPECT_EQ(r.parts.size(), 15u);
    int next = 0;
    for (const Json& p : r.parts)
      for (const Json& d : p.at("documents")) EXPECT_EQ(d.at("_id"), next++);
    for (const Json& d : r.body.at("documents")) EXPECT_EQ(d.at("_id"), next++);
    EXPECT_EQ(next, 1000);
    int parts = 0;
    o.on_part = [&](proto::Bytes) { return ++parts < 3; };
    EXPECT_EQ(store.call(verb, body, o).code, HG_CANCELLED);
  }
}

TEST_F(Documents, ALongCallEndsInTime) {
  Json many = Json::array();
  for (int i = 0; i < 2000; ++i) many.push_back({{"_id", i}, {"s", std::string(40, 'x') + "y"}});
  ok("insert_many", {{"documents", many}});
  CallOptions o;
  o.timeout_ms = 100;
  const Json slow = {{"collection", "c"},
                     {"pipeline", list({{{"$set",
                                          {{"l",
                                            {{"$map",
                                              {{"input", {{"$split", list({"$s", "x"})}}},
                                               {"in", {{"$split", list({"$s", "x"})}}}}}}}}}},
                                        {{"$unwind", "$l"}},
                                        {{"$unwind", "$l"}},
                                        {{"$group", {{"_id", "$l"}, {"n", {{"$sum", 1}}}}}}})}};
  const Reply r = store.call("aggregate", slow, o);
  EXPECT_EQ(r.code, HG_DEADLINE) << r.message;
  EXPECT_EQ(r.connection, HG_CONN_CLEAN);
  o.timeout_ms = 60'000;
  const auto ticket = store.start("aggregate", slow, o);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  store.cancel(ticket);
  EXPECT_EQ(store.wait(ticket).code, HG_CANCELLED);
}

TEST_F(Documents, ManySearchesInOneDocumentEndInTime) {
  Json strings = Json::array();
  for (int i = 0; i < 20'000; ++i) strings.push_back(std::string(15, 'x') + "zy");
  ok("insert_one", {{"document", {{"_id", 1}, {"s", strings}}}});
  CallOptions o;
  o.timeout_ms = 200;
  const Json slow = {{"collection", "c"}, {"filter", {{"s", {{"$regex", "(x+x+)+y"}}}}}};
  EXPECT_EQ(store.call("find", slow, o).code, HG_DEADLINE);
}

TEST_F(Documents, DistinctOpensOneArray) {
  insert({{{"_id", 1}, {"t", list({list({1}), 2})}}, {{"_id", 2}, {"t", list({2.0, nullptr})}}});
  EXPECT_EQ(ok("distinct", {{"key", "t"}}).at("values"), list({list({1}), 2, nullptr}));
  EXPECT_EQ(ok("distinct", {{"key", "t.0"}}).at("values"), list({1, 2.0}));
}

TEST_F(Documents, TransactionsCoverCollectionsAndIndexes) {
  ok("create_index", {{"keys", {{"a", 1}}}});
  for (const bool commit : {false, true}) {
    const Reply begun = store.call("begin", Json::object());
    ASSERT_TRUE(begun.ok()) << begun.message;
    CallOptions tx;
    tx.lease = begun.lease_id;
    ok("insert_one", {{"document", {{"_id", 1}, {"a", Json{1, 2}}}}}, tx);
    ok("insert_one", {{"collection", "new"}, {"document", {{"_id", 1}}}}, tx);
    EXPECT_EQ(ok("find", {{"filter", {{"a", 2}}}}, tx).at("documents").size(), 1u);
    EXPECT_EQ(ok("find", {{"filter", {{"a", 2}}}}, {.read_only = true}).at("documents").size(), 0u);
    ok(commit ? "commit" : "rollback", Json::object(), tx);
    EXPECT_EQ(ok("find", {{"filter", {{"a", 2}}}}).at("documents").size(), commit ? 1u : 0u);
    EXPECT_EQ(ok("list_collections", Json::object()).at("collections").size(), commit ? 2u : 1u);
  }
}

TEST_F(Documents, ManyWritersLoseNothing) {
  insert({{{"_id", 1}, {"n", 0}}});
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 40; ++i)
        store.call(
            "find_one_and_update",
            {{"collection", "c"}, {"filter", {{"_id", 1}}}, {"update", {{"$inc", {{"n", 1}}}}}});
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(find({{"_id", 1}})[0].at("n"), 240);
}

TEST_F(Documents, ABatchIsAllOrNothing) {
  const Json items =
      list({list({"insert_one", {{"collection", "c"}, {"document", {{"_id", 1}}}}}),
            list({"insert_one", {{"collection", "c"}, {"document", {{"_id", 1}}}}})});
  const Json r = ok("batch", {{"items", items}});
  EXPECT_EQ(r[0][0], HG_TRANSACTION_ABORTED);
  EXPECT_EQ(r[1][0], HG_EXISTS);
  EXPECT_EQ(ok("count_documents", Json::object()).at("count"), 0);
}

}  // namespace
}  // namespace headgate::sqlite::test
