// Reads describe's map: every key known, every type right, every number inside its bounds.
#include "daemon/plugin/description.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "proto/writer.hpp"

namespace headgate::plugin {
namespace {

using proto::Bytes;
using proto::Cursor;
using proto::Type;

// Thrown and caught in this file only: loading happens at start-up.
struct Wrong {
  std::string what;
};

std::string in(std::string_view where, std::string_view what) {
  return std::string(where) + ": " + std::string(what);
}

bool word(std::string_view s) {
  return !s.empty() && s.size() <= proto::kNameMax && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// Reads a map whose keys are known; f is called at each value and must read exactly it.
template <class F>
void each_entry(Cursor& c, const std::string& where, F&& f) {
  if (c.peek() != Type::map) throw Wrong{in(where, "must be a map")};
  const std::uint32_t n = c.read_map();
  std::set<std::string_view> seen;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (c.peek() != Type::str) throw Wrong{in(where, "has a key that is no string")};
    const std::string_view key = c.read_str();
    if (!seen.insert(key).second) throw Wrong{in(where, "gives `" + std::string(key) + "` twice")};
    f(key);
    if (!c.ok()) throw Wrong{in(where, "`" + std::string(key) + "` has the wrong type")};
  }
}

template <class F>
void each_item(Cursor& c, const std::string& where, std::uint32_t max, F&& f) {
  if (c.peek() != Type::array) throw Wrong{in(where, "must be a list")};
  const std::uint32_t n = c.read_array();
  if (n == 0 || n > max)
    throw Wrong{in(where, "must have 1 to " + std::to_string(max) + " entries")};
  for (std::uint32_t i = 0; i < n; ++i) f(where + "[" + std::to_string(i) + "]");
}

std::uint32_t bounded(Cursor& c, const std::string& where, std::string_view key, std::uint64_t min,
                      std::uint64_t max) {
  const std::uint64_t v = c.read_uint();
  if (!c.ok() || v < min || v > max)
    throw Wrong{in(where, "`" + std::string(key) + "` must be an integer from " +
                              std::to_string(min) + " to " + std::to_string(max))};
  return static_cast<std::uint32_t>(v);
}

std::string_view one_of(Cursor& c, const std::string& where, std::string_view key,
                        std::initializer_list<std::string_view> allowed) {
  const std::string_view v = c.read_str();
  if (c.ok() && std::find(allowed.begin(), allowed.end(), v) != allowed.end()) return v;
  std::string names;
  for (const std::string_view a : allowed)
    names += (names.empty() ? "" : " or ") + ("\"" + std::string(a) + "\"");
  throw Wrong{in(where, "`" + std::string(key) + "` must be " + names)};
}

Verb read_verb(Cursor& c, const std::string& where) {
  Verb v;
  bool has_access = false;
  each_entry(c, where, [&](std::string_view key) {
    if (key == "access") {
      const std::string_view a = one_of(c, where, key, {"read", "write", "admin"});
      v.access = a == "read" ? Access::read : a == "write" ? Access::write : Access::admin;
      has_access = true;
    } else if (key == "streams") {
      v.streams = c.read_bool();
    } else if (key == "uploads") {
      v.uploads = c.read_bool();
    } else if (key == "waits") {
      v.waits = c.read_bool();
    } else {
      throw Wrong{in(where, "unknown key `" + std::string(key) + "`")};
    }
  });
  if (!has_access) throw Wrong{in(where, "has no `access`")};
  return v;
}

Kind read_kind(Cursor& c, const std::string& where) {
  Kind k;
  each_entry(c, where, [&](std::string_view key) {
    if (key == "kind") {
      k.kind = one_of(c, where, key, {"sql", "document", "key_value"});
    } else if (key == "verbs") {
      each_entry(c, where + ".verbs", [&](std::string_view verb) {
        if (!word(verb)) throw Wrong{in(where, "has a verb whose name is no word")};
        k.verbs.emplace(verb, read_verb(c, where + ".verbs." + std::string(verb)));
      });
    } else if (key == "capabilities") {
      const std::uint32_t n = c.read_array();
      for (std::uint32_t i = 0; i < n && c.ok(); ++i) k.capabilities.emplace_back(c.read_str());
    } else if (key == "limits") {
      each_entry(c, where + ".limits", [&](std::string_view limit) {
        const std::int64_t v = c.read_int();
        if (v < 0) throw Wrong{in(where, "limit `" + std::string(limit) + "` is negative")};
        k.limits.emplace(limit, v);
      });
    } else {
      throw Wrong{in(where, "unknown key `" + std::string(key) + "`")};
    }
  });
  if (k.kind.empty()) throw Wrong{in(where, "has no `kind`")};
  if (k.verbs.empty() || k.verbs.size() > kVerbsMax)
    throw Wrong{in(where, "must have 1 to " + std::to_string(kVerbsMax) + " verbs")};
  return k;
}

LaneInfo read_lane(Cursor& c, const std::string& where) {
  LaneInfo l;
  bool has_model = false;
  each_entry(c, where, [&](std::string_view key) {
    if (key == "name") {
      l.name = c.read_str();
    } else if (key == "model") {
      l.event = one_of(c, where, key, {"event", "blocking"}) == "event";
      has_model = true;
    } else if (key == "connections") {
      l.connections = bounded(c, where, key, 1, kConnectionsMax);
    } else if (key == "connections_max") {
      l.connections_max = bounded(c, where, key, 1, kConnectionsMax);
    } else if (key == "per") {
      l.per_store = one_of(c, where, key, {"store", "pool"}) == "store";
    } else if (key == "max_inflight") {
      l.max_inflight = bounded(c, where, key, 1, kLaneInflightMax);
    } else if (key == "max_batch") {
      l.max_batch = bounded(c, where, key, 1, kLaneInflightMax);
    } else if (key == "lease") {
      l.lease = c.read_bool();
    } else if (key == "read_only") {
      l.read_only = c.read_bool();
    } else if (key == "connections_option") {
      l.connections_option = c.read_str();
    } else if (key == "cancel") {
      l.cancel = one_of(c, where, key, {"none", "operation"}) == "operation";
    } else {
      throw Wrong{in(where, "unknown key `" + std::string(key) + "`")};
    }
  });
  if (!word(l.name)) throw Wrong{in(where, "`name` must be a word of a-z, 0-9, _ and -")};
  if (!has_model) throw Wrong{in(where, "has no `model`")};
  l.connections_max = std::max(l.connections_max, l.connections);
  if (l.max_batch > l.max_inflight) throw Wrong{in(where, "`max_batch` is above `max_inflight`")};
  return l;
}

Option::Type option_type(std::string_view s) {
  if (s == "str") return Option::Type::str;
  if (s == "int") return Option::Type::integer;
  if (s == "bool") return Option::Type::boolean;
  if (s == "list") return Option::Type::list;
  if (s == "duration_ms") return Option::Type::duration_ms;
  return Option::Type::bytes;
}

Option read_option(Cursor& c, const std::string& where, std::string_view option) {
  Option o;
  o.name = option;
  bool has_type = false;
  const auto limit = [&]() -> std::optional<std::int64_t> {
    if (c.read_nil()) return std::nullopt;
    return c.read_int();
  };
  each_entry(c, where, [&](std::string_view key) {
    if (key == "type") {
      o.type = option_type(
          one_of(c, where, key, {"str", "int", "bool", "list", "duration_ms", "bytes"}));
      has_type = true;
    } else if (key == "required") {
      o.required = c.read_bool();
    } else if (key == "secret") {
      o.secret = c.read_bool();
    } else if (key == "min") {
      o.min = limit();
    } else if (key == "max") {
      o.max = limit();
    } else if (key == "values") {
      each_item(c, where, kOptionsMax,
                [&](const std::string&) { o.values.emplace_back(c.read_str()); });
    } else if (key == "help") {
      o.help = c.read_str();
    } else if (key == "default") {
      const Bytes v = c.skip();
      if (v.size() != 1 || v[0] != 0xc0) o.fallback.assign(v.begin(), v.end());
    } else {
      throw Wrong{in(where, "unknown key `" + std::string(key) + "`")};
    }
  });
  if (!has_type) throw Wrong{in(where, "has no `type`")};
  if (o.min && o.max && *o.min > *o.max) throw Wrong{in(where, "`min` is above `max`")};
  if (!o.values.empty() && o.type != Option::Type::str)
    throw Wrong{in(where, "has `values` and is no str")};
  if (o.required && !o.fallback.empty()) throw Wrong{in(where, "is required and has a default")};
  return o;
}

void check_functions(const Description& d, const hg_plugin& p) {
  for (const LaneInfo& l : d.lanes) {
    const std::string where = "lane `" + l.name + "`";
    if (l.event && p.conn_io == nullptr)
      throw Wrong{in(where, "is an event lane, and the plugin has no conn_io")};
    if (l.lease && p.conn_reset == nullptr)
      throw Wrong{in(where, "leases, and the plugin has no conn_reset")};
    if (l.cancel && p.conn_cancel == nullptr)
      throw Wrong{in(where, "cancels, and the plugin has no conn_cancel")};
  }
}

template <class T, class F>
void unique(const std::vector<T>& all, std::string_view what, F&& name_of) {
  std::set<std::string_view> seen;
  for (const T& t : all)
    if (!seen.insert(name_of(t)).second)
      throw Wrong{std::string(what) + " `" + std::string(name_of(t)) + "` is declared twice"};
}

Description read(Bytes map, const hg_plugin& plugin) {
  if (map.data() == nullptr || map.empty()) throw Wrong{"describe returned nothing"};
  if (map.size() > kDescribeBytesMax) throw Wrong{"describe is longer than 1 MiB"};
  if (proto::check(map, 16) != proto::Shape::good)
    throw Wrong{"describe is no well-formed msgpack"};
  Description d;
  d.raw.assign(map.begin(), map.end());
  Cursor c(d.raw);
  each_entry(c, "describe", [&](std::string_view key) {
    if (key == "name") {
      d.name = c.read_str();
    } else if (key == "version") {
      d.version = c.read_str();
    } else if (key == "product") {
      d.product = c.read_str();
    } else if (key == "kinds") {
      each_item(c, "kinds", 3, [&](const std::string& at) { d.kinds.push_back(read_kind(c, at)); });
    } else if (key == "lanes") {
      each_item(c, "lanes", kLanesMax,
                [&](const std::string& at) { d.lanes.push_back(read_lane(c, at)); });
    } else if (key == "options") {
      each_entry(c, "options", [&](std::string_view option) {
        if (!word(option)) throw Wrong{"an option's name is no word"};
        d.options.push_back(read_option(c, "options." + std::string(option), option));
      });
    } else if (key == "endpoints") {
      d.endpoints = c.read_bool();
    } else if (key == "keeps_secrets") {
      d.keeps_secrets = c.read_bool();
    } else {
      throw Wrong{"describe: unknown key `" + std::string(key) + "`"};
    }
  });
  if (!word(d.name)) throw Wrong{"describe: `name` must be a word of a-z, 0-9, _ and -"};
  if (d.kinds.empty()) throw Wrong{"describe: has no `kinds`"};
  if (d.lanes.empty()) throw Wrong{"describe: has no `lanes`"};
  if (d.options.size() > kOptionsMax) throw Wrong{"describe: has too many options"};
  for (const LaneInfo& l : d.lanes) {
    if (l.connections_option.empty()) continue;
    const Option* o = d.option(l.connections_option);
    if (o == nullptr || o->type != Option::Type::integer)
      throw Wrong{in("lane `" + l.name + "`", "`connections_option` names no int option")};
  }
  unique(d.lanes, "lane", [](const LaneInfo& l) { return std::string_view(l.name); });
  unique(d.kinds, "kind", [](const Kind& k) { return std::string_view(k.kind); });
  check_functions(d, plugin);
  return d;
}

}  // namespace

std::string_view name(Option::Type t) {
  constexpr std::array<std::string_view, 6> names = {"str",  "int",         "bool",
                                                     "list", "duration_ms", "bytes"};
  return names[static_cast<std::size_t>(t)];
}

int Description::kind_index(std::string_view kind) const {
  for (std::size_t i = 0; i < kinds.size(); ++i)
    if (kinds[i].kind == kind) return static_cast<int>(i);
  return -1;
}

const Verb* Description::verb(std::size_t kind, std::string_view verb_name) const {
  if (kind >= kinds.size()) return nullptr;
  const auto it = kinds[kind].verbs.find(verb_name);
  return it == kinds[kind].verbs.end() ? nullptr : &it->second;
}

const Option* Description::option(std::string_view option_name) const {
  for (const Option& o : options)
    if (o.name == option_name) return &o;
  return nullptr;
}

Result<Description> read_description(Bytes map, const hg_plugin& plugin) {
  try {
    Description d = read(map, plugin);
    for (const Option& o : d.options) {
      if (o.fallback.empty()) continue;
      proto::VectorOut out;
      proto::Writer w(&out);
      w.map(1);
      w.str(o.name);
      w.raw(o.fallback);
      Description only;
      only.options.push_back(o);
      const std::vector<OptionFault> faults = check_options(only, out.view());
      if (!faults.empty()) throw Wrong{"options." + o.name + ": the default " + faults[0].what};
    }
    return d;
  } catch (const Wrong& w) {
    return fault(Code::internal, w.what);
  }
}

std::vector<std::uint8_t> describe_reply(const Description& d, std::size_t kind) {
  const Kind& k = d.kinds.at(kind);
  proto::VectorOut out(4096);
  proto::Writer w(&out);
  w.map(6);
  w.str("kind");
  w.str(k.kind);
  w.str("product");
  w.str(d.product);
  w.str("version");
  w.str(d.version);
  w.str("verbs");
  w.map(static_cast<std::uint32_t>(k.verbs.size()));
  for (const auto& [verb, v] : k.verbs) {
    w.str(verb);
    w.map(4);
    w.str("access");
    w.str(v.access == Access::read ? "read" : v.access == Access::write ? "write" : "admin");
    w.str("streams");
    w.boolean(v.streams);
    w.str("uploads");
    w.boolean(v.uploads);
    w.str("waits");
    w.boolean(v.waits);
  }
  w.str("capabilities");
  w.array(static_cast<std::uint32_t>(k.capabilities.size()));
  for (const std::string& capability : k.capabilities) w.str(capability);
  w.str("limits");
  w.map(static_cast<std::uint32_t>(k.limits.size()));
  for (const auto& [limit, v] : k.limits) {
    w.str(limit);
    w.sint(v);
  }
  const Bytes b = out.view();
  return {b.begin(), b.end()};
}

}  // namespace headgate::plugin
