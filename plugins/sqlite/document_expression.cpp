// Compiling and evaluating expressions; see document_expression.hpp.
#include "plugins/sqlite/document_expression.hpp"

#include <algorithm>
#include <vector>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_operators.hpp"
#include "plugins/sqlite/document_path.hpp"
#include "plugins/sqlite/document_regex.hpp"

namespace headgate::sqlite::doc {

// One operator, path or constant. Which members count is the kind's business.
struct Expression::Node {
  enum class Kind {
    constant,
    path,
    remove,
    object,
    array,
    eager,
    both,
    either,
    negate,
    if_null,
    cond,
    branches,
    let,
    map,
    filter,
    regex_match
  };
  Kind kind = Kind::constant;
  Value constant;
  std::string variable;            // path: ROOT, or what $let, $map or $filter have bound
  std::vector<std::string> names;  // path: its parts; object: fields; let, map, filter: variables
  std::vector<Node> children;
  const Operator* op = nullptr;
  std::shared_ptr<const Pattern> pattern;
};

namespace {

using ENode = Expression::Node;
using Kind = ENode::Kind;

// What one evaluation may cost: elements visited and bytes copied. Far above honest use, and soon
// enough for a deadline.
constexpr std::int64_t kStepsMax = 2'000'000;
constexpr std::int64_t kBytesMax = 64 << 20;

struct Scope {
  const std::string* name;
  const Value* value;  // null pointer: missing
  const Scope* outer;
};

struct Run {
  const Value& root;
  std::int64_t steps = kStepsMax;
  std::int64_t bytes = kBytesMax;

  void step() {
    if (--steps < 0) throw too_large("an expression takes too many steps on one document");
  }
  Value copy(const Value& v) {
    bytes -= static_cast<std::int64_t>(footprint(v));
    if (bytes < 0) throw too_large("an expression copies more than 64 MiB on one document");
    return v;
  }
};

Operand evaluate(const ENode& n, Run& run, const Scope* scope);

Operand follow(const Value& v, const std::vector<std::string>& parts, std::size_t at, Run& run) {
  run.step();
  if (at == parts.size()) return run.copy(v);
  if (v.is(Tag::object)) {
    const Value* next = v.find(parts[at]);
    return next == nullptr ? Operand() : follow(*next, parts, at + 1, run);
  }
  if (!v.is(Tag::array)) return std::nullopt;
  Array out;
  for (const Value& e : v.items()) {
    if (!e.is(Tag::object) && !e.is(Tag::array)) continue;
    if (Operand inner = follow(e, parts, at, run)) out.push_back(std::move(*inner));
  }
  return Value::array(std::move(out));
}

Operand path_value(const ENode& n, Run& run, const Scope* scope) {
  if (n.variable == "ROOT") return follow(run.root, n.names, 0, run);
  for (; scope != nullptr; scope = scope->outer)
    if (*scope->name == n.variable)
      return scope->value == nullptr ? Operand() : follow(*scope->value, n.names, 0, run);
  throw broken("an expression's variable is not bound");
}

Value object_value(const ENode& n, Run& run, const Scope* scope) {
  Object out;
  for (std::size_t i = 0; i < n.names.size(); ++i)
    if (Operand v = evaluate(n.children[i], run, scope)) out.push_back({n.names[i], std::move(*v)});
  return Value::object(std::move(out));
}

Value array_value(const ENode& n, Run& run, const Scope* scope) {
  Array out;
  for (const ENode& c : n.children) {
    Operand v = evaluate(c, run, scope);
    out.push_back(v ? std::move(*v) : Value());
  }
  return Value::array(std::move(out));
}

// $map and $filter: children are input and body.
Operand over_array(const ENode& n, Run& run, const Scope* scope) {
  const Operand input = evaluate(n.children[0], run, scope);
  if (nullish(input)) return Value();
  const char* name = n.kind == Kind::map ? "$map" : "$filter";
  if (!input->is(Tag::array)) throw bad(std::string(name) + ": the input is no array");
  Array out;
  for (const Value& e : input->items()) {
    run.step();
    const Scope inner{&n.names[0], &e, scope};
    Operand v = evaluate(n.children[1], run, &inner);
    if (n.kind == Kind::map)
      out.push_back(v ? std::move(*v) : Value());
    else if (truth_of(v))
      out.push_back(run.copy(e));
  }
  return Value::array(std::move(out));
}

// $let: children are the variables' values, then the body.
Operand let_value(const ENode& n, Run& run, const Scope* scope) {
  const std::size_t count = n.names.size();
  std::vector<Operand> values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(evaluate(n.children[i], run, scope));
  std::vector<Scope> scopes;
  scopes.reserve(count);
  for (std::size_t i = 0; i < count; ++i)
    scopes.push_back(
        {&n.names[i], values[i] ? &*values[i] : nullptr, i == 0 ? scope : &scopes[i - 1]});
  return evaluate(n.children.back(), run, count == 0 ? scope : &scopes.back());
}

// $switch and $cond: condition, value, condition, value, ..., otherwise (if given).
Operand branch_value(const ENode& n, Run& run, const Scope* scope) {
  std::size_t i = 0;
  for (; i + 1 < n.children.size(); i += 2)
    if (truth_of(evaluate(n.children[i], run, scope)))
      return evaluate(n.children[i + 1], run, scope);
  if (i == n.children.size()) throw bad("$switch: no branch is true and there is no default");
  return evaluate(n.children[i], run, scope);
}

Operand eager_value(const ENode& n, Run& run, const Scope* scope) {
  std::vector<Operand> operands;
  operands.reserve(n.children.size());
  for (const ENode& c : n.children) operands.push_back(evaluate(c, run, scope));
  return n.op->compute(operands);
}

Operand evaluate(const ENode& n, Run& run, const Scope* scope) {
  run.step();
  const auto child = [&](const ENode& c) { return truth_of(evaluate(c, run, scope)); };
  switch (n.kind) {
    case Kind::constant:
      return run.copy(n.constant);
    case Kind::path:
      return path_value(n, run, scope);
    case Kind::remove:
      return std::nullopt;
    case Kind::object:
      return object_value(n, run, scope);
    case Kind::array:
      return array_value(n, run, scope);
    case Kind::eager:
      return eager_value(n, run, scope);
    case Kind::both:
      return Value::boolean(std::all_of(n.children.begin(), n.children.end(), child));
    case Kind::either:
      return Value::boolean(std::any_of(n.children.begin(), n.children.end(), child));
    case Kind::negate:
      return Value::boolean(!child(n.children[0]));
    case Kind::if_null:
      for (std::size_t i = 0; i + 1 < n.children.size(); ++i)
        if (Operand v = evaluate(n.children[i], run, scope); !nullish(v)) return v;
      return evaluate(n.children.back(), run, scope);
    case Kind::cond:
    case Kind::branches:
      return branch_value(n, run, scope);
    case Kind::let:
      return let_value(n, run, scope);
    case Kind::map:
    case Kind::filter:
      return over_array(n, run, scope);
    case Kind::regex_match: {
      const Operand v = evaluate(n.children[0], run, scope);
      if (nullish(v)) return Value::boolean(false);
      if (!v->is(Tag::string)) throw bad("$regexMatch: the input is no string");
      return Value::boolean(n.pattern->search(v->text()));
    }
  }
  return std::nullopt;
}

// Compiling: the names of variables in force come along.
using Names = std::vector<std::string>;
ENode compile(const Value& v, const Names& bound);

ENode path_node(std::string_view text, const Names& bound) {
  ENode n;
  n.kind = Kind::path;
  n.variable = "ROOT";
  if (text.back() == '.' || text.find("..") != std::string_view::npos)
    throw bad("the path " + quoted(text) + " has an empty part");
  if (text.substr(0, 2) == "$$") {
    const std::size_t dot = std::min(text.find('.'), text.size());
    n.variable = text.substr(2, dot - 2);
    text.remove_prefix(dot);
    if (!text.empty()) text.remove_prefix(1);
    if (n.variable == "REMOVE" && text.empty()) {
      n.kind = Kind::remove;
      return n;
    }
    if (n.variable == "CURRENT") n.variable = "ROOT";
    if (n.variable != "ROOT" && std::find(bound.begin(), bound.end(), n.variable) == bound.end())
      throw no("the variable " + quoted("$$" + n.variable) + " is not supported here");
    if (text.empty()) return n;
  } else {
    text.remove_prefix(1);
  }
  const Path path(text);
  for (std::size_t i = 0; i < path.size(); ++i) n.names.push_back(path[i]);
  return n;
}

const Value& part(const Value& v, std::string_view op, std::string_view name) {
  const Value* found = v.find(name);
  if (found == nullptr) throw bad(std::string(op) + " needs `" + std::string(name) + "`");
  return *found;
}

void only(const Value& v, std::string_view op, std::initializer_list<std::string_view> names) {
  if (!v.is(Tag::object)) throw bad(std::string(op) + " takes a document");
  for (const Field& f : v.fields())
    if (std::find(names.begin(), names.end(), f.name) == names.end())
      throw no(std::string(op) + ": " + quoted(f.name) + " is not supported");
}

// A document that is no expression: {date: ...}, not {$add: ...}.
bool is_plain_document(const Value& v) {
  return v.is(Tag::object) && (v.fields().empty() || v.fields()[0].name.substr(0, 1) != "$");
}

std::vector<ENode> operands_of(const Value& v, const Names& bound) {
  std::vector<ENode> out;
  if (v.is(Tag::array))
    for (const Value& e : v.items()) out.push_back(compile(e, bound));
  else
    out.push_back(compile(v, bound));
  return out;
}

ENode cond_node(const Value& v, const Names& bound) {
  ENode n;
  n.kind = Kind::cond;
  if (v.is(Tag::array)) {
    if (v.items().size() != 3) throw bad("$cond takes three operands");
    n.children = operands_of(v, bound);
    return n;
  }
  only(v, "$cond", {"if", "then", "else"});
  for (const char* name : {"if", "then", "else"})
    n.children.push_back(compile(part(v, "$cond", name), bound));
  return n;
}

ENode switch_node(const Value& v, const Names& bound) {
  only(v, "$switch", {"branches", "default"});
  ENode n;
  n.kind = Kind::branches;
  const Value& branches = part(v, "$switch", "branches");
  if (!branches.is(Tag::array) || branches.items().empty()) throw bad("$switch needs branches");
  for (const Value& b : branches.items()) {
    only(b, "$switch", {"case", "then"});
    n.children.push_back(compile(part(b, "$switch", "case"), bound));
    n.children.push_back(compile(part(b, "$switch", "then"), bound));
  }
  if (const Value* otherwise = v.find("default")) n.children.push_back(compile(*otherwise, bound));
  return n;
}

ENode loop_node(Kind kind, const Value& v, const Names& bound) {
  const char* op = kind == Kind::map ? "$map" : "$filter";
  const char* body = kind == Kind::map ? "in" : "cond";
  only(v, op, {"input", "as", body});
  ENode n;
  n.kind = kind;
  n.children.push_back(compile(part(v, op, "input"), bound));
  const Value* as = v.find("as");
  if (as != nullptr && !as->is(Tag::string)) throw bad(std::string(op) + ": `as` is a name");
  n.names = {as == nullptr ? "this" : as->text()};
  Names inner = bound;
  inner.push_back(n.names[0]);
  n.children.push_back(compile(part(v, op, body), inner));
  return n;
}

ENode let_node(const Value& v, const Names& bound) {
  only(v, "$let", {"vars", "in"});
  const Value& vars = part(v, "$let", "vars");
  if (!vars.is(Tag::object)) throw bad("$let: `vars` is a document");
  ENode n;
  n.kind = Kind::let;
  Names inner = bound;
  for (const Field& f : vars.fields()) {
    n.names.push_back(f.name);
    inner.push_back(f.name);
    n.children.push_back(compile(f.value, bound));
  }
  n.children.push_back(compile(part(v, "$let", "in"), inner));
  return n;
}

ENode regex_node(const Value& v, const Names& bound) {
  only(v, "$regexMatch", {"input", "regex", "options"});
  const Value& regex = part(v, "$regexMatch", "regex");
  Regex r;
  if (regex.is(Tag::regex))
    r = regex.as_regex();
  else if (regex.is(Tag::string) && regex.text().substr(0, 1) != "$")
    r.pattern = regex.text();
  else
    throw no("$regexMatch: a pattern that is computed is not supported");
  if (const Value* options = v.find("options")) {
    if (!options->is(Tag::string)) throw bad("$regexMatch: `options` is a string");
    r.options = options->text();
  }
  ENode n;
  n.kind = Kind::regex_match;
  n.pattern = std::make_shared<const Pattern>(r);
  n.children.push_back(compile(part(v, "$regexMatch", "input"), bound));
  return n;
}

ENode operator_node(const std::string& name, const Value& v, const Names& bound) {
  ENode n;
  if (name == "$literal" || name == "$const") {
    n.constant = v;
    return n;
  }
  if (name == "$cond") return cond_node(v, bound);
  if (name == "$switch") return switch_node(v, bound);
  if (name == "$map") return loop_node(Kind::map, v, bound);
  if (name == "$filter") return loop_node(Kind::filter, v, bound);
  if (name == "$let") return let_node(v, bound);
  if (name == "$regexMatch") return regex_node(v, bound);
  n.op = find_operator(name);
  if (n.op != nullptr && n.op->named != nullptr && is_plain_document(v)) {
    only(v, name, {n.op->named});
    n.children.push_back(compile(part(v, name, n.op->named), bound));
  } else {
    n.children = operands_of(v, bound);
  }
  if (name == "$and" || name == "$or") {
    n.kind = name == "$and" ? Kind::both : Kind::either;
    return n;
  }
  if (name == "$not" || name == "$ifNull") {
    n.kind = name == "$not" ? Kind::negate : Kind::if_null;
    const bool good = name == "$not" ? n.children.size() == 1 : n.children.size() >= 2;
    if (!good) throw bad(name + " has the wrong number of operands");
    return n;
  }
  if (n.op == nullptr) throw no("the expression operator " + quoted(name) + " is not supported");
  n.kind = Kind::eager;
  if (n.children.size() > n.op->most && n.op->more != nullptr)
    throw no(name + " with " + n.op->more + " is not supported");
  if (n.children.size() < n.op->least || n.children.size() > n.op->most)
    throw bad(name + " has the wrong number of operands");
  return n;
}

ENode compile(const Value& v, const Names& bound) {
  ENode n;
  if (v.is(Tag::string) && v.text().size() > 1 && v.text()[0] == '$')
    return path_node(v.text(), bound);
  if (v.is(Tag::array)) {
    n.kind = Kind::array;
    n.children = operands_of(v, bound);
    return n;
  }
  if (!v.is(Tag::object)) {
    n.constant = v;
    return n;
  }
  const Object& fields = v.fields();
  if (!fields.empty() && !fields[0].name.empty() && fields[0].name[0] == '$') {
    if (fields.size() != 1) throw bad("an expression has one operator: " + quoted(fields[1].name));
    return operator_node(fields[0].name, fields[0].value, bound);
  }
  n.kind = Kind::object;
  for (const Field& f : fields) {
    if (f.name.find('.') != std::string::npos || (!f.name.empty() && f.name[0] == '$'))
      throw bad("a computed field's name has no dot and no `$`: " + quoted(f.name));
    n.names.push_back(f.name);
    n.children.push_back(compile(f.value, bound));
  }
  return n;
}

}  // namespace

Expression::Expression(const Value& v) : root_(std::make_unique<const Node>(compile(v, {}))) {}
Expression::~Expression() = default;
Expression::Expression(Expression&&) noexcept = default;
Expression& Expression::operator=(Expression&&) noexcept = default;

std::optional<Value> Expression::evaluate(const Value& document) const {
  Run run{document};
  return doc::evaluate(*root_, run, nullptr);
}

bool Expression::truth(const Value& document) const { return truth_of(evaluate(document)); }

bool truth_of(const std::optional<Value>& v) {
  if (nullish(v)) return false;
  if (v->is(Tag::boolean)) return v->as_bool();
  return !v->is_number() || compare_numbers(*v, Value::int32(0)) != 0;
}

}  // namespace headgate::sqlite::doc
