#include "daemon/admin/notify.hpp"

#include <systemd/sd-daemon.h>

#include <cstdint>

namespace headgate::admin {

void Notify::ready(const std::string& status) {
  ::sd_notify(0, ("READY=1\nSTATUS=" + status).c_str());
  start_watchdog();
}

void Notify::reloading() {
  const std::string now = std::to_string(loop_.now().us);
  ::sd_notify(0, ("RELOADING=1\nMONOTONIC_USEC=" + now).c_str());
}

void Notify::stopping(const std::string& status) {
  ::sd_notify(0, ("STOPPING=1\nSTATUS=" + status).c_str());
}

void Notify::start_watchdog() {
  std::uint64_t us = 0;
  if (every_ > Micros(0) || ::sd_watchdog_enabled(0, &us) <= 0 || us == 0) return;
  every_ = Micros(us / 2);
  loop_.arm(*this, loop_.now() + every_);
}

void Notify::fire() {
  ::sd_notify(0, "WATCHDOG=1");
  loop_.arm(*this, loop_.now() + every_);
}

}  // namespace headgate::admin
