// Recorder is a host whose sink is memory: for replies that must be looked at before they leave,
// which are those of a batch's items and those kept under an idempotency key.
//
// Owner:   whoever needs the reply, for one execution. Threads: the one that serves it.
#pragma once
#include <vector>

#include "plugins/sdk/driver.hpp"

namespace headgate::sdk {

class Recorder : private hg_host {
 public:
  // `real` answers the clock and uploads; its sink is not touched. Replies end at `reply_max`.
  Recorder(const hg_host* real, std::uint64_t reply_max);
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  [[nodiscard]] const hg_host* host() const { return this; }
  [[nodiscard]] proto::Bytes reply() const { return {store_.data(), used_}; }
  void clear() { used_ = 0; }

 private:
  static Recorder* self(const hg_host* h) {
    return static_cast<Recorder*>(const_cast<hg_host*>(h));
  }
  const hg_host* real_;
  std::uint64_t reply_max_;
  std::vector<std::uint8_t> store_;
  std::size_t used_ = 0;
};

}  // namespace headgate::sdk
