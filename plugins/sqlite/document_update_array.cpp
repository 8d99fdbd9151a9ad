// The update operators of arrays: $push, $addToSet, $pull, $pullAll, $pop.
#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_key.hpp"
#include "plugins/sqlite/document_sort.hpp"
#include "plugins/sqlite/document_update.hpp"

namespace headgate::sqlite::doc {
namespace {

using Op = Update::Op;
using Step = Update::Step;

std::int64_t whole(const Value& v, std::string_view name) {
  if (v.is_integer()) return v.as_int();
  if (v.is(Tag::floating) && std::trunc(v.as_double()) == v.as_double() &&
      std::fabs(v.as_double()) < 9e15)
    return static_cast<std::int64_t>(v.as_double());
  throw bad(std::string(name) + " takes a whole number");
}

void push(const Step& s, Array& items) {
  const Array& added = s.operand.items();
  const auto size = static_cast<std::int64_t>(items.size());
  std::int64_t at = s.position.value_or(size);
  if (at < 0) at = std::max(size + at, std::int64_t{0});
  items.insert(items.begin() + std::min(at, size), added.begin(), added.end());
  if (!s.sort.empty()) {
    std::stable_sort(items.begin(), items.end(), [&](const Value& a, const Value& b) {
      return compare_elements(a, b, s.sort) < 0;
    });
  }
  if (!s.slice) return;
  const auto keep = static_cast<std::uint64_t>(*s.slice < 0 ? -*s.slice : *s.slice);
  if (items.size() <= keep) return;
  const auto n = static_cast<std::ptrdiff_t>(items.size() - keep);
  if (*s.slice < 0)
    items.erase(items.begin(), items.begin() + n);
  else
    items.erase(items.end() - n, items.end());
}

void add_to_set(const Step& s, Array& items) {
  std::unordered_set<std::string> keys;
  for (const Value& v : items) keys.insert(key_of(v));
  for (const Value& v : s.operand.items())
    if (keys.insert(key_of(v)).second) items.push_back(v);
}

void pull_all(const Step& s, Array& items) {
  std::unordered_set<std::string> keys;
  for (const Value& v : s.operand.items()) keys.insert(key_of(v));
  std::erase_if(items, [&](const Value& v) { return keys.count(key_of(v)) != 0; });
}

}  // namespace

namespace detail {

void compile_push(Step& s, const Value& operand) {
  const Value* each = operand.find("$each");
  if (each == nullptr) {
    if (is_operators(operand)) throw bad("$push: its modifiers need $each");
    s.operand = Value::array({operand});
    return;
  }
  if (!each->is(Tag::array)) throw bad("$each takes a list");
  for (const Field& f : operand.fields()) {
    if (f.name == "$each") continue;
    if (f.name == "$position")
      s.position = whole(f.value, f.name);
    else if (f.name == "$slice")
      s.slice = std::clamp<std::int64_t>(whole(f.value, f.name), INT32_MIN, INT32_MAX);
    else if (f.name == "$sort")
      s.sort = f.value.is(Tag::object) ? read_sort(f.value) : read_element_sort(f.value);
    else
      throw no("$push: " + quoted(f.name) + " is not supported");
  }
  s.operand = *each;
}

void compile_add_to_set(Step& s, const Value& operand) {
  const Value* each = operand.find("$each");
  if (each == nullptr) {
    if (is_operators(operand)) throw bad("$addToSet takes a value or {$each: [...]}");
    s.operand = Value::array({operand});
    return;
  }
  if (!each->is(Tag::array) || operand.fields().size() != 1)
    throw bad("$addToSet: $each takes a list, and goes alone");
  s.operand = *each;
}

void apply_to_array(const Step& s, Value& array) {
  Array& items = array.items();
  switch (s.op) {
    case Op::push:
      push(s, items);
      break;
    case Op::add_to_set:
      add_to_set(s, items);
      break;
    case Op::pull:
      std::erase_if(items, [&](const Value& v) { return s.filter->matches(v); });
      break;
    case Op::pull_all:
      pull_all(s, items);
      break;
    default:
      if (items.empty()) break;
      if (s.operand.to_double() > 0)
        items.pop_back();
      else
        items.erase(items.begin());
  }
}

}  // namespace detail

}  // namespace headgate::sqlite::doc
