// The loop's half of a blocking lane; the thread's half is worker.cpp.
#include "daemon/plugin/blocking_lane.hpp"

#include <cassert>

namespace headgate::plugin {
namespace {

// How long a connection must have been idle before its descriptor is watched: watching costs two
// system calls, which a busy connection should not pay between two calls.
constexpr Micros kIdleAfter = std::chrono::seconds(1);

Done gone(Code code, Outcome outcome, std::string message) {
  Done d;
  d.ok = false;
  d.connection = ConnState::broken;
  d.lease = LeaseState::none;
  d.fault.code = code;
  d.fault.outcome = outcome;
  d.fault.message = std::move(message);
  d.fault.retry = Retry::new_connection;
  d.fault.breaker = outcome == Outcome::unknown;
  return d;
}

}  // namespace

BlockingLink::BlockingLink(std::shared_ptr<StoreCore> core, const OpenRequest& request,
                           hg_connection* connection, int fd)
    : LaneLink(std::move(core), request),
      worker_(std::make_shared<Worker>(core_, lane_, label_, connection)),
      fd_(fd),
      idle_(this, &BlockingLink::look_idle) {
  worker_->start(this);
  last_used_ = host().loop().now();
  if (fd_ >= 0) host().loop().arm(idle_, last_used_ + kIdleAfter);
}

BlockingLink::~BlockingLink() {
  assert(worker_ == nullptr);
  busy();
  host().loop().disarm(idle_);
}

void BlockingLink::push(Operation& operation) {
  Slot& s = static_cast<Slot&>(operation);
  enter(s);
  if (worker_ == nullptr) {
    host().complete_for(s, s.id, Phase::queued,
                        gone(Code::unavailable, Outcome::not_sent, "the connection is gone"));
    return;
  }
  worker_->push(s);
}

void BlockingLink::submit(std::span<Operation* const> operations) {
  if (watched_) busy();
  for (Operation* o : operations) push(*o);
  if (worker_ != nullptr) worker_->wake();
}

void BlockingLink::submit_one(Operation& operation) {
  Operation* one = &operation;
  submit({&one, 1});
}

void BlockingLink::close() {
  if (closing_) return;
  closing_ = true;
  busy();
  host().loop().disarm(idle_);
  if (worker_ != nullptr)
    worker_->close();  // first: what it begins from now on was closed, not stopped
  open_.each([](Slot& s) { stop_sinks(s); });
  if (worker_ != nullptr) {
    watch_close();
  } else {
    // Written off before: `closed` is all that is left to say, from the inbox.
    close_due_.link = this;
    host().inbox().push(close_due_);
  }
}

void BlockingLink::worker_ended() {
  worker_->join();
  worker_.reset();
  host().give_thread();
  settled();
}

void BlockingLink::CloseDue::deliver() {
  BlockingLink* const due = std::exchange(link, nullptr);
  due->settled();
}

void BlockingLink::settled() {
  if (!closing_ || closed_ || worker_ != nullptr || !open_.empty() || close_due_.link != nullptr)
    return;
  closed_ = true;
  drop_cancels();
  if (events() != nullptr) events()->closed(ticket_);
}

std::shared_ptr<CancelTarget> BlockingLink::cancel_target() {
  return worker_ == nullptr ? nullptr : worker_->cancel_target();
}

void BlockingLink::give_up(bool /*all*/) {
  if (worker_ == nullptr) return;
  // One worker, one call stack: if one operation does not end, none behind it will begin.
  std::vector<Slot*> held;
  open_.each([&](Slot& s) {
    held.push_back(&s);
    s.retained = true;
    stop_sinks(s);
  });
  for (Slot* s : held) {
    if (host().complete_for(
            *s, s->id, Phase::queued,
            gone(Code::unavailable, Outcome::not_sent, "the connection's worker hangs"), true))
      continue;
    host().complete_for(*s, s->id, Phase::running,
                        gone(Code::deadline, Outcome::unknown,
                             "the store did not come back after it was told to stop"),
                        true);
  }
  host().inbox().wake();
  worker_->write_off(std::move(held));
  host().write_off(std::move(worker_));
  worker_ = nullptr;
}

void BlockingLink::look_idle() {
  const TimePoint now = host().loop().now();
  if (closing_ || worker_ == nullptr) return;
  if (open_.empty() && now - last_used_ >= kIdleAfter) {
    watched_ = true;
    host().loop().watch(*this, fd_, Loop::kReadable);
    return;  // armed again when the connection has been used
  }
  if (!open_.empty()) last_used_ = now;
  host().loop().arm(idle_, std::max(now, last_used_) + kIdleAfter);
}

void BlockingLink::busy() {
  if (!watched_) return;
  watched_ = false;
  host().loop().watch(*this, fd_, 0);
  last_used_ = host().loop().now();
  if (!closing_) host().loop().arm(idle_, last_used_ + kIdleAfter);
}

void BlockingLink::ready(std::uint32_t /*events*/) {
  busy();
  Fault f;
  f.code = Code::unavailable;
  f.message = "the store closed an idle connection, or spoke out of turn";
  f.retry = Retry::new_connection;
  if (events() != nullptr) events()->lost(ticket_, f);
}

}  // namespace headgate::plugin
