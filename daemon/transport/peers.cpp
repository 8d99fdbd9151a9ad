#include "daemon/transport/peers.hpp"

#include <cassert>
#include <utility>

namespace headgate {

Peers::Peers(std::uint32_t peers_max) : cells_(1024), peers_max_(peers_max) {}

Peers::~Peers() {
  for (auto& p : slots_) {
    if (p->outbox != nullptr) p->outbox->leave();
    static_cast<Hook<SuspectTag>&>(*p).unlink();
    static_cast<Hook<ParkedTag>&>(*p).unlink();
  }
}

std::size_t Peers::place(std::uint32_t routing) const {
  return (routing * 2654435769u) & (cells_.size() - 1);
}

Peer* Peers::by_routing(std::uint32_t routing) {
  const std::uint64_t key = static_cast<std::uint64_t>(routing) + 1;
  for (std::size_t i = place(routing);; i = (i + 1) & (cells_.size() - 1)) {
    if (cells_[i].key == key) return cells_[i].peer;
    if (cells_[i].key == 0) return nullptr;
  }
}

Peer* Peers::by_id(PeerId id) {
  const std::uint32_t slot = slot_of(id);
  if (slot >= slots_.size()) return nullptr;
  Peer* p = slots_[slot].get();
  return p->state != Peer::State::free && p->id() == id ? p : nullptr;
}

void Peers::grow() {
  std::vector<Cell> old(cells_.size() * 2);
  old.swap(cells_);
  for (const Cell& c : old) {
    if (c.key == 0) continue;
    std::size_t i = place(static_cast<std::uint32_t>(c.key - 1));
    while (cells_[i].key != 0) i = (i + 1) & (cells_.size() - 1);
    cells_[i] = c;
  }
}

Peer* Peers::add(std::uint32_t routing) {
  assert(by_routing(routing) == nullptr);
  if (size_ >= peers_max_) return nullptr;
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.push_back(std::make_unique<Peer>());
    slots_.back()->slot = free_.back();
  }
  Peer* p = slots_[free_.back()].get();
  free_.pop_back();
  ++size_;
  p->state = Peer::State::open;
  p->routing = routing;
  if (++used_ * 2 > cells_.size()) grow();
  std::size_t i = place(routing);
  while (cells_[i].key != 0) i = (i + 1) & (cells_.size() - 1);
  cells_[i] = {static_cast<std::uint64_t>(routing) + 1, p};
  return p;
}

void Peers::forget_routing(Peer& p) {
  const std::size_t mask = cells_.size() - 1;
  std::size_t i = place(p.routing);
  while (cells_[i].key != 0 && cells_[i].peer != &p) i = (i + 1) & mask;
  if (cells_[i].key == 0) return;
  --used_;
  // Moves back what the gap would cut off from its place.
  for (std::size_t j = (i + 1) & mask; cells_[j].key != 0; j = (j + 1) & mask) {
    const std::size_t home = place(static_cast<std::uint32_t>(cells_[j].key - 1));
    if (((j - home) & mask) >= ((j - i) & mask)) {
      cells_[i] = cells_[j];
      i = j;
    }
  }
  cells_[i] = {};
}

void Peers::free(Peer& p) {
  static_cast<Hook<SuspectTag>&>(p).unlink();
  static_cast<Hook<ParkedTag>&>(p).unlink();
  if (p.outbox != nullptr) std::exchange(p.outbox, nullptr)->leave();
  p.parked.reset();
  p.state = Peer::State::free;
  p.told = false;
  p.probes = 0;
  p.fd = -1;
  p.user.clear();
  p.key = {};
  ++p.generation;
  --size_;
  free_.push_back(p.slot);
}

}  // namespace headgate
