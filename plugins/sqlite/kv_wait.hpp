// Waiters knows which keys somebody waits for, so that a push or an unlock wakes the right calls
// and a store where nobody waits pays nothing.
//
// A verb that waits by nature holds no connection: it ends with HG_RETRY_WAIT and a token, and the
// core asks again when host->wake names the token, or after a pause of at most kPollMs. One call
// has one token: a hash of all its keys. Each of them is noted here with that token; a commit that
// adds to a key wakes the tokens noted for it and forgets them (who finds nothing notes itself
// again). The notes are a hint, never the truth: when there are too many they are thrown away and
// the pause alone serves.
//
// It also knows who has waited longest for a list. The core asks the oldest first of those that it
// asks together; but each is asked after its own pause too, services take turns, and a call that
// has just arrived may meet an element before those that wait were woken. So a call is given what
// is there only when nobody who arrived before it still waits. Nobody says that a caller has given
// up: who has not asked for kForgetUs is taken for gone.
//
// Owner:   the KeyValueKind. Threads: any (guarded); in practice the writer's worker.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "plugins/sdk/driver.hpp"

namespace headgate::sqlite {

// What is waited for: lists and locks have names of their own.
enum class Wanted : std::uint8_t { list = 1, lock = 2 };

class Waiters {
 public:
  static constexpr std::size_t kNotesMax = 65'536;
  static constexpr std::uint32_t kPollMs = 250;
  static constexpr std::uint64_t kForgetUs = 2 * kPollMs * 1000;

  Waiters(const hg_host* host, std::uint64_t driver_id) : host_(host), driver_id_(driver_id) {}

  static std::uint64_t hash(Wanted what, proto::Bytes name);

  // Notes a call that arrived at `since` (0: it asks for no place in the line) and waits for any of
  // these (hashes); returns its token, never 0. Times are the host's; calls of one arrival share a
  // place.
  std::uint64_t note(const std::vector<std::uint64_t>& hashes, std::uint64_t since,
                     std::uint64_t now);
  // Whether nobody who arrived before `since` still waits for it. Who is told no may wait in vain:
  // wake_passed() is due when the one before it was served.
  bool is_first(std::uint64_t hash, std::uint64_t since, std::uint64_t now);
  // The call that arrived at `since` waits for them no more.
  void leave(const std::vector<std::uint64_t>& hashes, std::uint64_t since);

  // Something was added to it, and committed.
  void wake(std::uint64_t hash);
  // Something was taken from it, and committed: there may be more for who was told to wait.
  void wake_passed(std::uint64_t hash);

  [[nodiscard]] bool nobody() const { return notes_.load(std::memory_order_relaxed) == 0; }

 private:
  const hg_host* host_;
  std::uint64_t driver_id_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> tokens_;  // of a key's hash
  struct Line {
    std::map<std::uint64_t, std::uint64_t> places;  // arrival: until when it counts
    bool passed = false;                            // is_first() has said no
  };
  std::unordered_map<std::uint64_t, Line> lines_;  // of a key's hash
  std::size_t places_ = 0;                         // in all lines
  std::atomic<std::size_t> notes_{0};
};

}  // namespace headgate::sqlite
