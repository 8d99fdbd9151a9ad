// store_init is `headgated --store-init STORE`: prints what Headgate needs inside a store (the
// table of idempotency keys) as statements, or (`--run`) makes it there.
//
// Owner: main. Threads: main's, which may block. Printing sends nothing to the store.
#pragma once
#include <string>

#include "daemon/config/config.hpp"
#include "daemon/plugin/host.hpp"
#include "daemon/plugin/library.hpp"

namespace headgate {

struct StoreInit {
  std::string store;  // empty: not asked for
  bool run = false;
  std::string account;        // run: logs in with; empty: the store's own
  std::string password_file;  // of that account; empty: none is needed
};

// 0, or 1 with the reason on stderr.
int init_store(const config::Config& config, const StoreInit& init, plugin::Host& host,
               plugin::Libraries& libraries);

}  // namespace headgate
