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
    return digest != 0 && slot(digest).load(std::memory_order_relaxed) == digest;
  }
  void note(std::uint64_t digest, std::uint64_t took_us) {
    const bool known = contains(digest);
    if (took_us <= kQuickUs && !known) slot(digest).store(digest, std::memory_order_relaxed);
    if (took_us >= kMaxUs && known) slot(digest).store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr std::uint64_t kQuickUs = 100;
  static constexpr std::size_t kSlots = 1024;
  std::atomic<std::uint64_t>& slot(std::uint64_t digest) {
    return slots_[(digest ^ digest >> 32) % kSlots];
  }
  std::array<std::atomic<std::uint64_t>, kSlots> slots_{};
};

}  // namespace headgate::sqlite
