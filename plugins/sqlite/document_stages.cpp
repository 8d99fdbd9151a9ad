// The stages that are no $group; see document_pipeline.hpp.
#include <algorithm>
#include <cmath>

#include "plugins/sqlite/document_edit.hpp"
#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_expression.hpp"
#include "plugins/sqlite/document_pipeline.hpp"
#include "plugins/sqlite/document_projection.hpp"

namespace headgate::sqlite::doc {
namespace {

std::int64_t whole(const Value& v, const char* name, std::int64_t least) {
  const bool number =
      v.is_integer() || (v.is(Tag::floating) && std::trunc(v.as_double()) == v.as_double() &&
                         std::fabs(v.as_double()) < 9e15);
  const std::int64_t n =
      !number ? -1 : (v.is_integer() ? v.as_int() : static_cast<std::int64_t>(v.as_double()));
  if (n < least)
    throw bad(std::string(name) + " takes a whole number from " + std::to_string(least));
  return n;
}

class Match final : public Stage {
 public:
  explicit Match(const Value& spec) : filter_(spec) {}
  bool push(Value d) override { return !filter_.matches(d) || next->push(std::move(d)); }

 private:
  Filter filter_;
};

class Project final : public Stage {
 public:
  Project(Projection::Form form, const Value& spec) : projection_(form, spec) {}
  bool push(Value d) override { return next->push(projection_.apply(std::move(d))); }

 private:
  Projection projection_;
};

class Skip final : public Stage {
 public:
  explicit Skip(const Value& spec) : left_(whole(spec, "$skip", 0)) {}
  bool push(Value d) override {
    if (left_ > 0) return --left_, true;
    return next->push(std::move(d));
  }

 private:
  std::int64_t left_;
};

class Limit final : public Stage {
 public:
  explicit Limit(const Value& spec) : left_(whole(spec, "$limit", 1)) {}
  bool push(Value d) override {
    if (left_ == 0) return false;
    --left_;
    return next->push(std::move(d)) && left_ > 0;
  }

 private:
  std::int64_t left_;
};

class Count final : public Stage {
 public:
  explicit Count(const Value& spec) {
    if (!spec.is(Tag::string) || spec.text().empty() || spec.text()[0] == '$' ||
        spec.text().find('.') != std::string::npos)
      throw bad("$count takes the name of a field, without `$` and dots");
    name_ = spec.text();
  }
  bool push(Value) override { return ++count_, true; }
  void finish() override {
    if (count_ > 0) next->push(Value::object({{name_, Value::integer(count_)}}));
    next->finish();
  }

 private:
  std::string name_;
  std::int64_t count_ = 0;
};

class Sort final : public Stage {
 public:
  Sort(const Value& spec, Budget& budget) : order_(read_sort(spec)), budget_(budget) {
    if (order_.empty()) throw bad("$sort takes at least one field");
  }
  bool push(Value d) override {
    std::string key = sort_key(d, order_);
    budget_.spend(key.capacity() + footprint(d) + sizeof(Row));
    rows_.push_back({std::move(key), rows_.size(), std::move(d)});
    return true;
  }
  void finish() override {
    std::sort(rows_.begin(), rows_.end(), [](const Row& a, const Row& b) {
      const int c = a.key.compare(b.key);
      return c != 0 ? c < 0 : a.number < b.number;
    });
    for (Row& row : rows_) {
      const std::size_t cost = row.key.capacity() + footprint(row.document) + sizeof(Row);
      const bool more = next->push(std::move(row.document));
      row.document = Value();
      budget_.give_back(cost);
      if (!more) break;
    }
    next->finish();
  }

 private:
  struct Row {
    std::string key;
    std::size_t number;
    Value document;
  };
  std::vector<SortKey> order_;
  Budget& budget_;
  std::vector<Row> rows_;
};

class Unwind final : public Stage {
 public:
  Unwind(const Value& spec, Budget& budget) : budget_(budget) {
    const Value* path = &spec;
    if (spec.is(Tag::object)) {
      path = spec.find("path");
      for (const Field& f : spec.fields()) {
        if (f.name == "path") continue;
        if (f.name == "preserveNullAndEmptyArrays" && f.value.is(Tag::boolean))
          keep_ = f.value.as_bool();
        else if (f.name == "includeArrayIndex" && f.value.is(Tag::string))
          index_ = parts_of(f.value.text());
        else
          throw bad("$unwind: " + quoted(f.name) + " is unknown or of the wrong type");
      }
    }
    if (path == nullptr || !path->is(Tag::string) || path->text().size() < 2 ||
        path->text()[0] != '$')
      throw bad("$unwind takes a path that begins with `$`");
    parts_ = parts_of(path->text().substr(1));
  }

  bool push(Value d) override {
    const Value* v = at(d);
    if (v != nullptr && v->is(Tag::array) && !v->items().empty()) return each(d, v->items());
    const bool nothing = v == nullptr || v->is_nullish() || v->is(Tag::array);
    if (nothing && !keep_) return true;
    if (v != nullptr && v->is(Tag::array)) remove_at(d, parts_);
    if (!index_.empty()) make_at(d, index_) = Value();
    return next->push(std::move(d));
  }

 private:
  static Parts parts_of(const std::string& text) {
    const Path path(text);
    Parts out;
    for (std::size_t i = 0; i < path.size(); ++i) out.push_back(path[i]);
    return out;
  }
  const Value* at(const Value& d) const {  // through documents only, as MongoDB's
    const Value* v = &d;
    for (const std::string& p : parts_)
      if (v != nullptr) v = v->find(p);
    return v;
  }
  bool each(const Value& d, const Array& items) {
    Value shell = d;
    Value* hole = find_at(shell, parts_);
    *hole = Value();
    for (std::size_t i = 0; i < items.size(); ++i) {
      budget_.tick();
      Value one = shell;
      *find_at(one, parts_) = items[i];
      if (!index_.empty()) make_at(one, index_) = Value::int64(static_cast<std::int64_t>(i));
      if (!next->push(std::move(one))) return false;
    }
    return true;
  }

  Budget& budget_;
  Parts parts_, index_;
  bool keep_ = false;
};

class ReplaceRoot final : public Stage {
 public:
  explicit ReplaceRoot(const Value& spec) : root_(spec) {}
  bool push(Value d) override {
    std::optional<Value> v = root_.evaluate(d);
    if (!v || !v->is(Tag::object)) throw bad("$replaceRoot: the new root is no document");
    return next->push(std::move(*v));
  }

 private:
  Expression root_;
};

const Value& new_root(const Value& spec) {
  const Value* v = spec.find("newRoot");
  if (v == nullptr || spec.fields().size() != 1) throw bad("$replaceRoot takes {newRoot: ...}");
  return *v;
}

}  // namespace

std::unique_ptr<Stage> make_stage(const std::string& name, const Value& spec, Budget& budget) {
  using Form = Projection::Form;
  if (name == "$match") return std::make_unique<Match>(spec);
  if (name == "$project") return std::make_unique<Project>(Form::project, spec);
  if (name == "$addFields" || name == "$set")
    return std::make_unique<Project>(Form::add_fields, spec);
  if (name == "$unset") return std::make_unique<Project>(Form::unset, spec);
  if (name == "$skip") return std::make_unique<Skip>(spec);
  if (name == "$limit") return std::make_unique<Limit>(spec);
  if (name == "$count") return std::make_unique<Count>(spec);
  if (name == "$sort") return std::make_unique<Sort>(spec, budget);
  if (name == "$unwind") return std::make_unique<Unwind>(spec, budget);
  if (name == "$group") return make_group(spec, budget);
  if (name == "$replaceRoot") return std::make_unique<ReplaceRoot>(new_root(spec));
  if (name == "$replaceWith") return std::make_unique<ReplaceRoot>(spec);
  throw no("the pipeline stage " + quoted(name) + " is not supported");
}

}  // namespace headgate::sqlite::doc
