// Compiling a query; see document_filter.hpp. Matching is in document_match.cpp.
#include "plugins/sqlite/document_filter.hpp"

#include <algorithm>
#include <cmath>

#include "plugins/sqlite/document_error.hpp"
#include "plugins/sqlite/document_expression.hpp"

namespace headgate::sqlite::doc {
namespace {

Node leaf(const Path& path, Test test) {
  Node n;
  n.kind = Node::Kind::leaf;
  n.path = path;
  n.test = test;
  return n;
}

Node negate(Node inner) {
  Node n;
  n.kind = Node::Kind::negate;
  n.children.push_back(std::move(inner));
  return n;
}

Node compare_leaf(const Path& path, Test test, const Value& operand, std::string_view name) {
  if (operand.is(Tag::regex) && test != Test::eq)
    throw bad(std::string(name) + " takes no regular expression");
  Node n = leaf(path, test);
  n.operand = operand;
  return n;
}

Node regex_leaf(const Path& path, const Regex& regex) {
  Node n = leaf(path, Test::regex);
  n.patterns.emplace_back(regex);
  return n;
}

const Array& list_of(const Value& v, std::string_view name) {
  if (!v.is(Tag::array)) throw bad(std::string(name) + " takes a list");
  return v.items();
}

Node in_leaf(const Path& path, const Value& operand, std::string_view name) {
  Node n = leaf(path, Test::in);
  for (const Value& v : list_of(operand, name)) {
    if (is_operators(v)) throw bad(std::string(name) + " takes values, no operators");
    if (v.is(Tag::regex))
      n.patterns.emplace_back(v.as_regex());
    else
      n.list.push_back(v);
  }
  std::sort(n.list.begin(), n.list.end(),
            [](const Value& a, const Value& b) { return compare(a, b) < 0; });
  return n;
}

// A number without a fraction, as int64.
std::int64_t whole(const Value& v, std::string_view name) {
  if (v.is_integer()) return v.as_int();
  if (v.is(Tag::decimal)) {
    const auto i = v.as_decimal().to_int();
    if (i && compare(v.as_decimal(), Decimal::from_int(*i)) == 0) return *i;
  }
  if (v.is(Tag::floating)) {
    const double d = v.as_double();
    if (std::trunc(d) == d && std::fabs(d) < 9e18) return static_cast<std::int64_t>(d);
  }
  throw bad(std::string(name) + " takes a whole number");
}

Node mod_leaf(const Path& path, const Value& operand) {
  const Array& a = list_of(operand, "$mod");
  if (a.size() != 2) throw bad("$mod takes [divisor, remainder]");
  Node n = leaf(path, Test::mod);
  const auto part = [](const Value& v) -> std::int64_t {
    if (v.is(Tag::floating) && std::fabs(v.as_double()) < 9e18)
      return static_cast<std::int64_t>(v.as_double());  // MongoDB cuts off the fraction
    return whole(v, "$mod");
  };
  n.divisor = part(a[0]);
  n.remainder = part(a[1]);
  if (n.divisor == 0) throw bad("$mod: the divisor is 0");
  return n;
}

constexpr Tag kTags[] = {Tag::floating,  Tag::string,    Tag::object,  Tag::array,     Tag::binary,
                         Tag::undefined, Tag::object_id, Tag::boolean, Tag::date,      Tag::null,
                         Tag::regex,     Tag::code,      Tag::int32,   Tag::timestamp, Tag::int64,
                         Tag::decimal,   Tag::min_key,   Tag::max_key};

void add_type(Node& n, const Value& v) {
  if (v.is(Tag::string)) {
    if (v.text() == "number") {
      for (const Tag t : {Tag::int32, Tag::int64, Tag::floating, Tag::decimal})
        n.types.push_back(t);
      return;
    }
    for (const Tag t : kTags) {
      if (type_name(t) != v.text()) continue;
      n.types.push_back(t);
      return;
    }
  } else if (v.is_number()) {
    const std::int64_t code = whole(v, "$type");
    for (const Tag t : kTags) {
      if ((t == Tag::min_key ? -1 : static_cast<std::int64_t>(t)) != code) continue;
      n.types.push_back(t);
      return;
    }
  }
  throw bad("$type takes BSON type names or numbers");
}

Node type_leaf(const Path& path, const Value& operand) {
  Node n = leaf(path, Test::type);
  if (operand.is(Tag::array)) {
    if (operand.items().empty()) throw bad("$type takes at least one type");
    for (const Value& v : operand.items()) add_type(n, v);
  } else {
    add_type(n, operand);
  }
  return n;
}

bool truthy(const Value& v) {
  if (v.is_nullish()) return false;
  if (v.is(Tag::boolean)) return v.as_bool();
  return !v.is_number() || compare_numbers(v, Value::int32(0)) != 0;
}

Node elem_match_leaf(const Path& path, const Value& operand) {
  if (!operand.is(Tag::object)) throw bad("$elemMatch takes a document");
  const Object& fields = operand.fields();
  const bool logical = !fields.empty() && (fields[0].name == "$and" || fields[0].name == "$or" ||
                                           fields[0].name == "$nor");
  if (is_operators(operand) && !logical) {
    Node n = leaf(path, Test::elem_match_value);
    n.children.push_back(detail::compile_operators(Path("_"), operand));
    return n;
  }
  Node n = leaf(path, Test::elem_match_object);
  n.children.push_back(detail::compile_query(operand));
  return n;
}

Node all_node(const Path& path, const Value& operand) {
  const Array& a = list_of(operand, "$all");
  Node n;
  if (a.empty()) n.kind = Node::Kind::never;
  for (const Value& v : a) {
    if (v.is(Tag::regex)) {
      n.children.push_back(regex_leaf(path, v.as_regex()));
    } else if (is_operators(v)) {
      if (v.fields().size() != 1 || v.fields()[0].name != "$elemMatch")
        throw bad("$all takes values or $elemMatch");
      n.children.push_back(elem_match_leaf(path, v.fields()[0].value));
    } else {
      n.children.push_back(compare_leaf(path, Test::eq, v, "$all"));
    }
  }
  return n;
}

Node size_leaf(const Path& path, const Value& operand) {
  Node n = leaf(path, Test::size);
  n.size = whole(operand, "$size");
  if (n.size < 0) throw bad("$size takes a number of 0 or more");
  return n;
}

Node not_node(const Path& path, const Value& operand) {
  if (operand.is(Tag::regex)) return negate(regex_leaf(path, operand.as_regex()));
  if (!is_operators(operand)) throw bad("$not takes operators or a regular expression");
  return negate(detail::compile_operators(path, operand));
}

Node regex_node(const Path& path, const Value& pattern, const Value* options) {
  Regex r;
  if (pattern.is(Tag::regex))
    r = pattern.as_regex();
  else if (pattern.is(Tag::string))
    r.pattern = pattern.text();
  else
    throw bad("$regex takes a string or a regular expression");
  if (r.pattern.find('\0') != std::string::npos) throw bad("$regex: the pattern holds a NUL");
  if (options != nullptr) {
    if (!options->is(Tag::string)) throw bad("$options takes a string");
    r.options = options->text();
  }
  return regex_leaf(path, r);
}

Node one_operator(const Path& path, const std::string& name, const Value& v, const Value& all) {
  if (name == "$eq") return compare_leaf(path, Test::eq, v, name);
  if (name == "$lt") return compare_leaf(path, Test::lt, v, name);
  if (name == "$lte") return compare_leaf(path, Test::lte, v, name);
  if (name == "$gt") return compare_leaf(path, Test::gt, v, name);
  if (name == "$gte") return compare_leaf(path, Test::gte, v, name);
  if (name == "$ne") {
    if (v.is(Tag::regex)) throw bad("$ne takes no regular expression; use $not");
    return negate(compare_leaf(path, Test::eq, v, name));
  }
  if (name == "$in") return in_leaf(path, v, name);
  if (name == "$nin") return negate(in_leaf(path, v, name));
  if (name == "$exists") {
    Node n = leaf(path, Test::exists);
    return truthy(v) ? std::move(n) : negate(std::move(n));
  }
  if (name == "$type") return type_leaf(path, v);
  if (name == "$all") return all_node(path, v);
  if (name == "$elemMatch") return elem_match_leaf(path, v);
  if (name == "$size") return size_leaf(path, v);
  if (name == "$mod") return mod_leaf(path, v);
  if (name == "$not") return not_node(path, v);
  if (name == "$regex") return regex_node(path, v, all.find("$options"));
  throw no("the filter operator " + quoted(name) + " is not supported");
}

Node logical(const std::string& name, const Value& v) {
  Node n;
  n.kind = name == "$and" ? Node::Kind::all : (name == "$or" ? Node::Kind::any : Node::Kind::none);
  const Array& a = list_of(v, name);
  if (a.empty()) throw bad(name + " takes a list that is not empty");
  for (const Value& e : a) {
    if (!e.is(Tag::object)) throw bad(name + " takes a list of documents");
    n.children.push_back(detail::compile_query(e));
  }
  return n;
}

Node top_level(const std::string& name, const Value& v, bool* skip) {
  if (name == "$and" || name == "$or" || name == "$nor") return logical(name, v);
  if (name == "$comment") {
    *skip = true;
    return {};
  }
  if (name == "$expr") {
    Node n;
    n.kind = Node::Kind::expression;
    n.expression = std::make_shared<const Expression>(v);
    return n;
  }
  throw no("the filter operator " + quoted(name) + " is not supported");
}

}  // namespace

bool is_operators(const Value& v) {
  if (!v.is(Tag::object) || v.fields().empty()) return false;
  const std::string& first = v.fields()[0].name;
  return !first.empty() && first[0] == '$' && first != "$ref" && first != "$id" && first != "$db";
}

namespace detail {
namespace {

constexpr std::size_t kConditionsMax = 5000;  // each looks through a document's fields

void add(Node& to, Node child) {
  if (to.children.size() >= kConditionsMax)
    throw bad("a filter has at most 5000 conditions at one place");
  to.children.push_back(std::move(child));
}

}  // namespace

Node compile_operators(const Path& path, const Value& operators) {
  Node n;
  for (const Field& f : operators.fields()) {
    if (f.name.empty() || f.name[0] != '$')
      throw bad("operators and field names do not mix: " + quoted(f.name));
    if (f.name == "$options") {
      if (operators.find("$regex") == nullptr) throw bad("$options goes with $regex");
      continue;
    }
    n.children.push_back(one_operator(path, f.name, f.value, operators));
  }
  return n;
}

Node compile_query(const Value& query) {
  if (!query.is(Tag::object)) throw bad("a filter is a document");
  Node n;
  for (const Field& f : query.fields()) {
    if (!f.name.empty() && f.name[0] == '$') {
      bool skip = false;
      Node child = top_level(f.name, f.value, &skip);
      if (!skip) add(n, std::move(child));
      continue;
    }
    const Path path(f.name);
    if (is_operators(f.value)) {
      Node child = compile_operators(path, f.value);
      for (Node& c : child.children) add(n, std::move(c));
    } else if (f.value.is(Tag::regex)) {
      add(n, regex_leaf(path, f.value.as_regex()));
    } else {
      add(n, compare_leaf(path, Test::eq, f.value, f.name));
    }
  }
  return n;
}

}  // namespace detail

Filter::Filter(const Value& query) : root_(detail::compile_query(query)) {}

ElementFilter::ElementFilter(const Value& condition) {
  if (is_operators(condition)) {
    kind_ = Kind::value;
    root_ = detail::compile_operators(Path("_"), condition);
  } else if (condition.is(Tag::object)) {
    kind_ = Kind::fields;
    root_ = detail::compile_query(condition);
  } else if (condition.is(Tag::regex)) {
    kind_ = Kind::value;
    root_.children.push_back(regex_leaf(Path("_"), condition.as_regex()));
  } else {
    kind_ = Kind::equal;
    equal_ = condition;
  }
}

}  // namespace headgate::sqlite::doc
