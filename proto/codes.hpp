// Codes and outcomes: the two closed lists by which every reply says what happened.
//
// The numbers are the wire's and the plugin ABI's; they never change meaning.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace headgate::proto {

enum class Code : std::uint8_t {
  ok = 0,
  invalid = 1,          // the request is not what the verb takes
  unsupported = 2,      // this store has no such verb or capability
  unauthenticated = 3,  // the caller is unknown
  denied = 4,           // by a grant, or by the store's account
  not_found = 5,
  exists = 6,      // unique key
  conflict = 7,    // a version or write conflict
  constraint = 8,  // any other constraint
  too_large = 9,
  overloaded = 10,     // refused at once: could not be served in time
  queue_timeout = 11,  // the deadline passed in a queue
  deadline = 12,       // the deadline passed in the store
  cancelled = 13,
  transaction_expired = 14,  // the lease is gone
  transaction_aborted = 15,  // the transaction is no longer usable: roll back
  in_progress = 16,          // this idempotency key is still in flight
  unavailable = 17,          // no connection to the store could be had
  store_error = 18,          // the store said no: see sqlstate and vendor_code
  draining = 19,
  internal = 20,  // a fault of ours
};
inline constexpr int kCodes = 21;

enum class Outcome : std::uint8_t {
  not_sent = 0,     // no byte of the request reached the store
  rejected = 1,     // the store answered that it did not execute it
  rolled_back = 2,  // executed and undone as a whole
  applied = 3,      // acknowledged
  unknown = 4,      // sent, no complete answer
};
inline constexpr int kOutcomes = 5;

inline constexpr std::array<std::string_view, kCodes> kCodeNames = {"ok",
                                                                    "invalid",
                                                                    "unsupported",
                                                                    "unauthenticated",
                                                                    "denied",
                                                                    "not_found",
                                                                    "exists",
                                                                    "conflict",
                                                                    "constraint",
                                                                    "too_large",
                                                                    "overloaded",
                                                                    "queue_timeout",
                                                                    "deadline",
                                                                    "cancelled",
                                                                    "transaction_expired",
                                                                    "transaction_aborted",
                                                                    "in_progress",
                                                                    "unavailable",
                                                                    "store_error",
                                                                    "draining",
                                                                    "internal"};
inline constexpr std::array<std::string_view, kOutcomes> kOutcomeNames = {
    "not_sent", "rejected", "rolled_back", "applied", "unknown"};

constexpr std::string_view name(Code c) { return kCodeNames[static_cast<std::size_t>(c)]; }
constexpr std::string_view name(Outcome o) { return kOutcomeNames[static_cast<std::size_t>(o)]; }

constexpr std::optional<Code> code_from(std::uint64_t n) {
  if (n >= kCodes) return std::nullopt;
  return static_cast<Code>(n);
}
constexpr std::optional<Outcome> outcome_from(std::uint64_t n) {
  if (n >= kOutcomes) return std::nullopt;
  return static_cast<Outcome>(n);
}

}  // namespace headgate::proto
