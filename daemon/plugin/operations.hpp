// Operations is the slab behind every hg_op: slots with generations, so that a number which a
// plugin kept too long names nothing any more instead of somebody else's operation.
//
// Owner:   Host. Threads: begin() and end() on the loop; running() and the phase of a slot from
// any. Holds:   memory of a slot is never given back while the Host lives, so looking up any number
// at
//          any time is safe. A slot's phase goes free -> queued -> running -> done -> free, and who
//          moves it from running to done (one compare-and-swap) is the one who completes it.
#pragma once
#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/plugin/inbox.hpp"
#include "daemon/plugin/operation.hpp"

namespace headgate::plugin {

class LaneLink;

// Parts and upload pieces of one operation; made for a slot when it first needs one, then kept.
//
// Threads: under `mutex`. `moved` wakes a worker that waits for credit or for a piece.
struct Stream {
  std::mutex mutex;
  std::condition_variable moved;
  bool stopped = false;  // nobody takes parts or sends pieces any more

  std::deque<ReplyBuffer> parts;  // flushed, waiting for credit; at most one beyond it
  std::uint64_t flushed = 0;      // sequence number of the last part that the plugin flushed
  std::uint64_t credit = 0;
  bool waiting = false;  // an event lane was told HG_WAIT

  std::deque<std::vector<std::uint8_t>> pieces;
  std::vector<std::uint8_t> current;  // lent to the plugin
  bool last = false;
  bool starved = false;  // an event lane was told HG_TAKE_NOTHING
  std::uint64_t taken = 0;
  std::uint64_t granted = 0;  // highest piece that the caller was told to send

  void clear();
};

enum class Phase : std::uint64_t { free = 0, queued = 1, running = 2, done = 3 };

struct OpenTag;

struct Slot final : Operation, Hook<OpenTag>, Inbox::Node {
  void deliver() override;  // hands itself to its link

  // generation << 2 | phase
  std::atomic<std::uint64_t> state{0};
  std::atomic<bool> in_inbox{false};
  std::atomic<bool> ready{false};  // done and reply are final
  // Nobody waits any more: sinks answer stop. Set before the phase is looked at, and looked at
  // after the phase was moved to running: either the one who abandons sees that it runs, or the
  // worker sees that it is stopped.
  std::atomic<bool> stopped{false};

  LaneLink* link = nullptr;  // from submit until finished; the loop's
  bool finished = false;     // LinkEvents::completed was called; the loop's
  bool retained = false;     // a worker that was written off may still touch it; the loop's
  bool ended = false;        // given back while retained; the loop's
  bool alone = false;
  bool on_loop = false;  // served by an event lane: sinks and takes must not wait
  std::uint64_t reply_max = 0;
  std::atomic<bool>* broke = nullptr;  // the worker's: set when this completes as broken
  bool streams = false;
  bool uploads = false;
  bool misused = false;  // the plugin broke the sink's rules; the serving thread's

  hg_call lent{};       // what the plugin sees
  std::string service;  // copied: a reload may free the call's
  std::array<std::uint8_t, 64> receipt{};
  ReplyBuffer sink;        // the serving thread's until completion
  std::uint64_t room = 0;  // writable bytes that reserve() has promised
  std::unique_ptr<Stream> stream;

  std::uint32_t index = 0;
  Slot* next_free = nullptr;

  [[nodiscard]] Phase phase() const {
    return static_cast<Phase>(state.load(std::memory_order_seq_cst) & 3);
  }
  [[nodiscard]] bool is(hg_op op, Phase p) const {
    return state.load(std::memory_order_acquire) ==
           ((op >> 24) << 2 | static_cast<std::uint64_t>(p));
  }
  // Moves this generation of the slot from one phase to another; false: it is in no such phase.
  bool move(hg_op op, Phase from, Phase to) {
    const std::uint64_t generation = op >> 24;
    std::uint64_t expected = generation << 2 | static_cast<std::uint64_t>(from);
    return state.compare_exchange_strong(expected, generation << 2 | static_cast<std::uint64_t>(to),
                                         std::memory_order_seq_cst);
  }
};

class Operations {
 public:
  // REQUIRES: 0 < max < 2^24.
  explicit Operations(std::uint32_t max);
  ~Operations();
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;

  // A queued slot with an id of its own and everything else as new; null when `max` are in use.
  Slot* begin();
  // Makes the slot free; one that is retained becomes free at release().
  void end(Slot& s);
  // The worker that held it is back.
  void release(Slot& s);

  // The slot of this number if it is running; null: a stale or invented number.
  [[nodiscard]] Slot* running(hg_op op) const {
    Slot* s = find(op);
    return s != nullptr && s->is(op, Phase::running) ? s : nullptr;
  }
  // The slot of this number, whatever became of it; null: no such slot was ever made.
  [[nodiscard]] Slot* find(hg_op op) const;
  [[nodiscard]] std::uint32_t in_use() const { return in_use_; }
  [[nodiscard]] std::uint32_t max() const { return max_; }

 private:
  static constexpr std::uint32_t kChunk = 256;
  void recycle(Slot& s);
  const std::uint32_t max_;
  std::unique_ptr<std::atomic<Slot*>[]> chunks_;
  std::uint32_t made_ = 0;
  std::uint32_t in_use_ = 0;
  Slot* free_ = nullptr;
};

}  // namespace headgate::plugin
