#include "daemon/policy/retry.hpp"

#include <algorithm>

#include "daemon/policy/backoff.hpp"
#include "daemon/policy/mutation.hpp"

namespace headgate::policy {
namespace {

Decision answer(const Situation& s, Why why, Micros suggested = Micros(0)) {
  Decision d;
  d.why = why;
  d.outcome = settled_outcome(s);
  const bool undone = d.outcome == Outcome::not_sent || d.outcome == Outcome::rejected ||
                      d.outcome == Outcome::rolled_back;
  const bool helps = s.retry != Retry::never;
  d.retryable = helps && (undone || (d.outcome == Outcome::unknown && !s.in_transaction &&
                                     (s.read || s.idempotent || s.keyed)));
  if (d.retryable) {
    const auto ms = static_cast<std::uint32_t>((suggested.count() + 999) / 1000);
    d.retry_after_ms = std::max(s.hint_ms, ms);
  }
  return d;
}

Decision go(Next next, Micros pause, bool repeat) {
  Decision d;
  d.next = next;
  d.pause = pause;
  d.repeat = repeat;
  return d;
}

bool in_time(const Situation& s, Micros pause) {
  return s.deadline == kNever || s.now + pause < s.deadline;
}

// What forbids any further attempt, whatever would help.
Why barrier(const Situation& s) {
  if (s.part_left) return Why::part_left;
  if (s.upload_taken) return Why::upload;
  const bool asks = s.outcome == Outcome::unknown && s.receipt;
  if (s.in_transaction && !asks) return Why::transaction;
  // A receipt's repeat asks what happened, which always helps.
  if (asks) return Why::none;
  if (s.outcome == Outcome::unknown && !repeatable(s)) return Why::unknown;
  return s.retry == Retry::never ? Why::final : Why::none;
}

// Until when the next attempt should wait; 0: at once.
Micros pause_before(const Situation& s, const RetryLimits& limits, std::uint64_t random) {
  const bool first = s.attempts <= 1;
  switch (s.retry) {
    case Retry::same_connection:
    case Retry::new_connection:
      if (first || s.outcome == Outcome::not_sent) return Micros(0);
      break;
    case Retry::other_endpoint:
      if (s.role_changes == 0) return Micros(0);
      break;
    case Retry::never:  // only with a receipt: ask at once, then with pauses
      if (first) return Micros(0);
      break;
    default:
      break;
  }
  const Micros hint = std::chrono::milliseconds(s.hint_ms);
  return hint + full_jitter(s.attempts, limits.base, limits.cap, random);
}

}  // namespace

bool repeatable(const Situation& s) {
  if (mutated(Mutation::repeat_unknown_writes)) return true;
  return s.read || s.idempotent || s.keyed || s.receipt;
}

Outcome settled_outcome(const Situation& s) {
  if (!s.was_unknown) return s.outcome;
  // What proves: the answer to a receipt's question; and, since a key's record is looked up before
  // the work begins, an error that only the work itself can give. A refusal (busy, disk full) may
  // have come before anybody looked.
  const bool told = s.receipt && s.outcome == Outcome::rolled_back;
  const bool worked = s.code == Code::exists || s.code == Code::constraint ||
                      s.code == Code::conflict || s.code == Code::not_found;
  const bool undone = s.outcome == Outcome::rejected || s.outcome == Outcome::rolled_back;
  const bool looked_up = s.keyed && undone && s.retry == Retry::never && worked;
  return s.outcome == Outcome::applied || told || looked_up ? s.outcome : Outcome::unknown;
}

Decision decide(const Situation& s, const RetryLimits& limits, std::uint64_t random) {
  if (s.outcome == Outcome::applied) return answer(s, Why::final);
  if (const Why why = barrier(s); why != Why::none) {
    return answer(s, why, Micros(0));
  }
  const bool untouched = s.outcome == Outcome::not_sent || s.outcome == Outcome::rejected;
  if (s.retry == Retry::wait) {
    if (!untouched) return answer(s, Why::final);
    return go(Next::wait, std::chrono::milliseconds(s.hint_ms), false);
  }
  if (s.retry == Retry::reroute) {
    if (s.hops >= limits.hops_max) return answer(s, Why::hops);
    if (!in_time(s, Micros(0))) return answer(s, Why::deadline);
    return go(Next::reroute, Micros(0), false);
  }
  const Micros pause = pause_before(s, limits, random);
  if (s.attempts >= limits.attempts_max) {
    return answer(s, Why::attempts, pause_bound(s.attempts, limits.base, limits.cap));
  }
  if (!in_time(s, pause)) return answer(s, Why::deadline, pause);
  // A stale connection from our own pool is our affair: it costs the service no repeat.
  const bool stale = s.outcome == Outcome::not_sent && s.retry == Retry::new_connection;
  if (!stale && !s.budget) return answer(s, Why::budget, pause);
  return go(pause.count() == 0 ? Next::again : Next::pause, pause, !stale);
}

}  // namespace headgate::policy
