#include "daemon/policy/breaker.hpp"

#include <algorithm>

#include "daemon/policy/backoff.hpp"

namespace headgate::policy {

Breaker::State Breaker::state(TimePoint now) const {
  if (!tripped_) return State::closed;
  return now < until_ ? State::open : State::half_open;
}

bool Breaker::would_allow(TimePoint now) const {
  if (!tripped_) return true;
  if (now < until_) return false;
  // A probe whose end nobody ever reports must not keep an endpoint shut for good.
  return probes_out_ < limits_.probes || now - probing_since_ >= limits_.open_max;
}

bool Breaker::allow(TimePoint now) {
  if (!would_allow(now)) return false;
  if (tripped_) {
    if (probes_out_ >= limits_.probes) probes_out_ = 0;
    if (probes_out_ == 0) probing_since_ = now;
    ++probes_out_;
  }
  return true;
}

void Breaker::limit(const BreakerLimits& limits) {
  if (limits.window != limits_.window) window_ = Window(limits.window);
  limits_ = limits;
}

void Breaker::give_back() {
  if (probes_out_ > 0) --probes_out_;
}

void Breaker::report(TimePoint now, bool failed, bool last_endpoint, std::uint64_t random) {
  window_.add(now, 1, failed ? 1 : 0);
  if (tripped_) {
    if (now < until_) return;  // sent before it opened: no news
    give_back();
    if (failed) {
      open(now, last_endpoint, random);
    } else if (++successes_ >= limits_.probes) {
      tripped_ = false;
      span_ = Micros(0);
      window_.clear();
    }
    return;
  }
  const std::uint64_t all = window_.first(now);
  if (failed && all >= limits_.min_calls &&
      static_cast<double>(window_.second(now)) >= limits_.ratio * static_cast<double>(all)) {
    open(now, last_endpoint, random);
  }
}

void Breaker::open(TimePoint now, bool last_endpoint, std::uint64_t random) {
  span_ = span_.count() == 0 ? limits_.open_min : std::min(span_ * 2, limits_.open_max);
  if (last_endpoint) span_ = limits_.open_min;
  tripped_ = true;
  until_ = now + shortened(span_, 0.2, random);
  probes_out_ = successes_ = 0;
  ++opened_;
}

TimePoint Breaker::opens_at(TimePoint now) const { return tripped_ && now < until_ ? until_ : now; }

}  // namespace headgate::policy
