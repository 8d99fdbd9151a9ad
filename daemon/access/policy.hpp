// Policy is who may do what, as one reading of the configuration says: services by key and Unix
// user, and the grant of each service on each store. Default deny.
//
// Owner:     Gateway (the one in force) and every call in flight (the one it was admitted by): a
//            reload swaps, and calls that are under way keep what they were promised.
// Threads:   the loop's; read-only once built, but for Usage.
// Invariant: store 0 is the built-in one; service 0 is the daemon's own user where configuration
//            gives that user no service.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/access/grant.hpp"

namespace headgate::access {

inline constexpr std::uint32_t kOwnService = 0;
inline constexpr std::uint32_t kBuiltinStore = 0;
inline constexpr std::string_view kOwnServiceName = "@daemon";

struct ServiceInput {
  std::string name;
  std::uint32_t index = 0;  // dense, from 1; the same over reloads
  std::uint32_t weight = 1;
  std::vector<std::string> users;  // "uid:1000", "curve:<Z85>"
};

struct GrantInput {
  std::string service;
  std::string store;
  Rule rule;
};

struct StoreInput {
  std::string name;
  const VerbTable* verbs = nullptr;  // outlives the policy; null: its plugin could not be loaded
};

struct PolicyInput {
  std::vector<ServiceInput> services;
  std::vector<GrantInput> grants;
  std::vector<StoreInput> stores;  // by index; 0 is the built-in one
  std::string own_user;            // "uid:<ours>"
};

// Usage of rules, kept over reloads by what they are about.
class UsageBook {
 public:
  std::shared_ptr<Usage> of(const std::string& key);

 private:
  std::map<std::string, std::shared_ptr<Usage>> book_;
};

class Policy {
 public:
  Policy(PolicyInput input, UsageBook& book);
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  // The service that goes by this name ("uid:1000", "curve:..."), or empty: nobody.
  [[nodiscard]] std::optional<std::uint32_t> service_of(std::string_view user) const;
  // Our own Unix user: may use the built-in store without a grant.
  [[nodiscard]] bool is_own(std::string_view user) const { return user == own_user_; }
  [[nodiscard]] const ServiceShare& share(std::uint32_t service) const;
  [[nodiscard]] const Grant& grant(std::uint32_t service, std::uint32_t store) const;
  // What our own user may do on the built-in store: everything.
  [[nodiscard]] const Grant& own_grant() const { return own_grant_; }

  struct Verdict {
    bool allowed = false;
    std::string why;  // names the line that allows it, or what is missing
  };
  [[nodiscard]] Verdict can(std::string_view service, std::string_view store,
                            std::string_view verb) const;
  [[nodiscard]] const std::vector<ServiceInput>& services() const { return input_.services; }

 private:
  PolicyInput input_;
  std::string own_user_;
  std::map<std::string, std::uint32_t, std::less<>> users_;
  std::vector<ServiceShare> shares_;  // by service index
  std::vector<Grant> grants_;         // service * stores + store
  Grant own_grant_;
  Grant nothing_;
};

}  // namespace headgate::access
