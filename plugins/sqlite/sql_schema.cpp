// Introspection by SQLite's pragma functions, which callers themselves may not use.
#include "plugins/sqlite/sql_schema.hpp"

#include <strings.h>

#include <vector>

#include "plugins/sqlite/sql_rows.hpp"

namespace headgate::sqlite {
namespace {

// Rows whose number is known at the end.
class Table {
 public:
  Table(sdk::Sink& sink, std::initializer_list<std::string_view> columns)
      : sink_(sink), w(&sink), width_(static_cast<std::uint32_t>(columns.size())) {
    w.map(2);
    w.str("columns");
    w.array(width_);
    for (const std::string_view name : columns) {
      w.array(5);
      w.str(name);
      for (int i = 0; i < 4; ++i) w.nil();
    }
    w.str("rows");
    at_ = sink_.offset();
    w.array32(0);
  }
  void row() {
    w.array(width_);
    ++rows_;
  }
  void end() {
    need_room(w, sink_);
    sink_.patch_array32(at_, rows_);
  }

 private:
  sdk::Sink& sink_;

 public:
  proto::Writer w;

 private:
  std::uint32_t width_;
  std::uint64_t at_ = 0;
  std::uint32_t rows_ = 0;
};

bool ours(std::string_view name) {
  return name.size() >= 9 && strncasecmp(name.data(), "headgate_", 9) == 0;
}

void str_or_nil(proto::Writer& w, const Statement& s, int c) {
  s.is_null(c) ? w.nil() : w.str(s.text(c));
}

// Throws not_found for what callers do not see.
void need_table(Database& db, std::string_view table) {
  Statement s = db.prepare(
      "SELECT 1 FROM pragma_table_list WHERE schema = 'main' AND lower(name) = lower(?)");
  s.bind(1, table);
  if (!ours(table) && s.step()) return;
  sdk::Error e(sdk::Code::not_found, sdk::Outcome::rejected,
               "no such table: " + std::string(table.substr(0, 128)));
  e.sqlstate = "42P01";
  throw e;
}

struct Index {
  std::string name, origin;
  bool unique = false;
  bool partial = false;
};

std::vector<Index> indexes_of(Database& db, std::string_view table) {
  Statement s = db.prepare(
      "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?) ORDER BY seq DESC");
  s.bind(1, table);
  std::vector<Index> out;
  while (s.step()) {
    if (ours(s.text(0))) continue;
    out.push_back(
        {std::string(s.text(0)), std::string(s.text(2)), s.integer(1) != 0, s.integer(3) != 0});
  }
  return out;
}

void write_index_columns(proto::Writer& w, Database& db, const std::string& index) {
  Statement s = db.prepare("SELECT name FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno");
  s.bind(1, std::string_view(index));
  std::vector<std::string> names;
  while (s.step()) names.emplace_back(s.is_null(0) ? std::string_view("(expression)") : s.text(0));
  w.array(static_cast<std::uint32_t>(names.size()));
  for (const std::string& n : names) w.str(n);
}

// The condition of CREATE INDEX ... WHERE: the word outside quotes and brackets.
std::string_view condition_of(std::string_view sql) {
  int depth = 0;
  for (std::size_t i = 0; i < sql.size(); ++i) {
    const char c = sql[i];
    if (c == '\'' || c == '"' || c == '`' || c == '[') {
      i = sql.find(c == '[' ? ']' : c, i + 1);
      if (i == std::string_view::npos) return {};
    } else if (c == '(') {
      ++depth;
    } else if (c == ')') {
      --depth;
    } else if (depth == 0 && i + 5 < sql.size() && strncasecmp(sql.data() + i, "where", 5) == 0 &&
               i > 0 &&
               (sql[i - 1] == ' ' || sql[i - 1] == ')' || sql[i - 1] == '\n' ||
                sql[i - 1] == '\t')) {
      std::string_view rest = sql.substr(i + 5);
      while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\n')) rest.remove_prefix(1);
      return rest;
    }
  }
  return {};
}

void write_names(proto::Writer& w, const std::vector<std::string>& names) {
  w.array(static_cast<std::uint32_t>(names.size()));
  for (const std::string& n : names) w.str(n);
}

}  // namespace

void write_tables(Database& db, sdk::Sink& sink) {
  Table t(sink, {"schema", "name", "type"});
  Statement s = db.prepare(
      "SELECT schema, name, CASE type WHEN 'view' THEN 'view' ELSE 'table' END FROM "
      "pragma_table_list"
      " WHERE schema = 'main' AND type <> 'shadow' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
      " AND name NOT LIKE 'headgate\\_%' ESCAPE '\\' ORDER BY name");
  while (s.step()) {
    t.row();
    for (int c = 0; c < 3; ++c) t.w.str(s.text(c));
  }
  t.end();
}

void write_columns(Database& db, std::string_view table, sdk::Sink& sink) {
  need_table(db, table);
  Table t(sink, {"name", "type", "nullable", "default", "position"});
  Statement s = db.prepare(
      "SELECT name, type, \"notnull\" = 0 AND NOT (pk > 0 AND upper(type) = 'INTEGER'), "
      "dflt_value, cid + 1"
      " FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid");
  s.bind(1, table);
  while (s.step()) {
    t.row();
    t.w.str(s.text(0));
    t.w.str(s.text(1));
    t.w.boolean(s.integer(2) != 0);
    str_or_nil(t.w, s, 3);
    t.w.sint(s.integer(4));
  }
  t.end();
}

namespace {

// Rows of one foreign key follow each other.
void write_foreign_keys(Database& db, std::string_view table, Table& t) {
  Statement s = db.prepare(
      "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?) ORDER BY id DESC, "
      "seq");
  s.bind(1, table);
  struct Key {
    std::int64_t id;
    std::string target;
    std::vector<std::string> from, to;
  };
  std::vector<Key> keys;
  while (s.step()) {
    if (keys.empty() || keys.back().id != s.integer(0))
      keys.push_back({s.integer(0), std::string(s.text(1)), {}, {}});
    keys.back().from.emplace_back(s.text(2));
    if (!s.is_null(3)) keys.back().to.emplace_back(s.text(3));
  }
  for (Key& k : keys) {
    if (k.to.empty()) {  // REFERENCES parent: its primary key
      Statement pk = db.prepare("SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk");
      pk.bind(1, std::string_view(k.target));
      while (pk.step()) k.to.emplace_back(pk.text(0));
    }
    t.row();
    t.w.nil();
    t.w.str("foreign");
    write_names(t.w, k.from);
    t.w.str(k.target);
    write_names(t.w, k.to);
  }
}

}  // namespace

void write_keys(Database& db, std::string_view table, sdk::Sink& sink) {
  need_table(db, table);
  Table t(sink, {"name", "kind", "columns", "references_table", "references_columns"});
  Statement s = db.prepare("SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk");
  s.bind(1, table);
  std::vector<std::string> primary;
  while (s.step()) primary.emplace_back(s.text(0));
  if (!primary.empty()) {
    t.row();
    t.w.nil();
    t.w.str("primary");
    write_names(t.w, primary);
    t.w.nil();
    t.w.nil();
  }
  for (const Index& i : indexes_of(db, table)) {
    if (i.origin != "u") continue;
    t.row();
    t.w.str(i.name);
    t.w.str("unique");
    write_index_columns(t.w, db, i.name);
    t.w.nil();
    t.w.nil();
  }
  write_foreign_keys(db, table, t);
  t.end();
}

void write_indexes(Database& db, std::string_view table, sdk::Sink& sink) {
  need_table(db, table);
  Table t(sink, {"name", "unique", "columns", "where"});
  for (const Index& i : indexes_of(db, table)) {
    t.row();
    t.w.str(i.name);
    t.w.boolean(i.unique);
    write_index_columns(t.w, db, i.name);
    Statement s = db.prepare("SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?");
    s.bind(1, std::string_view(i.name));
    i.partial&& s.step() ? t.w.str(condition_of(s.text(0))) : t.w.nil();
  }
  t.end();
}

std::vector<std::string> insertable_columns(Database& db, std::string_view table) {
  need_table(db, table);
  Statement s = db.prepare("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid");
  s.bind(1, table);
  std::vector<std::string> names;
  while (s.step()) names.emplace_back(s.text(0));
  return names;
}

}  // namespace headgate::sqlite
