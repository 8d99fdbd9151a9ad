// The slab: chunks that are made when first needed and stay.
#include "daemon/plugin/operations.hpp"

#include <cassert>

#include "daemon/plugin/lane.hpp"

namespace headgate::plugin {

void Stream::clear() {
  stopped = waiting = last = starved = false;
  parts.clear();
  flushed = credit = taken = granted = 0;
  pieces.clear();
  current.clear();
}

void Slot::deliver() {
  in_inbox.store(false, std::memory_order_seq_cst);
  // A completing thread may push a slot that was delivered, ended and even begun again in between.
  if (link != nullptr && !finished) link->deliver(*this);
}

Operations::Operations(std::uint32_t max)
    : max_(max), chunks_(new std::atomic<Slot*>[(max + kChunk - 1) / kChunk]()) {
  assert(max > 0 && max < (1u << 24));
}

Operations::~Operations() {
  for (std::uint32_t i = 0; i < (max_ + kChunk - 1) / kChunk; ++i) {
    Slot* chunk = chunks_[i].load();
    if (chunk == nullptr) continue;
    for (std::uint32_t k = 0; k < kChunk; ++k) {
      chunk[k].Hook<OperationTag>::unlink();
      chunk[k].Hook<OpenTag>::unlink();
      headgate::release(chunk[k].request);
    }
    delete[] chunk;
  }
}

Slot* Operations::find(hg_op op) const {
  const std::uint64_t number = op & 0xffffff;
  if (number == 0 || number > max_) return nullptr;
  const auto index = static_cast<std::uint32_t>(number - 1);
  Slot* chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
  return chunk == nullptr ? nullptr : &chunk[index % kChunk];
}

Slot* Operations::begin() {
  Slot* s = free_;
  if (s != nullptr) {
    free_ = s->next_free;
  } else {
    if (made_ == max_) return nullptr;
    if (made_ % kChunk == 0)
      chunks_[made_ / kChunk].store(new Slot[kChunk], std::memory_order_release);
    s = &chunks_[made_ / kChunk].load(std::memory_order_relaxed)[made_ % kChunk];
    s->index = made_++;
  }
  ++in_use_;
  const std::uint64_t generation =
      ((s->state.load(std::memory_order_relaxed) >> 2) + 1) & 0xffffffffff;
  s->id = generation << 24 | (s->index + 1);
  s->ready.store(false, std::memory_order_relaxed);
  s->stopped.store(false, std::memory_order_relaxed);
  s->broke = nullptr;
  s->finished = s->ended = s->alone = s->streams = s->uploads = s->misused = false;
  s->state.store(generation << 2 | static_cast<std::uint64_t>(Phase::queued),
                 std::memory_order_release);
  return s;
}

void Operations::end(Slot& s) {
  assert(!s.ended && s.phase() != Phase::free);
  s.ended = true;
  s.link = nullptr;
  s.call = nullptr;
  s.owner = nullptr;
  s.Hook<OperationTag>::unlink();
  s.Hook<OpenTag>::unlink();
  if (!s.retained) recycle(s);
}

void Operations::release(Slot& s) {
  s.retained = false;
  if (s.ended) recycle(s);
}

void Operations::recycle(Slot& s) {
  headgate::release(s.request);
  if (!s.done.ok || !s.done.warnings.empty() || !s.done.receipt.empty()) s.done = Done{};
  s.reply.clear();
  s.sink.clear();
  if (s.stream && (s.streams || s.uploads)) {
    std::lock_guard lock(s.stream->mutex);
    s.stream->clear();
  }
  s.state.store(s.state.load(std::memory_order_relaxed) & ~std::uint64_t{3},
                std::memory_order_release);
  s.next_free = free_;
  free_ = &s;
  --in_use_;
}

}  // namespace headgate::plugin
