// What a full store leaves the pools of one credential: as many connections as they have, and now
// and then one more.
//
// Whoever is refused for want of room does not ask again at once: that would be a storm on a store
// that is short of room already, and its callers are served over the connections that there are.
// The ceiling holds for all lanes of a credential together, so that a pool which has none gets one
// of its neighbours' instead of being refused for ever. After `ceiling_raise` it goes up by one. If
// a connect succeeds then, it goes up again at once, one by one until it no longer binds; if one is
// refused, it comes down to what there is.
#include <algorithm>

#include "daemon/policy/backoff.hpp"
#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {
namespace {

// For so long after a connection was closed its place in the store may still be taken.
constexpr Micros kFreed = std::chrono::seconds(1);
// Between two connects to a store that is full and has some of ours.
constexpr Micros kPause = std::chrono::milliseconds(500);

}  // namespace

// Read endpoints have room of their own.
Room& StorePools::room(const Pool& p) {
  return logins_[p.credential].rooms[has_read_endpoints(p) ? 1 : 0];
}

const Room& StorePools::room(const Pool& p) const {
  return logins_[p.credential].rooms[has_read_endpoints(p) ? 1 : 0];
}

bool StorePools::at_ceiling(const Pool& p) const {
  const Room& r = room(p);
  if (r.ceiling == 0) return false;
  std::size_t n = owed_to_others(p, &r);
  for (const auto& other : pools_) {
    if (&room(*other) == &r) n += other->held();
  }
  return n >= r.ceiling;
}

// Places that pools wait for which have none at all: whoever has some leaves them those. `r`: in
// this room; null: in the whole store.
std::size_t StorePools::owed_to_others(const Pool& p, const Room* r) const {
  const auto none = [](const Pool& x) { return x.live() + x.count(State::connecting) == 0; };
  if (none(p)) return 0;
  std::size_t n = 0;
  for (const auto& other : pools_) {
    if (r != nullptr && &room(*other) != r) continue;
    if (none(*other) && !other->queue.empty()) ++n;
  }
  return n;
}

std::size_t StorePools::live_in(const Room& r) const {
  std::size_t n = 0;
  for (const auto& other : pools_) {
    if (&room(*other) == &r) n += other->live();
  }
  return n;
}

// Each change is told once. At the configured maximum there is no ceiling to keep.
void StorePools::set_ceiling(std::uint32_t credential, Room& r, std::size_t to,
                             std::string_view why) {
  const std::size_t most = settings_.connections_max;
  const std::size_t before = r.ceiling == 0 ? most : r.ceiling;
  r.ceiling = to >= most ? 0 : static_cast<std::uint32_t>(to);
  r.raise_at = now() + policy::shortened(settings_.ceiling_raise, 0.2, random_.next());
  to = std::min(to, most);
  if (log_ == nullptr || to == before) return;
  const auto& names = settings_.credentials.names;
  const std::string_view name = credential < names.size() ? names[credential] : settings_.store;
  const Log::Fields fields = {{"store", settings_.store},
                              {"credential", name},
                              {"connections", to},
                              {"before", before},
                              {"why", why}};
  if (to < before) return log_->warn("pool_ceiling_lowered", fields);
  log_->info("pool_ceiling_raised", fields);
}

// A connect to `e` was refused for want of room. True: there are others to serve over, so those who
// wait go on waiting, and the endpoint is none the worse.
bool StorePools::met_full(Pool& p, Endpoint& e, const Fault& fault) {
  Room& r = room(p);
  const std::size_t live = live_in(r);
  r.tried = false;
  // What takes the place of one that has just gone may have come too early.
  if (r.ceiling == 0 || now() >= r.freed_at + kFreed || live >= r.ceiling)
    set_ceiling(p.credential, r, std::max<std::size_t>(live, 1), fault.message);
  if (live == 0) return false;
  e.retry_at = now() + policy::shortened(kPause, 0.5, random_.next());
  return true;
}

// There was room for one.
void StorePools::opened_one(const Pool& p) {
  Room& r = room(p);
  if (r.ceiling == 0) return;
  const std::size_t live = live_in(r);
  if (r.tried && live >= r.ceiling) {
    set_ceiling(p.credential, r, live + 1, "a connect succeeded");
  } else if (live > r.ceiling) {  // it was under way when another was refused
    set_ceiling(p.credential, r, live, "a connect succeeded");
  }
}

void StorePools::raise_ceilings() {
  for (std::uint32_t i = 0; i < logins_.size(); ++i) {
    for (Room& r : logins_[i].rooms) {
      if (r.ceiling == 0 || now() < r.raise_at) continue;
      r.tried = true;
      set_ceiling(i, r, r.ceiling + 1, "it is time to try");
      mark_waiting_pools();
    }
  }
}

}  // namespace headgate::pool
