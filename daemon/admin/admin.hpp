// Admin is the built-in store `headgate`: its verbs, their bodies and their answers. What they see
// and do is Operator's.
//
// Owner: Gateway. Threads: the loop's. A call is answered at once.
#pragma once
#include <cstdint>
#include <vector>

#include "daemon/access/verbs.hpp"
#include "daemon/admin/operator.hpp"
#include "daemon/core/call.hpp"

namespace headgate::admin {

// What the store offers: proto/verbs.json, "admin".
std::vector<access::Verb> verbs();
// The names that `show` takes.
const std::vector<std::string>& shown();
// The body of its `describe`.
std::vector<std::uint8_t> describe_reply();

class Admin {
 public:
  explicit Admin(Operator& op) : operator_(op) {}
  // `ping` and `describe` are dispatch's. REQUIRES: grants were checked.
  [[nodiscard]] Answer serve(const Call& call);

 private:
  Answer show(proto::Bytes body);
  Answer reload(proto::Bytes body);
  Answer drain(proto::Bytes body);
  Answer kill(proto::Bytes body);
  Answer can(proto::Bytes body);
  Operator& operator_;
};

}  // namespace headgate::admin
