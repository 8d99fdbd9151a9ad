// QuickReads remembers which reads take so little time that others may stand behind them on one
// connection: a thread that finds its next call waiting need not be woken for it.
//
// Owner:   SqliteDriver. Threads: any. A digest that falls out of the table, or is noted by two
//          threads at once, costs a call a connection to itself, never more.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace headgate::sqlite {

class QuickReads {
 public:
  // A call that others may wait for has this long, whatever it did before.
  static constexpr std::uint64_t kMaxUs = 5000;

  // digest 0: a call that nothing is known of.
  [[nodiscard]] bool contains(std::uint64_t digest) {
    return digest != 0 && slot(digest).load(std::memory_order_relaxed) == named(digest);
  }
  // One quick run is enough for a digest that is new; after a run that was too long it takes
  // kProbation of them, so that a text which is quick for some values only does not come and go.
  void note(std::uint64_t digest, std::uint64_t took_us) {
    if (digest == 0 || (took_us > kQuickUs && took_us < kMaxUs)) return;
    std::atomic<std::uint64_t>& s = slot(digest);
    const std::uint64_t was = s.load(std::memory_order_relaxed);
    const bool known = was != 0 && named(was) == named(digest);
    if (took_us >= kMaxUs) {
      if (known) s.store(named(digest) | kProbation, std::memory_order_relaxed);
    } else if (!known) {
      s.store(named(digest), std::memory_order_relaxed);
    } else if (was != named(digest)) {
      s.store(was - 1, std::memory_order_relaxed);
    }
  }

 private:
  static constexpr std::uint64_t kQuickUs = 100;
  static constexpr std::uint64_t kProbation = 63;
  static constexpr std::size_t kSlots = 1024;
  // A slot: the digest without its lowest bits, which count the quick runs that are still wanted.
  // Never 0, which is an empty one.
  static std::uint64_t named(std::uint64_t digest) {
    return (digest | (kProbation + 1)) & ~kProbation;
  }
  std::atomic<std::uint64_t>& slot(std::uint64_t digest) {
    return slots_[(digest >> 7 ^ digest >> 32) % kSlots];
  }
  std::array<std::atomic<std::uint64_t>, kSlots> slots_{};
};

}  // namespace headgate::sqlite
