// lock and unlock: leases on names, with an owner, a time to live and a fence.
//
// Lock names are apart from keys: a lock shows in no scan, and no `delete` breaks it. The fence is
// taken from the store's one sequence, so it grows with every acquisition of every lock; a resource
// that remembers the highest fence it has seen can refuse an owner whose lock ran out.
//
// Threads: pure functions of a Request.
#include <algorithm>

#include "plugins/sqlite/kv_request.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::string_view kFind =
    "SELECT owner, expires, fence FROM headgate_kv_locks WHERE name = ?1";
constexpr std::string_view kPut =
    "INSERT INTO headgate_kv_locks(name, owner, expires, fence) VALUES(?1, ?2, ?3, ?4) "
    "ON CONFLICT(name) DO UPDATE SET owner = excluded.owner, expires = excluded.expires, "
    "fence = excluded.fence";
constexpr std::string_view kRelease =
    "DELETE FROM headgate_kv_locks WHERE name = ?1 AND owner = ?2 AND expires > ?3";

Bytes read_owner(Request& q, const Fields& f) {
  const Bytes owner = q.member(f, "owner");
  if (owner.empty()) throw f.wrong("owner", "not empty");
  return owner;
}

void write_reply(Request& q, std::optional<std::int64_t> fence) {
  q.out().map(2);
  q.out().str("locked");
  q.out().boolean(fence.has_value());
  q.out().str("fence");
  if (fence)
    q.out().sint(*fence);
  else
    q.out().nil();
}

void lock(Request& q) {
  const Fields f = q.fields({"name", "owner", "ttl_ms", "wait_ms"});
  const Bytes name = q.key(f, "name");
  const Bytes owner = read_owner(q, f);
  const std::int64_t ttl = q.ttl(f);
  const std::int64_t wait = q.opt_count(f, "wait_ms").value_or(0);
  if (wait > kKvWaitMax) throw f.wrong("wait_ms", "between 0 and " + std::to_string(kKvWaitMax));
  q.harmless(true);  // the same owner, asking again, extends the lock that it has
  if (q.routing()) return;

  std::int64_t fence = 0;
  std::int64_t frees_in = 0;  // ms until another owner's lock runs out
  {
    Statement s = q.db().prepare(kFind);
    if (s.bind(1, name).step() && s.integer(1) > q.keys().now_ms()) {
      if (proto::text_of(s.blob(0)) == proto::text_of(owner))
        fence = s.integer(2);
      else
        frees_in = s.integer(1) - q.keys().now_ms();
    }
  }
  if (frees_in > 0) {
    q.wait({Waiters::hash(Wanted::lock, name)}, wait, false,
           static_cast<std::uint32_t>(std::min<std::int64_t>(frees_in, Waiters::kPollMs)));
    return write_reply(q, std::nullopt);
  }
  if (fence == 0) fence = q.keys().next_number();
  Statement s = q.db().prepare(kPut);
  s.bind(1, name).bind(2, owner).bind(3, q.keys().now_ms() + ttl).bind(4, fence).run();
  q.keys().count_written(1);
  write_reply(q, fence);
}

void unlock(Request& q) {
  const Fields f = q.fields({"name", "owner"});
  const Bytes name = q.key(f, "name");
  const Bytes owner = read_owner(q, f);
  if (q.routing()) return;
  Statement s = q.db().prepare(kRelease);
  s.bind(1, name).bind(2, owner).bind(3, q.keys().now_ms()).run();
  reply_flag(q, "unlocked", q.db().changes() > 0);
}

constexpr Verb kVerbs[] = {
    {"lock", VerbAccess::write, lock, {kFind, kPut}, nullptr, true},
    {"unlock", VerbAccess::write, unlock, {kRelease}},
};

}  // namespace

std::span<const Verb> kv_lock_verbs() { return kVerbs; }

}  // namespace headgate::sqlite
