// $group: one document for each value of _id, in the order in which the values came first.
#include <unordered_map>
#include <unordered_set>

#include "plugins/sqlite/document_arithmetic.hpp"
#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_expression.hpp"
#include "plugins/sqlite/document_key.hpp"
#include "plugins/sqlite/document_pipeline.hpp"

namespace headgate::sqlite::doc {
namespace {

enum class Kind { sum, avg, min, max, first, last, push, add_to_set, count };

struct Name {
  std::string_view name;
  Kind kind;
};
constexpr Name kNames[] = {{"$sum", Kind::sum},     {"$avg", Kind::avg},
                           {"$min", Kind::min},     {"$max", Kind::max},
                           {"$first", Kind::first}, {"$last", Kind::last},
                           {"$push", Kind::push},   {"$addToSet", Kind::add_to_set},
                           {"$count", Kind::count}};

struct Accumulator {
  std::string field;
  Kind kind;
  Expression argument;
};

// What one accumulator has seen of one group.
struct State {
  Sum sum;
  std::optional<Value> value;  // min, max, first, last
  bool seen = false;
  Array items;
  std::unordered_set<std::string> keys;
  std::int64_t count = 0;

  // Returns the bytes that it now holds more.
  std::size_t add(Kind kind, std::optional<Value> v) {
    switch (kind) {
      case Kind::count:
        ++count;
        return 0;
      case Kind::sum:
      case Kind::avg:
        if (v) sum.add(*v);
        return 0;
      case Kind::min:
      case Kind::max: {
        if (!v || v->is_nullish()) return 0;
        const int c = value ? compare(*v, *value) : 0;
        return !value || (kind == Kind::min ? c < 0 : c > 0) ? keep(std::move(v)) : 0;
      }
      case Kind::first:
        if (seen) return 0;
        seen = true;
        return keep(std::move(v));
      case Kind::last:
        return keep(std::move(v));
      case Kind::push:
        return v ? append(std::move(*v)) : 0;
      case Kind::add_to_set: {
        if (!v) return 0;
        std::string key = key_of(*v);
        const std::size_t cost = key.capacity() + 64;
        return keys.insert(std::move(key)).second ? cost + append(std::move(*v)) : 0;
      }
    }
    return 0;
  }

  Value result(Kind kind) {
    switch (kind) {
      case Kind::sum:
        return sum.total();
      case Kind::avg:
        return sum.average();
      case Kind::count:
        return Value::integer(count);
      case Kind::push:
      case Kind::add_to_set:
        return Value::array(std::move(items));
      default:
        return value ? std::move(*value) : Value();
    }
  }

 private:
  std::size_t keep(std::optional<Value> v) {
    const std::size_t had = value ? footprint(*value) : 0;
    value = std::move(v);
    const std::size_t has = value ? footprint(*value) : 0;
    return has > had ? has - had : 0;
  }
  std::size_t append(Value v) {
    const std::size_t cost = footprint(v) + sizeof(Value);
    items.push_back(std::move(v));
    return cost;
  }
};

struct Group {
  Value id;
  std::vector<State> states;
};

class GroupStage final : public Stage {
 public:
  GroupStage(const Value& spec, Budget& budget) : budget_(budget) {
    const Value* id = spec.find("_id");
    if (id == nullptr) throw bad("$group needs _id");
    id_.emplace(*id);
    for (const Field& f : spec.fields())
      if (f.name != "_id") accumulators_.push_back(accumulator(f));
  }

  bool push(Value d) override {
    std::optional<Value> id = id_->evaluate(d);
    Value value = id ? std::move(*id) : Value();
    const auto [at, is_new] = places_.emplace(key_of(value), groups_.size());
    if (is_new) {
      budget_.spend(at->first.capacity() + footprint(value) + sizeof(Group) + 64 +
                    accumulators_.size() * sizeof(State));
      groups_.push_back({std::move(value), std::vector<State>(accumulators_.size())});
    }
    Group& g = groups_[at->second];
    for (std::size_t i = 0; i < accumulators_.size(); ++i) {
      const Accumulator& a = accumulators_[i];
      budget_.spend(g.states[i].add(a.kind, a.argument.evaluate(d)));
    }
    return true;
  }

  void finish() override {
    for (Group& g : groups_) {
      Object out = {{"_id", std::move(g.id)}};
      for (std::size_t i = 0; i < accumulators_.size(); ++i)
        out.push_back({accumulators_[i].field, g.states[i].result(accumulators_[i].kind)});
      if (!next->push(Value::object(std::move(out)))) break;
    }
    next->finish();
  }

 private:
  static Accumulator accumulator(const Field& f) {
    if (f.name.find('.') != std::string::npos || f.name.substr(0, 1) == "$")
      throw bad("$group: a field's name has no dot and no `$`: " + quoted(f.name));
    if (!f.value.is(Tag::object) || f.value.fields().size() != 1)
      throw bad("$group: " + quoted(f.name) + " takes one accumulator such as {$sum: ...}");
    const Field& op = f.value.fields()[0];
    for (const Name& n : kNames) {
      if (n.name != op.name) continue;
      if (n.kind == Kind::count && !(op.value.is(Tag::object) && op.value.fields().empty()))
        throw bad("$count takes {}");
      return {f.name, n.kind, Expression(op.value)};
    }
    throw no("the accumulator " + quoted(op.name) + " is not supported");
  }

  Budget& budget_;
  std::optional<Expression> id_;
  std::vector<Accumulator> accumulators_;
  std::unordered_map<std::string, std::size_t> places_;
  std::vector<Group> groups_;
};

}  // namespace

std::unique_ptr<Stage> make_group(const Value& spec, Budget& budget) {
  if (!spec.is(Tag::object)) throw bad("$group takes a document");
  return std::make_unique<GroupStage>(spec, budget);
}

}  // namespace headgate::sqlite::doc
