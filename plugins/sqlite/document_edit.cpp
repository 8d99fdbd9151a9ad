// See document_edit.hpp.
#include "plugins/sqlite/document_edit.hpp"

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_path.hpp"

namespace headgate::sqlite::doc {
namespace {

Value* child(Value& v, const std::string& part) {
  if (v.is(Tag::object)) return v.find(part);
  if (!v.is(Tag::array)) return nullptr;
  const auto i = array_index(part);
  return i && *i < v.items().size() ? &v.items()[*i] : nullptr;
}

}  // namespace

Value* find_at(Value& document, const Parts& parts) {
  Value* v = &document;
  for (const std::string& part : parts) {
    v = child(*v, part);
    if (v == nullptr) return nullptr;
  }
  return v;
}

Value& make_at(Value& document, const Parts& parts) {
  Value* v = &document;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const bool last = p + 1 == parts.size();
    if (v->is(Tag::object)) {
      Value* next = v->find(parts[p]);
      if (next == nullptr) {
        v->fields().push_back({parts[p], last ? Value() : Value::object()});
        next = &v->fields().back().value;
      }
      v = next;
      continue;
    }
    const auto i = array_index(parts[p]);
    if (!v->is(Tag::array) || !i)
      throw bad("the field " + quoted(parts[p]) + " cannot be made inside a value of type " +
                std::string(type_name(v->tag())));
    Array& items = v->items();
    if (*i >= items.size()) {
      if (*i - items.size() > kArrayGapMax)
        throw bad("the index " + parts[p] + " is too far beyond the array's end");
      items.resize(*i + 1);
      if (!last) items[*i] = Value::object();
    }
    v = &items[*i];
  }
  return *v;
}

bool remove_at(Value& document, const Parts& parts) {
  const Parts outer(parts.begin(), parts.end() - 1);
  Value* v = find_at(document, outer);
  if (v == nullptr) return false;
  if (v->is(Tag::object)) return v->erase(parts.back());
  Value* element = child(*v, parts.back());
  if (element == nullptr) return false;
  *element = Value();
  return true;
}

}  // namespace headgate::sqlite::doc
