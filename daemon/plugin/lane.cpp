// The shared half of a link: what is open, what is cancelled, and the way back to the pool.
#include "daemon/plugin/lane.hpp"

#include <algorithm>
#include <cassert>

namespace headgate::plugin {
namespace {

// Pieces of an upload that may be under way to us: enough to keep the wire busy, little enough that
// a caller who sends them all at once costs little memory.
constexpr std::uint64_t kUploadWindow = 4;

}  // namespace

// One cancel() of the pool's, until it has been answered.
struct CancelJob final : Job, Inbox::Node {
  void work() override {
    try {
      core->plugin().conn_cancel(target->connection(), op);
    } catch (...) {
      core->host.misdeed(Misdeed::threw, core->settings.name, "conn_cancel");
    }
    core->host.inbox().push(*this);
  }
  void deliver() override {
    running = false;
    target.reset();
    if (link != nullptr)
      link->cancel_back(*this);
    else
      delete this;
  }

  std::shared_ptr<StoreCore> core;
  std::shared_ptr<CancelTarget> target;
  LaneLink* link = nullptr;  // null: the link is gone, the job deletes itself
  Slot* slot = nullptr;      // null: the operation has been delivered
  hg_op op = 0;
  TimePoint first{}, last{};
  Micros pause{0};
  bool running = false;
};

LaneLink::LaneLink(std::shared_ptr<StoreCore> core, const OpenRequest& request)
    : core_(std::move(core)),
      ticket_(request.ticket),
      lane_(core_->lanes()[request.lane]),
      label_(core_->settings.name + "/" + lane_.name),
      clock_(this, &LaneLink::check_time) {}

LaneLink::~LaneLink() {
  assert(open_.empty());
  host().loop().disarm(clock_);
  drop_cancels();
}

void LaneLink::enter(Slot& s) {
  assert(s.link == nullptr && s.phase() == Phase::queued);
  s.link = this;
  s.on_loop = lane_.event;
  s.submitted = host().loop().now();
  open_.push_back(s);
  if (s.uploads && !s.in_inbox.exchange(true)) host().inbox().push(s);  // grants the first pieces
}

void LaneLink::deliver(Slot& s) {
  if (s.stream && (s.streams || s.uploads)) deliver_stream(s);
  if (!s.ready.load(std::memory_order_acquire)) return;
  if (s.streams) {
    std::lock_guard lock(s.stream->mutex);
    // Its last part still waits for credit: the reply must not overtake it.
    if (!s.stream->parts.empty() && !s.stream->stopped) return;
  }
  finish(s);
}

void LaneLink::deliver_stream(Slot& s) {
  Stream& t = *s.stream;
  for (;;) {
    ReplyBuffer part;
    std::uint64_t sequence = 0;
    std::uint64_t grant = 0;
    {
      std::lock_guard lock(t.mutex);
      if (t.stopped) {
        t.parts.clear();
      } else if (!t.parts.empty()) {
        sequence = t.flushed - t.parts.size() + 1;
        if (sequence <= t.credit) {
          part = std::move(t.parts.front());
          t.parts.pop_front();
        } else {
          sequence = 0;
        }
      }
      if (s.uploads && !t.stopped && !t.last && t.granted < t.taken + kUploadWindow &&
          !s.ready.load(std::memory_order_acquire))
        grant = t.granted = t.taken + kUploadWindow;
    }
    if (sequence != 0) {
      s.parts = sequence;
      if (events() != nullptr) events()->part(s, sequence, std::move(part));
    }
    if (grant != 0 && events() != nullptr) events()->upload_credit(s, grant);
    // What was just called may have abandoned the operation or given credit.
    if (sequence == 0 && grant == 0) return;
  }
}

void LaneLink::finish(Slot& s) {
  s.finished = true;
  s.Hook<OpenTag>::unlink();
  for (auto& job : cancels_)
    if (job->slot == &s) job->slot = nullptr;
  if (events() != nullptr) events()->completed(s);
  settle_cancels();
  settled();
}

void LaneLink::cancel(Operation& operation) {
  Slot& s = static_cast<Slot&>(operation);
  stop_sinks(s);
  auto job = std::make_unique<CancelJob>();
  job->core = core_;
  job->link = this;
  job->op = s.id;
  job->first = host().loop().now();
  job->pause = host().settings().cancel_again;
  job->slot = s.finished || s.link != this ? nullptr : &s;
  cancels_.push_back(std::move(job));
  CancelJob& made = *cancels_.back();
  if (made.slot != nullptr) {
    // A completion that was held back until its last part had credit is due now.
    if (s.streams && !s.in_inbox.exchange(true)) host().inbox().push(s);
    moved(s);
    send_cancel(made);
  } else {
    made.running = true;  // nothing to stop: only the answer is due
    host().inbox().push(made);
  }
  check_time();
}

void LaneLink::send_cancel(CancelJob& job) {
  job.last = host().loop().now();
  job.target = core_->plugin().conn_cancel == nullptr ? nullptr : cancel_target();
  job.running = true;
  if (job.target == nullptr)
    host().inbox().push(job);
  else
    host().cancels().add(job);
}

void LaneLink::cancel_back(CancelJob&) {
  settle_cancels();
  settled();
}

void LaneLink::settle_cancels() {
  if (cancels_.empty()) return;
  for (const auto& job : cancels_)
    if (job->running || job->slot != nullptr) return;
  const std::size_t n = cancels_.size();
  cancels_.clear();
  for (std::size_t i = 0; i < n && events() != nullptr; ++i) events()->cancel_returned(ticket_);
}

bool LaneLink::cancels_running() const {
  return std::any_of(cancels_.begin(), cancels_.end(),
                     [](const auto& job) { return job->running; });
}

void LaneLink::drop_cancels() {
  for (auto& job : cancels_) {
    job->link = nullptr;
    job->slot = nullptr;
    if (job->running) job.release();  // deletes itself when it is back
  }
  cancels_.clear();
}

bool LaneLink::overdue(const Slot& s) const {
  const TimePoint now = host().loop().now();
  for (const auto& job : cancels_)
    if (job->slot == &s && now - job->first >= host().settings().write_off_after) return true;
  return false;
}

void LaneLink::watch_close() {
  if (close_began_ == kNever) close_began_ = host().loop().now();
  check_time();
}

// Sends cancels again (the first may have come before the plugin began), and gives up what does not
// end in time.
void LaneLink::check_time() {
  const TimePoint now = host().loop().now();
  const Micros limit = host().settings().write_off_after;
  bool late = false;
  TimePoint next = kNever;
  for (const auto& job : cancels_) {
    if (job->slot == nullptr) continue;
    if (now - job->first >= limit) {
      late = true;
      continue;
    }
    if (!job->running && now - job->last >= job->pause) {
      job->pause *= 2;
      send_cancel(*job);
    }
    next = std::min({next, job->first + limit, now + job->pause});
  }
  const bool close_late = close_began_ != kNever && !closed_ && now - close_began_ >= limit;
  if (late || close_late) give_up(close_late);
  if (close_began_ != kNever && !closed_)
    next = std::min(next, close_late ? now + limit : close_began_ + limit);
  if (next != kNever) host().loop().arm(clock_, next);
}

bool LaneLink::abandon(Operation& operation) {
  Slot& s = static_cast<Slot&>(operation);
  if (s.finished || s.link != this) return false;
  stop_sinks(s);
  if (s.streams && !s.in_inbox.exchange(true)) host().inbox().push(s);
  moved(s);
  return s.phase() == Phase::queued;  // whoever begins it from now on finds it stopped
}

void LaneLink::credit(Operation& operation, std::uint64_t sequence) {
  Slot& s = static_cast<Slot&>(operation);
  if (!s.streams || s.finished || s.link != this) return;
  {
    std::lock_guard lock(s.stream->mutex);
    if (sequence <= s.stream->credit) return;
    s.stream->credit = sequence;
    s.stream->moved.notify_all();
  }
  if (!s.in_inbox.exchange(true)) host().inbox().push(s);
  moved(s);
}

void LaneLink::upload(Operation& operation, std::vector<std::uint8_t> piece, bool last) {
  Slot& s = static_cast<Slot&>(operation);
  if (!s.uploads || s.finished || s.link != this) return;
  {
    std::lock_guard lock(s.stream->mutex);
    if (s.stream->stopped || s.stream->last) return;
    if (!piece.empty()) s.stream->pieces.push_back(std::move(piece));
    s.stream->last = last;
    s.stream->moved.notify_all();
  }
  moved(s);
}

void stop_sinks(Slot& s) {
  s.stopped.store(true, std::memory_order_seq_cst);
  if (!s.streams && !s.uploads) return;
  std::lock_guard lock(s.stream->mutex);
  s.stream->stopped = true;
  s.stream->moved.notify_all();
}

}  // namespace headgate::plugin
