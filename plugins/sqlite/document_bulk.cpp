// bulk_write: many operations, each done as a whole or not at all; see document_kind.hpp.
#include <optional>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_kind.hpp"

namespace headgate::sqlite::doc {
namespace {

constexpr std::uint32_t kOperationsMax = 100'000;  // MongoDB's maxWriteBatchSize

struct Totals {
  WriteResult sum;
  std::vector<std::pair<std::int64_t, Value>> upserted;
};

const Value& part(const Value& body, const std::string& op, const char* name) {
  const Value* v = body.find(name);
  if (v == nullptr) throw bad("bulk_write: " + op + " needs `" + name + "`");
  return *v;
}

void only(const Value& body, const std::string& op, std::initializer_list<std::string_view> names) {
  if (!body.is(Tag::object)) throw bad("bulk_write: " + op + " takes a document");
  for (const Field& f : body.fields()) {
    bool known = false;
    for (const std::string_view n : names) known = known || n == f.name;
    if (!known) throw bad("bulk_write: " + op + " has no field " + quoted(f.name));
  }
}

bool upsert_of(const Value& body, const std::string& op) {
  const Value* v = body.find("upsert");
  if (v == nullptr || v->is(Tag::null)) return false;
  if (!v->is(Tag::boolean)) throw bad("bulk_write: " + op + ": `upsert` is true or false");
  return v->as_bool();
}

WriteResult run_operation(DocumentCall& c, const std::string& op, const Value& body) {
  if (op == "insert_one") {
    only(body, op, {"document"});
    Collection to = c.store.find_or_make(c.collection());
    insert_document(c, to, part(body, op, "document"));
    WriteResult r;
    r.inserted = 1;
    return r;
  }
  if (op == "update_one" || op == "update_many") {
    only(body, op, {"filter", "update", "upsert"});
    return update_documents(c, part(body, op, "filter"), part(body, op, "update"),
                            op == "update_many", upsert_of(body, op));
  }
  if (op == "replace_one") {
    only(body, op, {"filter", "replacement", "upsert"});
    return replace_document(c, part(body, op, "filter"), part(body, op, "replacement"),
                            upsert_of(body, op));
  }
  if (op == "delete_one" || op == "delete_many") {
    only(body, op, {"filter"});
    return delete_documents(c, part(body, op, "filter"), op == "delete_many");
  }
  throw no("bulk_write: the operation " + quoted(op) + " is not supported");
}

// In a savepoint of its own: an update_many that fails midway leaves nothing.
void run_one(DocumentCall& c, const Value& operation, std::int64_t index, Totals& totals) {
  if (!operation.is(Tag::object) || operation.fields().size() != 1)
    throw bad("bulk_write: an operation is a document with one field, its name");
  c.db.exec("SAVEPOINT headgate_doc_operation");
  try {
    WriteResult r = run_operation(c, operation.fields()[0].name, operation.fields()[0].value);
    c.db.exec("RELEASE headgate_doc_operation");
    totals.sum.inserted += r.inserted;
    totals.sum.matched += r.matched;
    totals.sum.modified += r.modified;
    totals.sum.deleted += r.deleted;
    if (r.upserted_id) totals.upserted.emplace_back(index, std::move(*r.upserted_id));
  } catch (const sdk::Error& e) {
    if (is_document_error(e) && c.db.in_transaction()) {
      c.db.exec("ROLLBACK TO headgate_doc_operation");
      c.db.exec("RELEASE headgate_doc_operation");
    }
    throw;
  }
}

void write_totals(DocumentCall& c, const Totals& t, const std::vector<WriteError>& errors) {
  proto::Writer w(&c.sink);
  w.map(7);
  const std::pair<const char*, std::int64_t> counts[] = {
      {"inserted_count", t.sum.inserted},
      {"matched_count", t.sum.matched},
      {"modified_count", t.sum.modified},
      {"deleted_count", t.sum.deleted},
      {"upserted_count", static_cast<std::int64_t>(t.upserted.size())}};
  for (const auto& [name, n] : counts) {
    w.str(name);
    w.sint(n);
  }
  w.str("upserted_ids");
  w.map(static_cast<std::uint32_t>(t.upserted.size()));
  for (const auto& [index, id] : t.upserted) {
    w.str(std::to_string(index));
    write_value(w, id);
  }
  w.str("write_errors");
  write_errors(w, errors);
  c.sink.commit();
}

}  // namespace

void run_bulk_write(DocumentCall& c) {
  const bool ordered = c.body.flag("ordered", true);
  proto::Cursor operations = c.body.at("operations");
  const std::uint32_t n = operations.read_array();
  if (n == 0) throw bad("bulk_write: `operations` is empty");
  if (n > kOperationsMax) throw too_large("bulk_write takes at most 100000 operations");
  Totals totals;
  std::vector<WriteError> errors;
  for (std::uint32_t i = 0; i < n; ++i) {
    const proto::Bytes raw = operations.skip();
    c.watch.tick();
    try {
      run_one(c, read_value(raw), i, totals);
    } catch (const sdk::Error& e) {
      if (!is_document_error(e) || !c.db.in_transaction()) throw;
      errors.push_back({static_cast<std::int64_t>(i), e});
      if (ordered) break;
    }
  }
  write_totals(c, totals, errors);
  if (errors.empty()) return;
  const WriteResult& s = totals.sum;
  fail_partly(errors[0].error, s.inserted + s.modified + s.deleted > 0 || !totals.upserted.empty());
}

}  // namespace headgate::sqlite::doc
