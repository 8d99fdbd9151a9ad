// Making and dropping indexes; see document_store.hpp.
#include <algorithm>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_json.hpp"
#include "plugins/sqlite/document_key.hpp"
#include "plugins/sqlite/document_store.hpp"

namespace headgate::sqlite::doc {
namespace {

Value keys_value(const std::vector<SortKey>& order) {
  Array out;
  for (const SortKey& k : order)
    out.push_back(
        Value::array({Value::string(k.path.text()), Value::int32(k.descending ? -1 : 1)}));
  return Value::array(std::move(out));
}

bool same_order(const std::vector<SortKey>& a, const std::vector<SortKey>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const SortKey& x, const SortKey& y) {
    return x.path.text() == y.path.text() && x.descending == y.descending;
  });
}

// "a_1_b_-1", as MongoDB names indexes.
std::string default_index_name(const std::vector<SortKey>& order) {
  std::string name;
  for (const SortKey& k : order)
    name += (name.empty() ? "" : "_") + k.path.text() + (k.descending ? "_-1" : "_1");
  return name;
}

sdk::Error differs(const std::string& what) {
  return {sdk::Code::conflict, sdk::Outcome::rejected, what};
}

}  // namespace

std::string Store::make_index(Collection& c, Index index) {
  if (index.order.empty()) throw bad("an index has at least one field");
  if (index.order.size() == 1 && index.order[0].path.text() == "_id") {
    if (index.order[0].descending) throw bad("the index of `_id` is {_id: 1}");
    return c.indexes[0].name;  // it came with the collection, and has this name alone
  }
  if (index.name.empty()) index.name = default_index_name(index.order);
  if (index.name.size() > kNameMax) throw bad("an index's name has at most 120 bytes");
  for (const SortKey& k : index.order)
    if (k.path.has_index())
      throw no("an index on an array's position is not supported: " + quoted(k.path.text()));
  for (const Index& there : c.indexes) {
    const bool same = same_order(there.order, index.order);
    if (there.name == index.name) {
      if (same && there.unique == index.unique) return index.name;
      throw differs("the index " + quoted(index.name) + " exists with other keys or options");
    }
    if (same) throw differs("an index on these fields exists under the name " + quoted(there.name));
  }
  if (c.indexes.size() >= kIndexesMax) throw bad("a collection has at most 64 indexes");
  db_.prepare(
         "INSERT INTO headgate_doc_indexes (collection, name, keys, is_unique, multikey) "
         "VALUES (?, ?, ?, ?, 0)")
      .bind(1, c.number)
      .bind(2, std::string_view(index.name))
      .bind(3, std::string_view(to_json(keys_value(index.order))))
      .bind(4, std::int64_t{index.unique})
      .run();
  index.number = db_.last_id();
  db_.exec("CREATE TABLE " + c.table(index) +
           " (value BLOB NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (" +
           (index.unique ? "value" : "value, id") + ")) STRICT, WITHOUT ROWID");
  c.indexes.push_back(index);
  Statement s = db_.prepare("SELECT id, body FROM " + c.table() + " ORDER BY id");
  while (s.step()) {
    const Rows rows = rows_of(c, c.indexes.back(), parse_json(s.text(1)));
    check_unique(c, rows, s.integer(0));
    write_rows(c, rows, s.integer(0), nullptr);
  }
  return index.name;
}

void Store::drop_index(const Collection& c, std::string_view name) {
  if (name == "_id_") throw bad("the index `_id_` cannot be dropped");
  const auto at = std::find_if(c.indexes.begin(), c.indexes.end(),
                               [&](const Index& i) { return i.name == name; });
  if (at == c.indexes.end())
    throw sdk::Error(sdk::Code::not_found, sdk::Outcome::rejected,
                     "no index " + quoted(name) + " on " + quoted(c.name));
  db_.exec("DROP TABLE " + c.table(*at));
  db_.prepare("DELETE FROM headgate_doc_indexes WHERE number = ?").bind(1, at->number).run();
}

}  // namespace headgate::sqlite::doc
