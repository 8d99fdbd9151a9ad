// Door: what a caller may say to a document store. The input is [what, spec, document]: spec is
// compiled as a filter (0), an update (1), a projection (2), a pipeline (3) or an order (4) and put
// to the document. Only an Error may come out; a value goes through its wire form and its stored
// form unchanged; and a document that a filter matches has a key within the bounds of every
// condition.
#include <cstdlib>

#include "plugins/sdk/driver.hpp"
#include "plugins/sqlite/document_bounds.hpp"
#include "plugins/sqlite/document_json.hpp"
#include "plugins/sqlite/document_pipeline.hpp"
#include "plugins/sqlite/document_projection.hpp"
#include "plugins/sqlite/document_sort.hpp"
#include "plugins/sqlite/document_update.hpp"
#include "plugins/sqlite/document_wire.hpp"

using namespace headgate;
using namespace headgate::sqlite::doc;

namespace {

void must(bool b) {
  if (!b) std::abort();
}

void round_trips(const Value& v) {
  proto::VectorOut out;
  proto::Writer w(&out);
  write_value(w, v);
  must(identical(read_value(out.view()), v));
  must(proto::check(out.view()) == proto::Shape::good);
  check_storable(v);
  must(identical(parse_json(to_json(v)), v));
}

// Every leaf that must hold for the whole to hold.
void bounds_hold(const Node& n, const Value& document) {
  if (n.kind == Node::Kind::all)
    for (const Node& c : n.children) bounds_hold(c, document);
  if (n.kind != Node::Kind::leaf || n.path.has_index()) return;
  const std::optional<Intervals> bounds = bounds_of(n);
  if (!bounds) return;
  for (const bool descending : {false, true}) {
    const Keys keys = keys_of(document, {{n.path, descending}});
    bool within = false;
    for (const Interval& i : *bounds) {
      const Range r = i.range("", descending);
      const auto at = keys.keys.lower_bound(r.low);
      within = within || (at != keys.keys.end() && *at < r.high);
    }
    must(within);
  }
}

void put(std::int64_t what, const Value& spec, Value document) {
  switch (what) {
    case 0: {
      const Filter filter(spec);
      if (filter.matches(document)) bounds_hold(filter.root(), document);
      break;
    }
    case 1:
      Update(spec).apply(document, {.position = 0, .inserting = true, .now_ms = 1});
      round_trips(document);
      break;
    case 2:
      round_trips(Projection(Projection::Form::find, spec).apply(std::move(document)));
      break;
    case 3: {
      const auto feed = [&](const Pipeline::Push& push) { push(document); };
      Pipeline(spec).run(false, feed, [](Value v) { return round_trips(v), true; }, {});
      break;
    }
    default:
      sort_key(document, read_sort(spec));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (proto::check({data, size}) != proto::Shape::good) return 0;  // the host has checked that
  try {
    const Value input = read_value({data, size});
    if (!input.is(Tag::array) || input.items().size() != 3) return 0;
    const Array& a = input.items();
    if (!a[0].is(Tag::int32) || !a[2].is(Tag::object)) return 0;
    check_storable(a[2]);
    round_trips(a[2]);
    put(a[0].as_int(), a[1], a[2]);
  } catch (const sdk::Error&) {  // refused, with a sentence
  }
  return 0;
}
