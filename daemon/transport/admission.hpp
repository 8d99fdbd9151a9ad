// Admission says whether a name that the kernel or a key vouches for belongs to anybody.
//
// Threads: the loop's. Implemented by gateway over the policy in force.
#pragma once
#include <string_view>

namespace headgate {

class Admission {
 public:
  virtual ~Admission() = default;
  // "uid:1000" or "curve:<Z85>": is it a service's, or our own user?
  [[nodiscard]] virtual bool knows(std::string_view user) const = 0;
};

}  // namespace headgate
