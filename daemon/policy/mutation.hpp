// Mutations are bugs planted on purpose, one for each promise that the simulator watches over, so
// that a test can show that it would find them.
//
// Only the simulator's second copy of policy and pool is compiled with HEADGATE_MUTATIONS; in every
// other build mutated() is a constant false and leaves no code behind.
#pragma once
#include <cstdint>

namespace headgate::policy {

enum class Mutation : std::uint8_t {
  none,
  two_leases_on_one_connection,  // a leased connection is given out again
  lost_waiter,                   // a call that was to run again is forgotten
  answer_twice,                  // a call that expired is answered again by its late result
  repeat_unknown_writes,         // a write whose fate is unknown is sent again
  drain_never_ends,              // what is answered while draining still counts
  count_drifts,                  // a late completion gives no operation back
  starved_service,               // a service's turn costs it nothing, so it always has one
  lost_wake,                     // an operation that is free again is not told to those who wait
  count
};

#ifdef HEADGATE_MUTATIONS
extern Mutation planted;
inline bool mutated(Mutation m) { return planted == m; }
#else
constexpr bool mutated(Mutation) { return false; }
#endif

}  // namespace headgate::policy
