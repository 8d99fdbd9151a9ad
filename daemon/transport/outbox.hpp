// Outbox counts the bytes of large messages that libzmq holds for one peer: its queue is bounded in
// messages only, and a peer that never reads must not make us hold 1,000 answers of 8 MB.
//
// Owner:   the peer, and every message under way (counted). Threads: the loop adds, libzmq's I/O
//          thread takes away when it lets a message go.
#pragma once
#include <zmq.h>

#include <atomic>
#include <cstdint>

#include "daemon/core/loop.hpp"
#include "daemon/core/reply_buffer.hpp"

namespace headgate {

class Outbox {
 public:
  Outbox(Loop& loop, Task& drained) : loop_(loop), drained_(drained) {}

  [[nodiscard]] std::int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  // Post `drained` when bytes are next given back.
  void tell_when_drained() { waiting_.store(true, std::memory_order_seq_cst); }
  void leave();  // the peer is gone

  // A message over the buffer's memory from `head` bytes before its body. REQUIRES: head and a
  // Hint fit into its headroom, and the buffer is not empty.
  static void wrap(Outbox* o, ReplyBuffer body, std::size_t head, zmq_msg_t* out);
  // What a buffer needs free at its start.
  struct Hint {
    Outbox* outbox;
    std::int64_t bytes;
  };

 private:
  ~Outbox() = default;
  static void let_go(void* data, void* hint);
  void release();

  Loop& loop_;
  Task& drained_;
  std::atomic<std::int64_t> bytes_{0};
  std::atomic<std::uint32_t> holders_{1};
  std::atomic<bool> waiting_{false};
};

}  // namespace headgate
