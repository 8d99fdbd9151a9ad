// Choosing by rule: equality before range, more fields before fewer, and an order for nothing where
// it can be had. See document_plan.hpp.
#include "plugins/sqlite/document_plan.hpp"

#include <algorithm>

#include "plugins/sqlite/document_error.hpp"

namespace headgate::sqlite::doc {
namespace {

constexpr std::size_t kRangesMax = 2000;

struct Candidate {
  Scan scan;
  int score = 0;
  std::size_t points = 0;      // leading fields that equality fixes to one value
  bool interval_next = false;  // the field after those has intervals
  std::string prefix;
};

void leaves_of(const Node& n, std::vector<const Node*>& out) {
  if (n.kind == Node::Kind::leaf) out.push_back(&n);
  if (n.kind == Node::Kind::all)
    for (const Node& c : n.children) leaves_of(c, out);
}

// The bounds of one field. On an index with arrays two conditions may be met by two elements, so
// only one of them may be used.
std::optional<Intervals> field_bounds(const std::vector<const Node*>& leaves, const Path& path,
                                      bool multikey) {
  std::optional<Intervals> out;
  for (const Node* leaf : leaves) {
    if (leaf->path.text() != path.text()) continue;
    std::optional<Intervals> b = bounds_of(*leaf);
    if (!b) continue;
    if (!out) {
      out = std::move(b);
    } else if (!multikey) {
      out = intersect(*out, *b);
    } else {
      const auto points = [](const Intervals& i) {
        return std::all_of(i.begin(), i.end(), [](const Interval& x) { return x.is_point(); });
      };
      if (points(*b) && (!points(*out) || b->size() < out->size())) out = std::move(b);
    }
  }
  return out;
}

bool shares_array(const Index& index, std::size_t field) {
  for (std::size_t i = 0; i < field; ++i)
    if (index.order[i].path[0] == index.order[field].path[0]) return true;
  return false;
}

Candidate consider(const Index& index, const std::vector<const Node*>& leaves) {
  Candidate out;
  out.scan.index = &index;
  std::vector<std::string> prefixes = {""};
  std::size_t field = 0;
  for (; field < index.order.size(); ++field) {
    const SortKey& key = index.order[field];
    // Arrays that two fields share: their conditions may be met by two elements.
    if (index.multikey && shares_array(index, field)) break;
    const std::optional<Intervals> b = field_bounds(leaves, key.path, index.multikey);
    if (!b) break;
    const bool points =
        std::all_of(b->begin(), b->end(), [](const Interval& i) { return i.is_point(); });
    const bool fits = prefixes.size() * std::max<std::size_t>(b->size(), 1) <= kRangesMax;
    if (!fits && field > 0) break;
    out.scan.bounded.push_back(key.path.text());
    out.score += points ? 10 : 4;
    std::vector<std::string> next;
    for (const std::string& prefix : prefixes) {
      for (const Interval& i : *b) {
        const Range r = i.range(prefix, key.descending);
        if (points && fits)
          next.push_back(r.low);
        else
          out.scan.ranges.push_back(r);
      }
    }
    if (!points || !fits) {
      out.interval_next = true;
      if (out.points == field && prefixes.size() == 1) out.prefix = prefixes[0];
      prefixes.clear();
      break;
    }
    prefixes = std::move(next);
    if (prefixes.size() == 1 && out.points == field) out.points = field + 1;
    if (prefixes.empty()) break;
  }
  for (const std::string& prefix : prefixes) out.scan.ranges.push_back({prefix, prefix + '\xff'});
  if (prefixes.size() == 1) out.prefix = prefixes[0];
  std::sort(out.scan.ranges.begin(), out.scan.ranges.end(),
            [](const Range& a, const Range& b) { return a.low < b.low; });
  if (index.unique && field == index.order.size() && out.score >= 10) out.score += 100;
  return out;
}

// Whether scanning `c` gives `order`; *backward: read from the end.
bool gives_order(const Candidate& c, const std::vector<SortKey>& order, bool* backward) {
  const Index& index = *c.scan.index;
  if (order.empty()) return false;
  std::size_t from = c.points;
  if (c.scan.bounded.size() > c.points + (c.interval_next ? 1 : 0))
    return false;  // several prefixes
  // Fields that equality fixes do not count in the order, unless arrays blur what is fixed.
  std::vector<const SortKey*> wanted;
  for (const SortKey& k : order) {
    const auto fixed =
        std::find_if(index.order.begin(), index.order.begin() + static_cast<std::ptrdiff_t>(from),
                     [&](const SortKey& f) { return f.path.text() == k.path.text(); });
    if (index.multikey || fixed == index.order.begin() + static_cast<std::ptrdiff_t>(from))
      wanted.push_back(&k);
  }
  if (wanted.size() != index.order.size() - from || wanted.empty()) return false;
  if (index.multikey && c.interval_next) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const SortKey& have = index.order[from + i];
    if (have.path.text() != wanted[i]->path.text()) return false;
    const bool turned = have.descending != wanted[i]->descending;
    if (i == 0)
      *backward = turned;
    else if (turned != *backward)
      return false;
    if (index.multikey && shares_array(index, from + i) && from > 0) return false;
  }
  return true;
}

std::optional<Plan> plan_node(const Collection& c, const Node& node, int* score);

// A $or whose every branch has an index.
std::optional<Plan> plan_any(const Collection& c, const Node& any) {
  Plan out;
  out.way = Plan::Way::scans;
  for (const Node& branch : any.children) {
    int score = 0;
    std::optional<Plan> p = plan_node(c, branch, &score);
    if (!p) return std::nullopt;
    for (Scan& s : p->scans) out.scans.push_back(std::move(s));
  }
  return out;
}

void anys_of(const Node& n, std::vector<const Node*>& out) {
  if (n.kind == Node::Kind::any) out.push_back(&n);
  if (n.kind == Node::Kind::all)
    for (const Node& c : n.children) anys_of(c, out);
}

std::optional<Plan> plan_node(const Collection& c, const Node& node, int* score) {
  std::vector<const Node*> leaves, anys;
  leaves_of(node, leaves);
  anys_of(node, anys);
  std::optional<Plan> best;
  for (const Index& index : c.indexes) {
    Candidate candidate = consider(index, leaves);
    if (candidate.score <= *score) continue;
    *score = candidate.score;
    best = Plan{};
    best->way = Plan::Way::scans;
    best->scans = {std::move(candidate.scan)};
  }
  if (best) return best;
  for (const Node* any : anys)
    if (std::optional<Plan> p = plan_any(c, *any)) {
      *score = 1;
      return p;
    }
  return std::nullopt;
}

Plan ordered(Candidate candidate, bool backward) {
  Plan out;
  out.way = Plan::Way::ordered;
  out.backward = backward;
  out.prefix = std::move(candidate.prefix);
  out.scans = {std::move(candidate.scan)};
  return out;
}

Plan plan_hint(const Collection& c, const Filter& filter, const std::vector<SortKey>& order,
               std::string_view hint) {
  const auto at = std::find_if(c.indexes.begin(), c.indexes.end(),
                               [&](const Index& i) { return i.name == hint; });
  if (at == c.indexes.end()) throw bad("hint: no index " + quoted(hint) + " on " + quoted(c.name));
  std::vector<const Node*> leaves;
  leaves_of(filter.root(), leaves);
  Candidate candidate = consider(*at, leaves);
  bool backward = false;
  if (gives_order(candidate, order, &backward)) return ordered(std::move(candidate), backward);
  Plan out;
  out.way = Plan::Way::scans;
  out.scans = {std::move(candidate.scan)};
  return out;
}

}  // namespace

Plan plan(const Collection& c, const Filter& filter, const std::vector<SortKey>& order,
          std::string_view hint) {
  if (!hint.empty()) return plan_hint(c, filter, order, hint);
  int score = 0;
  std::optional<Plan> best = plan_node(c, filter.root(), &score);
  std::vector<const Node*> leaves;
  leaves_of(filter.root(), leaves);
  // An index that gives the order too wins over one that narrows as well or little better; when
  // nothing narrows, any that gives the order.
  const Index* chosen = nullptr;
  bool chosen_backward = false;
  int chosen_score = -1;
  for (const Index& index : c.indexes) {
    const Candidate candidate = consider(index, leaves);
    bool backward = false;
    if (!gives_order(candidate, order, &backward) || candidate.score <= chosen_score) continue;
    chosen = &index;
    chosen_backward = backward;
    chosen_score = candidate.score;
  }
  if (chosen != nullptr && chosen_score >= score)
    return ordered(consider(*chosen, leaves), chosen_backward);
  return best ? std::move(*best) : Plan{};
}

}  // namespace headgate::sqlite::doc
