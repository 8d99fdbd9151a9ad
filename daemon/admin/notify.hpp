// Notify tells systemd how the daemon is (sd_notify(3)); without systemd it does nothing.
//
// Owner: Gateway. Threads: the loop's.
#pragma once
#include <string>

#include "daemon/core/loop.hpp"

namespace headgate::admin {

class Notify : public Timer {
 public:
  explicit Notify(Loop& loop) : loop_(loop) {}
  ~Notify() override { loop_.disarm(*this); }
  void ready(const std::string& status);
  void reloading();
  void stopping(const std::string& status);
  // Half of WatchdogSec: says that the loop still turns.
  void fire() override;

 private:
  void start_watchdog();
  Loop& loop_;
  Micros every_{0};
};

}  // namespace headgate::admin
