// One connection on the loop: submit, io, timer, and the way out of the plugin again.
#include "daemon/plugin/event_lane.hpp"

#include <cassert>

namespace headgate::plugin {
namespace {

Done ended(Code code, Outcome outcome, std::string message) {
  Done d;
  d.ok = false;
  d.connection = ConnState::broken;
  d.fault.code = code;
  d.fault.outcome = outcome;
  d.fault.message = std::move(message);
  d.fault.retry = Retry::new_connection;
  return d;
}

std::uint32_t flag(bool on, int bit) { return on ? static_cast<std::uint32_t>(bit) : 0u; }

}  // namespace

// conn_close must not overlap conn_cancel: whoever lets go last closes. That is always the loop,
// since a CancelJob gives its target up in deliver().
struct EventLink::Connection final : CancelTarget {
  Connection(std::shared_ptr<StoreCore> c, hg_connection* r) : core(std::move(c)), raw(r) {}
  ~Connection() override {
    try {
      core->plugin().conn_close(raw);
    } catch (...) {
      core->host.misdeed(Misdeed::threw, core->settings.name, "conn_close");
    }
  }
  hg_connection* connection() const override { return raw; }
  std::shared_ptr<StoreCore> core;
  hg_connection* raw;
};

EventLink::EventLink(std::shared_ptr<StoreCore> core, const OpenRequest& request, hg_conn_id id,
                     hg_connection* connection)
    : LaneLink(std::move(core), request),
      id_(id),
      connection_(std::make_shared<Connection>(core_, connection)),
      timer_(this, &EventLink::on_timer) {
  calls_.reserve(lane_.max_batch);
  host().set_link(id_, this);
}

EventLink::~EventLink() {
  assert(closed_ && connection_ == nullptr);
  watch_fd(-1, 0);
  host().loop().disarm(timer_);
}

template <class F>
void EventLink::enter_plugin(std::string_view function, F&& f) {
  assert(!inside_);
  inside_ = true;
  try {
    f(core_->plugin(), connection_->raw);
  } catch (const std::exception& e) {
    broken_ = true;
    host().misdeed(Misdeed::threw, core_->settings.name, std::string(function) + ": " + e.what());
  } catch (...) {
    broken_ = true;
    host().misdeed(Misdeed::threw, core_->settings.name, function);
  }
  inside_ = false;
  if (broken_) end_open("the plugin threw in the middle of the connection's work");
}

// What is still open ends now, by us. REQUIRES: not inside the plugin.
void EventLink::end_open(std::string_view why) {
  open_.each([&](Slot& s) {
    if (!s.is(s.id, Phase::running)) return;
    stop_sinks(s);
    host().complete_for(s, s.id, Phase::running,
                        ended(Code::internal, Outcome::unknown, std::string(why)));
  });
}

void EventLink::attach() {
  if (core_->plugin().conn_attach != nullptr)
    enter_plugin("conn_attach", [](const hg_plugin& p, hg_connection* c) { p.conn_attach(c); });
}

void EventLink::submit(std::span<Operation* const> operations) {
  calls_.clear();
  for (Operation* o : operations) {
    Slot& s = static_cast<Slot&>(*o);
    enter(s);
    if (connection_ == nullptr || broken_ || closing_) {
      host().complete_for(s, s.id, Phase::queued,
                          ended(Code::unavailable, Outcome::not_sent,
                                "the connection was closed before the call began"));
      continue;
    }
    s.move(s.id, Phase::queued, Phase::running);
    calls_.push_back(&s.lent);
  }
  if (calls_.empty()) return;
  enter_plugin("conn_submit", [&](const hg_plugin& p, hg_connection* c) {
    p.conn_submit(c, calls_.data(), static_cast<std::uint32_t>(calls_.size()));
  });
}

void EventLink::reset(Operation& operation) { single(operation, true); }
void EventLink::ping(Operation& operation) { single(operation, false); }

void EventLink::single(Operation& operation, bool reset) {
  Slot& s = static_cast<Slot&>(operation);
  enter(s);
  if (connection_ == nullptr || broken_ || closing_) {
    host().complete_for(s, s.id, Phase::queued,
                        ended(Code::unavailable, Outcome::not_sent, "the connection is gone"));
    return;
  }
  const auto function = reset ? core_->plugin().conn_reset : core_->plugin().conn_ping;
  if (function == nullptr) {
    // Without a ping the connection is taken for good; without a reset it cannot be used again.
    Done d;
    d.connection = reset ? ConnState::broken : ConnState::clean;
    host().complete_for(s, s.id, Phase::queued, std::move(d));
    return;
  }
  s.move(s.id, Phase::queued, Phase::running);
  enter_plugin(reset ? "conn_reset" : "conn_ping",
               [&](const hg_plugin&, hg_connection* c) { function(c, s.id); });
}

void EventLink::ready(std::uint32_t events) {
  if (connection_ == nullptr || inside_) return;
  const std::uint32_t io = flag((events & Loop::kReadable) != 0, HG_IO_READ) |
                           flag((events & Loop::kWritable) != 0, HG_IO_WRITE);
  Inbox& inbox = host().inbox();
  enter_plugin("conn_io", [&](const hg_plugin& p, hg_connection* c) { p.conn_io(c, io); });
  // Nothing of ours is on the stack above: what was completed goes out now. `this` may be gone
  // after.
  if (!inbox.empty()) inbox.run();
}

void EventLink::on_timer() {
  if (connection_ == nullptr || core_->plugin().conn_timer == nullptr) return;
  Inbox& inbox = host().inbox();
  enter_plugin("conn_timer", [](const hg_plugin& p, hg_connection* c) { p.conn_timer(c); });
  if (!inbox.empty()) inbox.run();
}

void EventLink::watch_fd(int fd, std::uint32_t events) {
  if (closed_) events = 0;
  const std::uint32_t wanted = ((events & HG_IO_READ) != 0 ? Loop::kReadable : 0u) |
                               ((events & HG_IO_WRITE) != 0 ? Loop::kWritable : 0u);
  if (wanted == events_wanted_ && (fd == fd_ || wanted == 0)) return;
  // Another descriptor: the loop must forget the old one first, whose number may have been reused.
  if (events_wanted_ != 0 && fd != fd_) host().loop().watch(*this, fd_, 0);
  fd_ = fd;
  events_wanted_ = wanted;
  host().loop().watch(*this, fd_, wanted);
}

void EventLink::set_timer(std::uint64_t at_us) {
  if (at_us == 0 || closed_)
    host().loop().disarm(timer_);
  else
    host().loop().arm(
        timer_, TimePoint{static_cast<std::int64_t>(std::min<std::uint64_t>(at_us, INT64_MAX))});
}

void EventLink::lost(const Fault& fault) {
  if (news_.link != nullptr || closing_) return;
  news_.link = this;
  news_.lost = true;
  news_.fault = fault;
  host().inbox().push(news_);
}

void EventLink::News::deliver() {
  EventLink* const l = std::exchange(link, nullptr);
  if (std::exchange(lost, false) && !l->closing_ && l->events() != nullptr)
    l->events()->lost(l->ticket_, fault);
  l->settled();
}

std::shared_ptr<CancelTarget> EventLink::cancel_target() { return connection_; }

// Credit, a piece, or the end of both, for an operation that was told to wait.
void EventLink::moved(Slot& s) {
  if (connection_ == nullptr || broken_ || core_->plugin().conn_resume == nullptr) return;
  if (!s.streams && !s.uploads) return;
  {
    std::lock_guard lock(s.stream->mutex);
    Stream& t = *s.stream;
    const bool go = t.waiting && (t.stopped || t.flushed <= t.credit);
    const bool more = t.starved && (t.stopped || t.last || !t.pieces.empty());
    if (!go && !more) return;
    if (go) t.waiting = false;
    if (more) t.starved = false;
  }
  if (!s.is(s.id, Phase::running)) return;
  enter_plugin("conn_resume",
               [&](const hg_plugin& p, hg_connection* c) { p.conn_resume(c, s.id); });
}

void EventLink::give_up(bool all) {
  open_.each([&](Slot& s) {
    if (!all && !overdue(s)) return;
    stop_sinks(s);
    host().complete_for(s, s.id, Phase::running,
                        ended(Code::deadline, Outcome::unknown,
                              "the store did not answer after it was told to stop"));
  });
  if (all && closing_ && connection_ == nullptr) {
    drop_cancels();
    if (news_.link == nullptr) {
      news_.link = this;
      host().inbox().push(news_);
    }
  }
}

void EventLink::close() {
  if (closing_) return;
  closing_ = true;
  open_.each([](Slot& s) { stop_sinks(s); });
  if (!cancels_running()) {
    inside_ = true;
    connection_.reset();  // conn_close: completes what is open
    inside_ = false;
  } else {
    connection_.reset();  // the cancel that is running holds it
    watch_close();
  }
  watch_fd(-1, 0);
  host().loop().disarm(timer_);
  host().set_link(id_, nullptr);
  std::uint64_t left = 0;
  open_.each([&](Slot& s) { left += s.is(s.id, Phase::running) ? 1 : 0; });
  if (left > 0 && !cancels_running()) {
    host().misdeed(Misdeed::not_completed, core_->settings.name, "conn_close");
    end_open("the plugin closed the connection without having completed the call");
  }
  if (news_.link == nullptr) {
    news_.link = this;
    host().inbox().push(news_);
  }
}

void EventLink::settled() {
  if (!closing_ || closed_ || news_.link != nullptr) return;
  if (!cancels_running()) {
    // The last cancel is back, and with it conn_close has run.
    end_open("the plugin closed the connection without having completed the call");
  }
  if (!open_.empty() || cancels_running()) return;
  closed_ = true;
  drop_cancels();
  if (events() != nullptr) events()->closed(ticket_);
}

}  // namespace headgate::plugin
