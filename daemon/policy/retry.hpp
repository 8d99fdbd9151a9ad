// Retry is the retry contract as a table: what an attempt's end means for its call.
//
// Pure: time, randomness and the state of the budget come in.
// Promise: no work that may have been applied is sent again unless that is harmless (a read, the
//          caller's or the verb's word, an idempotency key) or the repeat only asks what happened
//          (a receipt). Once an attempt was unknown, the answer says unknown until something proves
//          otherwise. Nothing is begun that could not end inside the deadline.
#pragma once
#include <cstdint>
#include <string_view>

#include "daemon/core/result.hpp"
#include "daemon/core/time.hpp"

namespace headgate::policy {

struct RetryLimits {
  std::uint32_t attempts_max = 3;
  std::uint32_t hops_max = 5;  // reroutes
  Micros base{20'000};
  Micros cap{2'000'000};
};

// What is known of the call when an attempt has ended with an error.
struct Situation {
  // The attempt's error
  Outcome outcome = Outcome::not_sent;
  Retry retry = Retry::never;
  std::uint32_t hint_ms = 0;  // the plugin's idea of a pause
  Code code = Code::internal;

  // The call
  bool read = false;               // on a connection that the store itself holds read-only
  bool idempotent = false;         // the caller's word, or the verb's nature
  bool keyed = false;              // carries an idempotency key
  bool receipt = false;            // an attempt left one: a repeat asks instead of repeating
  bool in_transaction = false;     // belongs to an interactive transaction
  bool part_left = false;          // a part of its stream has left
  bool upload_taken = false;       // a piece of its upload was handed over: it cannot be sent again
  bool was_unknown = false;        // an earlier attempt was
  std::uint32_t attempts = 1;      // this one included
  std::uint32_t hops = 0;          // reroutes so far
  std::uint32_t role_changes = 0;  // times that it was sent to another endpoint for its role

  TimePoint now{};
  Deadline deadline = kNever;
  bool budget = true;  // one more repeat is within it
};

enum class Next : std::uint8_t { answer, again, pause, reroute, wait };

// Why there is no other attempt; counted, and told in tests.
enum class Why : std::uint8_t {
  none,
  final,
  transaction,
  part_left,
  upload,
  unknown,
  attempts,
  hops,
  deadline,
  budget
};

struct Decision {
  Next next = Next::answer;
  Micros pause{0};      // Next::pause and (0: until woken) Next::wait
  bool repeat = false;  // costs one of the budget
  Why why = Why::none;  // Next::answer
  // Of the answer, when it is one:
  Outcome outcome = Outcome::not_sent;
  bool retryable = false;  // the caller may send it again without doing anything twice
  std::uint32_t retry_after_ms = 0;
};

// May a call of this kind run a second time although the first may have been applied?
[[nodiscard]] bool repeatable(const Situation& s);
// Rule (a): what is known of the call as a whole after this end.
[[nodiscard]] Outcome settled_outcome(const Situation& s);

[[nodiscard]] Decision decide(const Situation& s, const RetryLimits& limits, std::uint64_t random);

}  // namespace headgate::policy
