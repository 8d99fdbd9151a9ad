// The verbs that write; see document_kind.hpp.
#include <chrono>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_kind.hpp"
#include "plugins/sqlite/document_update.hpp"

namespace headgate::sqlite::doc {
namespace {

void write_result(DocumentCall& c, const WriteResult& r) {
  proto::Writer w(&c.sink);
  w.map(3);
  w.str("matched_count");
  w.sint(r.matched);
  w.str("modified_count");
  w.sint(r.modified);
  w.str("upserted_id");
  write_value(w, r.upserted_id ? *r.upserted_id : Value());
}

// The places of the documents that a write is about: all, or the first.
std::vector<std::int64_t> targets(DocumentCall& c, const std::optional<Collection>& from,
                                  const Filter& filter, bool many) {
  if (!from) return {};
  Query q;
  q.filter = filter;
  q.limit = many ? 0 : 1;
  return find_ids(c.store, c.db, *from, q, c.watch);
}

bool wants_upsert(const DocumentCall& c) { return c.body.flag("upsert"); }

}  // namespace

std::int64_t now_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

Value insert_document(DocumentCall& c, Collection& to, Value document) {
  if (!document.is(Tag::object)) throw bad("a document is a map");
  place_id(document);
  const Value& id = document.fields()[0].value;
  check_id(id);
  check_storable(document);
  c.store.insert(to, document);
  return id;
}

Value as_replacement(const Value& replacement, const Value* before) {
  if (!replacement.is(Tag::object)) throw bad("a replacement is a document");
  for (const Field& f : replacement.fields())
    if (!f.name.empty() && f.name[0] == '$')
      throw bad("a replacement has no operators: " + quoted(f.name));
  Value out = replacement;
  if (before == nullptr) return out;
  const Value& id = *before->find("_id");
  const Value* given = out.find("_id");
  if (given != nullptr && !equal(*given, id)) throw bad("the field `_id` cannot be changed");
  out.set("_id", id);
  place_id(out);
  return out;
}

Value upsert_document(DocumentCall& c, Collection& to, const Value& filter, const Value* update,
                      const Value* replacement) {
  Value document = upsert_base(filter);
  if (update != nullptr) {
    Update(*update).apply(document, {.inserting = true, .now_ms = now_ms()});
  } else {
    const Value* id = document.find("_id");
    const Value base = id == nullptr ? Value::object() : Value::object({{"_id", *id}});
    document = as_replacement(*replacement, id == nullptr ? nullptr : &base);
  }
  place_id(document);
  insert_document(c, to, document);
  return document;
}

WriteResult update_documents(DocumentCall& c, const Value& filter, const Value& update, bool many,
                             bool upsert) {
  const Filter compiled(filter);
  const Update steps(update);
  std::optional<Collection> in = c.store.find(c.collection());
  const std::vector<std::int64_t> ids = targets(c, in, compiled, many);
  WriteResult r;
  if (ids.empty()) {
    if (!upsert) return r;
    if (!in) in = c.store.make(c.collection());
    r.upserted_id = *upsert_document(c, *in, filter, &update, nullptr).find("_id");
    return r;
  }
  const std::int64_t now = now_ms();
  for (const std::int64_t id : ids) {
    c.watch.tick();
    const std::optional<Value> before = c.store.read(*in, id);
    std::optional<std::size_t> position;
    if (!before || !compiled.matches(*before, &position)) continue;
    Value after = *before;
    steps.apply(after, {.position = position, .now_ms = now});
    ++r.matched;
    if (identical(*before, after)) continue;
    check_storable(after);
    c.store.replace(*in, id, *before, after);
    ++r.modified;
  }
  return r;
}

WriteResult replace_document(DocumentCall& c, const Value& filter, const Value& replacement,
                             bool upsert) {
  const Filter compiled(filter);
  as_replacement(replacement, nullptr);
  std::optional<Collection> in = c.store.find(c.collection());
  const std::vector<std::int64_t> ids = targets(c, in, compiled, false);
  WriteResult r;
  if (ids.empty()) {
    if (!upsert) return r;
    if (!in) in = c.store.make(c.collection());
    r.upserted_id = *upsert_document(c, *in, filter, nullptr, &replacement).find("_id");
    return r;
  }
  const Value before = *c.store.read(*in, ids[0]);
  const Value after = as_replacement(replacement, &before);
  r.matched = 1;
  if (identical(before, after)) return r;
  check_storable(after);
  c.store.replace(*in, ids[0], before, after);
  r.modified = 1;
  return r;
}

WriteResult delete_documents(DocumentCall& c, const Value& filter, bool many) {
  const Filter compiled(filter);
  const std::optional<Collection> in = c.store.find(c.collection());
  WriteResult r;
  for (const std::int64_t id : targets(c, in, compiled, many)) {
    c.watch.tick();
    const std::optional<Value> document = c.store.read(*in, id);
    if (!document) continue;
    c.store.remove(*in, id, *document);
    ++r.deleted;
  }
  return r;
}

bool is_document_error(const sdk::Error& e) {
  return e.code == sdk::Code::invalid || e.code == sdk::Code::exists ||
         e.code == sdk::Code::constraint || e.code == sdk::Code::too_large ||
         e.code == sdk::Code::unsupported;
}

void write_errors(proto::Writer& w, const std::vector<WriteError>& errors) {
  w.array(static_cast<std::uint32_t>(errors.size()));
  for (const WriteError& e : errors) {
    w.map(3);
    w.str("index");
    w.sint(e.index);
    w.str("code");
    w.uint(static_cast<std::uint64_t>(e.error.code));
    w.str("message");
    w.str(e.error.message);
  }
}

void fail_partly(const sdk::Error& first, bool changed) {
  PartialFailure failure(first.code, changed ? sdk::Outcome::applied : sdk::Outcome::rejected,
                         first.message);
  failure.sqlstate = first.sqlstate;
  throw failure;
}

void run_insert_one(DocumentCall& c) {
  Collection to = c.store.find_or_make(c.collection());
  const Value id = insert_document(c, to, *c.value("document"));
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("inserted_id");
  write_value(w, id);
}

void run_insert_many(DocumentCall& c) {
  const bool ordered = c.body.flag("ordered", true);
  proto::Cursor documents = c.body.at("documents");
  const std::uint32_t n = documents.read_array();
  if (n == 0) throw bad("insert_many: `documents` is empty");
  Collection to = c.store.find_or_make(c.collection());
  Array ids(n);
  std::vector<WriteError> errors;
  for (std::uint32_t i = 0; i < n; ++i) {
    const proto::Bytes raw = documents.skip();
    c.watch.tick();
    try {
      ids[i] = insert_document(c, to, read_value(raw));
    } catch (const sdk::Error& e) {
      if (!is_document_error(e)) throw;
      errors.push_back({static_cast<std::int64_t>(i), e});
      if (ordered) break;
    }
  }
  proto::Writer w(&c.sink);
  w.map(2);
  w.str("inserted_ids");
  write_value(w, Value::array(std::move(ids)));
  w.str("write_errors");
  write_errors(w, errors);
  c.sink.commit();
  if (!errors.empty())
    fail_partly(errors[0].error, errors.size() < n && (!ordered || errors[0].index > 0));
}

void run_replace_one(DocumentCall& c) {
  write_result(
      c, replace_document(c, c.document("filter"), c.document("replacement"), wants_upsert(c)));
}

void run_update(DocumentCall& c) {
  const Value update = *c.value("update");
  write_result(c, update_documents(c, c.document("filter"), update, c.verb == "update_many",
                                   wants_upsert(c)));
}

void run_delete(DocumentCall& c) {
  const WriteResult r = delete_documents(c, c.document("filter"), c.verb == "delete_many");
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("deleted_count");
  w.sint(r.deleted);
}

}  // namespace headgate::sqlite::doc
