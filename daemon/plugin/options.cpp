// Checks a store's options against describe, and completes them for driver_open.
#include <algorithm>
#include <set>

#include "daemon/plugin/description.hpp"
#include "proto/writer.hpp"

namespace headgate::plugin {
namespace {

using proto::Bytes;
using proto::Cursor;
using proto::Item;
using proto::Type;

std::string_view type_word(Type t) {
  switch (t) {
    case Type::nil:
      return "nil";
    case Type::boolean:
      return "a boolean";
    case Type::uint:
    case Type::sint:
      return "an integer";
    case Type::float32:
    case Type::float64:
      return "a float";
    case Type::str:
      return "a string";
    case Type::bin:
      return "bytes";
    case Type::array:
      return "a list";
    case Type::map:
      return "a map";
    default:
      return "something else";
  }
}

struct Unit {
  std::string_view suffix;
  std::int64_t factor;
};
constexpr Unit kDurations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
constexpr Unit kSizes[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

// "250ms" -> 250. Empty: no number with one of these units, or beyond 64 bits.
template <std::size_t N>
std::optional<std::int64_t> with_unit(std::string_view s, const Unit (&units)[N]) {
  std::int64_t n = 0;
  std::size_t i = 0;
  for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i)
    if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, s[i] - '0', &n)) return {};
  if (i == 0) return {};
  for (const Unit& u : units) {
    if (s.substr(i) != u.suffix) continue;
    if (__builtin_mul_overflow(n, u.factor, &n)) return {};
    return n;
  }
  return {};
}

std::string expected(const Option& o) {
  std::string s;
  switch (o.type) {
    case Option::Type::str:
      for (const std::string& v : o.values) s += (s.empty() ? "\"" : " or \"") + v + "\"";
      if (s.empty()) s = "a string";
      break;
    case Option::Type::integer:
      s = "an integer";
      break;
    case Option::Type::boolean:
      return "true or false";
    case Option::Type::list:
      s = "a list of strings";
      break;
    case Option::Type::duration_ms:
      s = "a duration (milliseconds, or text like \"5s\")";
      break;
    case Option::Type::bytes:
      s = "a size (bytes, or text like \"8MiB\")";
      break;
  }
  const bool length = o.type == Option::Type::str || o.type == Option::Type::list;
  if (length && (o.min || o.max)) s += " with a length";
  if (o.min && o.max)
    s += " from " + std::to_string(*o.min) + " to " + std::to_string(*o.max);
  else if (o.min)
    s += " of at least " + std::to_string(*o.min);
  else if (o.max)
    s += " of at most " + std::to_string(*o.max);
  return s;
}

std::optional<std::int64_t> number_of(const Option& o, Bytes value) {
  Cursor c(value);
  if (c.peek() == Type::str && o.type == Option::Type::duration_ms)
    return with_unit(c.read_str(), kDurations);
  if (c.peek() == Type::str && o.type == Option::Type::bytes)
    return with_unit(c.read_str(), kSizes);
  const std::int64_t v = c.read_int();
  if (!c.ok()) return {};
  return v;
}

// Empty: the value is right.
std::string wrong(const Option& o, Bytes value) {
  Cursor c(value);
  const Type t = c.peek();
  const auto say = [&](std::string_view got) {
    return "must be " + expected(o) + ", not " + std::string(got);
  };
  std::optional<std::int64_t> n;
  switch (o.type) {
    case Option::Type::boolean:
      return t == Type::boolean ? "" : say(type_word(t));
    case Option::Type::str:
      if (t != Type::str) return say(type_word(t));
      if (const std::string_view s = c.read_str(); !o.values.empty()) {
        const bool one = std::find(o.values.begin(), o.values.end(), s) != o.values.end();
        return one ? "" : say("this text");
      } else {
        n = static_cast<std::int64_t>(s.size());
      }
      break;
    case Option::Type::list: {
      if (t != Type::array) return say(type_word(t));
      const std::uint32_t items = c.read_array();
      for (std::uint32_t i = 0; i < items; ++i) {
        if (c.peek() != Type::str) return say("a list with " + std::string(type_word(c.peek())));
        c.read_str();
      }
      n = items;
      break;
    }
    default:
      n = number_of(o, value);
      if (!n)
        return say(t == Type::str && o.type != Option::Type::integer ? "this text" : type_word(t));
      if (o.type != Option::Type::integer && *n < 0) return say("a negative number");
  }
  if ((o.min && *n < *o.min) || (o.max && *n > *o.max))
    return say(t == Type::str && o.type == Option::Type::str ? "one of " + std::to_string(*n)
                                                             : std::to_string(*n));
  return "";
}

}  // namespace

std::vector<OptionFault> check_options(const Description& d, Bytes options) {
  std::vector<OptionFault> faults;
  std::set<std::string_view> seen;
  Cursor c(options);
  if (!options.empty()) {
    if (proto::check(options) != proto::Shape::good || c.peek() != Type::map)
      return {{"", "the options must be one map"}};
    const std::uint32_t n = c.read_map();
    for (std::uint32_t i = 0; i < n; ++i) {
      if (c.peek() != Type::str) return {{"", "the options' names must be strings"}};
      const std::string_view option_name = c.read_str();
      const Bytes value = c.skip();
      const Option* o = d.option(option_name);
      if (!seen.insert(option_name).second) {
        faults.push_back({std::string(option_name), "is given twice"});
      } else if (o == nullptr) {
        std::string known;
        for (const Option& k : d.options) known += (known.empty() ? "" : ", ") + k.name;
        faults.push_back(
            {std::string(option_name),
             "is no option of plugin " + d.name + "; it has: " + (known.empty() ? "none" : known)});
      } else if (std::string what = wrong(*o, value); !what.empty()) {
        faults.push_back({o->name, std::move(what)});
      }
    }
  }
  for (const Option& o : d.options)
    if (o.required && !seen.contains(o.name))
      faults.push_back({o.name, "is missing; it must be " + expected(o)});
  return faults;
}

std::optional<std::int64_t> int_option(Bytes options, std::string_view name) {
  if (options.empty() || name.empty()) return std::nullopt;
  Cursor c(options);
  for (std::uint32_t n = c.read_map(); n > 0 && c.ok(); --n) {
    const bool found = c.read_str() == name;
    Cursor value(c.skip());
    const std::int64_t v = value.read_int();
    if (found && value.ok()) return v;
  }
  return std::nullopt;
}

std::vector<std::uint8_t> complete_options(const Description& d, Bytes options) {
  std::map<std::string_view, Bytes> given;
  if (!options.empty()) {
    Cursor c(options);
    const std::uint32_t n = c.read_map();
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::string_view option_name = c.read_str();
      given[option_name] = c.skip();
    }
  }
  proto::VectorOut body;
  proto::Writer w(&body);
  std::uint32_t count = 0;
  for (const Option& o : d.options) {
    const auto it = given.find(o.name);
    const Bytes value = it != given.end() ? it->second : Bytes(o.fallback);
    if (value.empty()) continue;
    ++count;
    w.str(o.name);
    if (o.type == Option::Type::duration_ms || o.type == Option::Type::bytes)
      w.sint(number_of(o, value).value_or(0));
    else
      w.raw(value);
  }
  proto::VectorOut whole(body.size() + 8);
  proto::Writer head(&whole);
  head.map(count);
  head.raw(body.view());
  const Bytes b = whole.view();
  return {b.begin(), b.end()};
}

}  // namespace headgate::plugin
