// Fault and Result: how a path that a request can take says that something went wrong.
//
// No exception crosses the request path; a Fault carries what the reply will say.
#pragma once
#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "proto/codes.hpp"

namespace headgate {

using proto::Code;
using proto::Outcome;

// What would help, as the plugin ABI's HG_RETRY_* (same numbers).
enum class Retry : std::uint8_t {
  never,
  same_connection,
  new_connection,
  other_endpoint,
  reroute,
  backoff,
  wait
};

struct Fault {
  Code code = Code::internal;
  Outcome outcome = Outcome::not_sent;
  std::string message;
  Retry retry = Retry::never;
  std::uint32_t retry_after_ms = 0;
  std::int32_t vendor_code = 0;
  std::string sqlstate;
  bool breaker = false;              // counts toward the endpoint's breaker
  bool full = false;                 // of a connect: the store has no room for another connection
  std::uint64_t wait_token = 0;      // Retry::wait
  std::vector<std::uint8_t> detail;  // one msgpack value, or empty
};

template <class T>
using Result = tl::expected<T, Fault>;

inline tl::unexpected<Fault> fault(Code code, std::string message,
                                   Outcome outcome = Outcome::not_sent) {
  Fault f;
  f.code = code;
  f.outcome = outcome;
  f.message = std::move(message);
  return tl::make_unexpected(std::move(f));
}

}  // namespace headgate
