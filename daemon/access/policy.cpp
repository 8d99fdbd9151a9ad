#include "daemon/access/policy.hpp"

#include <algorithm>

namespace headgate::access {
namespace {

// Every known service may ask whether the gateway is there, and what it offers.
Rule everybody() {
  Rule r;
  r.verbs = {"ping", "describe"};
  r.place = "the built-in rule for every known service";
  return r;
}

Rule own_user() {
  Rule r;
  r.access = Access::admin;
  r.place = "the built-in rule for the daemon's own user over ipc";
  return r;
}

}  // namespace

std::shared_ptr<Usage> UsageBook::of(const std::string& key) {
  auto& u = book_[key];
  if (u == nullptr) u = std::make_shared<Usage>();
  return u;
}

Policy::Policy(PolicyInput input, UsageBook& book)
    : input_(std::move(input)), own_user_(input_.own_user) {
  std::uint32_t services = 1;
  for (const ServiceInput& s : input_.services) services = std::max(services, s.index + 1);
  shares_.resize(services);
  shares_[kOwnService].service_name = kOwnServiceName;
  for (const ServiceInput& s : input_.services) {
    shares_[s.index] = {s.index, s.weight, s.name};
    for (const std::string& user : s.users) users_.emplace(user, s.index);
  }
  users_.emplace(own_user_, kOwnService);  // unless a service has it

  const std::size_t stores = input_.stores.size();
  grants_.resize(services * stores);
  for (std::uint32_t service = 0; service < services; ++service) {
    for (std::size_t store = 0; store < stores; ++store) {
      const StoreInput& at = input_.stores[store];
      if (at.verbs == nullptr) continue;
      std::vector<Rule> rules;
      std::vector<std::shared_ptr<Usage>> usage;
      for (const GrantInput& g : input_.grants) {
        if (g.store != at.name || g.service != shares_[service].service_name) continue;
        usage.push_back(book.of(g.service + '\n' + g.store + '\n' + std::to_string(rules.size())));
        rules.push_back(g.rule);
      }
      if (store == kBuiltinStore) {
        rules.push_back(everybody());
        usage.push_back(std::make_shared<Usage>());
      }
      if (!rules.empty()) {
        grants_[service * stores + store] = Grant(*at.verbs, std::move(rules), std::move(usage));
      }
    }
  }
  if (!input_.stores.empty() && input_.stores[kBuiltinStore].verbs != nullptr) {
    own_grant_ =
        Grant(*input_.stores[kBuiltinStore].verbs, {own_user()}, {std::make_shared<Usage>()});
  }
}

std::optional<std::uint32_t> Policy::service_of(std::string_view user) const {
  const auto found = users_.find(user);
  if (found == users_.end()) return std::nullopt;
  return found->second;
}

const ServiceShare& Policy::share(std::uint32_t service) const {
  return shares_[service < shares_.size() ? service : kOwnService];
}

const Grant& Policy::grant(std::uint32_t service, std::uint32_t store) const {
  const std::size_t stores = input_.stores.size();
  const std::size_t i = service * stores + store;
  return store < stores && i < grants_.size() ? grants_[i] : nothing_;
}

Policy::Verdict Policy::can(std::string_view service, std::string_view store,
                            std::string_view verb) const {
  const auto named = [](std::string_view kind, std::string_view name) {
    return std::string(kind) + " `" + std::string(name) + "`";
  };
  const auto s = std::find_if(shares_.begin(), shares_.end(),
                              [&](const ServiceShare& x) { return x.service_name == service; });
  if (s == shares_.end()) return {false, "there is no " + named("service", service)};
  const auto at = std::find_if(input_.stores.begin(), input_.stores.end(),
                               [&](const StoreInput& x) { return x.name == store; });
  if (at == input_.stores.end()) return {false, "there is no " + named("store", store)};
  if (at->verbs == nullptr)
    return {false, "the plugin of " + named("store", store) + " is not loaded"};
  const std::uint32_t v = at->verbs->find(verb);
  if (v == NameTable::kNone) {
    return {false, named("store", store) + " offers no " + named("verb", verb)};
  }
  const auto store_index = static_cast<std::uint32_t>(at - input_.stores.begin());
  const auto service_index = static_cast<std::uint32_t>(s - shares_.begin());
  const Grant& g = service_index == kOwnService && store_index == kBuiltinStore
                       ? own_grant_
                       : grant(service_index, store_index);
  if (const int r = g.rule_for(v); r >= 0) {
    const Rule& rule = g.rule(r);
    std::string why = "allowed by " + rule.place;
    if (!rule.collections.empty()) why += ", on some collections";
    if (!rule.key_prefixes.empty()) why += ", on some keys";
    if (!rule.statements.empty()) why += ", by named statements only";
    return {true, why};
  }
  std::string others;
  for (const GrantInput& x : input_.grants) {
    if (x.service == service && x.store == store) others += ' ' + x.rule.place;
  }
  if (!others.empty()) return {false, "no grant gives it; there are" + others};
  return {false,
          "no grant gives " + named("service", service) + " anything on " + named("store", store)};
}

}  // namespace headgate::access
