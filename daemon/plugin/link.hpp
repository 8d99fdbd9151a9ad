// Link is one physical connection as the pool sees it: on the loop, whatever its lane's model.
// Store is one configured store's driver. Both are interfaces: plugin/ implements them over a
// loaded plugin (event lanes on the loop, blocking lanes with a worker), tests and the simulator
// over nothing.
//
// Threads: every function here, and every event, runs on the loop.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/call.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/core/result.hpp"
#include "daemon/plugin/operation.hpp"

namespace headgate::plugin {

// One lane, from describe.
struct LaneInfo {
  std::string name;
  bool event = false;             // else blocking
  std::uint32_t connections = 1;  // default
  std::uint32_t connections_max = 1;
  bool per_store = false;          // else per pool
  std::uint32_t max_inflight = 1;  // operations submitted and not complete, a connection
  std::uint32_t max_batch = 1;     // operations in one submit
  bool lease = false;
  bool read_only = false;
  bool cancel = false;               // conn_cancel works here
  std::string connections_option{};  // the store option, if any, whose value replaces `connections`
};

// What route decided.
struct Route {
  std::uint32_t lane = 0;
  bool lease = false;
  bool idempotent = false;
  bool alone = false;
  bool subscription = false;
  std::int32_t endpoint = -1;
  std::uint64_t digest = 0;
  std::uint64_t tag = 0;
};

class Link {
 public:
  virtual ~Link() = default;
  // Starts n operations; each ends in LinkEvents::completed. The pool respects max_inflight,
  // max_batch and `alone`, and never overlaps submit with reset or ping.
  virtual void submit(std::span<Operation* const> operations) = 0;
  // Asks the store to stop it (cancel thread). LinkEvents::cancel_returned follows; nothing may be
  // submitted until then. The operation completes as always.
  virtual void cancel(Operation& operation) = 0;
  virtual void reset(Operation& operation) = 0;
  virtual void ping(Operation& operation) = 0;
  // The caller gave up: parts are no longer wanted, waiting sinks and takes answer stop. True: the
  // plugin has not seen the operation and never will; it completes as not_sent, in its turn.
  virtual bool abandon(Operation& operation) = 0;
  // The caller takes parts up to this sequence number.
  virtual void credit(Operation& operation, std::uint64_t sequence) = 0;
  // One piece of an upload (sequence checked by dispatch); `last` ends it.
  virtual void upload(Operation& operation, std::vector<std::uint8_t> piece, bool last) = 0;
  // Closes it; operations that are still open complete first. LinkEvents::closed follows, and only
  // then may the Link be destroyed.
  virtual void close() = 0;
};

// Given to Store::open and echoed: the pool's name for the connection that is being made.
using Ticket = std::uint64_t;

struct OpenRequest {
  Ticket ticket = 0;
  std::uint32_t lane = 0;
  Access access = Access::write;
  std::uint32_t credential = 0;  // that the pool logs in with
  std::uint32_t generation = 0;  // of it
  bool fresh = false;            // the last login was refused: its source is read again
  std::int32_t endpoint = -1;    // index into the store's endpoints
  Deadline deadline = kNever;
};

// The pool's ears. `owner` is what Store::set_events was given for a link: see Ticket.
class LinkEvents {
 public:
  virtual ~LinkEvents() = default;
  virtual void opened(Ticket ticket, std::unique_ptr<Link> link) = 0;
  virtual void open_failed(Ticket ticket, const Fault& fault) = 0;
  // operation.done and operation.reply are final. The pool gives it back with Store::end().
  virtual void completed(Operation& operation) = 0;
  virtual void part(Operation& operation, std::uint64_t sequence, ReplyBuffer body) = 0;
  virtual void upload_credit(Operation& operation, std::uint64_t sequence) = 0;
  virtual void cancel_returned(Ticket ticket) = 0;
  virtual void lost(Ticket ticket, const Fault& fault) = 0;  // an idle connection died
  virtual void closed(Ticket ticket) = 0;
  virtual void wake(std::uint64_t wait_token) = 0;
};

class Store {
 public:
  virtual ~Store() = default;
  [[nodiscard]] virtual const std::vector<LaneInfo>& lanes() const = 0;
  // Reads the body: lane, lease, idempotent...; asks call.permission what the body touches. A
  // denied touch is a Fault `denied` that names it. `previous`: of the attempt before (reroute), or
  // null.
  virtual Result<Route> route(const Call& call, std::uint32_t hops, const Fault* previous) = 0;
  virtual void open(const OpenRequest& request) = 0;

  // An operation for this call (or, with nullptr, for reset and ping), of attempt `n`, under lease
  // `lease` (0: none), with the receipt of an earlier one. Null: none is free (operations_max).
  virtual Operation* begin(Call* call, Purpose purpose, const Route& route, std::uint32_t attempt,
                           std::uint64_t lease, std::string_view receipt) = 0;
  virtual void end(Operation& operation) = 0;

  virtual void set_events(LinkEvents* events) = 0;
};

}  // namespace headgate::plugin
