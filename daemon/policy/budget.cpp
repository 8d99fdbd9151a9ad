#include "daemon/policy/budget.hpp"

#include <algorithm>

namespace headgate::policy {

bool Budget::allows(TimePoint now) {
  const auto most =
      std::max(static_cast<double>(floor_), ratio_ * static_cast<double>(window_.first(now)));
  return static_cast<double>(window_.second(now) + 1) <= most;
}

}  // namespace headgate::policy
