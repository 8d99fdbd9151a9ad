// BlockingLink drives one connection of a blocking lane: a Worker thread that may wait for the
// store, a ring towards it, and the inbox back.
//
// Owner:   the pool owns the link; link and thread own the worker together, and a worker that does
//          not come back is owned by the Host until it does. Threads: the link on the loop; a
//          Worker's ring has one producer (the loop) and one consumer (its thread).
// Holds:   all that was submitted in one turn costs at most one wake of the worker, which takes it
// in
//          conn_submits of up to max_batch; all that it completes before the loop looks costs at
//          most one wake of the loop. Every operation is completed before the worker takes the
//          next.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/plugin/gathering.hpp"
#include "daemon/plugin/lane.hpp"

namespace headgate::plugin {

class BlockingLink;

class Worker final : public std::enable_shared_from_this<Worker> {
 public:
  Worker(std::shared_ptr<StoreCore> core, const LaneInfo& lane, std::string label,
         hg_connection* connection);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The loop's.
  void start(BlockingLink* link);
  void push(Slot& s);  // REQUIRES: fewer than max_inflight are in it
  void wake();         // after the last push
  void close();        // what it has not begun ends as not_sent; then the thread ends
  void join() { thread_.join(); }
  // Gives its thread up for lost; the slots stay out of circulation until it is back.
  void write_off(std::vector<Slot*> held);
  // The connection, for conn_cancel: it is not closed before the target is let go. Null: closed.
  std::shared_ptr<CancelTarget> cancel_target();
  [[nodiscard]] const std::string& label() const { return label_; }

 private:
  struct Hold;
  struct Ended final : Inbox::Node {
    void deliver() override;
    Worker* worker = nullptr;
  };
  void run();
  bool wait_for_work();
  void gather();
  void serve();
  void serve_batch(std::uint32_t n);
  void serve_single(Slot& s);
  bool begin(Slot& s);
  void let_go();

  const std::shared_ptr<StoreCore> core_;
  const LaneInfo& lane_;
  const std::string label_;
  hg_connection* const connection_;
  BlockingLink* link_ = nullptr;  // the loop's; null once it was written off
  std::vector<Slot*> held_;       // the loop's
  std::thread thread_;
  Ended ended_;

  std::vector<Slot*> ring_;            // a power of two
  std::vector<const hg_call*> calls_;  // the worker's: the batch at hand
  std::vector<Slot*> slots_;
  std::vector<hg_op> ops_;
  Gathering gathering_;
  Gathering::Nanos ran_{};                            // processor time at the end of the last batch
  alignas(64) std::atomic<std::uint32_t> head_{0};    // next to write
  alignas(64) std::atomic<std::uint32_t> tail_{0};    // next to read
  alignas(64) std::atomic<std::uint32_t> asleep_{0};  // a futex
  std::atomic<std::uint32_t> enough_{0};  // while it gathers: head_ at which it is to be woken
  std::atomic<bool> closing_{false};
  std::atomic<bool> broken_{false};  // the plugin said so: nothing more is given to it

  std::mutex mutex_;  // cancels against close
  std::condition_variable no_cancels_;
  std::uint32_t cancels_ = 0;
  bool closed_ = false;
};

class BlockingLink final : public LaneLink, private Watcher {
 public:
  // fd: what to watch while nothing runs, or -1. REQUIRES: a thread was taken from the host's
  // budget.
  BlockingLink(std::shared_ptr<StoreCore> core, const OpenRequest& request,
               hg_connection* connection, int fd);
  ~BlockingLink() override;

  void submit(std::span<Operation* const> operations) override;
  void reset(Operation& operation) override { submit_one(operation); }
  void ping(Operation& operation) override { submit_one(operation); }
  void close() override;

  // The worker's thread has ended its work.
  void worker_ended();

 private:
  std::shared_ptr<CancelTarget> cancel_target() override;
  void moved(Slot&) override {}  // the worker waits on the stream's own condition
  void give_up(bool all) override;
  void settled() override;
  void submit_one(Operation& operation);
  void push(Operation& operation);
  void ready(std::uint32_t events) override;  // the idle descriptor
  void look_idle();
  void busy();

  // Lets close() of a link without a worker be answered from the inbox.
  struct CloseDue final : Inbox::Node {
    void deliver() override;
    BlockingLink* link = nullptr;  // while it is on its way
  };

  std::shared_ptr<Worker> worker_;
  CloseDue close_due_;
  const int fd_;
  bool watched_ = false;
  TimePoint last_used_{};
  TimerOf<BlockingLink> idle_;  // looks once a second whether the connection has become idle
};

}  // namespace headgate::plugin
