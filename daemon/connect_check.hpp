// connect_check is `headgated --check --connect`: every account of every store logs in once at
// every endpoint that it would use, and what went wrong is said by name.
//
// Owner:   main. Threads: main's, which runs the loop; logins on the host's connect threads.
// Holds:   nothing is executed in a store. A plugin may look at what the account may do
//          (HG_CONNECT_INSPECT) and warn. What is wrong with one store leaves the others checked.
#pragma once
#include "daemon/config/config.hpp"
#include "daemon/core/log.hpp"
#include "daemon/loop/uv_loop.hpp"
#include "daemon/plugin/host.hpp"
#include "daemon/plugin/library.hpp"

namespace headgate {

// A Log for a terminal: warnings and errors of plugins as lines on stderr.
class CheckLog final : public Log {
 public:
  CheckLog() { set_level(Level::warn); }
  void flush() override {}
  [[nodiscard]] std::uint64_t dropped() const override { return 0; }

 protected:
  void write(Level level, std::string_view event, Fields fields) override;
};

// 0, or 1 when a login failed. REQUIRES: the files have been checked; passwords and
// certificates need not be good.
int check_connections(const config::Config& config, plugin::Host& host,
                      plugin::Libraries& libraries, UvLoop& loop);

}  // namespace headgate
