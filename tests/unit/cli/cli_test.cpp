// The command line without a gateway: words to bodies, CSV, SQL text, tables, exit codes.
#include "cli.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <clocale>
#include <sstream>

#include "csv.hpp"
#include "import.hpp"
#include "json.hpp"
#include "table.hpp"
#include "verbs.hpp"

namespace headgate::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string body(const char* kind, const char* verb, const std::vector<std::string>& words,
                 bool base64 = false) {
  return dump(to_json(Bytes(body_of(verb_shape(kind, verb), words, base64))));
}
std::string refusal(const char* kind, const char* verb, const std::vector<std::string>& words) {
  try {
    return "taken: " + body(kind, verb, words);
  } catch (const Usage& e) {
    return e.what();
  }
}

TEST(Verbs, WordsInTheTablesOrder) {
  EXPECT_EQ(body("document", "find", {"people", R"({"a": {"$gt": 1}})"}),
            R"({"collection":"people","filter":{"a":{"$gt":1}}})");
  EXPECT_EQ(body("document", "find", {"people", "--limit", "5", "--sort={\"a\":1}"}),
            R"({"collection":"people","sort":{"a":1},"limit":5})");
  EXPECT_EQ(body("key_value", "get", {"k"}), R"({"key":{"$binary":"aw=="}})");
  EXPECT_EQ(body("key_value", "set", {"k", "v", "--nx", "--ttl-ms", "50"}),
            R"({"key":{"$binary":"aw=="},"value":{"$binary":"dg=="},"nx":true,"ttl_ms":50})");
  EXPECT_EQ(body("key_value", "lrange", {"k", "0", "-1"}),
            R"({"key":{"$binary":"aw=="},"start":0,"stop":-1})");
  EXPECT_EQ(body("key_value", "increment", {"k", "0.5"}), R"({"key":{"$binary":"aw=="},"by":0.5})");
}

TEST(Verbs, ListsTakeTheWordsThatAreLeft) {
  EXPECT_EQ(body("key_value", "blpop", {"a", "b", "5000"}),
            R"({"keys":[{"$binary":"YQ=="},{"$binary":"Yg=="}],"wait_ms":5000})");
  EXPECT_EQ(body("key_value", "hset", {"h", "f", "1", "g", "2"}),
            R"({"key":{"$binary":"aA=="},"fields":[[{"$binary":"Zg=="},{"$binary":"MQ=="}],)"
            R"([{"$binary":"Zw=="},{"$binary":"Mg=="}]]})");
  EXPECT_EQ(body("key_value", "zadd", {"z", "1.5", "m", "--nx"}),
            R"({"key":{"$binary":"eg=="},"members":[[1.5,{"$binary":"bQ=="}]],"nx":true})");
  EXPECT_EQ(body("document", "insert_many", {"c", R"({"a":1})", R"({"a":2})"}),
            R"({"collection":"c","documents":[{"a":1},{"a":2}]})");
  EXPECT_EQ(body("document", "insert_many", {"c", R"( [{"a":1},{"a":2}])"}),
            R"({"collection":"c","documents":[{"a":1},{"a":2}]})");
}

TEST(Verbs, TheWholeBodyAsJson) {
  EXPECT_EQ(body("key_value", "get", {R"({"key": {"$binary": "aw=="}})"}),
            R"({"key":{"$binary":"aw=="}})");
  EXPECT_EQ(body("document", "list_collections", {}), "{}");
}

TEST(Verbs, AfterTwoDashesNothingIsAnOption) {
  EXPECT_EQ(body("key_value", "set", {"--", "k", "--nx"}),
            R"({"key":{"$binary":"aw=="},"value":{"$binary":"LS1ueA=="}})");
}

TEST(Verbs, Base64) {
  EXPECT_EQ(body("key_value", "set", {"AAE=", "/w=="}, true),
            R"({"key":{"$binary":"AAE="},"value":{"$binary":"/w=="}})");
}

TEST(Verbs, WhatDoesNotFitIsSaid) {
  EXPECT_THAT(refusal("key_value", "get", {}), HasSubstr("KEY is missing\nusage: get KEY"));
  EXPECT_THAT(refusal("key_value", "get", {"a", "b"}), HasSubstr("'b' is one word too many"));
  EXPECT_THAT(refusal("key_value", "get", {"a", "--nx"}), HasSubstr("no option --nx"));
  EXPECT_THAT(refusal("key_value", "set", {"k", "v", "--ttl_ms"}), HasSubstr("a value is missing"));
  EXPECT_THAT(refusal("key_value", "set", {"k", "v", "--nx", "--nx"}), HasSubstr("given twice"));
  EXPECT_THAT(refusal("key_value", "expire", {"k", "soon"}), HasSubstr("an integer, not 'soon'"));
  EXPECT_THAT(refusal("key_value", "expire", {"k", "1.5"}), HasSubstr("an integer, not '1.5'"));
  EXPECT_THAT(refusal("key_value", "hset", {"h", "f"}), HasSubstr("pairs of words"));
  EXPECT_THAT(refusal("document", "find", {"c", "[1]"}), HasSubstr("a JSON object"));
  EXPECT_THAT(refusal("document", "find", {"c", "{oops"}), HasSubstr("expected JSON"));
  EXPECT_THAT(refusal("document", "get", {"c"}), HasSubstr("there is no verb 'get'"));
  EXPECT_THAT(refusal("key_value", "set", {"k", "v", "--nx=maybe"}), HasSubstr("true or false"));
}

TEST(Verbs, EveryVerbOfTheTableHasAShape) {
  std::size_t n = 0;
  for (const char* kind : {"sql", "document", "key_value", "admin"}) {
    for (const std::string& v : verb_names(kind)) {
      EXPECT_FALSE(usage_of(verb_shape(kind, v)).empty());
      ++n;
    }
  }
  EXPECT_GT(n, 90u);
}

std::vector<std::vector<std::string>> csv(const std::string& text, char delimiter = ',') {
  std::istringstream in(text);
  CsvReader reader(in, "f.csv", delimiter);
  std::vector<std::vector<std::string>> out;
  std::vector<CsvField> record;
  while (reader.next(record)) {
    out.emplace_back();
    for (const CsvField& f : record) out.back().push_back(f.text + (f.quoted ? "'" : ""));
  }
  EXPECT_EQ(reader.bytes(), text.size());
  return out;
}
std::string csv_refusal(const std::string& text) {
  try {
    csv(text);
  } catch (const Usage& e) {
    return e.what();
  }
  return "taken";
}

TEST(Csv, Records) {
  using R = std::vector<std::vector<std::string>>;
  EXPECT_EQ(csv("a,b\r\n1,2\n"), (R{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(csv("\xef\xbb\xbf"
                "a,b"),
            (R{{"a", "b"}}));
  EXPECT_EQ(csv("\"a,\"\"x\"\"\r\nb\",\"\",\n"), (R{{"a,\"x\"\r\nb'", "'", ""}}));
  EXPECT_EQ(csv("a;b", ';'), (R{{"a", "b"}}));
  EXPECT_EQ(csv("\n\na\n\n"), (R{{"a"}}));
  EXPECT_EQ(csv(",\n"), (R{{"", ""}}));
  EXPECT_EQ(csv("a\rb\n"), (R{{"a\rb"}}));
  EXPECT_EQ(csv("\"\"\n"), (R{{"'"}}));
  EXPECT_EQ(csv(""), R{});
  EXPECT_EQ(csv("a,"), (R{{"a", ""}}));
}

TEST(Csv, FaultsNameTheLine) {
  EXPECT_EQ(csv_refusal("a\nb\n\"c\nd"), "f.csv:3: a quote is never closed");
  EXPECT_EQ(csv_refusal("a\nb\"c\n"), "f.csv:2: a quote in the middle of a field");
  EXPECT_EQ(csv_refusal("\"a\"b\n"), "f.csv:1: text after a closing quote");
  EXPECT_THAT(csv_refusal("\"" + std::string(CsvReader::kRecordMax + 10, 'x')),
              HasSubstr("more than 16 MiB"));
}

std::string cell(const std::string& text, ColumnKind kind, bool quoted = false,
                 const std::string& null = "") {
  Buffer b;
  Packer p(b);
  pack_cell(p, {text, quoted}, kind, null);
  return dump(to_json(b.view()));
}

TEST(Import, NumbersOnlyWhereTheyAreExact) {
  EXPECT_EQ(cell("42", ColumnKind::integer), "42");
  EXPECT_EQ(cell("042", ColumnKind::integer), "42");
  EXPECT_EQ(cell("42 ", ColumnKind::integer), "\"42 \"");
  EXPECT_EQ(cell("99999999999999999999", ColumnKind::integer), "\"99999999999999999999\"");
  EXPECT_EQ(cell("1.5", ColumnKind::integer), "\"1.5\"");
  EXPECT_EQ(cell("1.5", ColumnKind::real), "1.5");
  EXPECT_EQ(cell("nan", ColumnKind::real), "\"nan\"");
  EXPECT_EQ(cell("1e999", ColumnKind::real), "\"1e999\"");
  EXPECT_EQ(cell("42", ColumnKind::text), "\"42\"");
  EXPECT_EQ(cell("true", ColumnKind::boolean), "true");
  EXPECT_EQ(cell("", ColumnKind::integer), "null");
  EXPECT_EQ(cell("", ColumnKind::text, true), "\"\"");
  EXPECT_EQ(cell("NULL", ColumnKind::text, false, "NULL"), "null");
  EXPECT_EQ(cell("", ColumnKind::text, false, "NULL"), "\"\"");
}

TEST(Import, KindsOfColumns) {
  EXPECT_EQ(column_kind("INTEGER"), ColumnKind::integer);
  EXPECT_EQ(column_kind("bigint"), ColumnKind::integer);
  EXPECT_EQ(column_kind("double precision"), ColumnKind::real);
  EXPECT_EQ(column_kind("boolean"), ColumnKind::boolean);
  EXPECT_EQ(column_kind("interval"), ColumnKind::text);
  EXPECT_EQ(column_kind("NUMERIC(10,2)"), ColumnKind::text);
  EXPECT_EQ(column_kind(""), ColumnKind::text);
}

TEST(Import, Progress) {
  EXPECT_EQ(progress_line(50, 100, 7), "\r[###############               ]  50 %  7 rows");
  EXPECT_EQ(progress_line(200, 100, 7), "\r[" + std::string(30, '#') + "] 100 %  7 rows");
  EXPECT_EQ(progress_line(5, 0, 7), "\r7 rows");
}

TEST(Tables, WidthsAreTheTerminals) {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  EXPECT_EQ(display_width("Z\xc3\xbcrich"), 6u);
  EXPECT_EQ(display_width("\xe6\x97\xa5\xe6\x9c\xac"), 4u);  // two wide characters
  EXPECT_EQ(display_width("e\xcc\x81"), 1u);                 // a combining accent
  EXPECT_EQ(visible("a\nb\x1b[2J\xff"), "a\\nb\\x1b[2J\\xff");
  EXPECT_EQ(visible("\xe2\x80\xae"
                    "abc"),
            "\\u202eabc");  // right-to-left override
  EXPECT_EQ(visible("\xc2\x9b"
                    "31m"),
            "\\x9b31m");  // C1 control
}

std::string table(std::vector<std::string> columns, const std::vector<Row>& rows) {
  char* memory = nullptr;
  std::size_t size = 0;
  std::FILE* out = ::open_memstream(&memory, &size);
  Table t(std::move(columns), out);
  for (const Row& r : rows) t.add(r);
  t.end();
  std::fclose(out);
  std::string text(memory, size);
  std::free(memory);
  return text;
}

TEST(Tables, Aligned) {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  EXPECT_EQ(table({"id", "city"}, {{{"1", true, false}, {"Z\xc3\xbcrich", false, false}},
                                   {{"", false, true}, {"x\ny", false, false}},
                                   {{"1000", true, false}, {"B", false, false}}}),
            "  id  city\n"
            "\xe2\x94\x80\xe2\x94\x80\xe2\x94\x80\xe2\x94\x80  "
            "\xe2\x94\x80\xe2\x94\x80\xe2\x94\x80\xe2\x94\x80\xe2\x94\x80\xe2\x94\x80\n"
            "   1  Z\xc3\xbcrich\n"
            "      x\\ny\n"
            "1000  B\n");
  EXPECT_EQ(table({"a"}, {}), "a\n\xe2\x94\x80\n");
}

TEST(Tables, LaterRowsAreNeverCut) {
  std::vector<Row> rows(kMeasured, Row{{"x", false, false}, {"y", false, false}});
  rows.push_back({{"much longer", false, false}, {"y", false, false}});
  EXPECT_THAT(table({"a", "b"}, rows), HasSubstr("\nmuch longer  y\n"));
}

TEST(Tables, Csv) {
  EXPECT_EQ(
      csv_line(
          Row{{"a,b", false, false}, {"", false, true}, {"", false, false}, {"q\"", false, false}}),
      "\"a,b\",,\"\",\"q\"\"\"\r\n");
}

TEST(Words, Timeouts) {
  EXPECT_EQ(parse_timeout("5s"), Millis(5000));
  EXPECT_EQ(parse_timeout("250ms"), Millis(250));
  EXPECT_EQ(parse_timeout("1.5"), Millis(1500));
  EXPECT_EQ(parse_timeout("2m"), Millis(120'000));
  for (const char* bad : {"", "s", "-1s", "0s", "5x", "25h", "nan", "inf", "5 s"}) {
    EXPECT_THROW(parse_timeout(bad), Usage) << bad;
  }
}

TEST(Exits, OutcomeBeforeCode) {
  EXPECT_EQ(exit_code(Code::ok, Outcome::applied), kOk);
  EXPECT_EQ(exit_code(Code::constraint, Outcome::rejected), kRefused);
  EXPECT_EQ(exit_code(Code::unavailable, Outcome::not_sent), kUnavailable);
  EXPECT_EQ(exit_code(Code::unavailable, Outcome::unknown), kUnknown);
  EXPECT_EQ(exit_code(Code::deadline, Outcome::rolled_back), kDeadline);
  EXPECT_EQ(exit_code(Code::deadline, Outcome::unknown), kUnknown);
  EXPECT_EQ(exit_code(Code::cancelled, Outcome::rolled_back), kInterrupted);
}

TEST(Exits, ErrorsSayWhatToDo) {
  ReplyMeta m;
  m.outcome = Outcome::unknown;
  m.message = "the connection was lost";
  m.attempts = 2;
  const std::string text = explain(Code::unavailable, m, Format::table);
  EXPECT_THAT(text, HasSubstr("headgate: unavailable: the connection was lost\n"));
  EXPECT_THAT(text, HasSubstr("may have been applied"));
  EXPECT_THAT(text, HasSubstr("after 2 attempts"));
  EXPECT_EQ(parse_json(explain(Code::unavailable, m, Format::json), "x")["error"]["outcome"],
            "unknown");
}

}  // namespace
}  // namespace headgate::cli
