// See document_projection.hpp.
#include "plugins/sqlite/document_projection.hpp"

#include <algorithm>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_path.hpp"

namespace headgate::sqlite::doc {
namespace {

using Node = Projection::Node;
using What = Node::What;

const Node* child_of(const Node& n, const std::string& name) {
  for (const Node& c : n.children)
    if (c.name == name) return &c;
  return nullptr;
}

bool is_flag(const Value& v) { return v.is(Tag::boolean) || v.is_number(); }
bool is_true(const Value& v) {
  return v.is(Tag::boolean) ? v.as_bool() : compare_numbers(v, Value::int32(0)) != 0;
}

bool mark_computed(Node& n) {
  n.computes = n.what == What::compute;
  for (Node& c : n.children) n.computes = mark_computed(c) || n.computes;
  return n.computes;
}

// How one application goes: which fields stay that the tree does not name, and what expressions
// see.
struct Run {
  bool keep_rest;
  const Value& root;
};

Value apply(const Node& n, Value v, const Run& run);

void compute_fields(const Node& n, Value& out, const Run& run) {
  for (const Node& c : n.children) {
    if (c.what == What::compute) {
      std::optional<Value> v = c.expression->evaluate(run.root);
      if (v)
        out.set(c.name, std::move(*v));
      else
        out.erase(c.name);
    } else if (c.what == What::inner && c.computes && out.find(c.name) == nullptr) {
      out.set(c.name, apply(c, Value::object(), run));
    }
  }
}

Value apply_object(const Node& n, Value v, const Run& run) {
  Value out = Value::object();
  for (Field& f : v.fields()) {
    const Node* c = child_of(n, f.name);
    if (c == nullptr) {
      if (run.keep_rest) out.fields().push_back(std::move(f));
    } else if (c->what == What::include) {
      out.fields().push_back(std::move(f));
    } else if (c->what == What::compute) {
      if (run.keep_rest) out.fields().push_back(std::move(f));  // keeps its place
    } else if (c->what == What::inner) {
      const bool nests = f.value.is(Tag::object) || f.value.is(Tag::array);
      if (nests || c->computes)
        out.fields().push_back({f.name, apply(*c, std::move(f.value), run)});
      else if (run.keep_rest)
        out.fields().push_back(std::move(f));
    }
  }
  compute_fields(n, out, run);
  return out;
}

Value apply(const Node& n, Value v, const Run& run) {
  if (v.is(Tag::object)) return apply_object(n, std::move(v), run);
  if (!v.is(Tag::array)) return n.computes ? apply_object(n, Value::object(), run) : v;
  Array out;
  for (Value& e : v.items()) {
    const bool nests = e.is(Tag::object) || e.is(Tag::array);
    if (nests || n.computes)
      out.push_back(apply(n, std::move(e), run));
    else if (run.keep_rest)
      out.push_back(std::move(e));
  }
  return Value::array(std::move(out));
}

}  // namespace

Projection::Projection(Form form, const Value& spec) {
  root_ = std::make_shared<Node>();
  if (form == Form::unset) {
    const Array one = spec.is(Tag::array) ? spec.items() : Array{spec};
    for (const Value& v : one) {
      if (!v.is(Tag::string)) throw bad("$unset takes field names");
      place(v.text()).what = What::exclude;
    }
    return;
  }
  if (!spec.is(Tag::object)) throw bad("a projection is a document");
  if (spec.fields().empty()) {
    if (form != Form::find) throw bad("the stage needs at least one field");
    root_.reset();
    return;
  }
  // _id alone may differ: it is kept with an inclusion unless it says otherwise.
  std::optional<bool> id, rest;
  bool computed = false;
  const auto look = [&](const auto& self, const std::string& path, const Value& v) -> void {
    const bool nested =
        v.is(Tag::object) && !v.fields().empty() && v.fields()[0].name.substr(0, 1) != "$";
    if (nested) {
      for (const Field& f : v.fields()) self(self, path + "." + f.name, f.value);
      return;
    }
    const bool flag = form != Form::add_fields && is_flag(v);
    if (!flag)
      computed = true;
    else if (path == "_id")
      id = is_true(v);
    else if (rest && *rest != is_true(v))
      throw bad("a projection includes or excludes, not both");
    else
      rest = is_true(v);
    add(form, path, v);
  };
  for (const Field& f : spec.fields()) look(look, f.name, f.value);
  if (computed && rest == false) throw bad("a projection that excludes does not compute");
  includes_ = form != Form::add_fields && (rest == true || (!rest && (computed || id == true)));
  if (includes_ && !id && child_of(*root_, "_id") == nullptr) place("_id").what = What::include;
  mark_computed(*root_);
}

void Projection::add(Form form, const std::string& path, const Value& v) {
  if (form == Form::find) {
    if (path.find(".$") != std::string::npos)
      throw no("the positional projection " + quoted(path) + " is not supported");
    if (v.is(Tag::object) && !v.fields().empty()) {
      const std::string& op = v.fields()[0].name;
      if (op == "$slice" || op == "$elemMatch" || op == "$meta")
        throw no("the projection operator " + quoted(op) + " is not supported");
    }
  }
  Node& n = place(path);
  if (form != Form::add_fields && is_flag(v)) {
    n.what = is_true(v) ? What::include : What::exclude;
  } else {
    n.what = What::compute;
    n.expression = std::make_shared<const Expression>(v);
  }
}

Projection::Node& Projection::place(const std::string& text) {
  const Path path(text);
  Node* n = root_.get();
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i][0] == '$')
      throw bad("a projected field's name may not begin with `$`: " + quoted(path[i]));
    const bool last = i + 1 == path.size();
    auto at = std::find_if(n->children.begin(), n->children.end(),
                           [&](const Node& c) { return c.name == path[i]; });
    if (at == n->children.end()) {
      if (n->children.size() >= kProjectedMax) throw bad("a projection names at most 1000 fields");
      n->children.emplace_back();
      at = n->children.end() - 1;
      at->name = path[i];
    } else if (last || at->what != What::inner) {
      throw bad("a projection names " + quoted(text) + " and a field that holds it, or twice");
    }
    n = &*at;
  }
  return *n;
}

Value Projection::apply(Value document) const {
  if (!root_) return document;
  if (!root_->computes) {
    static const Value none;
    return doc::apply(*root_, std::move(document), {!includes_, none});
  }
  const Value root = document;
  return doc::apply(*root_, std::move(document), {!includes_, root});
}

}  // namespace headgate::sqlite::doc
