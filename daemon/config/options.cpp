// [stores.NAME.options]: checked against what the plugin describes, and written as the msgpack map
// that its driver takes. Durations become milliseconds and sizes bytes there.
#include <algorithm>

#include "daemon/config/reader.hpp"
#include "daemon/config/units.hpp"
#include "proto/writer.hpp"

namespace headgate::config {
namespace {

using Type = OptionSchema::Type;

constexpr int kNestingMax = 8;

std::string_view expected(Type type) {
  switch (type) {
    case Type::str:
      return "a string";
    case Type::integer:
      return "an integer";
    case Type::boolean:
      return "true or false";
    case Type::list:
      return "an array of strings";
    case Type::duration_ms:
      return "a duration like \"5s\" or \"250ms\"";
    case Type::bytes:
      return "a size like \"64MiB\"";
  }
  return "?";
}

bool write_plain(proto::Writer& w, const Node& n, int depth) {
  if (depth > kNestingMax) return false;
  switch (n.kind) {
    case Node::Kind::string:
      w.str(n.text);
      return true;
    case Node::Kind::integer:
      w.sint(n.integer);
      return true;
    case Node::Kind::real:
      w.real(n.real);
      return true;
    case Node::Kind::flag:
      w.boolean(n.flag);
      return true;
    case Node::Kind::time:
      return false;
    case Node::Kind::array:
      w.array(static_cast<std::uint32_t>(n.items.size()));
      return std::all_of(n.items.begin(), n.items.end(),
                         [&](const Node& i) { return write_plain(w, i, depth + 1); });
    case Node::Kind::table:
      w.map(static_cast<std::uint32_t>(n.entries.size()));
      return std::all_of(n.entries.begin(), n.entries.end(), [&](const auto& e) {
        w.str(e.first);
        return write_plain(w, e.second, depth + 1);
      });
  }
  return false;
}

std::string show_plain(const Node& n) {
  switch (n.kind) {
    case Node::Kind::string:
      return quote(n.text);
    case Node::Kind::integer:
      return std::to_string(n.integer);
    case Node::Kind::real:
      return std::to_string(n.real);
    case Node::Kind::flag:
      return n.flag ? "true" : "false";
    case Node::Kind::time:
      return "";
    case Node::Kind::array: {
      std::string out = "[";
      for (const Node& i : n.items) out += (out.size() == 1 ? "" : ", ") + show_plain(i);
      return out + "]";
    }
    case Node::Kind::table: {
      std::string out = "{";
      for (const auto& [k, v] : n.entries) {
        out += (out.size() == 1 ? " " : ", ") + k + " = " + show_plain(v);
      }
      return out + " }";
    }
  }
  return "";
}

// The number that an option of a numeric type means, or nothing.
std::optional<std::int64_t> number(const Node& n, Type type) {
  if (type == Type::duration_ms && n.is(Node::Kind::string)) {
    const auto d = parse_duration(n.text);
    if (!d || d->count() % 1000 != 0) return std::nullopt;
    return d->count() / 1000;
  }
  if (type == Type::bytes && n.is(Node::Kind::string)) {
    const auto s = parse_size(n.text);
    if (!s) return std::nullopt;
    return static_cast<std::int64_t>(*s);
  }
  if (type != Type::duration_ms && n.is(Node::Kind::integer)) return n.integer;
  return std::nullopt;
}

std::string show_number(std::int64_t n, Type type) {
  if (type == Type::str) return std::to_string(n) + " bytes";
  if (type == Type::list) return std::to_string(n) + " strings";
  if (type == Type::duration_ms) return format_duration(Micros(n * 1000));
  if (type == Type::bytes) return format_size(static_cast<std::uint64_t>(n));
  return std::to_string(n);
}

// "5 is out of range, expected from 1 to 4", or "".
std::string out_of_range(std::int64_t value, const OptionSchema& o) {
  if ((!o.min || value >= *o.min) && (!o.max || value <= *o.max)) return {};
  std::string out = show_number(value, o.type) + " is out of range, expected";
  if (o.min) out += " from " + show_number(*o.min, o.type);
  if (o.max) out += " to " + show_number(*o.max, o.type);
  return out;
}

std::string one_of(const std::vector<std::string>& values) {
  std::string out;
  for (const std::string& v : values) out += (out.empty() ? "" : ", ") + quote(v);
  return (values.size() == 1 ? "" : "one of ") + out;
}

// Writes the option; what is wrong with it, or "".
std::string write_option(proto::Writer& w, const Node& n, const OptionSchema& o) {
  const std::string wanted = o.values.empty() ? std::string(expected(o.type)) : one_of(o.values);
  const std::string wrong = "expected " + wanted + ", not " +
                            (n.is(Node::Kind::string) ? quote(n.text) : std::string(name(n.kind)));
  switch (o.type) {
    case Type::str:
      if (!n.is(Node::Kind::string)) return wrong;
      if (n.text.find('\0') != std::string::npos) return "expected a string without NUL";
      if (!o.values.empty()) {
        if (std::find(o.values.begin(), o.values.end(), n.text) == o.values.end()) return wrong;
      } else if (o.min && *o.min > 0 && n.text.empty()) {
        return "expected a string that is not empty";
      } else if (auto range = out_of_range(static_cast<std::int64_t>(n.text.size()), o);
                 !range.empty()) {
        return range;
      }
      w.str(n.text);
      return {};
    case Type::boolean:
      if (!n.is(Node::Kind::flag)) return wrong;
      w.boolean(n.flag);
      return {};
    case Type::list:
      if (!n.is(Node::Kind::array)) return wrong;
      for (const Node& i : n.items) {
        if (!i.is(Node::Kind::string)) return wrong + " with " + std::string(name(i.kind));
      }
      if (auto range = out_of_range(static_cast<std::int64_t>(n.items.size()), o); !range.empty())
        return range;
      write_plain(w, n, 0);
      return {};
    default:
      break;
  }
  const auto value = number(n, o.type);
  if (!value) return wrong;
  if (auto range = out_of_range(*value, o); !range.empty()) return range;
  w.sint(*value);
  return {};
}

}  // namespace

const PluginSchema* Reader::schema(const Node& plugin) {
  if (!options_.schema_of) return nullptr;
  auto [there, fresh] = schemas_.try_emplace(plugin.text);
  if (fresh) {
    auto answer = options_.schema_of(config_.daemon.plugin_dir, plugin.text);
    if (answer) {
      there->second = std::move(*answer);
    } else {
      faults_.add(plugin.place, "plugin " + quote(plugin.text) + ": " + answer.error());
    }
  }
  return there->second ? &*there->second : nullptr;
}

void Reader::read_options(Store& store, const Node* table, const Place& at) {
  const std::string section = "stores." + store.name + ".options";
  static const Node kNone;
  if (table != nullptr && !expect(*table, Node::Kind::table, section)) return;
  const Node& given = table == nullptr ? kNone : *table;
  const auto found = schemas_.find(store.plugin);
  const PluginSchema* known = found == schemas_.end() || !found->second ? nullptr : &*found->second;

  proto::VectorOut out;
  proto::Writer w(&out);
  w.map(static_cast<std::uint32_t>(given.entries.size()));
  for (const auto& [key, value] : given.entries) {
    w.str(key);
    const std::string path = section + "." + key;
    std::string wrong;
    if (known == nullptr) {
      if (!write_plain(w, value, 0)) wrong = "expected no dates, and no nesting deeper than 8";
    } else {
      const auto o = std::find_if(known->options.begin(), known->options.end(),
                                  [&k = key](const OptionSchema& x) { return x.name == k; });
      if (o == known->options.end()) {
        std::vector<std::string_view> names;
        for (const OptionSchema& x : known->options) names.push_back(x.name);
        unknown(key, value, section, names);
        continue;
      }
      if (o->secret) {
        wrong = "a secret may not stand in the configuration";
      } else {
        wrong = write_option(w, value, *o);
      }
    }
    if (!wrong.empty()) faults_.add(value.place, path + ": " + wrong);
    store.shown_options[key] = show_plain(value);
    config_.set_at[path] = value.key_place;
  }
  const proto::Bytes written = out.view();
  store.options.assign(written.begin(), written.end());
  if (known == nullptr) return;
  for (const OptionSchema& o : known->options) {
    if (o.required && given.find(o.name) == nullptr) {
      faults_.add(
          table == nullptr ? at : table->place,
          section + ": " + o.name + " is missing; plugin " + quote(store.plugin) + " needs it");
    }
  }
}

}  // namespace headgate::config
