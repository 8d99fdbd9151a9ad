#include "daemon/loop/uv_loop.hpp"

#include <uv.h>

#include <algorithm>
#include <cassert>
#include <ctime>
#include <utility>
#include <vector>

namespace headgate {
namespace {

TimePoint clock_now() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return {t.tv_sec * 1'000'000 + t.tv_nsec / 1'000};
}

// Deferred tasks may defer others; this many rounds in one turn, then the rest waits for the next.
constexpr int kDeferRounds = 16;

}  // namespace

struct UvLoop::Watch {
  uv_poll_t poll;
  UvLoop* loop;
  Watcher* watcher;
  int fd;
  int events = 0;  // libuv's, 0: stopped
};

struct UvLoop::Signal {
  uv_signal_t handle;
  UvLoop* loop;
  Task* task;
};

struct UvLoop::Uv {
  uv_loop_t loop;
  uv_prepare_t prepare;
  uv_check_t check;
  uv_idle_t idle;
  uv_timer_t timer;
  uv_async_t async;
  std::vector<std::unique_ptr<Signal>> signals;
};

UvLoop::UvLoop() : uv_(std::make_unique<Uv>()), now_(clock_now()) {
  uv_loop_init(&uv_->loop);
  uv_->loop.data = this;
  uv_prepare_init(&uv_->loop, &uv_->prepare);
  uv_check_init(&uv_->loop, &uv_->check);
  uv_idle_init(&uv_->loop, &uv_->idle);
  uv_timer_init(&uv_->loop, &uv_->timer);
  uv_async_init(&uv_->loop, &uv_->async, [](uv_async_t*) {});
  uv_prepare_start(&uv_->prepare,
                   [](uv_prepare_t* h) { static_cast<UvLoop*>(h->loop->data)->before_sleep(); });
  uv_check_start(&uv_->check, [](uv_check_t* h) { static_cast<UvLoop*>(h->loop->data)->woke(); });
}

UvLoop::~UvLoop() {
  uv_walk(
      &uv_->loop,
      [](uv_handle_t* h, void*) {
        if (uv_is_closing(h) != 0) return;
        if (h->type == UV_POLL) {
          auto* w = reinterpret_cast<Watch*>(h);
          w->watcher->handle_ = nullptr;
          uv_close(h, [](uv_handle_t* closed) { delete reinterpret_cast<Watch*>(closed); });
        } else {
          uv_close(h, nullptr);
        }
      },
      nullptr);
  uv_prepare_stop(&uv_->prepare);
  uv_check_stop(&uv_->check);
  uv_run(&uv_->loop, UV_RUN_DEFAULT);
  [[maybe_unused]] const int rc = uv_loop_close(&uv_->loop);
  assert(rc == 0);
}

void UvLoop::run() {
  uv_run(&uv_->loop, UV_RUN_DEFAULT);
  stop_.store(false, std::memory_order_release);
}

void UvLoop::stop() {
  stop_.store(true, std::memory_order_release);
  uv_async_send(&uv_->async);
}

void UvLoop::on_signal(int signal, Task& task) {
  auto s = std::make_unique<Signal>();
  s->loop = this;
  s->task = &task;
  uv_signal_init(&uv_->loop, &s->handle);
  s->handle.data = s.get();
  uv_signal_start(
      &s->handle,
      [](uv_signal_t* h, int) {
        auto* mine = static_cast<Signal*>(h->data);
        mine->loop->defer(*mine->task);
      },
      signal);
  uv_->signals.push_back(std::move(s));
}

void UvLoop::watch(Watcher& w, int fd, std::uint32_t events) {
  auto* old = static_cast<Watch*>(w.handle_);
  const int wanted =
      ((events & kReadable) != 0 ? UV_READABLE : 0) | ((events & kWritable) != 0 ? UV_WRITABLE : 0);
  if (old != nullptr && (wanted == 0 || old->fd != fd)) {
    uv_poll_stop(&old->poll);
    uv_close(reinterpret_cast<uv_handle_t*>(&old->poll),
             [](uv_handle_t* h) { delete reinterpret_cast<Watch*>(h); });
    w.handle_ = old = nullptr;
  }
  if (wanted == 0) return;
  if (old == nullptr) {
    old = new Watch{};
    old->loop = this;
    old->watcher = &w;
    old->fd = fd;
    if (uv_poll_init(&uv_->loop, &old->poll, fd) != 0) {  // not a descriptor that can be polled
      delete old;
      return;
    }
    w.handle_ = old;
  }
  if (old->events == wanted) return;
  old->events = wanted;
  uv_poll_start(&old->poll, wanted, [](uv_poll_t* h, int status, int happened) {
    auto* mine = reinterpret_cast<Watch*>(h);
    std::uint32_t e = 0;
    if ((happened & UV_READABLE) != 0) e |= kReadable;
    if ((happened & UV_WRITABLE) != 0) e |= kWritable;
    if (status < 0) {  // libuv has stopped the handle
      e = kReadable | kWritable;
      mine->events = 0;
    }
    mine->watcher->ready(e);
  });
}

void UvLoop::refresh() { now_ = clock_now(); }

// The flag `sleeping_` saves the eventfd where the loop is awake anyway: it is set before the list
// is looked at for the last time, so a task is either seen there or its poster sees the flag.
void UvLoop::post(Task& t) {
  if (t.queued_.exchange(true, std::memory_order_acq_rel)) return;
  Task* head = posted_.load(std::memory_order_relaxed);
  do {
    t.next_.store(head, std::memory_order_relaxed);
  } while (!posted_.compare_exchange_weak(head, &t, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
  if (sleeping_.load(std::memory_order_seq_cst)) uv_async_send(&uv_->async);
}

void UvLoop::defer(Task& t) {
  if (t.queued_.exchange(true, std::memory_order_acq_rel)) return;
  t.next_.store(nullptr, std::memory_order_relaxed);
  if (deferred_last_ != nullptr) {
    deferred_last_->next_.store(&t, std::memory_order_relaxed);
  } else {
    deferred_first_ = &t;
  }
  deferred_last_ = &t;
}

bool UvLoop::run_posted() {
  Task* newest = posted_.exchange(nullptr, std::memory_order_acquire);
  if (newest == nullptr) return false;
  Task* oldest = nullptr;
  while (newest != nullptr) {
    Task* next = newest->next_.load(std::memory_order_relaxed);
    newest->next_.store(oldest, std::memory_order_relaxed);
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    Task* next = oldest->next_.load(std::memory_order_relaxed);
    oldest->queued_.store(false, std::memory_order_release);
    oldest->run();
    oldest = next;
  }
  return true;
}

void UvLoop::run_deferred() {
  for (int round = 0; round < kDeferRounds && deferred_first_ != nullptr; ++round) {
    Task* t = std::exchange(deferred_first_, nullptr);
    deferred_last_ = nullptr;
    while (t != nullptr) {
      Task* next = t->next_.load(std::memory_order_relaxed);
      t->queued_.store(false, std::memory_order_release);
      t->run();
      t = next;
    }
  }
}

void UvLoop::work() {
  run_posted();
  while (Timer* t = timers_.pop_due(now_)) t->fire();
  if (intake_ != nullptr) intake_->take_in();
  run_deferred();
}

void UvLoop::woke() {
  sleeping_.store(false, std::memory_order_relaxed);
  now_ = clock_now();
  ++turns_;
  work();
  if (stop_.load(std::memory_order_acquire)) uv_stop(&uv_->loop);
}

void UvLoop::before_sleep() {
  now_ = clock_now();
  work();
  set_sleep();
}

void UvLoop::set_sleep() {
  sleeping_.store(true, std::memory_order_seq_cst);
  const bool awake = (intake_ != nullptr && intake_->restless()) || deferred_first_ != nullptr ||
                     posted_.load(std::memory_order_seq_cst) != nullptr ||
                     stop_.load(std::memory_order_acquire);
  if (awake != (uv_is_active(reinterpret_cast<uv_handle_t*>(&uv_->idle)) != 0)) {
    if (awake) {
      uv_idle_start(&uv_->idle, [](uv_idle_t*) {});
    } else {
      uv_idle_stop(&uv_->idle);
    }
  }
  const bool timer_set = uv_is_active(reinterpret_cast<uv_handle_t*>(&uv_->timer)) != 0;
  if (timers_.empty() || (timer_set && wake_at_ <= timers_.first())) return;
  wake_at_ = timers_.first();
  uv_update_time(&uv_->loop);
  const std::int64_t us = std::max<std::int64_t>(0, (wake_at_ - now_).count());
  uv_timer_start(
      &uv_->timer, [](uv_timer_t*) {}, static_cast<std::uint64_t>(us + 999) / 1000, 0);
}

}  // namespace headgate
