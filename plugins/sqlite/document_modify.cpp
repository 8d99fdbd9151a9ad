// find_one_and_update, find_one_and_replace, find_one_and_delete; see document_kind.hpp.
#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_kind.hpp"
#include "plugins/sqlite/document_projection.hpp"
#include "plugins/sqlite/document_update.hpp"

namespace headgate::sqlite::doc {
namespace {

// What becomes of the document that was found. Nothing: it is deleted.
std::optional<Value> changed(DocumentCall& c, const Filter& filter, const Value& before) {
  if (c.verb == "find_one_and_delete") return std::nullopt;
  if (c.verb == "find_one_and_replace") return as_replacement(c.document("replacement"), &before);
  std::optional<std::size_t> position;
  static_cast<void>(filter.matches(before, &position));
  Value after = before;
  Update(*c.value("update")).apply(after, {.position = position, .now_ms = now_ms()});
  return after;
}

bool wants_after(const DocumentCall& c) {
  if (c.verb == "find_one_and_delete") return false;
  const std::string_view which = c.body.opt_str("return_document").value_or("before");
  if (which != "before" && which != "after")
    throw c.body.wrong("return_document", "before or after");
  return which == "after";
}

// Refuses a wrong update or replacement also when nothing is found.
void check_change(const DocumentCall& c) {
  if (c.verb == "find_one_and_update") Update{*c.value("update")};
  if (c.verb == "find_one_and_replace") as_replacement(c.document("replacement"), nullptr);
}

std::optional<Value> upsert(DocumentCall& c, std::optional<Collection>& in) {
  if (!in) in = c.store.make(c.collection());
  const std::optional<Value> update = c.value("update"), replacement = c.value("replacement");
  return upsert_document(c, *in, c.document("filter"), update ? &*update : nullptr,
                         replacement ? &*replacement : nullptr);
}

}  // namespace

void run_find_and_modify(DocumentCall& c) {
  Query q;
  q.filter = Filter(c.document("filter"));
  if (const auto sort = c.value("sort")) q.order = read_sort(*sort);
  q.limit = 1;
  const bool after = wants_after(c);
  check_change(c);
  const std::optional<Value> spec = c.value("projection");
  const Projection projection = spec ? Projection(Projection::Form::find, *spec) : Projection();

  std::optional<Collection> in = c.store.find(c.collection());
  const std::vector<std::int64_t> ids =
      in ? find_ids(c.store, c.db, *in, q, c.watch) : std::vector<std::int64_t>{};
  std::optional<Value> result;
  if (!ids.empty()) {
    const Value old = *c.store.read(*in, ids[0]);
    std::optional<Value> now = changed(c, q.filter, old);
    if (!now) {
      c.store.remove(*in, ids[0], old);
    } else if (!identical(old, *now)) {
      check_storable(*now);
      c.store.replace(*in, ids[0], old, *now);
    }
    result = after ? std::move(*now) : old;
  } else if (c.verb != "find_one_and_delete" && c.body.flag("upsert")) {
    std::optional<Value> made = upsert(c, in);
    if (after) result = std::move(made);
  }
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("document");
  write_value(w, result ? projection.apply(std::move(*result)) : Value());
}

}  // namespace headgate::sqlite::doc
