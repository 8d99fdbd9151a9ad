// `show config` and what a reload changes: both walk the one table of settings.
#include <algorithm>

#include "daemon/config/settings.hpp"
#include "daemon/config/units.hpp"

namespace headgate::config {
namespace {

// Settings that are not in the table, because a store is made of them once.
constexpr bool kStoreMakingRestarts = true;

std::string join(const std::vector<std::string>& values) {
  std::string out = "[";
  for (const std::string& v : values) out += (out.size() == 1 ? "" : ", ") + quote(v);
  return out + "]";
}

std::string tls_text(const Tls& t) {
  std::string out = "{ mode = " + quote(std::string(word(t.mode)));
  const auto add = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) out += ", " + std::string(key) + " = " + quote(value);
  };
  if (t.mode != Tls::Mode::off) add("min_version", t.min_version);
  add("ca_file", t.ca_file);
  add("cert_file", t.cert_file);
  add("key_file", t.key_file);
  add("server_name", t.server_name);
  return out + " }";
}

bool same(const Credential& a, const Credential& b) {
  return a.service == b.service && a.store == b.store && a.access == b.access &&
         a.account == b.account && a.password == b.password;
}

std::string uids_text(const Service& s) {
  std::string out = "[";
  for (const std::uint32_t uid : s.uids) {
    out += (out.size() == 1 ? "" : ", ") + std::to_string(uid);
  }
  return out + "]";
}

class Shower {
 public:
  explicit Shower(const Config& config) : config_(config) {}

  template <class T>
  void section(const std::string& prefix, std::span<const Setting<T>> settings, const T& of,
               const T& defaults) {
    for (const Setting<T>& s : settings) {
      add(prefix + std::string(s.name), render(of, s), render(defaults, s), s.restart);
    }
  }
  void add(const std::string& name, std::string value, std::string fallback, bool restart) {
    const auto at = config_.set_at.find(name);
    rows_.push_back({name, std::move(value), std::move(fallback), restart,
                     at == config_.set_at.end() ? "default" : at->second.file_line()});
  }
  void placed(const std::string& name, std::string value, bool restart, const Place& place) {
    rows_.push_back({name, std::move(value), "", restart, place.file_line()});
  }
  std::vector<ShownSetting> take() { return std::move(rows_); }

 private:
  const Config& config_;
  std::vector<ShownSetting> rows_;
};

bool same(const Grant& a, const Grant& b) {
  return a.service == b.service && a.store == b.store && a.access == b.access &&
         a.verbs == b.verbs && a.collections == b.collections && a.key_prefixes == b.key_prefixes &&
         a.statements == b.statements && a.limits == b.limits;
}

class Differ {
 public:
  void note(bool changed, bool restart, const std::string& name) {
    if (changed) (restart ? out_.needs_restart : out_.changed).push_back(name);
  }
  template <class T>
  void section(const std::string& prefix, std::span<const Setting<T>> settings, const T& a,
               const T& b) {
    for (const Setting<T>& s : settings) {
      note(render(a, s) != render(b, s), s.restart, prefix + std::string(s.name));
    }
  }
  void store(const Store& a, const Store& b) {
    const std::string prefix = "stores." + a.name + ".";
    note(a.plugin != b.plugin, kStoreMakingRestarts, prefix + "plugin");
    note(a.kind != b.kind, kStoreMakingRestarts, prefix + "kind");
    note(a.options != b.options, kStoreMakingRestarts, prefix + "options");
    // They belong to the rest: another server with the old database would be neither.
    const bool waits = !made_alike(a, b);
    note(a.endpoints != b.endpoints, waits, prefix + "endpoints");
    note(a.read_endpoints != b.read_endpoints, waits, prefix + "read_endpoints");
    note(a.tls != b.tls, false, prefix + "tls");
    note(a.account != b.account, false, prefix + "account");
    note(!(a.password == b.password), false, prefix + "password");
    section(prefix, pool_settings(), a.pool, b.pool);
  }
  void service(const Service& a, const Service& b) {
    const std::string prefix = "services." + a.name + ".";
    note(a.uids != b.uids, false, prefix + "unix_users");
    note(a.curve_keys != b.curve_keys, false, prefix + "curve_keys");
    section(prefix, service_settings(), a, b);
  }
  Difference take() {
    std::sort(out_.changed.begin(), out_.changed.end());
    std::sort(out_.needs_restart.begin(), out_.needs_restart.end());
    return std::move(out_);
  }

 private:
  Difference out_;
};

// Walks two lists that are sorted by name; f gets both, or one and nullptr.
template <class T, class F>
void pair_up(const std::vector<T>& before, const std::vector<T>& after, F&& f) {
  auto a = before.begin();
  auto b = after.begin();
  while (a != before.end() || b != after.end()) {
    const bool only_a = b == after.end() || (a != before.end() && a->name < b->name);
    const bool only_b = !only_a && (a == before.end() || b->name < a->name);
    f(only_b ? nullptr : &*a, only_a ? nullptr : &*b);
    if (!only_b) ++a;
    if (!only_a) ++b;
  }
}

}  // namespace

std::vector<ShownSetting> show(const Config& config) {
  Shower rows(config);
  rows.section("daemon.", daemon_settings(), config.daemon, Daemon{});
  rows.section("store_defaults.", pool_settings(), config.store_defaults, Pool{});
  for (const Store& s : config.stores) {
    const std::string prefix = "stores." + s.name + ".";
    rows.placed(prefix + "plugin", quote(s.plugin), kStoreMakingRestarts, s.place);
    rows.placed(prefix + "kind", quote(s.kind), kStoreMakingRestarts, s.place);
    for (const auto& [option, value] : s.shown_options) {
      rows.add(prefix + "options." + option, value, "", kStoreMakingRestarts);
    }
    if (!s.endpoints.empty()) {
      rows.placed(prefix + "endpoints", join(s.endpoints), false, s.place);
      rows.placed(prefix + "read_endpoints", join(s.read_endpoints), false, s.place);
      rows.add(prefix + "tls", tls_text(s.tls), tls_text(Tls{}), false);
      rows.add(prefix + "account", quote(s.account), quote(""), false);
      rows.add(prefix + "password", render(s.password), "", false);
    }
    rows.section(prefix, pool_settings(), s.pool, config.store_defaults);
  }
  for (const Credential& c : config.credentials) {
    const std::string prefix = "credentials." + name_of(c) + ".";
    rows.placed(prefix + "account", quote(c.account), false, c.place);
    rows.placed(prefix + "password", render(c.password), false, c.place);
  }
  for (const Service& s : config.services) {
    const std::string prefix = "services." + s.name + ".";
    rows.placed(prefix + "unix_users", uids_text(s), false, s.place);
    rows.placed(prefix + "curve_keys", join(s.curve_keys), false, s.place);
    rows.section(prefix, service_settings(), s, Service{});
  }
  return rows.take();
}

bool made_alike(const Store& a, const Store& b) {
  return a.plugin == b.plugin && a.kind == b.kind && a.options == b.options;
}

Difference diff(const Config& before, const Config& after) {
  Differ d;
  d.section("daemon.", daemon_settings(), before.daemon, after.daemon);
  pair_up(before.stores, after.stores, [&](const Store* a, const Store* b) {
    if (a != nullptr && b != nullptr) return d.store(*a, *b);
    d.note(true, kStoreMakingRestarts, "stores." + (a != nullptr ? a : b)->name);
  });
  pair_up(before.services, after.services, [&](const Service* a, const Service* b) {
    if (a != nullptr && b != nullptr) return d.service(*a, *b);
    d.note(true, false, "services." + (a != nullptr ? a : b)->name);
  });
  d.note(!std::equal(before.grants.begin(), before.grants.end(), after.grants.begin(),
                     after.grants.end(), [](const Grant& a, const Grant& b) { return same(a, b); }),
         false, "grants");
  d.note(!std::equal(before.credentials.begin(), before.credentials.end(),
                     after.credentials.begin(), after.credentials.end(),
                     [](const Credential& a, const Credential& b) { return same(a, b); }),
         false, "credentials");
  d.note(!std::equal(before.statements.begin(), before.statements.end(), after.statements.begin(),
                     after.statements.end(),
                     [](const Statement& a, const Statement& b) {
                       return a.name == b.name && a.text == b.text;
                     }),
         kStoreMakingRestarts, "statements");
  return d.take();
}

}  // namespace headgate::config
