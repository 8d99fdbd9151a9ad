// Who is still there: peers that hold a lease, a stream or a waiting verb are pinged every second.
#include "daemon/dispatch/dispatcher.hpp"
#include "daemon/pool/attempts.hpp"

namespace headgate {
namespace {

constexpr std::uint8_t kUnansweredMax = 3;

}  // namespace

void Dispatcher::look_for_life() {
  loop_.arm(liveness_, loop_.now() + std::chrono::seconds(1));
  std::uint8_t bytes[16];
  proto::Out out{bytes, bytes + sizeof bytes, nullptr};
  proto::Writer w(&out);
  proto::encode(w, proto::Ping{});
  for (auto& p : peers_) {
    if (p == nullptr || p->id == 0 || !p->greeted) continue;
    bool holds = false;
    p->calls.each([&](Call& c) { holds = holds || c.fetch != 0 || c.upload || c.waits; });
    for (const StoreEntry* s : stores_) {
      holds = holds || (s->attempts != nullptr && s->attempts->has_leases(p->id));
    }
    if (!holds) {
      p->unanswered = 0;
      continue;
    }
    if (p->pongs && p->unanswered >= kUnansweredMax) {
      frames_->cut(p->id, "answered no ping");
      continue;
    }
    ++p->unanswered;
    frames_->send(p->id, {bytes, static_cast<std::size_t>(out.pos - bytes)}, proto::Bytes{});
  }
}

}  // namespace headgate
