#include "daemon/dispatch/bytes_pool.hpp"

#include <utility>

namespace headgate {

RequestBytes* BytesPool::take(Frame frame) {
  if (free_ == nullptr) {
    blocks_.push_back(std::make_unique<Lent[]>(kBlock));
    for (std::size_t i = 0; i < kBlock; ++i) {
      Lent& l = blocks_.back()[i];
      l.pool = this;
      l.give_back = &BytesPool::give_back;
      l.next = std::exchange(free_, &l);
    }
  }
  Lent* l = free_;
  free_ = l->next;
  l->frame = std::move(frame);
  l->holders = 1;
  bytes_ += l->frame.bytes().size();
  ++held_;
  return l;
}

void BytesPool::give_back(RequestBytes* b) {
  auto* l = static_cast<Lent*>(b);
  l->pool->bytes_ -= l->frame.bytes().size();
  --l->pool->held_;
  l->frame.release();
  l->next = std::exchange(l->pool->free_, l);
}

}  // namespace headgate
