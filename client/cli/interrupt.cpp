// Ctrl-C: a thread that waits for SIGINT, so that what it does may lock and allocate.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "cli.hpp"

namespace headgate::cli {

struct Interrupt::State {
  std::mutex mutex;
  std::function<void()> cancel;
  std::atomic<bool> happened{false};
  std::atomic<bool> stop{false};
  std::thread thread;

  void wait() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    for (;;) {
      int signal = 0;
      sigwait(&set, &signal);
      if (stop) return;
      const std::lock_guard lock(mutex);
      if (happened.exchange(true) || !cancel) ::_exit(kInterrupted);
      cancel();
    }
  }
};

Interrupt::Interrupt() : state_(std::make_unique<State>()) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  state_->thread = std::thread([s = state_.get()] { s->wait(); });
}

Interrupt::~Interrupt() {
  state_->stop = true;
  pthread_kill(state_->thread.native_handle(), SIGINT);
  state_->thread.join();
}

bool Interrupt::happened() const { return state_->happened; }

Interrupt::During::During(Interrupt& i, std::function<void()> cancel) : interrupt_(i) {
  const std::lock_guard lock(i.state_->mutex);
  i.state_->cancel = std::move(cancel);
}
Interrupt::During::~During() {
  const std::lock_guard lock(interrupt_.state_->mutex);
  interrupt_.state_->cancel = nullptr;
}

}  // namespace headgate::cli
