// Gathering says whether a worker waits for more calls before it takes a batch, and for how long.
//
// Calls of a batch share what the batch costs: one commit, one sync. Callers who have just been
// answered are about to ask again, so a worker that takes at once what is there serves one half of
// them while the other half gathers, and pays for twice as many batches. PostgreSQL's commit_delay
// and MySQL's binlog_group_commit_sync_delay wait for a time that somebody has set; here the last
// batch is the measure (docs/adr/0007):
//   - wanted are as many calls as it had, and those that had come by its end;
//   - only the time that it spent off the processor can be shared: where that is little there is no
//     wait, and no wait is longer;
//   - a wait ends early when nobody comes for a while;
//   - waits in vain make the next ones rarer.
//
// Owner: a Worker, whose thread alone uses it. The clock is an argument.
#pragma once
#include <chrono>
#include <cstdint>

namespace headgate::plugin {

class Gathering {
 public:
  using Nanos = std::chrono::nanoseconds;

  // A batch of `calls` ended at `now` after `took`, of which its thread ran for `ran`; `behind`
  // more had come by then.
  void served(std::uint32_t calls, std::uint32_t behind, Nanos now, Nanos took, Nanos ran);

  // With how many calls the next batch is to begin; 0: with those that are there.
  [[nodiscard]] std::uint32_t wanted(std::uint32_t there, Nanos now);
  // A wait that wanted() asked for is over after this long, or after such a silence.
  [[nodiscard]] Nanos at_most() const { return at_most_; }
  [[nodiscard]] Nanos silence() const { return silence_; }
  // It is over: the batch has grown from `before` to `after`.
  void gathered(std::uint32_t before, std::uint32_t after);

 private:
  std::uint32_t expected_ = 0;
  std::uint32_t in_vain_ = 0;  // waits, one after another
  std::uint32_t skip_ = 0;     // as many more batches without a wait
  Nanos ended_{};              // the last batch
  Nanos at_most_{};
  Nanos silence_{};
};

}  // namespace headgate::plugin
