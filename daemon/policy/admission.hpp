// Admission refuses at once what could not be served in time, so that a caller learns it while it
// can still do something else.
//
// Pure. ServiceTime is owned by a pool and told how long places were held.
#pragma once
#include <cstdint>

#include "daemon/core/time.hpp"

namespace headgate::policy {

// How long a place was held lately: an average in which a new sample weighs an eighth.
class ServiceTime {
 public:
  static constexpr std::uint32_t kEnough = 8;  // samples before it is believed

  void sample(Micros held);
  [[nodiscard]] Micros recent() const { return Micros(static_cast<std::int64_t>(average_us_)); }
  [[nodiscard]] bool known() const { return samples_ >= kEnough; }

 private:
  double average_us_ = 0;
  std::uint32_t samples_ = 0;
};

// What stands before a new call, seen from its service.
struct QueueView {
  std::uint64_t waiting = 0;  // calls in this queue, of all services
  std::uint64_t mine = 0;     // of them, of this service
  double my_weight = 1;
  double weights = 1;        // of the services with calls in this queue, mine included
  std::uint64_t places = 0;  // calls that can be in flight at once
  Micros service_time{0};
};

// Calls that are served before this one: those of its own service, each with its neighbours' share.
std::uint64_t queue_ahead(const QueueView& q);
// Queue ahead x service time / places. 0 where there are no places to reckon with.
Micros expected_wait(const QueueView& q);

struct QueueLimits {
  std::uint32_t calls_max = 4096;  // of one service in one store
  std::uint64_t bytes_max = 64u << 20;
};

enum class Admitted : std::uint8_t { yes, queue_full, too_late };
struct Admission {
  Admitted admitted = Admitted::yes;
  std::uint32_t retry_after_ms = 0;
};

// calls, bytes: what the service has waiting in the store already; `size`: of the new one.
Admission admit(const QueueView& q, const QueueLimits& limits, std::uint64_t calls,
                std::uint64_t bytes, std::uint64_t size, TimePoint now, Deadline deadline);

}  // namespace headgate::policy
