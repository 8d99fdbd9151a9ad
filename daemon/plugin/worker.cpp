// The thread's half of a blocking lane: wait, take what is there, serve it, say so.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <ctime>

#include "daemon/plugin/blocking_lane.hpp"

namespace headgate::plugin {
namespace {

using Nanos = Gathering::Nanos;

// What `asleep_` says.
constexpr std::uint32_t kAwake = 0;
constexpr std::uint32_t kAsleep = 1;     // any call wakes it
constexpr std::uint32_t kGathering = 2;  // the one that makes the batch full does

// at_most zero: for as long as it takes.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t while_it_is,
                Nanos at_most = Nanos{}) {
  const timespec t{at_most.count() / 1'000'000'000, at_most.count() % 1'000'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, while_it_is, at_most == Nanos{} ? nullptr : &t,
            nullptr, 0);
}
void futex_wake(std::atomic<std::uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

Nanos now() { return std::chrono::steady_clock::now().time_since_epoch(); }

Nanos processor_time() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + Nanos(t.tv_nsec);
}

Done ended(Code code, Outcome outcome, std::string message, ConnState state, Retry retry) {
  Done d;
  d.ok = false;
  d.connection = state;
  d.fault.code = code;
  d.fault.outcome = outcome;
  d.fault.message = std::move(message);
  d.fault.retry = retry;
  return d;
}

Done closed_before_it_began() {
  return ended(Code::unavailable, Outcome::not_sent,
               "the connection was closed before the call began", ConnState::broken,
               Retry::new_connection);
}

}  // namespace

// Keeps the connection from being closed while a cancel runs on it.
struct Worker::Hold final : CancelTarget {
  explicit Hold(std::shared_ptr<Worker> w) : worker(std::move(w)) {}
  ~Hold() override { worker->let_go(); }
  hg_connection* connection() const override { return worker->connection_; }
  std::shared_ptr<Worker> worker;
};

Worker::Worker(std::shared_ptr<StoreCore> core, const LaneInfo& lane, std::string label,
               hg_connection* connection)
    : core_(std::move(core)), lane_(lane), label_(std::move(label)), connection_(connection) {
  // Two more than calls: a reset and a ping.
  ring_.resize(std::bit_ceil(lane_.max_inflight + 2u));
  calls_.reserve(lane_.max_batch);
  slots_.reserve(lane_.max_batch);
  ops_.reserve(lane_.max_batch);
  ended_.worker = this;
}

Worker::~Worker() { assert(!thread_.joinable()); }

void Worker::start(BlockingLink* link) {
  link_ = link;
  thread_ = std::thread([self = shared_from_this()] { self->run(); });
}

void Worker::push(Slot& s) {
  const std::uint32_t head = head_.load(std::memory_order_relaxed);
  assert(head - tail_.load(std::memory_order_acquire) < ring_.size());
  s.broke = &broken_;
  ring_[head & (ring_.size() - 1)] = &s;
  head_.store(head + 1, std::memory_order_seq_cst);
}

void Worker::wake() {
  const std::uint32_t state = asleep_.load(std::memory_order_seq_cst);
  if (state == kAwake) return;
  if (state == kGathering && !closing_.load(std::memory_order_relaxed) &&
      static_cast<std::int32_t>(head_.load(std::memory_order_relaxed) -
                                enough_.load(std::memory_order_relaxed)) < 0)
    return;
  if (asleep_.exchange(kAwake, std::memory_order_seq_cst) != kAwake) futex_wake(asleep_);
}

void Worker::close() {
  closing_.store(true, std::memory_order_seq_cst);
  wake();
}

void Worker::write_off(std::vector<Slot*> held) {
  held_ = std::move(held);
  link_ = nullptr;
  close();
}

std::shared_ptr<CancelTarget> Worker::cancel_target() {
  std::lock_guard lock(mutex_);
  if (closed_) return nullptr;
  ++cancels_;
  return std::make_shared<Hold>(shared_from_this());
}

void Worker::let_go() {
  std::lock_guard lock(mutex_);
  if (--cancels_ == 0) no_cancels_.notify_all();
}

void Worker::Ended::deliver() {
  Worker& w = *worker;
  Host& host = w.core_->host;
  for (Slot* s : w.held_) host.operations().release(*s);
  w.held_.clear();
  if (w.link_ != nullptr) {
    w.link_->worker_ended();
  } else {
    host.give_thread();
    host.returned(w);
  }
}

void Worker::run() {
  settle_thread("hg " + label_);
  const hg_plugin& plugin = core_->plugin();
  try {
    if (plugin.conn_attach != nullptr) plugin.conn_attach(connection_);
  } catch (...) {
    core_->host.misdeed(Misdeed::threw, core_->settings.name, "conn_attach");
    broken_.store(true, std::memory_order_relaxed);
  }
  while (wait_for_work()) {
    gather();
    serve();
  }
  {
    std::unique_lock lock(mutex_);
    no_cancels_.wait(lock, [&] { return cancels_ == 0; });
    closed_ = true;
  }
  try {
    plugin.conn_close(connection_);
  } catch (...) {
    core_->host.misdeed(Misdeed::threw, core_->settings.name, "conn_close");
  }
  core_->host.inbox().push(ended_);
}

// False: nothing is left and it is to end.
bool Worker::wait_for_work() {
  for (;;) {
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (head_.load(std::memory_order_acquire) != tail) return true;
    if (closing_.load(std::memory_order_acquire))
      return head_.load(std::memory_order_acquire) != tail;
    asleep_.store(kAsleep, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) == tail && !closing_.load(std::memory_order_seq_cst))
      futex_wait(asleep_, kAsleep);
    asleep_.store(kAwake, std::memory_order_seq_cst);
  }
}

// Lets a batch grow that is about to.
void Worker::gather() {
  if (lane_.max_batch == 1) return;
  const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
  const Slot& first = *ring_[tail & (ring_.size() - 1)];
  if (first.purpose != Purpose::call || first.alone) return;
  const std::uint32_t before = head_.load(std::memory_order_acquire) - tail;
  Nanos at = now();
  const std::uint32_t wanted = std::min(gathering_.wanted(before, at), lane_.max_batch);
  if (wanted <= before) return;
  const Nanos until = at + gathering_.at_most();
  enough_.store(tail + wanted, std::memory_order_relaxed);
  std::uint32_t there = before;
  for (;;) {
    asleep_.store(kGathering, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) - tail < wanted &&
        !closing_.load(std::memory_order_seq_cst))
      futex_wait(asleep_, kGathering, std::min(gathering_.silence(), until - at));
    asleep_.store(kAwake, std::memory_order_seq_cst);
    const std::uint32_t n = head_.load(std::memory_order_acquire) - tail;
    const bool silent = n == there;
    there = n;
    at = now();
    if (silent || there >= wanted || at >= until || closing_.load(std::memory_order_acquire)) break;
  }
  gathering_.gathered(before, there);
}

// Marks it as running in the plugin; false: it is not to be run (any more).
bool Worker::begin(Slot& s) {
  const hg_op op = s.id;
  Host& host = core_->host;
  if (closing_.load(std::memory_order_acquire) || broken_.load(std::memory_order_relaxed)) {
    host.complete_for(s, op, Phase::queued, closed_before_it_began());
    return false;
  }
  if (!s.move(op, Phase::queued, Phase::running)) return false;
  if (s.stopped.load(std::memory_order_seq_cst)) {
    host.complete_for(s, op, Phase::running,
                      closing_.load(std::memory_order_acquire)
                          ? closed_before_it_began()
                          : ended(Code::cancelled, Outcome::not_sent, "given up before it began",
                                  ConnState::clean, Retry::never));
    return false;
  }
  return true;
}

// Takes one batch out of the ring: calls, until one wants to be alone; or one reset or ping.
void Worker::serve() {
  calls_.clear();
  slots_.clear();
  ops_.clear();
  std::uint32_t tail = tail_.load(std::memory_order_relaxed);
  const std::uint32_t head = head_.load(std::memory_order_acquire);
  while (tail != head && slots_.size() < lane_.max_batch) {
    Slot& s = *ring_[tail & (ring_.size() - 1)];
    const bool single = s.purpose != Purpose::call || s.alone;
    if (single && !slots_.empty()) break;
    ++tail;
    if (begin(s)) {
      slots_.push_back(&s);
      ops_.push_back(s.id);
      calls_.push_back(&s.lent);
      if (single) break;
    }
  }
  tail_.store(tail, std::memory_order_release);
  if (slots_.empty()) return;
  if (slots_[0]->purpose == Purpose::call)
    serve_batch(static_cast<std::uint32_t>(slots_.size()));
  else
    serve_single(*slots_[0]);
}

void Worker::serve_batch(std::uint32_t n) {
  Host& host = core_->host;
  std::string threw;
  const bool shares = lane_.max_batch > 1;
  const Nanos begun = shares ? now() : Nanos{};
  try {
    core_->plugin().conn_submit(connection_, calls_.data(), n);
  } catch (const std::exception& e) {
    threw = std::string("the plugin threw: ") + e.what();
  } catch (...) {
    threw = "the plugin threw something that is no exception";
  }
  if (!threw.empty()) {
    broken_.store(true, std::memory_order_relaxed);
    host.misdeed(Misdeed::threw, core_->settings.name, threw);
  }
  for (std::uint32_t i = 0; i < n; ++i) {
    if (!slots_[i]->is(ops_[i], Phase::running)) continue;
    broken_.store(true, std::memory_order_relaxed);
    if (threw.empty()) host.misdeed(Misdeed::not_completed, core_->settings.name, "conn_submit");
    host.complete_for(
        *slots_[i], ops_[i], Phase::running,
        ended(Code::internal, Outcome::unknown,
              threw.empty() ? "the plugin returned without having completed the call" : threw,
              ConnState::broken, Retry::never));
  }
  host.inbox().wake();
  if (!shares) return;
  const Nanos at = now();
  const Nanos ran = processor_time();
  gathering_.served(n,
                    head_.load(std::memory_order_acquire) - tail_.load(std::memory_order_relaxed),
                    at, at - begun, ran - ran_);
  ran_ = ran;
}

void Worker::serve_single(Slot& s) {
  Host& host = core_->host;
  const hg_op op = ops_[0];
  const bool reset = s.purpose == Purpose::reset;
  const auto function = reset ? core_->plugin().conn_reset : core_->plugin().conn_ping;
  if (function == nullptr) {
    // Without a ping the connection is taken for good; without a reset it cannot be used again.
    Done d;
    d.connection = reset ? ConnState::broken : ConnState::clean;
    host.complete_for(s, op, Phase::running, std::move(d));
    return;
  }
  try {
    function(connection_, op);
  } catch (...) {
    host.misdeed(Misdeed::threw, core_->settings.name, reset ? "conn_reset" : "conn_ping");
  }
  if (s.is(op, Phase::running)) {
    host.misdeed(Misdeed::not_completed, core_->settings.name, reset ? "conn_reset" : "conn_ping");
    host.complete_for(s, op, Phase::running,
                      ended(Code::internal, Outcome::unknown, "the plugin did not complete it",
                            ConnState::broken, Retry::never));
  }
  host.inbox().wake();
}

}  // namespace headgate::plugin
