// Threads over one queue; a thread that never comes back is abandoned with what it holds.
#include "daemon/plugin/job_threads.hpp"

#include <pthread.h>
#include <signal.h>

namespace headgate::plugin {

void settle_thread(const std::string& name) {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
}

JobThreads::JobThreads(std::string name, std::uint32_t threads)
    : name_(std::move(name)), wanted_(threads) {}

JobThreads::~JobThreads() { stop(std::chrono::seconds(2)); }

void JobThreads::add(Job& job) {
  std::unique_lock lock(state_->mutex);
  state_->queue.push_back(&job);
  if (threads_.size() < wanted_ && state_->idle < state_->queue.size()) {
    ++state_->alive;
    ++state_->idle;  // until it has taken one
    threads_.emplace_back([state = state_, name = name_] {
      settle_thread(name);
      std::unique_lock mine(state->mutex);
      for (;;) {
        state->changed.wait(mine, [&] { return state->stopping || !state->queue.empty(); });
        if (state->queue.empty()) break;
        Job* next = state->queue.front();
        state->queue.pop_front();
        --state->idle;
        mine.unlock();
        next->work();
        mine.lock();
        ++state->idle;
      }
      --state->alive;
      state->changed.notify_all();
    });
  }
  lock.unlock();
  state_->changed.notify_one();
}

void JobThreads::stop(Micros patience) {
  bool all_back = false;
  {
    std::unique_lock lock(state_->mutex);
    state_->stopping = true;
    state_->changed.notify_all();
    all_back = state_->changed.wait_for(lock, patience, [&] { return state_->alive == 0; });
  }
  if (all_back) {
    for (std::thread& t : threads_) t.join();
    threads_.clear();
  } else if (!threads_.empty()) {
    // Joining would hang with them, and destroying a running std::thread ends the process.
    new std::vector<std::thread>(std::move(threads_));
    threads_.clear();
  }
}

}  // namespace headgate::plugin
