#include "daemon/transport/outbox.hpp"

#include <cstdlib>
#include <new>

namespace headgate {

void Outbox::release() {
  if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

void Outbox::leave() {
  waiting_.store(false, std::memory_order_seq_cst);
  release();
}

void Outbox::wrap(Outbox* o, ReplyBuffer body, std::size_t head, zmq_msg_t* out) {
  std::uint8_t* start = body.body() - head;
  const std::size_t size = head + body.size();
  std::uint8_t* block = body.release();
  auto* hint = ::new (block) Hint{o, static_cast<std::int64_t>(size)};
  o->bytes_.fetch_add(hint->bytes, std::memory_order_relaxed);
  o->holders_.fetch_add(1, std::memory_order_relaxed);
  if (zmq_msg_init_data(out, start, size, &Outbox::let_go, hint) != 0) {  // out of memory
    let_go(start, hint);
    zmq_msg_init(out);
  }
}

void Outbox::let_go(void*, void* hint) {
  const Hint h = *static_cast<Hint*>(hint);
  std::free(hint);  // the block starts with its hint
  h.outbox->bytes_.fetch_sub(h.bytes, std::memory_order_seq_cst);
  if (h.outbox->waiting_.exchange(false, std::memory_order_seq_cst)) {
    h.outbox->loop_.post(h.outbox->drained_);
  }
  h.outbox->release();
}

}  // namespace headgate
