// store_init is `headgated --store-init STORE`: prints what Headgate needs inside a store (the
// table of idempotency keys), as statements for an account that may make it.
//
// Owner: main. Threads: main's. Nothing is sent to the store.
#pragma once
#include <string>

#include "daemon/config/config.hpp"
#include "daemon/plugin/host.hpp"
#include "daemon/plugin/library.hpp"

namespace headgate {

// 0, or 1 with the reason on stderr.
int print_store_ddl(const config::Config& config, const std::string& store, plugin::Host& host,
                    plugin::Libraries& libraries);

}  // namespace headgate
