// Asking a compiled query about a document; see document_filter.hpp.
#include <algorithm>
#include <cmath>

#include "plugins/sqlite/document_expression.hpp"
#include "plugins/sqlite/document_filter.hpp"

namespace headgate::sqlite::doc {
namespace {

bool is_nan(const Value& v) {
  return v.is(Tag::floating) ? std::isnan(v.as_double())
                             : v.is(Tag::decimal) && v.as_decimal().is_nan();
}

bool holds(Test test, int order) {
  switch (test) {
    case Test::eq:
      return order == 0;
    case Test::lt:
      return order < 0;
    case Test::lte:
      return order <= 0;
    case Test::gt:
      return order > 0;
    default:
      return order >= 0;
  }
}

bool compares(Test test, const Value& operand, const Value* v) {
  if (v == nullptr || rank(v->tag()) != rank(operand.tag())) {
    if (operand.is(Tag::null) && (v == nullptr || v->is_nullish()))
      return test == Test::eq || test == Test::lte || test == Test::gte;
    if (operand.is(Tag::max_key)) return test == Test::lt || test == Test::lte;
    if (operand.is(Tag::min_key)) return test == Test::gt || test == Test::gte;
    return false;
  }
  if (operand.is_number() && (is_nan(operand) || is_nan(*v)))
    return is_nan(operand) && is_nan(*v) && test != Test::lt && test != Test::gt;
  return holds(test, compare(*v, operand));
}

bool finds(const Pattern& p, const Value* v) {
  if (v == nullptr) return false;
  if (v->is(Tag::string)) return p.search(v->text());
  return v->is(Tag::regex) && v->as_regex().pattern == p.source().pattern &&
         v->as_regex().options == p.source().options;
}

bool in_list(const Node& n, const Value* v) {
  static const Value null;
  const Value& asked = v == nullptr ? null : *v;
  if (std::binary_search(n.list.begin(), n.list.end(), asked,
                         [](const Value& a, const Value& b) { return compare(a, b) < 0; }))
    return true;
  return std::any_of(n.patterns.begin(), n.patterns.end(),
                     [&](const Pattern& p) { return finds(p, v); });
}

bool divides(const Node& n, const Value* v) {
  if (v == nullptr || !v->is_number()) return false;
  std::int64_t i = 0;
  if (v->is_integer()) {
    i = v->as_int();
  } else if (v->is(Tag::floating)) {
    const double d = v->as_double();
    if (!(std::fabs(d) < 9223372036854775808.0)) return false;
    i = static_cast<std::int64_t>(d);
  } else {
    const std::optional<std::int64_t> whole = v->as_decimal().to_int();
    if (!whole) return false;
    i = *whole;
  }
  if (n.divisor == -1) return n.remainder == 0;  // INT64_MIN % -1 traps
  return i % n.divisor == n.remainder;
}

Value as_document(const Value& array) {
  Object fields;
  for (std::size_t i = 0; i < array.items().size(); ++i)
    fields.push_back({std::to_string(i), array.items()[i]});
  return Value::object(std::move(fields));
}

bool matches_element(const Node& n, const Value& e) {
  if (n.test == Test::elem_match_value) return detail::matches_value(n.children[0], &e);
  if (e.is(Tag::object)) return detail::matches(n.children[0], e, nullptr);
  return e.is(Tag::array) && detail::matches(n.children[0], as_document(e), nullptr);
}

// One value against a leaf; `at`: which element matched.
bool leaf_value(const Node& n, const Value* v, std::optional<std::size_t>* at) {
  switch (n.test) {
    case Test::in:
      return in_list(n, v);
    case Test::regex:
      return finds(n.patterns[0], v);
    case Test::exists:
      return v != nullptr;
    case Test::type:
      return v != nullptr && std::find(n.types.begin(), n.types.end(), v->tag()) != n.types.end();
    case Test::mod:
      return divides(n, v);
    case Test::size:
      return v != nullptr && v->is(Tag::array) &&
             v->items().size() == static_cast<std::size_t>(n.size);
    case Test::elem_match_object:
    case Test::elem_match_value: {
      if (v == nullptr || !v->is(Tag::array)) return false;
      for (std::size_t i = 0; i < v->items().size(); ++i) {
        if (!matches_element(n, v->items()[i])) continue;
        if (at != nullptr) *at = i;
        return true;
      }
      return false;
    }
    default:
      return compares(n.test, n.operand, v);
  }
}

struct LeafVisitor : Visitor {
  explicit LeafVisitor(const Node& node) : n(node) {}
  bool visit(const Value* v) override { return leaf_value(n, v, &element); }
  const Node& n;
  std::optional<std::size_t> element;
};

bool leaf_matches(const Node& n, const Value& document, std::optional<std::size_t>* position) {
  const bool elements = n.test != Test::size && n.test != Test::elem_match_object &&
                        n.test != Test::elem_match_value && n.test != Test::exists;
  LeafVisitor visitor(n);
  if (!walk(document, n.path, elements, visitor)) return false;
  if (position != nullptr) {
    if (visitor.position)
      *position = visitor.position;
    else if (visitor.element)
      *position = visitor.element;
  }
  return true;
}

}  // namespace

namespace detail {

bool matches(const Node& node, const Value& document, std::optional<std::size_t>* position) {
  const auto child = [&](const Node& n) { return matches(n, document, position); };
  const auto silent = [&](const Node& n) { return matches(n, document, nullptr); };
  const auto& c = node.children;
  switch (node.kind) {
    case Node::Kind::all:
      return std::all_of(c.begin(), c.end(), child);
    case Node::Kind::any:
      return std::any_of(c.begin(), c.end(), child);
    case Node::Kind::none:
      return std::none_of(c.begin(), c.end(), silent);
    case Node::Kind::negate:
      return !silent(c[0]);
    case Node::Kind::leaf:
      return leaf_matches(node, document, position);
    case Node::Kind::expression:
      return node.expression->truth(document);
    case Node::Kind::never:
      return false;
  }
  return false;
}

bool matches_value(const Node& node, const Value* v) {
  const auto child = [&](const Node& n) { return matches_value(n, v); };
  const auto& c = node.children;
  switch (node.kind) {
    case Node::Kind::all:
      return std::all_of(c.begin(), c.end(), child);
    case Node::Kind::any:
      return std::any_of(c.begin(), c.end(), child);
    case Node::Kind::none:
      return std::none_of(c.begin(), c.end(), child);
    case Node::Kind::negate:
      return !child(c[0]);
    case Node::Kind::leaf:
      return leaf_value(node, v, nullptr);
    default:
      return false;
  }
}

}  // namespace detail

bool Filter::matches(const Value& document, std::optional<std::size_t>* position) const {
  return detail::matches(root_, document, position);
}

bool ElementFilter::matches(const Value& element) const {
  switch (kind_) {
    case Kind::value:
      return detail::matches_value(root_, &element);
    case Kind::fields:
      return element.is(Tag::object) && detail::matches(root_, element, nullptr);
    case Kind::equal:
      return equal(equal_, element);
  }
  return false;
}

}  // namespace headgate::sqlite::doc
