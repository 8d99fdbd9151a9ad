// Collections and documents; see document_store.hpp. Indexes' own life is in document_index.cpp.
#include "plugins/sqlite/document_store.hpp"

#include <algorithm>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_json.hpp"
#include "plugins/sqlite/document_key.hpp"

namespace headgate::sqlite::doc {
namespace {

sdk::Error taken(const Collection& c, const Index& index) {
  sdk::Error e(sdk::Code::exists, sdk::Outcome::rejected,
               "a document with this key is there already: index " + quoted(index.name) + " of " +
                   quoted(c.name));
  e.sqlstate = "23505";
  return e;
}

std::string id_key(const Value& document) { return key_of(*document.find("_id")); }

Index id_index() {
  Index index;
  index.name = "_id_";
  index.order = {{Path("_id"), false}};
  index.unique = true;
  return index;
}

}  // namespace

void check_id(const Value& id) {
  if (id.is(Tag::array) || id.is(Tag::regex) || id.is(Tag::undefined))
    throw bad("_id may not be of type " + std::string(type_name(id.tag())));
}

void check_collection_name(std::string_view name) {
  if (name.empty() || name.size() > kNameMax) throw bad("a collection's name has 1 to 120 bytes");
  if (name.find('$') != std::string_view::npos || name.find('\0') != std::string_view::npos)
    throw bad("a collection's name holds no `$` and no NUL");
  if (name.front() == '.' || name.back() == '.')
    throw bad("a collection's name does not begin or end with a dot");
  if (name.substr(0, 7) == "system.") throw bad("collections named system.* are not for callers");
}

void Store::prepare(Database& db) {
  db.exec(
      "CREATE TABLE IF NOT EXISTS headgate_doc_collections ("
      "number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT");
  db.exec(
      "CREATE TABLE IF NOT EXISTS headgate_doc_indexes ("
      "number INTEGER PRIMARY KEY AUTOINCREMENT, collection INTEGER NOT NULL, name TEXT NOT NULL, "
      "keys TEXT NOT NULL, is_unique INTEGER NOT NULL, multikey INTEGER NOT NULL, "
      "UNIQUE (collection, name)) STRICT");
}

std::optional<Collection> Store::find(std::string_view name) {
  Collection c;
  Statement s = db_.prepare("SELECT number FROM headgate_doc_collections WHERE name = ?");
  if (!s.bind(1, name).step()) return std::nullopt;
  c.number = s.integer(0);
  c.name = name;
  c.indexes.push_back(id_index());
  Statement i = db_.prepare(
      "SELECT number, name, keys, is_unique, multikey FROM headgate_doc_indexes "
      "WHERE collection = ? ORDER BY number");
  i.bind(1, c.number);
  while (i.step()) {
    Index index;
    index.number = i.integer(0);
    index.name = i.text(1);
    for (const Value& pair : parse_json(i.text(2)).items())
      index.order.push_back({Path(pair.items()[0].text()), pair.items()[1].as_int() < 0});
    index.unique = i.integer(3) != 0;
    index.multikey = i.integer(4) != 0;
    c.indexes.push_back(std::move(index));
  }
  return c;
}

Collection Store::make(std::string_view name) {
  check_collection_name(name);
  if (find(name)) {
    sdk::Error e(sdk::Code::exists, sdk::Outcome::rejected,
                 "the collection " + quoted(name) + " exists");
    e.sqlstate = "42P07";
    throw e;
  }
  db_.prepare("INSERT INTO headgate_doc_collections (name) VALUES (?)").bind(1, name).run();
  Collection c;
  c.number = db_.last_id();
  c.name = name;
  c.indexes.push_back(id_index());
  db_.exec("CREATE TABLE " + c.table() +
           " (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, body TEXT NOT NULL) STRICT");
  return c;
}

Collection Store::find_or_make(std::string_view name) {
  if (std::optional<Collection> c = find(name)) return std::move(*c);
  return make(name);
}

void Store::drop(const Collection& c) {
  for (const Index& index : c.indexes)
    if (index.number != 0) db_.exec("DROP TABLE " + c.table(index));
  db_.exec("DROP TABLE " + c.table());
  db_.prepare("DELETE FROM headgate_doc_indexes WHERE collection = ?").bind(1, c.number).run();
  db_.prepare("DELETE FROM headgate_doc_collections WHERE number = ?").bind(1, c.number).run();
}

void Store::rename(const Collection& c, std::string_view to) {
  check_collection_name(to);
  if (find(to))
    throw sdk::Error(sdk::Code::exists, sdk::Outcome::rejected,
                     "the collection " + quoted(to) + " exists");
  db_.prepare("UPDATE headgate_doc_collections SET name = ? WHERE number = ?")
      .bind(1, to)
      .bind(2, c.number)
      .run();
}

std::vector<std::string> Store::names() {
  std::vector<std::string> out;
  Statement s = db_.prepare("SELECT name FROM headgate_doc_collections ORDER BY name");
  while (s.step()) out.emplace_back(s.text(0));
  return out;
}

std::int64_t Store::count(const Collection& c) {
  Statement s = db_.prepare("SELECT count(*) FROM " + c.table());
  s.step();
  return s.integer(0);
}

Store::Rows Store::rows_of(const Collection& c, const Index& index, const Value& document) {
  Rows out{&index, keys_of(document, index.order)};
  for (const std::string& key : out.keys.keys)
    if (key.size() > kIndexKeyMax)
      throw too_large("an indexed value has at most 1 MiB: index " + quoted(index.name) + " of " +
                      quoted(c.name));
  return out;
}

std::vector<Store::Rows> Store::rows_of(const Collection& c, const Value& document) {
  std::vector<Rows> out;
  for (const Index& index : c.indexes)
    if (index.number != 0) out.push_back(rows_of(c, index, document));
  return out;
}

void Store::check_unique(const Collection& c, const Rows& rows, std::int64_t self) {
  if (!rows.index->unique) return;
  Statement s =
      db_.prepare("SELECT 1 FROM " + c.table(*rows.index) + " WHERE value = ? AND id <> ?");
  for (const std::string& key : rows.keys.keys) {
    s.bind(1, proto::bytes_of(key)).bind(2, self);
    if (s.step()) throw taken(c, *rows.index);
    s.reset();
  }
}

void Store::write_rows(Collection& c, const Rows& rows, std::int64_t id, const Keys* already) {
  Statement s = db_.prepare("INSERT INTO " + c.table(*rows.index) + " (value, id) VALUES (?, ?)");
  for (const std::string& key : rows.keys.keys) {
    if (already != nullptr && already->keys.count(key) != 0) continue;
    s.bind(1, proto::bytes_of(key)).bind(2, id).run();
    s.reset();
  }
  if (rows.keys.multikey && !rows.index->multikey) set_multikey(c, *rows.index);
}

void Store::erase_rows(const Collection& c, const Rows& rows, std::int64_t id, const Keys* keep) {
  Statement s = db_.prepare("DELETE FROM " + c.table(*rows.index) + " WHERE value = ? AND id = ?");
  for (const std::string& key : rows.keys.keys) {
    if (keep != nullptr && keep->keys.count(key) != 0) continue;
    s.bind(1, proto::bytes_of(key)).bind(2, id).run();
    s.reset();
  }
}

void Store::set_multikey(Collection& c, const Index& index) {
  db_.prepare("UPDATE headgate_doc_indexes SET multikey = 1 WHERE number = ?")
      .bind(1, index.number)
      .run();
  for (Index& i : c.indexes)
    if (i.number == index.number) i.multikey = true;
}

void Store::insert(Collection& c, const Value& document) {
  const std::vector<Rows> rows = rows_of(c, document);
  for (const Rows& r : rows) check_unique(c, r, 0);
  const std::string key = id_key(document), body = to_json(document);
  Statement s = db_.prepare("INSERT INTO " + c.table() +
                            " (key, body) VALUES (?, ?) ON CONFLICT (key) DO NOTHING");
  const std::int64_t before = sqlite3_total_changes64(db_.raw());
  s.bind(1, proto::bytes_of(key)).bind(2, std::string_view(body)).run();
  if (sqlite3_total_changes64(db_.raw()) == before) throw taken(c, c.indexes[0]);
  const std::int64_t id = db_.last_id();
  for (const Rows& r : rows) write_rows(c, r, id, nullptr);
}

void Store::replace(Collection& c, std::int64_t id, const Value& before, const Value& after) {
  const std::vector<Rows> old_rows = rows_of(c, before), new_rows = rows_of(c, after);
  for (const Rows& r : new_rows) check_unique(c, r, id);
  const std::string body = to_json(after);
  db_.prepare("UPDATE " + c.table() + " SET body = ? WHERE id = ?")
      .bind(1, std::string_view(body))
      .bind(2, id)
      .run();
  for (std::size_t i = 0; i < new_rows.size(); ++i) {
    erase_rows(c, old_rows[i], id, &new_rows[i].keys);
    write_rows(c, new_rows[i], id, &old_rows[i].keys);
  }
}

void Store::remove(const Collection& c, std::int64_t id, const Value& document) {
  for (const Rows& r : rows_of(c, document)) erase_rows(c, r, id, nullptr);
  db_.prepare("DELETE FROM " + c.table() + " WHERE id = ?").bind(1, id).run();
}

std::optional<Value> Store::read(const Collection& c, std::int64_t id) {
  Statement s = db_.prepare("SELECT body FROM " + c.table() + " WHERE id = ?");
  if (!s.bind(1, id).step()) return std::nullopt;
  return parse_json(s.text(0));
}

}  // namespace headgate::sqlite::doc
