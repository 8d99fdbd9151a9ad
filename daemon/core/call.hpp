// Call is one request inside the daemon, from its admission to its one answer.
//
// Owner:     dispatch/inflight (a slab of calls_max). Threads: the loop's.
// Invariant: it is answered exactly once; after the answer nobody holds it. An operation that is
//            still running for it (deadline passed) is orphaned: it keeps the request's bytes.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "daemon/core/frame.hpp"
#include "daemon/core/list.hpp"
#include "daemon/core/reply_buffer.hpp"
#include "daemon/core/result.hpp"
#include "daemon/core/time.hpp"

namespace headgate {

enum class Access : std::uint8_t { read = 1, write = 2, admin = 3 };  // HG_ACCESS_*

// What a caller may touch inside a store; implemented by access/grants. Lent: it stays valid while
// the call lives (a reload keeps the old one until its last call has ended).
class Permission {
 public:
  virtual ~Permission() = default;
  // kind: HG_TOUCH_*. verb: of the batch item, or the call's own.
  [[nodiscard]] virtual bool allows(std::string_view verb, std::uint32_t kind,
                                    proto::Bytes name) const = 0;
};

// The bytes of a request, held by the call and by operations that still run for it after it was
// answered. Counted by the loop thread only: a worker borrows, the loop gives back. Pooled by
// dispatch (no allocation in steady state).
struct RequestBytes {
  Frame frame;
  std::uint32_t holders = 0;
  void (*give_back)(RequestBytes*) = nullptr;  // called at holders == 0
};
inline void release(RequestBytes*& b) {
  if (b != nullptr && --b->holders == 0) b->give_back(b);
  b = nullptr;
}

// What a service may use of a store's pools. Plain numbers from configuration.
struct ServiceShare {
  std::uint32_t service = 0;  // dense index of the service; names are in `service_name`
  std::uint32_t weight = 1;
  std::string_view service_name;
};

struct InflightTag;
struct PeerTag;
struct QueueTag;

struct Call : Hook<InflightTag>, Hook<PeerTag>, Hook<QueueTag> {
  // Identity (dispatch)
  std::uint64_t id = 0;          // slot and generation: what `show calls` and `kill` name
  std::uint64_t peer = 0;        // slot and generation of the peer that waits
  std::uint64_t request_id = 0;  // the caller's
  ServiceShare share;
  const Permission* permission = nullptr;

  // The request (views into bytes->frame)
  RequestBytes* bytes = nullptr;
  std::string_view verb;
  std::string_view store;
  proto::Bytes body;
  std::string_view key;  // idempotency
  std::string_view trace;
  std::uint64_t tx = 0;  // the begin this call belongs to (the caller's id), 0: none
  std::uint64_t fetch = 0;
  std::uint64_t credit = 0;  // parts the client takes: highest sequence number
  bool read_only = false;
  bool idempotent = false;
  bool upload = false;            // the verb takes data frames
  bool waits = false;             // the verb waits by nature
  Access access = Access::write;  // of the pool it goes to

  // Time
  TimePoint received{};
  Deadline deadline = kNever;

  // Who works on it (pool's; opaque to dispatch)
  void* attempt = nullptr;

  // What it cost
  std::uint32_t attempts = 0;
  std::int64_t queue_us = 0;
  std::int64_t store_us = 0;
};

// The one answer of a call.
struct Answer {
  Code code = Code::ok;
  Outcome outcome = Outcome::applied;
  bool retryable = false;
  std::uint32_t retry_after_ms = 0;
  Fault fault;       // message, sqlstate, vendor_code, detail when code != ok
  ReplyBuffer body;  // empty: nil
  bool has_rows_affected = false;
  bool has_last_id = false;
  std::int64_t rows_affected = 0;
  std::int64_t last_id = 0;
  bool replayed = false;
  bool not_replicated = false;
  std::vector<std::uint8_t> warnings;  // msgpack array, or empty
  bool lease_open = false;             // the call opened a lease that its id now names
};

// Where answers go; implemented by dispatch.
class Answers {
 public:
  virtual ~Answers() = default;
  // Exactly once a call; the call must not be used after it.
  virtual void answer(Call& call, Answer answer) = 0;
  // One streamed part, sequence numbers from 1. The call has credit for it.
  virtual void part(Call& call, std::uint64_t sequence, ReplyBuffer body) = 0;
  // The caller may send upload pieces up to this sequence number.
  virtual void upload_credit(Call& call, std::uint64_t sequence) = 0;
};

}  // namespace headgate
