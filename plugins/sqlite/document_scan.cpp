// See document_scan.hpp.
#include "plugins/sqlite/document_scan.hpp"

#include <algorithm>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_json.hpp"

namespace headgate::sqlite::doc {
namespace {

using Take = std::function<bool(Found&&)>;

struct Source {
  Store& store;
  Database& db;
  const Collection& c;
  const Filter& filter;
  Watch& watch;

  // False: enough.
  bool offer(std::int64_t id, Value document, const Take& take) {
    watch.tick();
    if (!filter.matches(document)) return true;
    return take({id, std::move(document)});
  }

  void collection(const Take& take) {
    Statement s = db.prepare("SELECT id, body FROM " + c.table() + " ORDER BY id");
    while (s.step())
      if (!offer(s.integer(0), parse_json(s.text(1)), take)) return;
  }

  // Nothing: too many to remember.
  std::optional<std::vector<std::int64_t>> candidates(const Plan& plan) {
    std::vector<std::int64_t> ids;
    for (const Scan& scan : plan.scans) {
      const std::string column = Collection::column(*scan.index);
      Statement s = db.prepare("SELECT id FROM " + c.table(*scan.index) + " WHERE " + column +
                               " >= ? AND " + column + " < ?");
      for (const Range& r : scan.ranges) {
        s.bind(1, proto::bytes_of(r.low)).bind(2, proto::bytes_of(r.high));
        while (s.step()) {
          watch.tick();
          if (ids.size() >= kIdsMax) return std::nullopt;
          ids.push_back(s.integer(0));
        }
        s.reset();
      }
    }
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
  }

  void scans(const Plan& plan, const Take& take) {
    const std::optional<std::vector<std::int64_t>> ids = candidates(plan);
    if (!ids) return collection(take);
    Statement s = db.prepare("SELECT body FROM " + c.table() + " WHERE id = ?");
    for (const std::int64_t id : *ids) {
      if (s.bind(1, id).step() && !offer(id, parse_json(s.text(0)), take)) return;
      s.reset();
    }
  }

  // A document with several keys comes once, at the first of them in this direction.
  bool is_first(const Plan& plan, const Value& document, std::string_view key) const {
    const Index& index = *plan.scans[0].index;
    if (!index.multikey) return true;
    const Keys keys = keys_of(document, index.order);
    if (plan.backward) {
      auto at = keys.keys.lower_bound(plan.prefix + '\xff');
      return at != keys.keys.begin() && *--at == key;
    }
    const auto at = keys.keys.lower_bound(plan.prefix);
    return at != keys.keys.end() && *at == key;
  }

  void ordered(const Plan& plan, const Take& take) {
    const Scan& scan = plan.scans[0];
    const std::string column = Collection::column(*scan.index), table = c.table(*scan.index);
    Statement keys =
        db.prepare("SELECT " + column + ", id FROM " + table + " WHERE " + column + " >= ? AND " +
                   column + " < ? ORDER BY " + column + (plan.backward ? " DESC, id" : ", id"));
    Statement body = db.prepare("SELECT body FROM " + c.table() + " WHERE id = ?");
    for (std::size_t i = 0; i < scan.ranges.size(); ++i) {
      const Range& r = scan.ranges[plan.backward ? scan.ranges.size() - 1 - i : i];
      keys.bind(1, proto::bytes_of(r.low)).bind(2, proto::bytes_of(r.high));
      while (keys.step()) {
        if (body.bind(1, keys.integer(1)).step()) {
          Value document = parse_json(body.text(0));
          if (is_first(plan, document, proto::text_of(keys.blob(0))) &&
              !offer(keys.integer(1), std::move(document), take))
            return;
        }
        body.reset();
      }
      keys.reset();
    }
  }
};

struct Sorted {
  std::string key;
  std::int64_t id;
  bool operator<(const Sorted& o) const { return key != o.key ? key < o.key : id < o.id; }
};

// Keeps the smallest `most` (0: all) of what comes.
class Sorter {
 public:
  explicit Sorter(std::size_t most) : most_(most) {}
  void add(std::string key, std::int64_t id) {
    Sorted s{std::move(key), id};
    if (most_ != 0 && rows_.size() == most_) {
      if (!(s < rows_.front())) return;
      std::pop_heap(rows_.begin(), rows_.end());
      bytes_ -= cost(rows_.back());
      rows_.pop_back();
    }
    bytes_ += cost(s);
    if (bytes_ > kSortBytesMax)
      throw too_large(
          "the sort needs more than 64 MiB: an index on its fields serves it, or a limit");
    rows_.push_back(std::move(s));
    if (most_ != 0) std::push_heap(rows_.begin(), rows_.end());
  }
  std::vector<Sorted>& sort() {
    std::sort(rows_.begin(), rows_.end());
    return rows_;
  }

 private:
  static std::size_t cost(const Sorted& s) { return sizeof(Sorted) + s.key.capacity(); }
  std::size_t most_, bytes_ = 0;
  std::vector<Sorted> rows_;
};

std::size_t top(const Query& q) {
  if (q.limit == 0 || q.skip > INT32_MAX || q.limit > INT32_MAX) return 0;
  return static_cast<std::size_t>(q.skip + q.limit);
}

}  // namespace

void Watch::look() const {
  if (db_.stopped() != Database::Stop::none) throw db_.stop_error();
  if (call_ == nullptr || call_->work_until_us == 0 || host_->now_us(host_) < call_->work_until_us)
    return;
  throw sdk::Error(sdk::Code::deadline, sdk::Outcome::rejected,
                   "the query did not end within its time");
}

void run_source(Store& store, Database& db, const Collection& c, const Query& query, Watch& watch,
                bool* sorted, const Take& take) {
  Source source{store, db, c, query.filter, watch};
  const Plan p = plan(c, query.filter, query.order, query.hint);
  *sorted = p.way == Plan::Way::ordered;
  switch (p.way) {
    case Plan::Way::collection:
      source.collection(take);
      break;
    case Plan::Way::scans:
      source.scans(p, take);
      break;
    case Plan::Way::ordered:
      source.ordered(p, take);
      break;
  }
}

void run_query(Store& store, Database& db, const Collection& c, const Query& query, Watch& watch,
               const Take& take) {
  std::int64_t skip = query.skip, left = query.limit == 0 ? INT64_MAX : query.limit;
  const Take window = [&](Found&& f) {
    if (skip > 0) return --skip, true;
    return take(std::move(f)) && --left > 0;
  };
  bool sorted = query.order.empty();
  if (sorted) return run_source(store, db, c, query, watch, &sorted, window);
  if (plan(c, query.filter, query.order, query.hint).way == Plan::Way::ordered)
    return run_source(store, db, c, query, watch, &sorted, window);
  // Keys are sorted first; the documents are read again in that order.
  Sorter sorter(top(query));
  run_source(store, db, c, query, watch, &sorted, [&](Found&& f) {
    sorter.add(sort_key(f.document, query.order), f.id);
    return true;
  });
  for (const Sorted& s : sorter.sort()) {
    watch.tick();
    if (skip > 0) {
      --skip;
      continue;
    }
    std::optional<Value> document = store.read(c, s.id);
    if (document && !window({s.id, std::move(*document)})) return;
  }
}

std::vector<std::int64_t> find_ids(Store& store, Database& db, const Collection& c,
                                   const Query& query, Watch& watch) {
  std::vector<std::int64_t> ids;
  run_query(store, db, c, query, watch, [&](Found&& f) {
    if (ids.size() >= kIdsMax) throw too_large("one call changes at most 4000000 documents");
    ids.push_back(f.id);
    return true;
  });
  return ids;
}

}  // namespace headgate::sqlite::doc
