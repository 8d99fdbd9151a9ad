// Following paths; see document_path.hpp. The rules are those of MongoDB's BSONElementIterator,
// quirks included: where an array's element is a document, a part that is a number is looked up in
// it as a field first and counts as the element's index afterwards.
#include "plugins/sqlite/document_path.hpp"

#include <algorithm>
#include <charconv>

#include "plugins/sqlite/document_error.hpp"

namespace headgate::sqlite::doc {

std::optional<std::size_t> array_index(std::string_view s) {
  if (s.empty() || s.size() > 9 || (s.size() > 1 && s[0] == '0')) return std::nullopt;
  std::size_t n = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), n);
  if (r.ec != std::errc{} || r.ptr != s.data() + s.size()) return std::nullopt;
  return n;
}

Path::Path(std::string_view dotted) : text_(dotted) {
  std::size_t from = 0;
  while (true) {
    const std::size_t dot = std::min(dotted.find('.', from), dotted.size());
    const std::string_view part = dotted.substr(from, dot - from);
    if (part.empty()) throw bad("the path " + quoted(dotted) + " has an empty part");
    parts_.emplace_back(part);
    indexes_.push_back(array_index(part));
    if (dot == dotted.size()) break;
    from = dot + 1;
  }
  if (parts_.size() > static_cast<std::size_t>(kNestingMax))
    throw bad("a path has at most " + std::to_string(kNestingMax) + " parts");
}

bool Path::has_index() const {
  return std::any_of(indexes_.begin(), indexes_.end(), [](const auto& i) { return i.has_value(); });
}

bool Path::overlaps(const Path& other) const {
  const std::size_t n = std::min(size(), other.size());
  return std::equal(parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(n),
                    other.parts_.begin());
}

namespace {

struct Walk {
  const Path& path;
  bool leaf_elements;
  Visitor& visitor;
  bool in_array = false;

  bool give(const Value* v) { return visitor.visit(v); }

  // `v` is what part `at - 1` led to (the document itself for 0).
  bool from_object(const Value& v, std::size_t at) {
    const Value* next = v.find(path[at]);
    return step(next, at + 1);
  }

  bool step(const Value* v, std::size_t at) {
    if (v != nullptr && v->is(Tag::array)) return array(*v, at);
    if (at == path.size()) return give(v);
    if (v == nullptr || !v->is(Tag::object)) return give(nullptr);
    return from_object(*v, at);
  }

  // An array with part `at` still to go (or none).
  bool array(const Value& v, std::size_t at) {
    if (at == path.size()) return leaf(v);
    const std::optional<std::size_t> index = path.index(at);
    const bool outermost = !in_array;
    in_array = true;
    bool found = false;
    for (std::size_t i = 0; i < v.items().size() && !found; ++i) {
      const Value& e = v.items()[i];
      if (outermost) visitor.position = i;
      if (e.is(Tag::object)) found = from_object(e, at);
      if (found || index != i) continue;
      if (at + 1 == path.size())
        found = give(&e);
      else if (e.is(Tag::object))
        found = from_object(e, at + 1);
      else if (e.is(Tag::array))
        found = array(e, at + 1);
    }
    if (outermost) in_array = false;
    return found;
  }

  bool leaf(const Value& v) {
    if (leaf_elements) {
      for (std::size_t i = 0; i < v.items().size(); ++i) {
        if (!in_array) visitor.position = i;
        if (give(&v.items()[i])) return true;
      }
      if (!in_array) visitor.position.reset();
    }
    return give(&v);
  }
};

}  // namespace

bool walk(const Value& object, const Path& path, bool leaf_elements, Visitor& visitor) {
  Walk w{path, leaf_elements, visitor};
  visitor.position.reset();
  return w.from_object(object, 0);
}

}  // namespace headgate::sqlite::doc
