// See document_bounds.hpp.
#include "plugins/sqlite/document_bounds.hpp"

#include <algorithm>
#include <cmath>

#include "plugins/sqlite/document_key.hpp"

namespace headgate::sqlite::doc {
namespace {

// What follows a whole key begins with a rank, plain or complemented, which is below ff.
std::string low_bytes(const Edge& e) { return e.prefix || e.inclusive ? e.key : e.key + '\xff'; }
std::string high_bytes(const Edge& e) {
  if (e.prefix) {  // no prefix ends with ff: it is a rank, or text
    std::string next = e.key;
    ++next.back();
    return next;
  }
  return e.inclusive ? e.key + '\xff' : e.key;
}

std::string complement(std::string s) {
  for (char& c : s) c = static_cast<char>(~c);
  return s;
}

Interval point(const Value& v) {
  const Edge e{key_of(v)};
  return {e, e};
}

Edge type_edge(Tag tag) { return {std::string(1, static_cast<char>(key_rank(tag))), true, true}; }

Intervals sorted(Intervals in) {
  std::sort(in.begin(), in.end(), [](const Interval& a, const Interval& b) {
    return low_bytes(a.low) < low_bytes(b.low);
  });
  Intervals out;
  for (Interval& i : in) {
    if (out.empty() || high_bytes(out.back().high) <= low_bytes(i.low)) {
      out.push_back(std::move(i));
    } else if (high_bytes(out.back().high) < high_bytes(i.high)) {
      out.back().high = std::move(i.high);
    }
  }
  return out;
}

// An array equals the whole of a field or an element of it; in the first case the index holds its
// elements.
void add_equal(Intervals& out, const Value& v) {
  out.push_back(point(v));
  if (!v.is(Tag::array)) return;
  out.push_back(point(v.items().empty() ? Value::plain(Tag::undefined) : v.items()[0]));
}

bool add_pattern(Intervals& out, const Pattern& p) {
  const std::string prefix = p.literal_prefix();
  if (prefix.empty()) return false;
  const std::string key = string_key_prefix(prefix);
  out.push_back({Edge{key, true, true}, Edge{key, true, true}});
  out.push_back(point(Value::regex(p.source())));
  return true;
}

bool is_nan(const Value& v) { return v.is_number() && std::isnan(v.to_double()); }

std::optional<Intervals> comparison(Test test, const Value& v) {
  if (v.is(Tag::min_key) || v.is(Tag::max_key) || v.is(Tag::array)) return std::nullopt;
  const bool with_equal = test == Test::lte || test == Test::gte;
  if (v.is_nullish() || is_nan(v)) return with_equal ? Intervals{point(v)} : Intervals{};
  const Edge edge{key_of(v), with_equal};
  if (test == Test::gt || test == Test::gte) return Intervals{{edge, type_edge(v.tag())}};
  return Intervals{{type_edge(v.tag()), edge}};
}

std::optional<Intervals> of_element(const Node& n) {
  if (n.kind == Node::Kind::leaf) return bounds_of(n);
  if (n.kind != Node::Kind::all) return std::nullopt;
  std::optional<Intervals> out;  // one element satisfies them all
  for (const Node& c : n.children) {
    const std::optional<Intervals> b = of_element(c);
    if (b) out = out ? intersect(*out, *b) : *b;
  }
  return out;
}

}  // namespace

Range Interval::range(const std::string& prefix, bool descending) const {
  if (!descending) return {prefix + low_bytes(low), prefix + high_bytes(high)};
  const Edge from{complement(high.key), high.inclusive, high.prefix};
  const Edge to{complement(low.key), low.inclusive, low.prefix};
  return {prefix + low_bytes(from), prefix + high_bytes(to)};
}

std::optional<Intervals> bounds_of(const Node& leaf) {
  Intervals out;
  switch (leaf.test) {
    case Test::eq:
      add_equal(out, leaf.operand);
      return sorted(std::move(out));
    case Test::in:
      for (const Value& v : leaf.list) add_equal(out, v);
      for (const Pattern& p : leaf.patterns)
        if (!add_pattern(out, p)) return std::nullopt;
      return sorted(std::move(out));
    case Test::regex:
      if (!add_pattern(out, leaf.patterns[0])) return std::nullopt;
      return sorted(std::move(out));
    case Test::lt:
    case Test::lte:
    case Test::gt:
    case Test::gte:
      return comparison(leaf.test, leaf.operand);
    case Test::elem_match_value:
      return of_element(leaf.children[0]);
    default:
      return std::nullopt;
  }
}

Intervals intersect(const Intervals& a, const Intervals& b) {
  Intervals out;
  for (const Interval& x : a) {
    for (const Interval& y : b) {
      const Interval both{low_bytes(x.low) < low_bytes(y.low) ? y.low : x.low,
                          high_bytes(x.high) < high_bytes(y.high) ? x.high : y.high};
      if (low_bytes(both.low) < high_bytes(both.high)) out.push_back(both);
    }
  }
  return sorted(std::move(out));
}

}  // namespace headgate::sqlite::doc
