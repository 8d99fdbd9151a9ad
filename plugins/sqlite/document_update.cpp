// Compiling and applying; what happens inside an array is in document_update_array.cpp.
#include "plugins/sqlite/document_update.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "plugins/sqlite/document_arithmetic.hpp"
#include "plugins/sqlite/document_error.hpp"

namespace headgate::sqlite::doc {
namespace {

using Op = Update::Op;
using Step = Update::Step;

struct Name {
  std::string_view name;
  Op op;
};
constexpr Name kNames[] = {
    {"$set", Op::set},     {"$setOnInsert", Op::set_on_insert},
    {"$unset", Op::unset}, {"$inc", Op::inc},
    {"$mul", Op::mul},     {"$min", Op::min},
    {"$max", Op::max},     {"$rename", Op::rename},
    {"$push", Op::push},   {"$addToSet", Op::add_to_set},
    {"$pull", Op::pull},   {"$pullAll", Op::pull_all},
    {"$pop", Op::pop},     {"$currentDate", Op::current_date},
};

// Parts in the order in which MongoDB makes new fields: numbers by value, then names by bytes.
bool before(const Path& a, const Path& b) {
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    if (a[i] == b[i]) continue;
    const auto x = a.index(i), y = b.index(i);
    if (x && y) return *x < *y;
    if (x || y) return x.has_value();
    return a[i] < b[i];
  }
  return a.size() < b.size();
}

Path update_path(const std::string& text) {
  Path path(text);
  if (path[0] == "$") throw bad("the positional operator `$` needs a field before it");
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i].substr(0, 2) == "$[")
      throw no("the array filter " + quoted(path[i]) + " is not supported");
    if (path[i][0] == '$' && path[i] != "$")
      throw bad("a field's name may not begin with `$`: " + quoted(path[i]));
  }
  return path;
}

Parts resolved(const Path& path, const Update::Context& context) {
  Parts parts;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] != "$") {
      parts.push_back(path[i]);
    } else if (context.position) {
      parts.push_back(std::to_string(*context.position));
    } else {
      throw bad("the positional operator `$` found no array in what the filter matched");
    }
  }
  return parts;
}

void check_current_date(const Value& v) {
  if (v.is(Tag::boolean)) return;
  const Value* type = v.find("$type");
  if (type == nullptr || v.fields().size() != 1 || !type->is(Tag::string) ||
      (type->text() != "date" && type->text() != "timestamp"))
    throw bad("$currentDate takes true or {$type: \"date\" or \"timestamp\"}");
}

Value now(const Value& how, std::int64_t ms) {
  const Value* type = how.find("$type");
  if (type == nullptr || type->text() == "date") return Value::date(ms);
  return Value::timestamp(static_cast<std::uint64_t>(ms / 1000) << 32 | 1);
}

void apply_number(const Step& s, Value& document, const Parts& parts) {
  const bool missing = find_at(document, parts) == nullptr;
  Value& v = make_at(document, parts);
  if (missing) {
    v = s.op == Op::inc ? s.operand : multiply(s.operand, Value::int32(0));
    return;
  }
  const char* name = s.op == Op::inc ? "$inc" : "$mul";
  if (!v.is_number())
    throw bad(std::string(name) + ": the field " + quoted(s.path.text()) + " holds " +
              std::string(type_name(v.tag())) + ", no number");
  std::optional<Value> result =
      s.op == Op::inc ? add_exact(v, s.operand) : multiply_exact(v, s.operand);
  if (!result)
    throw bad(std::string(name) + ": the field " + quoted(s.path.text()) + " would overflow");
  v = std::move(*result);
}

void apply_extreme(const Step& s, Value& document, const Parts& parts) {
  const Value* there = find_at(document, parts);
  if (there != nullptr) {
    const int c = compare(s.operand, *there);
    if (s.op == Op::min ? c >= 0 : c <= 0) return;
  }
  make_at(document, parts) = s.operand;
}

void check_no_array(Value& document, const Parts& parts) {
  for (std::size_t n = 0; n < parts.size(); ++n) {
    const Value* v =
        find_at(document, Parts(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(n)));
    if (v != nullptr && v->is(Tag::array)) throw bad("$rename does not reach into arrays");
  }
}

void apply_rename(Value& document, const Parts& from, const Parts& to) {
  check_no_array(document, from);
  check_no_array(document, to);
  Value* v = find_at(document, from);
  if (v == nullptr) return;
  Value moved = std::move(*v);
  remove_at(document, from);
  make_at(document, to) = std::move(moved);
}

void apply_array(const Step& s, Value& document, const Parts& parts) {
  Value* v = find_at(document, parts);
  if (v == nullptr) {
    if (s.op != Op::push && s.op != Op::add_to_set) return;
    v = &make_at(document, parts);
    *v = Value::array();
  }
  if (!v->is(Tag::array))
    throw bad("the field " + quoted(s.path.text()) + " holds " + std::string(type_name(v->tag())) +
              ", no array");
  detail::apply_to_array(s, *v);
}

}  // namespace

Update::Update(const Value& spec) {
  if (spec.is(Tag::array)) throw no("an update that is a pipeline is not supported");
  if (!spec.is(Tag::object) || spec.fields().empty())
    throw bad("an update is a document of operators");
  for (const Field& f : spec.fields()) {
    if (f.name.empty() || f.name[0] != '$')
      throw bad("an update has operators such as $set; a whole document goes to replace_one");
    if (!f.value.is(Tag::object)) throw bad(f.name + " takes a document");
    for (const Field& field : f.value.fields()) add(f.name, field);
  }
  check_conflicts();
}

void Update::add(const std::string& op, const Field& field) {
  const auto* known = std::find_if(std::begin(kNames), std::end(kNames),
                                   [&](const Name& n) { return n.name == op; });
  if (known == std::end(kNames))
    throw no("the update operator " + quoted(op) + " is not supported");
  Step s;
  s.op = known->op;
  s.path = update_path(field.name);
  s.operand = field.value;
  switch (s.op) {
    case Op::inc:
    case Op::mul:
      if (!s.operand.is_number()) throw bad(op + " takes numbers");
      break;
    case Op::rename:
      if (!s.operand.is(Tag::string)) throw bad("$rename takes the new name");
      s.target = update_path(s.operand.text());
      if (s.path.overlaps(s.target)) throw bad("$rename: the names may not hold one another");
      break;
    case Op::push:
      detail::compile_push(s, field.value);
      break;
    case Op::add_to_set:
      detail::compile_add_to_set(s, field.value);
      break;
    case Op::pull:
      s.filter = std::make_shared<const ElementFilter>(s.operand);
      break;
    case Op::pull_all:
      if (!s.operand.is(Tag::array)) throw bad("$pullAll takes a list");
      break;
    case Op::pop:
      if (!s.operand.is_number() || std::abs(s.operand.to_double()) != 1)
        throw bad("$pop takes 1 or -1");
      break;
    case Op::current_date:
      check_current_date(s.operand);
      break;
    default:
      break;
  }
  if (steps_.size() >= kUpdateStepsMax) throw bad("an update touches at most 2000 fields");
  steps_.push_back(std::move(s));
}

void Update::check_conflicts() const {
  std::vector<const Path*> paths;
  for (const Step& s : steps_) {
    paths.push_back(&s.path);
    if (s.op == Op::rename) paths.push_back(&s.target);
  }
  // In this order a path is followed at once by those that it leads to.
  std::sort(paths.begin(), paths.end(),
            [](const Path* a, const Path* b) { return before(*a, *b); });
  for (std::size_t i = 1; i < paths.size(); ++i)
    if (paths[i - 1]->overlaps(*paths[i]))
      throw bad("the update touches " + quoted(paths[i - 1]->text()) + " and " +
                quoted(paths[i]->text()) + ", which conflict");
}

void Update::apply(Value& document, const Context& context) const {
  const Value* id = document.find("_id");
  const Value old_id = id == nullptr ? Value() : *id;
  const bool had_id = id != nullptr;
  std::vector<const Step*> order;
  for (const Step& s : steps_) order.push_back(&s);
  std::stable_sort(order.begin(), order.end(),
                   [](const Step* a, const Step* b) { return before(a->path, b->path); });
  for (const Step* s : order) {
    const Parts parts = resolved(s->path, context);
    switch (s->op) {
      case Op::set:
        make_at(document, parts) = s->operand;
        break;
      case Op::set_on_insert:
        if (context.inserting) make_at(document, parts) = s->operand;
        break;
      case Op::unset:
        remove_at(document, parts);
        break;
      case Op::inc:
      case Op::mul:
        apply_number(*s, document, parts);
        break;
      case Op::min:
      case Op::max:
        apply_extreme(*s, document, parts);
        break;
      case Op::rename:
        apply_rename(document, parts, resolved(s->target, context));
        break;
      case Op::current_date:
        make_at(document, parts) = now(s->operand, context.now_ms);
        break;
      default:
        apply_array(*s, document, parts);
    }
  }
  const Value* new_id = document.find("_id");
  if (had_id && (new_id == nullptr || !identical(old_id, *new_id)))
    throw bad("the field `_id` cannot be changed");
}

namespace {

void add_equalities(const Value& filter, Value& base, std::map<std::string, bool>& seen) {
  const auto set = [&](const std::string& name, const Value& v) {
    if (!seen.emplace(name, true).second)
      throw bad("the upsert's filter gives the field " + quoted(name) + " twice");
    for (const auto& [other, is_there] : seen) {
      const bool within = other.starts_with(name + ".") || name.starts_with(other + ".");
      if (within)
        throw bad("the upsert's filter gives both " + quoted(other) + " and " + quoted(name));
    }
    const Path path(name);
    Parts parts;
    for (std::size_t i = 0; i < path.size(); ++i) parts.push_back(path[i]);
    make_at(base, parts) = v;
  };
  for (const Field& f : filter.fields()) {
    if (f.name == "$and" || (f.name == "$or" && f.value.items().size() == 1)) {
      for (const Value& e : f.value.items()) add_equalities(e, base, seen);
    } else if (f.name.empty() || f.name[0] == '$') {
      continue;
    } else if (!is_operators(f.value)) {
      if (!f.value.is(Tag::regex)) set(f.name, f.value);
    } else if (const Value* v = f.value.find("$eq")) {
      set(f.name, *v);
    } else {
      for (const char* op : {"$in", "$all"}) {
        v = f.value.find(op);
        if (v != nullptr && v->items().size() == 1 && !v->items()[0].is(Tag::regex) &&
            !is_operators(v->items()[0]))
          set(f.name, v->items()[0]);
      }
    }
  }
}

}  // namespace

Value upsert_base(const Value& filter) {
  Value base = Value::object();
  std::map<std::string, bool> seen;
  add_equalities(filter, base, seen);
  return base;
}

void place_id(Value& document) {
  Object& fields = document.fields();
  const auto at =
      std::find_if(fields.begin(), fields.end(), [](const Field& f) { return f.name == "_id"; });
  if (at == fields.end()) {
    fields.insert(fields.begin(), Field{"_id", new_object_id()});
  } else {
    std::rotate(fields.begin(), at, at + 1);
  }
}

}  // namespace headgate::sqlite::doc
