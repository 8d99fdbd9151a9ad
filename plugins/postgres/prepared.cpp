// The cache, the messages that fill it, and the parameters of a run.
#include "plugins/postgres/prepared.hpp"

#include <algorithm>

#include "plugins/postgres/wire/parameter.hpp"

namespace headgate::postgres {
namespace {

sdk::Error wrong_count(std::string_view where, std::size_t wanted, std::size_t given) {
  sdk::Error e(sdk::Code::invalid, sdk::Outcome::rejected,
               std::string(where) + "the statement takes " + std::to_string(wanted) +
                   " parameters, " + std::to_string(given) + " given");
  e.sqlstate = "07001";
  return e;
}

std::string place(std::string_view where, std::size_t i) {
  return std::string(where) + "parameter " + std::to_string(i + 1);
}

void bind_list(wire::BindWriter& bind, const Prepared& p, proto::Cursor c, std::string_view where) {
  for (std::size_t i = 0; i < p.types.size(); ++i) {
    const proto::Type t = c.peek();
    // The words for a fault are made only when there is one.
    if (t == proto::Type::nil) {
      c.read_nil();
      bind.null();
      continue;
    }
    const proto::Cursor before = c;
    try {
      wire::bind_value(bind, *p.types[i], c, {});
    } catch (const sdk::Error&) {
      proto::Cursor again = before;
      wire::OutBuffer nowhere;
      wire::encode_value(nowhere, *p.types[i], again, place(where, i));
      throw;
    }
  }
}

// Where a named parameter's value is; values are looked up in the map as it came.
class NamedValues {
 public:
  NamedValues(proto::Bytes map, std::string_view where) : map_(map), where_(where) {}
  void check(const std::vector<std::string>& names) const {
    proto::Cursor c(map_);
    const std::uint32_t n = c.read_map();
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::string_view name = c.read_str();
      c.skip();
      if (!c.ok()) throw sdk::invalid(std::string(where_) + "parameters by name need names");
      if (std::find(names.begin(), names.end(), name) == names.end())
        throw sdk::invalid(std::string(where_) + "the statement has no parameter `:" +
                           std::string(name.substr(0, 64)) + "`");
    }
  }
  [[nodiscard]] proto::Cursor at(std::string_view wanted) const {
    proto::Cursor c(map_);
    const std::uint32_t n = c.read_map();
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::string_view name = c.read_str();
      if (name == wanted) return c;
      c.skip();
    }
    throw sdk::invalid(std::string(where_) + "parameter `:" + std::string(wanted) + "` is missing");
  }

 private:
  proto::Bytes map_;
  std::string_view where_;
};

void bind_map(wire::BindWriter& bind, const Prepared& p, proto::Bytes params,
              std::string_view where) {
  const NamedValues values(params, where);
  values.check(p.statement->names);
  for (std::size_t i = 0; i < p.types.size(); ++i) {
    const std::string& name = p.statement->names[i];
    proto::Cursor c = values.at(name);
    if (c.peek() == proto::Type::nil)
      bind.null();
    else
      wire::bind_value(bind, *p.types[i], c, std::string(where) + "parameter `:" + name + "`");
  }
}

}  // namespace

Prepared* PreparedCache::find(std::uint64_t key, std::string_view source) {
  const auto it = entries_.find(key);
  if (it == entries_.end() || it->second->statement->source != source) return nullptr;
  it->second->used = ++clock_;
  return it->second.get();
}

Prepared& PreparedCache::add(StatementPtr statement, wire::OutBuffer& out, std::uint32_t* closed) {
  *closed = 0;
  if (entries_.size() >= max_) {
    // An eighth at once, so that the search for the oldest is rare.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ages;
    for (const auto& [key, p] : entries_)
      if (p->users == 0) ages.emplace_back(p->used, key);
    const std::size_t n = std::min(ages.size(), std::max<std::size_t>(1, max_ / 8));
    std::partial_sort(ages.begin(), ages.begin() + static_cast<std::ptrdiff_t>(n), ages.end());
    for (std::size_t i = 0; i < n; ++i) {
      const auto it = entries_.find(ages[i].second);
      if (it->second->named_on_server) {
        wire::close_statement(out, it->second->name());
        ++*closed;
      }
      entries_.erase(it);
    }
  }
  const std::uint64_t key = statement->key;
  auto& slot = entries_[key];
  // Two texts of one hash: the older one must not be asked for by that name any more.
  const bool taken = slot != nullptr && slot->named_on_server;
  if (slot == nullptr || slot->users == 0) {
    slot = std::make_unique<Prepared>();
  } else {
    throw sdk::Error(sdk::Code::internal, sdk::Outcome::not_sent,
                     "two statements have one hash; change a blank in one of them");
  }
  slot->statement = std::move(statement);
  slot->named_on_server = taken;
  slot->used = ++clock_;
  return *slot;
}

void PreparedCache::forget_all() {
  for (auto& [key, p] : entries_)
    if (p->state == Prepared::State::ready) forget(*p);
}

void PreparedCache::forget(Prepared& p) {
  p.state = Prepared::State::fresh;
  p.named_on_server = true;  // it may be there, with another plan
  ++p.generation;
}

void PreparedCache::write_prepare(wire::OutBuffer& out, Prepared& p) {
  const std::size_t before = out.size();
  try {
    if (p.named_on_server) wire::close_statement(out, p.name());
    wire::parse(out, p.name(), p.statement->text);
    wire::describe_statement(out, p.name());
  } catch (...) {
    out.truncate(before);
    throw;
  }
  p.state = Prepared::State::parsing;
  p.named_on_server = true;
  p.oids.clear();
  p.unknown.clear();
  p.row_description.clear();
}

bool PreparedCache::take(Prepared& p, const wire::Message& m) {
  switch (m.tag) {
    case wire::Tag::parse_complete:
    case wire::Tag::close_complete:
    case wire::Tag::no_data:
      wire::read_empty(m);
      return true;
    case wire::Tag::parameter_description: {
      const wire::ParameterDescription d(m.payload);
      p.oids.clear();
      for (std::size_t i = 0; i < d.count(); ++i) p.oids.push_back(d.type(i));
      return true;
    }
    case wire::Tag::row_description:
      p.row_description.assign(m.payload.begin(), m.payload.end());
      return true;
    default:
      return false;
  }
}

bool PreparedCache::settle(Prepared& p, wire::TypeCatalog& types) {
  if (p.unknown.empty()) {
    std::vector<wire::Oid> all = p.oids;
    if (!p.row_description.empty()) {
      const auto rows = wire::ResultPlan::types_in(p.row_description);
      all.insert(all.end(), rows.begin(), rows.end());
    }
    p.unknown = types.unknown(all);
    if (!p.unknown.empty()) return false;
  }
  p.types.clear();
  for (const wire::Oid oid : p.oids) p.types.push_back(types.type(oid));
  p.row_types.clear();
  if (!p.row_description.empty())
    for (const wire::Oid oid : wire::ResultPlan::types_in(p.row_description))
      p.row_types.push_back(types.type(oid));
  p.plan =
      p.row_description.empty() ? wire::ResultPlan() : wire::ResultPlan(p.row_description, types);
  if (p.statement->named && p.types.size() != p.statement->names.size())
    throw sdk::Error(sdk::Code::invalid, sdk::Outcome::rejected,
                     "the statement mixes `:name` with other parameters");
  p.row_description.clear();
  p.row_description.shrink_to_fit();
  p.unknown.clear();
  p.state = Prepared::State::ready;
  return true;
}

void PreparedCache::write_lookup(wire::OutBuffer& out, const Prepared& p, int server_version) {
  wire::parse(out, "", wire::TypeCatalog::lookup_sql(server_version));
  wire::BindWriter bind(out, "", "", 1);
  bind.text(wire::TypeCatalog::lookup_argument(p.unknown));
  const std::int16_t binary[1] = {1};
  bind.finish(binary);
  wire::execute(out);
}

bool may_be_stale(const sdk::Error& e) {
  return e.code == sdk::Code::invalid && (e.sqlstate == "42804" || e.sqlstate.starts_with("22"));
}

void write_run(wire::OutBuffer& out, const Prepared& p, proto::Bytes params,
               std::string_view where) {
  const std::size_t wanted = p.types.size();
  {
    proto::Cursor c(params);
    const bool map = !params.empty() && c.peek() == proto::Type::map;
    if (map != p.statement->named)
      throw sdk::invalid(std::string(where) + (map ? "a list of parameters is expected, not a map"
                                                   : "a map of parameters is expected"));
    if (!map) {
      const std::size_t given = params.empty() ? 0 : c.read_array();
      if (!c.ok()) throw sdk::invalid(std::string(where) + "parameters must be a list or a map");
      if (given != wanted) throw wrong_count(where, wanted, given);
    }
    wire::BindWriter bind(out, "", p.name(), wanted);
    if (map)
      bind_map(bind, p, params, where);
    else
      bind_list(bind, p, c, where);
    bind.finish(p.plan.formats());
  }
  wire::execute(out);
}

}  // namespace headgate::postgres
