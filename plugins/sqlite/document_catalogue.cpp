// The verbs of collections and indexes; see document_kind.hpp.
#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_kind.hpp"

namespace headgate::sqlite::doc {
namespace {

void write_nothing(DocumentCall& c) {
  proto::Writer w(&c.sink);
  w.map(0);
}

Collection need(DocumentCall& c) {
  if (std::optional<Collection> found = c.store.find(c.collection())) return std::move(*found);
  throw sdk::Error(sdk::Code::not_found, sdk::Outcome::rejected,
                   "there is no collection " + quoted(c.collection()));
}

}  // namespace

void run_create_index(DocumentCall& c) {
  Index index;
  index.order = read_sort(*c.value("keys"));
  index.name = c.body.opt_str("name").value_or("");
  index.unique = c.body.flag("unique");
  Collection in = c.store.find_or_make(c.collection());
  const std::string name = c.store.make_index(in, std::move(index));
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("name");
  w.str(name);
}

void run_drop_index(DocumentCall& c) {
  c.store.drop_index(need(c), c.body.str("name"));
  write_nothing(c);
}

void run_list_indexes(DocumentCall& c) {
  const std::optional<Collection> in = c.store.find(c.collection());
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("indexes");
  w.array(in ? static_cast<std::uint32_t>(in->indexes.size()) : 0);
  if (!in) return;
  for (const Index& index : in->indexes) {
    w.map(3);
    w.str("name");
    w.str(index.name);
    w.str("keys");
    w.map(static_cast<std::uint32_t>(index.order.size()));
    for (const SortKey& k : index.order) {
      w.str(k.path.text());
      w.sint(k.descending ? -1 : 1);
    }
    w.str("unique");
    w.boolean(index.unique);
  }
}

void run_list_collections(DocumentCall& c) {
  const std::vector<std::string> names = c.store.names();
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("collections");
  w.array(static_cast<std::uint32_t>(names.size()));
  for (const std::string& name : names) {
    w.map(1);
    w.str("name");
    w.str(name);
  }
}

void run_create_collection(DocumentCall& c) {
  c.store.make(c.collection());
  write_nothing(c);
}

// Dropping what is not there is no error, as in MongoDB.
void run_drop_collection(DocumentCall& c) {
  if (const std::optional<Collection> found = c.store.find(c.collection())) c.store.drop(*found);
  write_nothing(c);
}

void run_rename_collection(DocumentCall& c) {
  c.store.rename(need(c), c.body.str("to"));
  write_nothing(c);
}

}  // namespace headgate::sqlite::doc
