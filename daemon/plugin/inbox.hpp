// Inbox is how other threads tell the loop that something has happened: completions, parts, opened
// connections, returned cancels. Everything that plugins and our threads produce goes through one.
//
// Owner:   Host. Threads: push() and wake() from any; run() on the loop.
// Holds:   a node is in it at most once; nodes are delivered in the order in which one thread
// pushed
//          them. Between two runs the loop is woken at most once, however much was pushed. Delivery
//          is always at the top of the loop's stack, never inside a call that the pool makes: what
//          a plugin completes at once reaches the pool after it has returned.
#pragma once
#include <atomic>
#include <thread>

#include "daemon/core/loop.hpp"

namespace headgate::plugin {

class Inbox final : public Task {
 public:
  class Node {
   public:
    virtual ~Node() = default;
    virtual void deliver() = 0;  // on the loop; may delete the node

   private:
    friend class Inbox;
    Node* next_in_inbox_ = nullptr;
  };

  explicit Inbox(Loop& loop) : loop_(loop), loop_thread_(std::this_thread::get_id()) {}

  // `more`: another push by this thread follows at once, and wakes the loop for both.
  void push(Node& n, bool more = false) {
    Node* old = head_.load(std::memory_order_relaxed);
    do {
      n.next_in_inbox_ = old;
    } while (!head_.compare_exchange_weak(old, &n, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    if (!more) wake();
  }
  // Wakes the loop if something was pushed with `more` and it does not know yet.
  void wake() {
    if (on_loop()) {
      loop_.defer(*this);
      return;
    }
    if (head_.load(std::memory_order_seq_cst) == nullptr) return;
    if (!woken_.exchange(true, std::memory_order_seq_cst)) loop_.post(*this);
  }
  // Delivers what is there.
  void run() override {
    woken_.store(false, std::memory_order_seq_cst);
    Node* n = head_.exchange(nullptr, std::memory_order_seq_cst);
    Node* in_order = nullptr;
    while (n != nullptr) {
      Node* next = n->next_in_inbox_;
      n->next_in_inbox_ = in_order;
      in_order = n;
      n = next;
    }
    while (in_order != nullptr) {
      Node* next = in_order->next_in_inbox_;
      in_order->deliver();
      in_order = next;
    }
  }
  [[nodiscard]] bool empty() const { return head_.load(std::memory_order_acquire) == nullptr; }
  [[nodiscard]] bool on_loop() const { return std::this_thread::get_id() == loop_thread_; }
  // The loop runs in this thread from now on (it need not be the one that made the Host).
  void adopt_thread() { loop_thread_ = std::this_thread::get_id(); }
  [[nodiscard]] Loop& loop() const { return loop_; }

 private:
  Loop& loop_;
  std::thread::id loop_thread_;
  alignas(64) std::atomic<Node*> head_{nullptr};
  std::atomic<bool> woken_{false};
};

}  // namespace headgate::plugin
