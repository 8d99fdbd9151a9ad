// Drain: finish what is under way, take nothing new, then stop.
#include <unistd.h>

#include "daemon/gateway.hpp"

namespace headgate {
namespace {

constexpr Micros kLook = std::chrono::milliseconds(5);
// After the deadline: for rollbacks and for connections to close. A driver that hangs is left.
constexpr Micros kGrace = std::chrono::seconds(3);
// Before the sockets close: libzmq drops at the client what came but was not read yet when the
// connection ends, and so the last answers with it.
constexpr Micros kFarewell = std::chrono::milliseconds(250);

}  // namespace

void Gateway::drain(std::optional<Micros> within) {
  if (state_ != State::serving) return;
  drain_within_ = within;
  loop_.defer(drain_task_);
}

void Gateway::terminate() {
  if (state_ != State::serving) {
    log_->warn("stopped_at_once", {{"calls_dropped", dispatcher_->inflight()}});
    log_->flush();
    ::_exit(1);  // databases roll back what was not committed when they are opened again
  }
  begin_drain();
}

void Gateway::begin_drain() {
  if (state_ != State::serving) return;
  state_ = State::draining;
  const Micros within = drain_within_.value_or(config_.daemon.drain_timeout);
  drain_at_ = loop_.now() + within;
  log_->info("drain", {{"within_ms", within.count() / 1000}, {"calls", dispatcher_->inflight()}});
  notify_.stopping("draining");
  frontend_->stop_listening();
  dispatcher_->drain(within);
  for (auto& s : stores_) s->attempts->drain();
  look_at_drain();
}

bool Gateway::nothing_runs() const {
  if (dispatcher_->inflight() > 0 || frontend_->counts().parked_bytes > 0) return false;
  for (const auto& s : stores_) {
    if (!s->attempts->drained() || !s->attempts->leases().empty()) return false;
  }
  return true;
}

void Gateway::look_at_drain() {
  const bool late = loop_.now() >= drain_at_;
  if (state_ == State::draining && (late || nothing_runs())) {
    state_ = State::closing;
    if (late) {
      log_->warn("drain_deadline", {{"calls", dispatcher_->inflight()}});
      for (auto& s : stores_) s->attempts->end_leases();
      for (const CallRow& c : dispatcher_->call_rows()) {
        dispatcher_->give_up_for_drain(c.id);
      }
    }
    drain_at_ = loop_.now() + kGrace;
    farewell_at_ = loop_.now() + kFarewell;
    for (auto& s : stores_) s->attempts->close();
  }
  if (state_ == State::closing) {
    bool closed = dispatcher_->inflight() == 0;
    for (const auto& s : stores_) closed = closed && s->attempts->closed();
    const bool read = frontend_->counts().peers == 0 || loop_.now() >= farewell_at_;
    if ((closed && read) || loop_.now() >= drain_at_) {
      if (!closed) log_->warn("stopped_without", {{"calls", dispatcher_->inflight()}});
      loop_.stop();
      return;
    }
  }
  loop_.arm(drain_timer_, loop_.now() + kLook);
}

}  // namespace headgate
