// The verbs that read; see document_kind.hpp.
#include <unordered_set>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_key.hpp"
#include "plugins/sqlite/document_kind.hpp"
#include "plugins/sqlite/document_pipeline.hpp"
#include "plugins/sqlite/document_projection.hpp"
#include "plugins/sqlite/sql_rows.hpp"

namespace headgate::sqlite::doc {
namespace {

// The reply {documents: [...]}, in parts when it streams.
class Documents {
 public:
  explicit Documents(DocumentCall& c) : c_(c), w_(&c.sink) { begin(); }

  void add(const Value& v) {
    const bool streams = c_.call.fetch != 0;
    if (streams && (count_ >= c_.call.fetch || (count_ > 0 && c_.sink.offset() >= c_.part_max))) {
      end();
      if (c_.sink.flush_part() != HG_GO)
        throw sdk::Error(sdk::Code::cancelled, sdk::Outcome::rejected,
                         "nobody takes the stream any more");
      begin();
    }
    write_value(w_, v);
    ++count_;
    need_room(w_, c_.sink);
  }
  void end() {
    need_room(w_, c_.sink);
    c_.sink.patch_array32(at_, count_);
  }

 private:
  void begin() {
    w_.map(1);
    w_.str("documents");
    need_room(w_, c_.sink);
    at_ = c_.sink.offset();
    w_.array32(0);
    count_ = 0;
  }
  DocumentCall& c_;
  proto::Writer w_;
  std::uint64_t at_ = 0;
  std::uint32_t count_ = 0;
};

void write_count(DocumentCall& c, std::int64_t n) {
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("count");
  w.sint(n);
}

Projection projection_of(const DocumentCall& c) {
  const std::optional<Value> spec = c.value("projection");
  return spec ? Projection(Projection::Form::find, *spec) : Projection();
}

std::string sql_plan(Database& db, const std::string& sql) {
  Statement s = db.prepare("EXPLAIN QUERY PLAN " + sql);
  std::string out;
  while (s.step()) out += (out.empty() ? "" : "; ") + std::string(s.text(3));
  return out;
}

}  // namespace

void run_find(DocumentCall& c) {
  const Query q = c.query();
  const Projection projection = projection_of(c);
  Documents out(c);
  if (const std::optional<Collection> from = c.store.find(c.collection()))
    run_query(c.store, c.db, *from, q, c.watch, [&](Found&& f) {
      out.add(projection.apply(std::move(f.document)));
      return true;
    });
  out.end();
}

void run_find_one(DocumentCall& c) {
  Query q = c.query();
  q.limit = 1;
  const Projection projection = projection_of(c);
  std::optional<Value> found;
  if (const std::optional<Collection> from = c.store.find(c.collection()))
    run_query(c.store, c.db, *from, q, c.watch, [&](Found&& f) {
      found = projection.apply(std::move(f.document));
      return false;
    });
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("document");
  write_value(w, found ? *found : Value());
}

void run_count(DocumentCall& c) {
  const Query q = c.query();
  std::int64_t n = 0;
  if (const std::optional<Collection> from = c.store.find(c.collection())) {
    if (q.filter.root().children.empty() && q.skip == 0 && q.limit == 0)
      n = c.store.count(*from);
    else
      run_query(c.store, c.db, *from, q, c.watch, [&](Found&&) { return ++n, true; });
  }
  write_count(c, n);
}

void run_estimated_count(DocumentCall& c) {
  const std::optional<Collection> from = c.store.find(c.collection());
  write_count(c, from ? c.store.count(*from) : 0);
}

void run_distinct(DocumentCall& c) {
  const Query q = c.query();
  const Path path(c.body.str("key"));
  struct Values : Visitor {
    bool visit(const Value* v) override {
      if (v == nullptr) return false;
      if (!v->is(Tag::array))
        add(*v);
      else
        for (const Value& e : v->items()) add(e);
      return false;
    }
    void add(const Value& v) {
      std::string key = key_of(v);
      const std::size_t cost = footprint(v) + key.size() + 64;
      if (!keys.insert(std::move(key)).second) return;
      bytes += cost;
      if (bytes > kSortBytesMax) throw too_large("distinct: more than 64 MiB of values");
      values.push_back(v);
    }
    std::unordered_set<std::string> keys;
    Array values;
    std::size_t bytes = 0;
  } found;
  if (const std::optional<Collection> from = c.store.find(c.collection()))
    run_query(c.store, c.db, *from, q, c.watch, [&](Found&& f) {
      walk(f.document, path, false, found);
      return true;
    });
  proto::Writer w(&c.sink);
  w.map(1);
  w.str("values");
  write_value(w, Value::array(std::move(found.values)));
}

void run_aggregate(DocumentCall& c) {
  const Pipeline pipeline(*c.value("pipeline"));
  Query q;
  q.filter = Filter(pipeline.first_match());
  q.order = pipeline.first_order();
  const std::optional<Collection> from = c.store.find(c.collection());
  const bool sorted =
      from && !q.order.empty() && plan(*from, q.filter, q.order).way == Plan::Way::ordered;
  Documents out(c);
  const auto feed = [&](const Pipeline::Push& push) {
    if (!from) return;
    bool unused = false;
    run_source(c.store, c.db, *from, q, c.watch, &unused,
               [&](Found&& f) { return push(std::move(f.document)); });
  };
  const auto take = [&](Value v) {
    c.watch.tick();
    out.add(v);
    return true;
  };
  pipeline.run(sorted, feed, take, [&] { c.watch.tick(); });
  out.end();
}

void explain_plan(DocumentCall& c) {
  Query q;
  if (c.verb == "aggregate") {
    const Pipeline pipeline(*c.value("pipeline"));
    q.filter = Filter(pipeline.first_match());
    q.order = pipeline.first_order();
  } else if (c.body.has("collection")) {
    q = c.query();
  }
  const std::optional<Collection> from =
      c.body.has("collection") ? c.store.find(c.collection()) : std::nullopt;
  Value out = Value::object();
  const bool has_query = c.body.has("filter") || c.verb == "aggregate" || c.verb == "find" ||
                         c.verb == "find_one" || c.verb == "count_documents" ||
                         c.verb == "distinct";
  if (!from || !has_query) {
    out.set("stage", Value::string(!has_query ? "NONE" : "EOF"));
    proto::Writer w(&c.sink);
    write_value(w, out);
    return;
  }
  const Plan p = plan(*from, q.filter, q.order, q.hint);
  if (p.way == Plan::Way::collection) {
    out.set("stage", Value::string("COLLSCAN"));
    out.set("sql_plan", Value::string(sql_plan(
                            c.db, "SELECT id, body FROM " + from->table() + " ORDER BY id")));
  } else {
    out.set("stage", Value::string("IXSCAN"));
    if (!p.scans.empty()) out.set("index", Value::string(p.scans[0].index->name));
    Array scans;
    for (const Scan& s : p.scans) {
      Value scan = Value::object();
      scan.set("index", Value::string(s.index->name));
      Value keys = Value::object();
      for (const SortKey& k : s.index->order)
        keys.set(k.path.text(), Value::int32(k.descending ? -1 : 1));
      scan.set("keys", std::move(keys));
      scan.set("multikey", Value::boolean(s.index->multikey));
      Array bounded;
      for (const std::string& f : s.bounded) bounded.push_back(Value::string(f));
      scan.set("bounded", Value::array(std::move(bounded)));
      scan.set("ranges", Value::integer(static_cast<std::int64_t>(s.ranges.size())));
      const std::string column = Collection::column(*s.index);
      scan.set("sql_plan",
               Value::string(sql_plan(c.db, "SELECT id FROM " + from->table(*s.index) + " WHERE " +
                                                column + " >= ? AND " + column + " < ?")));
      scans.push_back(std::move(scan));
    }
    out.set("scans", Value::array(std::move(scans)));
    out.set("gives_order", Value::boolean(p.way == Plan::Way::ordered));
    if (p.way == Plan::Way::ordered)
      out.set("direction", Value::string(p.backward ? "backward" : "forward"));
  }
  out.set("sorts", Value::boolean(!q.order.empty() && p.way != Plan::Way::ordered));
  proto::Writer w(&c.sink);
  write_value(w, out);
}

}  // namespace headgate::sqlite::doc
