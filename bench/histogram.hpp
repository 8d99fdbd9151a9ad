// Histogram keeps latencies as HdrHistogram does: 64 linear steps a power of two, so every value is
// kept within 1.6 %, in a few kilobytes, whatever its size.
//
// Threads: one. Unit: microseconds.
#pragma once
#include <array>
#include <bit>
#include <cstdint>

namespace headgate::bench {

class Histogram {
 public:
  void add(std::uint64_t us) {
    ++counts_[index(us)];
    ++total_;
    if (us > max_) max_ = us;
    sum_ += us;
  }
  // The value below which `percent` of them lie, rounded up to its step.
  [[nodiscard]] std::uint64_t percentile(double percent) const {
    const auto wanted =
        static_cast<std::uint64_t>(percent / 100 * static_cast<double>(total_) + 0.5);
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted && seen > 0) return value(i);
    }
    return max_;
  }
  [[nodiscard]] std::uint64_t count() const { return total_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }
  [[nodiscard]] double mean() const {
    return total_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(total_);
  }

 private:
  static constexpr unsigned kSteps = 64;
  static std::size_t index(std::uint64_t us) {
    if (us < kSteps) return us;
    const unsigned power = static_cast<unsigned>(std::bit_width(us)) - 7;  // us >> power is 64..127
    return kSteps + power * kSteps + (us >> power) - kSteps;
  }
  static std::uint64_t value(std::size_t i) {
    if (i < kSteps) return i;
    const std::size_t power = (i - kSteps) / kSteps, step = (i - kSteps) % kSteps;
    return (kSteps + step) << power;
  }
  std::array<std::uint64_t, kSteps * 59> counts_{};
  std::uint64_t total_ = 0, max_ = 0, sum_ = 0;
};

}  // namespace headgate::bench
