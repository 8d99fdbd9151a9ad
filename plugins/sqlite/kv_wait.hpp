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
// Owner:   the KeyValueKind. Threads: any (guarded); in practice the writer's worker.
#pragma once
#include <atomic>
#include <cstdint>
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

  Waiters(const hg_host* host, std::uint64_t driver_id) : host_(host), driver_id_(driver_id) {}

  static std::uint64_t hash(Wanted what, proto::Bytes name);

  // Notes a call that waits for any of these (hashes); returns its token, never 0.
  std::uint64_t note(const std::vector<std::uint64_t>& hashes);

  // Something was added to it, and committed.
  void wake(std::uint64_t hash);

  [[nodiscard]] bool nobody() const { return notes_.load(std::memory_order_relaxed) == 0; }

 private:
  const hg_host* host_;
  std::uint64_t driver_id_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> tokens_;  // of a key's hash
  std::atomic<std::size_t> notes_{0};
};

}  // namespace headgate::sqlite
