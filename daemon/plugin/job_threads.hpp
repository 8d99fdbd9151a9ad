// JobThreads runs work that may block: connects (DNS, TCP, TLS, login) and cancels.
//
// Owner:   Host. Threads: add() from the loop; work() on one of its own threads.
// Holds:   a job belongs to its thread from add() until its work() pushes it into the inbox. A
// thread
//          that hangs in a plugin for ever is left behind at the end, not waited for.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/core/time.hpp"

namespace headgate::plugin {

class Job {
 public:
  virtual ~Job() = default;
  // On a job thread. Ends by pushing itself into the inbox, after which it touches nothing.
  virtual void work() = 0;
};

class JobThreads {
 public:
  // `name`: at most 15 characters, as the kernel shows it.
  JobThreads(std::string name, std::uint32_t threads);
  ~JobThreads();
  JobThreads(const JobThreads&) = delete;
  JobThreads& operator=(const JobThreads&) = delete;

  void add(Job& job);
  // Runs what is queued, then ends the threads; waits for them at most so long.
  void stop(Micros patience);

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Job*> queue;
    bool stopping = false;
    std::uint32_t alive = 0;
    std::uint32_t idle = 0;  // of them, those that wait for a job
  };
  std::string name_;
  std::uint32_t wanted_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
  std::vector<std::thread> threads_;  // made when a job finds none idle
};

// Blocks every signal in the calling thread and names it: signals are the main thread's.
void settle_thread(const std::string& name);

}  // namespace headgate::plugin
