// Peers is who is connected, as the ROUTER names them: a slab of peers, found by the routing id
// that libzmq gave the connection (a zero byte and 32 bits of a counter).
//
// Owner:     Frontend. Threads: the loop's.
// Invariant: a routing id names one peer at most; a slot is used again only under a new generation,
//            after its on_gone() was delivered.
#pragma once
#include <zmq.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "daemon/core/frames.hpp"
#include "daemon/core/list.hpp"
#include "daemon/core/time.hpp"
#include "daemon/transport/outbox.hpp"
#include "daemon/transport/who.hpp"

namespace headgate {

struct SuspectTag;
struct ParkedTag;

struct Peer : Hook<SuspectTag>, Hook<ParkedTag> {
  enum class State : std::uint8_t {
    free,
    open,
    cut,   // its descriptor was shut down; what it had sent before is dropped
    gone,  // libzmq no longer knows it; on_gone() is on its way
  };
  State state = State::free;
  bool told = false;  // the receiver knows it, and must hear that it is gone
  std::uint8_t probes = 0;
  std::uint32_t slot = 0;
  std::uint32_t generation = 1;
  std::uint32_t routing = 0;
  int fd = -1;
  std::string user;
  DescriptorKey key;
  TimePoint probe_at{};

  // What could not be sent yet, in order.
  struct Parked {
    std::deque<zmq_msg_t> frames;
    std::uint64_t bytes = 0;
    ~Parked() {
      for (zmq_msg_t& m : frames) zmq_msg_close(&m);
    }
  };
  std::unique_ptr<Parked> parked;
  Outbox* outbox = nullptr;

  [[nodiscard]] PeerId id() const { return (static_cast<std::uint64_t>(generation) << 32) | slot; }
};

class Peers {
 public:
  explicit Peers(std::uint32_t peers_max);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::uint32_t peers_max() const { return peers_max_; }
  [[nodiscard]] Peer* by_routing(std::uint32_t routing);
  [[nodiscard]] Peer* by_id(PeerId id);
  // REQUIRES: no peer has this routing id. Null: peers_max are there.
  Peer* add(std::uint32_t routing);
  void forget_routing(Peer& p);
  // REQUIRES: its routing id was forgotten.
  void free(Peer& p);
  template <class F>
  void each(F&& f) {
    for (auto& p : slots_) {
      if (p->state != Peer::State::free) f(*p);
    }
  }

 private:
  [[nodiscard]] std::size_t place(std::uint32_t routing) const;
  void grow();

  // Linear probing: key 0 is empty, else routing + 1.
  struct Cell {
    std::uint64_t key = 0;
    Peer* peer = nullptr;
  };
  std::vector<std::unique_ptr<Peer>> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<Cell> cells_;
  std::size_t used_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t peers_max_;
};

}  // namespace headgate
