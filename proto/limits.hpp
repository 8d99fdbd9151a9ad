// Limits that both ends of the wire know. Each is a default that the daemon's configuration may
// lower or raise inside [min, max]; the welcome frame tells a client the values in force.
//
// Installed with the SDK and the client. Threads: constants only.
#pragma once
#include <cstdint>

namespace headgate::proto {

inline constexpr std::uint32_t kVersion = 1;              // the one protocol version so far
inline constexpr std::uint64_t kMessageMax = 20u << 20;   // bytes of one frame
inline constexpr std::uint32_t kDepthMax = 128;           // nesting of a body
inline constexpr std::uint32_t kElementsMax = 1'000'000;  // values in a body, keys included
inline constexpr std::uint64_t kReplyMax = 8u << 20;      // bytes of a reply without `fetch`
inline constexpr std::uint64_t kPartMax = 256u << 10;     // bytes of one streamed part
inline constexpr std::uint32_t kFetchMax = 1'000'000;     // rows a part may be asked to hold
inline constexpr std::uint32_t kCreditMax = 1024;         // parts a client may ask for ahead
inline constexpr std::uint32_t kCreditDefault = 4;
inline constexpr std::uint32_t kTimeoutMsDefault = 5'000;
inline constexpr std::uint32_t kTimeoutMsMax = 24u * 3600 * 1000;
inline constexpr std::uint32_t kHeartbeatMs = 10'000;    // client pings an idle gateway this often
inline constexpr std::uint32_t kNameMax = 255;           // bytes of a store, verb, service name
inline constexpr std::uint32_t kKeyMax = 255;            // bytes of an idempotency key
inline constexpr std::uint32_t kTraceMax = 128;          // bytes of a traceparent
inline constexpr std::uint32_t kBatchItemsMax = 10'000;  // items of a `batch`
inline constexpr std::uint32_t kMessageTextMax = 511;    // bytes of meta.message
inline constexpr std::uint32_t kCallsPerPeerMax = 4096;  // calls of one peer in flight

static_assert(kPartMax <= kReplyMax && kReplyMax < kMessageMax);

}  // namespace headgate::proto
