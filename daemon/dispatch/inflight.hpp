// Inflight is the calls that are not answered yet: a slab of them, found by their own id (`kill`)
// or by peer and request id (cancel, credit, data, and a second request with the same id).
//
// Owner:     Dispatcher. Threads: the loop's.
// Invariant: a call is here from its admission to its answer; size() <= calls_max. A number of an
//            earlier call in the same place names nothing (generation).
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/access/policy.hpp"
#include "daemon/core/call.hpp"
#include "daemon/core/frames.hpp"
#include "daemon/dispatch/store_entry.hpp"

namespace headgate {

struct InflightCall : Call {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  StoreEntry* at = nullptr;
  std::shared_ptr<const access::Policy> policy;  // that it was admitted by
  access::Usage* usage = nullptr;
  std::uint64_t upload_next = 1;    // piece that comes next
  std::uint64_t upload_credit = 0;  // last piece that may come
  bool upload_ended = false;
};

class Inflight {
 public:
  explicit Inflight(std::uint32_t calls_max);
  Inflight(const Inflight&) = delete;
  Inflight& operator=(const Inflight&) = delete;

  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] bool full() const { return size_ >= calls_max_; }
  void set_calls_max(std::uint32_t n) { calls_max_ = n; }
  [[nodiscard]] std::uint32_t calls_max() const { return calls_max_; }

  // REQUIRES: !full(), and find() has nothing for these two.
  InflightCall& add(PeerId peer, std::uint64_t request_id);
  [[nodiscard]] InflightCall* find(PeerId peer, std::uint64_t request_id) const;
  [[nodiscard]] InflightCall* by_id(std::uint64_t id) const;
  // The call is gone; whoever asks for it by any number finds nothing.
  void remove(InflightCall& c);
  template <class F>
  void each(F&& f) const {
    for (const auto& block : blocks_) {
      for (std::size_t i = 0; i < kBlock; ++i) {
        if (block[i].id != 0) f(block[i]);
      }
    }
  }

 private:
  static constexpr std::size_t kBlock = 256;
  [[nodiscard]] std::size_t place(PeerId peer, std::uint64_t request_id) const;
  void grow();

  std::uint32_t calls_max_;
  std::uint32_t size_ = 0;
  std::vector<std::unique_ptr<InflightCall[]>> blocks_;
  std::vector<std::uint32_t> free_;
  std::vector<InflightCall*> cells_;  // linear probing by (peer, request id)
};

}  // namespace headgate
