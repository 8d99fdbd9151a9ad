#include "daemon/dispatch/inflight.hpp"

#include <cassert>

namespace headgate {

Inflight::Inflight(std::uint32_t calls_max) : calls_max_(calls_max), cells_(1024) {}

std::size_t Inflight::place(PeerId peer, std::uint64_t request_id) const {
  std::uint64_t h = (peer * 0x9e3779b97f4a7c15u) ^ (request_id * 0xc2b2ae3d27d4eb4fu);
  h ^= h >> 32;
  return h & (cells_.size() - 1);
}

InflightCall* Inflight::find(PeerId peer, std::uint64_t request_id) const {
  for (std::size_t i = place(peer, request_id);; i = (i + 1) & (cells_.size() - 1)) {
    InflightCall* c = cells_[i];
    if (c == nullptr || (c->request_id == request_id && c->peer == peer)) return c;
  }
}

InflightCall* Inflight::by_id(std::uint64_t id) const {
  const auto slot = static_cast<std::uint32_t>(id);
  if (slot / kBlock >= blocks_.size()) return nullptr;
  InflightCall& c = blocks_[slot / kBlock][slot % kBlock];
  return id != 0 && c.id == id ? &c : nullptr;
}

void Inflight::grow() {
  std::vector<InflightCall*> old(cells_.size() * 2);
  old.swap(cells_);
  for (InflightCall* c : old) {
    if (c == nullptr) continue;
    std::size_t i = place(c->peer, c->request_id);
    while (cells_[i] != nullptr) i = (i + 1) & (cells_.size() - 1);
    cells_[i] = c;
  }
}

InflightCall& Inflight::add(PeerId peer, std::uint64_t request_id) {
  assert(!full());
  if (free_.empty()) {
    const auto first = static_cast<std::uint32_t>(blocks_.size() * kBlock);
    blocks_.push_back(std::make_unique<InflightCall[]>(kBlock));
    free_.reserve(blocks_.size() * kBlock);
    for (std::uint32_t i = kBlock; i-- > 0;) {
      blocks_.back()[i].slot = first + i;
      free_.push_back(first + i);
    }
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  InflightCall& c = blocks_[slot / kBlock][slot % kBlock];
  c.id = (static_cast<std::uint64_t>(++c.generation) << 32) | slot;
  c.peer = peer;
  c.request_id = request_id;
  if (++size_ * 2 > cells_.size()) grow();
  std::size_t i = place(peer, request_id);
  while (cells_[i] != nullptr) i = (i + 1) & (cells_.size() - 1);
  cells_[i] = &c;
  return c;
}

void Inflight::remove(InflightCall& c) {
  const std::size_t mask = cells_.size() - 1;
  std::size_t i = place(c.peer, c.request_id);
  while (cells_[i] != &c) {
    assert(cells_[i] != nullptr);
    i = (i + 1) & mask;
  }
  for (std::size_t j = (i + 1) & mask; cells_[j] != nullptr; j = (j + 1) & mask) {
    const std::size_t home = place(cells_[j]->peer, cells_[j]->request_id);
    if (((j - home) & mask) >= ((j - i) & mask)) {
      cells_[i] = cells_[j];
      i = j;
    }
  }
  cells_[i] = nullptr;
  static_cast<Hook<InflightTag>&>(c).unlink();
  static_cast<Hook<PeerTag>&>(c).unlink();
  static_cast<Hook<QueueTag>&>(c).unlink();
  release(c.bytes);
  c.policy.reset();
  c.usage = nullptr;
  c.at = nullptr;
  c.permission = nullptr;
  c.attempt = nullptr;
  c.verb = c.store = c.key = c.trace = {};
  c.body = {};
  c.tx = c.fetch = c.credit = 0;
  c.read_only = c.idempotent = c.upload = c.waits = false;
  c.attempts = 0;
  c.queue_us = c.store_us = 0;
  c.upload_next = 1;
  c.upload_credit = 0;
  c.upload_ended = false;
  c.id = 0;
  --size_;
  free_.push_back(c.slot);
}

}  // namespace headgate
