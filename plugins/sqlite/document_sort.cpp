// See document_sort.hpp; the way through arrays is that of MongoDB's BtreeKeyGenerator.
#include "plugins/sqlite/document_sort.hpp"

#include <optional>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_key.hpp"

namespace headgate::sqlite::doc {
namespace {

bool descending(const Value& v, std::string_view name) {
  if (v.is(Tag::object))
    throw no("the order " + quoted(v.fields().empty() ? "{}" : v.fields()[0].name) +
             " is not supported");
  if (v.is(Tag::string)) throw no("the kind of index " + quoted(v.text()) + " is not supported");
  if (!v.is_number() || (v.to_double() != 1 && v.to_double() != -1))
    throw bad("the order of " + quoted(name) + " is 1 or -1");
  return v.to_double() < 0;
}

class Generator {
 public:
  Generator(const std::vector<SortKey>& order, Keys& out)
      : order_(order),
        out_(out),
        at_(order.size(), 0),
        fixed_(order.size()),
        done_(order.size(), false) {}

  void run(const Value* v) {
    // Where each path stops at an array: all of them must stop at the same one.
    const Value* array = nullptr;
    std::vector<std::size_t> waiting;
    const auto saved_at = at_;
    const auto saved_fixed = fixed_;
    const auto saved_done = done_;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      if (done_[i]) continue;
      const Value* found = advance(v, i);
      if (found == nullptr || !found->is(Tag::array)) {
        fix(i, found);
        continue;
      }
      if (array != nullptr && array != found)
        throw bad("arrays side by side cannot be ordered: " + quoted(order_[i].path.text()));
      array = found;
      waiting.push_back(i);
    }
    if (array == nullptr)
      emit();
    else
      expand(*array, waiting);
    at_ = saved_at;
    fixed_ = saved_fixed;
    done_ = saved_done;
  }

 private:
  void fix(std::size_t i, const Value* v) {
    fixed_[i] = v;
    done_[i] = true;
  }

  // Goes down path i as far as documents (and explicit indexes) lead; null pointer: nowhere.
  const Value* advance(const Value* v, std::size_t i) {
    const Path& path = order_[i].path;
    while (at_[i] < path.size()) {
      if (v == nullptr) return nullptr;
      if (v->is(Tag::array)) {
        const auto index = path.index(at_[i]);
        if (!index || *index >= v->items().size()) return v;
        out_.multikey = true;
        v = &v->items()[*index];
      } else {
        v = v->find(path[at_[i]]);
      }
      ++at_[i];
      if (v != nullptr && v->is(Tag::array) && at_[i] == path.size()) return v;
    }
    return v;
  }

  void expand(const Value& array, const std::vector<std::size_t>& waiting) {
    static const Value undefined = Value::plain(Tag::undefined);
    out_.multikey = true;
    const auto each = [&](const Value* element, const Value* at_end) {
      const auto saved_fixed = fixed_;
      const auto saved_done = done_;
      for (const std::size_t i : waiting)
        if (at_[i] == order_[i].path.size()) fix(i, at_end);
      run(element != nullptr && element->is(Tag::object) ? element : nullptr);
      fixed_ = saved_fixed;
      done_ = saved_done;
    };
    if (array.items().empty()) each(nullptr, &undefined);
    for (const Value& e : array.items()) each(&e, &e);
  }

  void emit() {
    static const Value null;
    std::string key;
    for (std::size_t i = 0; i < order_.size(); ++i)
      append_key(key, fixed_[i] == nullptr ? null : *fixed_[i], order_[i].descending);
    out_.keys.insert(std::move(key));
  }

  const std::vector<SortKey>& order_;
  Keys& out_;
  std::vector<std::size_t> at_;
  std::vector<const Value*> fixed_;
  std::vector<bool> done_;
};

}  // namespace

std::vector<SortKey> read_sort(const Value& spec) {
  std::vector<SortKey> order;
  const auto add = [&](const std::string& name, const Value& v) {
    for (const SortKey& k : order)
      if (k.path.text() == name) throw bad("the field " + quoted(name) + " is ordered twice");
    if (name == "$natural") throw no("the order `$natural` is not supported");
    if (name == "$**" || name.ends_with(".$**"))
      throw no("the wildcard index " + quoted(name) + " is not supported");
    if (!name.empty() && name[0] == '$')
      throw bad("a field's name may not begin with `$`: " + quoted(name));
    order.push_back({Path(name), descending(v, name)});
  };
  if (spec.is(Tag::object)) {
    for (const Field& f : spec.fields()) add(f.name, f.value);
  } else if (spec.is(Tag::array)) {
    for (const Value& pair : spec.items()) {
      if (!pair.is(Tag::array) || pair.items().size() != 2 || !pair.items()[0].is(Tag::string))
        throw bad("an order is a document, or a list of [field, 1 or -1]");
      add(pair.items()[0].text(), pair.items()[1]);
    }
  } else {
    throw bad("an order is a document, or a list of [field, 1 or -1]");
  }
  if (order.size() > kSortKeysMax) throw bad("an order has at most 32 fields");
  return order;
}

std::vector<SortKey> read_element_sort(const Value& direction) {
  return {{Path(), descending(direction, "$sort")}};
}

Keys keys_of(const Value& document, const std::vector<SortKey>& order) {
  Keys out;
  Generator(order, out).run(&document);
  return out;
}

std::string sort_key(const Value& document, const std::vector<SortKey>& order) {
  return *keys_of(document, order).keys.begin();
}

int compare_elements(const Value& a, const Value& b, const std::vector<SortKey>& order) {
  if (order.size() == 1 && order[0].path.size() == 0) {
    const int c = compare(a, b);
    return order[0].descending ? -c : c;
  }
  const Value none = Value::object();
  return sort_key(a.is(Tag::object) ? a : none, order)
      .compare(sort_key(b.is(Tag::object) ? b : none, order));
}

}  // namespace headgate::sqlite::doc
