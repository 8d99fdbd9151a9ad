#include "tests/conformance/bare_host.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

namespace headgate::conformance {
namespace {

std::vector<std::uint8_t> copy(hg_bytes b) {
  return b.size == 0 ? std::vector<std::uint8_t>{}
                     : std::vector<std::uint8_t>(b.data, b.data + b.size);
}
std::string text(hg_bytes b) { return {reinterpret_cast<const char*>(b.data), b.size}; }

}  // namespace

// The functions behind the table. A hg_host* is the BareHost: the table is its first member.
struct HostCalls {
  static BareHost* self(const hg_host* h) {
    return const_cast<BareHost*>(reinterpret_cast<const BareHost*>(h));
  }
  static std::uint64_t now_us(const hg_host*) { return BareHost::now_us(); }

  static int32_t reserve(const hg_host* h, hg_op id, uint64_t n, uint8_t** out, uint64_t* room) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    Op* op = host->find(id);
    if (op == nullptr || op->ended) {
      host->violations_.push_back("reserve on an operation that has ended");
      return HG_STOP;
    }
    if (op->abandoned) return HG_STOP;
    const std::uint64_t used = op->reply.size() - op->reserved;
    if (n > host->reply_max || used > host->reply_max - n) return HG_FULL;
    const std::uint64_t grant = std::max<std::uint64_t>(n, 512);
    op->reply.resize(used + grant);
    op->reserved = grant;
    *out = op->reply.data() + used;
    *room = grant;
    return HG_GO;
  }
  static void commit(const hg_host* h, hg_op id, uint64_t n) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    Op* op = host->find(id);
    if (op == nullptr) return;
    if (n > op->reserved) {
      host->violations_.push_back("commit of more bytes than were reserved");
      n = op->reserved;
    }
    op->reserved -= n;
  }
  static void patch(const hg_host* h, hg_op id, uint64_t offset, const uint8_t* bytes, uint64_t n) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    Op* op = host->find(id);
    if (op == nullptr) return;
    if (offset + n > op->reply.size() - op->reserved) {
      host->violations_.push_back("patch beyond what was committed");
      return;
    }
    std::memcpy(op->reply.data() + offset, bytes, n);
  }
  static uint64_t written(const hg_host* h, hg_op id) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    Op* op = host->find(id);
    return op == nullptr ? 0 : op->reply.size() - op->reserved;
  }
  static void rewind(const hg_host* h, hg_op id) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    if (Op* op = host->find(id)) {
      op->reply.clear();
      op->reserved = 0;
    }
  }
  static int32_t flush_part(const hg_host* h, hg_op id) {
    BareHost* host = self(h);
    std::unique_lock lock(host->mutex_);
    Op* op = host->find(id);
    if (op == nullptr || op->ended) {
      host->violations_.push_back("flush_part on an operation that has ended");
      return HG_STOP;
    }
    if (op->call.fetch == 0) host->violations_.push_back("flush_part without fetch");
    op->reply.resize(op->reply.size() - op->reserved);
    op->reserved = 0;
    op->parts.push_back(std::move(op->reply));
    op->reply.clear();
    ++op->parts_out;
    host->changed_.notify_all();
    if (op->abandoned) return HG_STOP;
    if (op->parts_out < op->credit) return HG_GO;
    if (op->connection->event) {
      op->wants_resume = true;
      return HG_WAIT;
    }
    host->changed_.wait(lock, [&] { return op->parts_out < op->credit || op->abandoned; });
    return op->abandoned ? HG_STOP : HG_GO;
  }
  static int32_t take(const hg_host* h, hg_op id, hg_bytes* out) {
    BareHost* host = self(h);
    std::unique_lock lock(host->mutex_);
    Op* op = host->find(id);
    if (op == nullptr || op->ended) {
      host->violations_.push_back("take on an operation that has ended");
      return HG_TAKE_ABORTED;
    }
    auto ready = [&] {
      return !op->pieces.empty() || op->last_piece || op->aborted || op->abandoned;
    };
    if (!ready() && op->connection->event) {
      op->wants_resume = true;
      return HG_TAKE_NOTHING;
    }
    host->changed_.wait(lock, ready);
    if (op->aborted || op->abandoned) return HG_TAKE_ABORTED;
    if (op->pieces.empty()) return HG_TAKE_END;
    op->taken = std::move(op->pieces.front());
    op->pieces.pop_front();
    *out = {op->taken.data(), op->taken.size()};
    return HG_TAKE_DATA;
  }
  static void complete(const hg_host* h, hg_op id, const hg_done* done) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    Op* op = host->find(id);
    if (op == nullptr || op->ended) {
      host->violations_.push_back("an operation completed twice");
      return;
    }
    Ended e;
    std::memcpy(&e.done, done, std::min<std::size_t>(done->size, sizeof e.done));
    e.ok = e.done.error == nullptr;
    if (!e.ok) {
      std::memcpy(&e.error, e.done.error,
                  std::min<std::size_t>(e.done.error->size, sizeof e.error));
      e.detail = copy(e.error.detail);
      host->check(e);
    }
    e.warnings = copy(e.done.warnings);
    e.receipt = copy(e.done.receipt);
    op->reply.resize(op->reply.size() - op->reserved);
    op->reserved = 0;
    BareConnection* c = op->connection;
    if (c != nullptr) {
      --c->inflight;
      if (e.done.connection == HG_CONN_BROKEN) c->broken = true;
      if (e.done.connection == HG_CONN_NEEDS_RESET) c->needs_reset = true;
    }
    op->ended = std::move(e);
    host->changed_.notify_all();
  }
  static int32_t touch(const hg_host*, hg_touches* t, hg_bytes verb, uint32_t kind, hg_bytes name) {
    if (t != nullptr) t->touches.push_back({text(verb), kind, text(name)});
    return 1;
  }
  static void watch(const hg_host* h, hg_conn_id id, int32_t fd, uint32_t events) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    auto it = host->event_connections_.find(id);
    if (it == host->event_connections_.end()) return;
    it->second->fd = fd;
    it->second->events = events;
  }
  static void timer(const hg_host* h, hg_conn_id id, uint64_t at) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    auto it = host->event_connections_.find(id);
    if (it != host->event_connections_.end()) it->second->timer_us = at;
  }
  static void lost(const hg_host* h, hg_conn_id id, const hg_error*) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    auto it = host->event_connections_.find(id);
    if (it != host->event_connections_.end()) it->second->broken = true;
    host->changed_.notify_all();
  }
  static void wake(const hg_host* h, uint64_t, uint64_t token) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    ++host->wakes_[token];
    host->changed_.notify_all();
  }
  static void log(const hg_host* h, uint64_t, int32_t, hg_bytes message) {
    BareHost* host = self(h);
    std::lock_guard lock(host->mutex_);
    host->log_.push_back(text(message));
  }
};

BareHost::BareHost() {
  table_.size = sizeof table_;
  table_.abi_version = HG_ABI_VERSION;
  table_.now_us = HostCalls::now_us;
  table_.reserve = HostCalls::reserve;
  table_.commit = HostCalls::commit;
  table_.patch = HostCalls::patch;
  table_.written = HostCalls::written;
  table_.rewind = HostCalls::rewind;
  table_.flush_part = HostCalls::flush_part;
  table_.take = HostCalls::take;
  table_.complete = HostCalls::complete;
  table_.touch = HostCalls::touch;
  table_.watch = HostCalls::watch;
  table_.timer = HostCalls::timer;
  table_.lost = HostCalls::lost;
  table_.wake = HostCalls::wake;
  table_.log = HostCalls::log;
  if (pipe2(loop_wake_, O_CLOEXEC | O_NONBLOCK) != 0) std::abort();
  loop_thread_ = std::thread([this] { loop(); });
}

BareHost::~BareHost() {
  on_loop([this] { loop_stop_ = true; });
  loop_thread_.join();
  ::close(loop_wake_[0]);
  ::close(loop_wake_[1]);
}

std::uint64_t BareHost::now_us() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

// Every error must keep the rules, whatever its cause.
void BareHost::check(const Ended& e) {
  const hg_error& x = e.error;
  if (x.code <= HG_OK || x.code > HG_INTERNAL)
    violations_.push_back("an error without a known code");
  if (x.outcome < HG_NOT_SENT || x.outcome > HG_UNKNOWN)
    violations_.push_back("an unknown outcome");
  if (x.retry < HG_RETRY_NEVER || x.retry > HG_RETRY_WAIT)
    violations_.push_back("an unknown retry");
  if (std::memchr(x.message, 0, sizeof x.message) == nullptr)
    violations_.push_back("an error message that does not end");
  else if (!proto::valid_utf8(x.message))
    violations_.push_back("an error message that is not UTF-8");
  if (!e.detail.empty() && proto::check(e.detail) != proto::Shape::good)
    violations_.push_back("an error detail that is not msgpack");
}

Op* BareHost::find(hg_op id) {
  auto it = ops_.find(id);
  return it == ops_.end() ? nullptr : it->second.get();
}

Op* BareHost::begin() {
  std::lock_guard lock(mutex_);
  auto op = std::make_unique<Op>();
  op->id = next_++;
  Op* raw = op.get();
  ops_[raw->id] = std::move(op);
  return raw;
}

void BareHost::end(Op* op) {
  std::lock_guard lock(mutex_);
  ops_.erase(op->id);
}

void BareHost::attach(BareConnection* c) {
  if (c->event) {
    {
      std::lock_guard lock(mutex_);
      event_connections_[c->id] = c;
    }
    on_loop([this, c] {
      if (plugin_->conn_attach != nullptr) plugin_->conn_attach(c->handle);
    });
    return;
  }
  c->worker = std::thread([this, c] { serve(c); });
}

// A blocking lane's worker: takes what is queued, up to max_batch at a time.
void BareHost::serve(BareConnection* c) {
  if (plugin_->conn_attach != nullptr) plugin_->conn_attach(c->handle);
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return c->stop || c->job || !c->queue.empty(); });
    if (c->job) {
      auto job = std::move(c->job);
      c->job = nullptr;
      lock.unlock();
      job();
      lock.lock();
      continue;
    }
    if (c->queue.empty()) break;
    std::vector<const hg_call*> calls;
    std::vector<hg_op> ids;
    while (!c->queue.empty() && calls.size() < c->max_batch) {
      ids.push_back(c->queue.front()->id);
      calls.push_back(&c->queue.front()->call);
      c->queue.pop_front();
    }
    lock.unlock();
    plugin_->conn_submit(c->handle, calls.data(), static_cast<std::uint32_t>(calls.size()));
    lock.lock();
    // Looked up anew: a completed operation may be gone already.
    for (const hg_op id : ids)
      if (Op* op = find(id); op != nullptr && !op->ended)
        violations_.push_back(
            "conn_submit of a blocking lane returned with an operation still open");
  }
}

void BareHost::submit(BareConnection* c, Op* op, bool counted) {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [c] { return c->cancelling == 0; });
    op->connection = c;
    if (!counted) ++c->inflight;
    if (!c->event) c->queue.push_back(op);
  }
  if (c->event)
    on_loop([this, c, op] {
      const hg_call* call = &op->call;
      plugin_->conn_submit(c->handle, &call, 1);
    });
  changed_.notify_all();
}

void BareHost::special(BareConnection* c, Op* op, bool reset) {
  auto job = [this, c, id = op->id, reset] {
    (reset ? plugin_->conn_reset : plugin_->conn_ping)(c->handle, id);
  };
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [c] { return c->cancelling == 0; });
    op->connection = c;
    ++c->inflight;
    if (!c->event) c->job = job;
  }
  if (c->event) on_loop(job);
  changed_.notify_all();
}

void BareHost::close(BareConnection* c) {
  if (c->event) {
    on_loop([this, c] {
      plugin_->conn_close(c->handle);
      std::lock_guard lock(mutex_);
      event_connections_.erase(c->id);
    });
    return;
  }
  {
    std::lock_guard lock(mutex_);
    c->stop = true;
  }
  changed_.notify_all();
  c->worker.join();
  plugin_->conn_close(c->handle);
}

void BareHost::cancel(Op* op) {
  BareConnection* c = nullptr;
  hg_op id = 0;
  {
    std::lock_guard lock(mutex_);
    if (op->ended || op->connection == nullptr) return;
    c = op->connection;
    id = op->id;
    ++c->cancelling;
  }
  if (plugin_->conn_cancel != nullptr) plugin_->conn_cancel(c->handle, id);
  {
    std::lock_guard lock(mutex_);
    --c->cancelling;
  }
  changed_.notify_all();
}

void BareHost::abandon(Op* op) {
  std::lock_guard lock(mutex_);
  op->abandoned = true;
  if (op->wants_resume && op->connection != nullptr && op->connection->event) {
    op->wants_resume = false;
    loop_jobs_.push_back([this, op] { plugin_->conn_resume(op->connection->handle, op->id); });
    (void)!write(loop_wake_[1], "x", 1);
  }
  changed_.notify_all();
}

void BareHost::give_credit(Op* op, std::uint64_t sequence) {
  std::lock_guard lock(mutex_);
  op->credit = std::max(op->credit, sequence);
  if (op->wants_resume && !op->ended && op->connection->event) {
    op->wants_resume = false;
    loop_jobs_.push_back([this, op] { plugin_->conn_resume(op->connection->handle, op->id); });
    (void)!write(loop_wake_[1], "x", 1);
  }
  changed_.notify_all();
}

void BareHost::give_piece(Op* op, std::vector<std::uint8_t> piece, bool last, bool abort) {
  std::lock_guard lock(mutex_);
  if (!piece.empty()) op->pieces.push_back(std::move(piece));
  op->last_piece = op->last_piece || last;
  op->aborted = op->aborted || abort;
  if (op->wants_resume && op->connection != nullptr && op->connection->event) {
    op->wants_resume = false;
    loop_jobs_.push_back([this, op] { plugin_->conn_resume(op->connection->handle, op->id); });
    (void)!write(loop_wake_[1], "x", 1);
  }
  changed_.notify_all();
}

bool BareHost::wait(std::uint64_t until_us, const std::function<bool()>& ready) {
  std::unique_lock lock(mutex_);
  while (!ready()) {
    const std::uint64_t now = now_us();
    if (now >= until_us) return false;
    changed_.wait_for(lock,
                      std::chrono::microseconds(std::min<std::uint64_t>(until_us - now, 50'000)));
  }
  return true;
}

void BareHost::wait_for_wake(std::uint64_t token, std::uint32_t ms) {
  std::unique_lock lock(mutex_);
  const std::uint64_t before = wakes_[token];
  changed_.wait_for(lock, std::chrono::milliseconds(ms), [&] { return wakes_[token] != before; });
}

std::vector<std::string> BareHost::violations() {
  std::lock_guard lock(mutex_);
  return violations_;
}
void BareHost::violation(std::string text) {
  std::lock_guard lock(mutex_);
  violations_.push_back(std::move(text));
}
std::vector<std::string> BareHost::logged() {
  std::lock_guard lock(mutex_);
  return log_;
}

void BareHost::on_loop(std::function<void()> f) {
  std::mutex done_mutex;
  std::condition_variable done_cv;
  bool done = false;
  {
    std::lock_guard lock(mutex_);
    loop_jobs_.push_back([&] {
      f();
      std::lock_guard l(done_mutex);
      done = true;
      done_cv.notify_one();
    });
  }
  (void)!write(loop_wake_[1], "x", 1);
  std::unique_lock l(done_mutex);
  done_cv.wait(l, [&] { return done; });
}

namespace {
// What the calling thread has done: how often it waited for something, and its processor time.
struct Spent {
  long waits = 0;
  std::int64_t us = 0;
  static Spent now() {
    rusage u{};
    ::getrusage(RUSAGE_THREAD, &u);
    return {u.ru_nvcsw, (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * std::int64_t{1'000'000} +
                            u.ru_utime.tv_usec + u.ru_stime.tv_usec};
  }
};
}  // namespace

// The loop of event lanes: jobs, descriptors, timers. A plugin call that takes over 50 ms is a
// violation (abi.no_block), since it would stall every service; unless it only was not let run.
void BareHost::loop() {
  auto timed = [this](auto&& f) {
    const std::uint64_t begun = now_us();
    const Spent before = Spent::now();
    f();
    if (now_us() - begun <= 50'000) return;
    const Spent after = Spent::now();
    if (after.waits != before.waits || after.us - before.us > 50'000)
      violation("a call on the loop took over 50 ms");
  };
  while (!loop_stop_) {
    std::vector<pollfd> fds{{loop_wake_[0], POLLIN, 0}};
    std::vector<BareConnection*> who{nullptr};
    int pause = 1000;
    {
      std::lock_guard lock(mutex_);
      for (auto& [id, c] : event_connections_) {
        if (c->events != 0 && c->fd >= 0) {
          fds.push_back({c->fd,
                         static_cast<short>(((c->events & HG_IO_READ) ? POLLIN : 0) |
                                            ((c->events & HG_IO_WRITE) ? POLLOUT : 0)),
                         0});
          who.push_back(c);
        }
        if (c->timer_us != 0) {
          const std::uint64_t now = now_us();
          pause = std::min<int>(
              pause, c->timer_us <= now ? 0 : static_cast<int>((c->timer_us - now) / 1000 + 1));
        }
      }
    }
    ::poll(fds.data(), fds.size(), pause);
    if (fds[0].revents != 0) {
      char drop[64];
      while (read(loop_wake_[0], drop, sizeof drop) > 0) {
      }
    }
    for (;;) {
      std::function<void()> job;
      {
        std::lock_guard lock(mutex_);
        if (loop_jobs_.empty()) break;
        job = std::move(loop_jobs_.front());
        loop_jobs_.pop_front();
      }
      timed(job);
    }
    auto alive = [this](BareConnection* c) {
      std::lock_guard lock(mutex_);
      for (auto& [id, e] : event_connections_)
        if (e == c) return true;
      return false;
    };
    for (std::size_t i = 1; i < fds.size(); ++i) {
      if (fds[i].revents == 0 || !alive(who[i])) continue;
      std::uint32_t events = 0;
      if (fds[i].revents & (POLLIN | POLLERR | POLLHUP)) events |= HG_IO_READ;
      if (fds[i].revents & POLLOUT) events |= HG_IO_WRITE;
      timed([&] { plugin_->conn_io(who[i]->handle, events); });
    }
    std::vector<BareConnection*> due;
    {
      std::lock_guard lock(mutex_);
      for (auto& [id, c] : event_connections_)
        if (c->timer_us != 0 && c->timer_us <= now_us()) {
          c->timer_us = 0;
          due.push_back(c);
        }
    }
    for (BareConnection* c : due)
      if (alive(c)) timed([&] { plugin_->conn_timer(c->handle); });
  }
}

}  // namespace headgate::conformance
