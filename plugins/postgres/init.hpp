// init makes in a database what Headgate needs there: the table of idempotency keys.
//
// What is there already is left alone, and asks for no right to make it. Threads: one that may
// block.
#pragma once
#include <string>

#include "plugins/postgres/options.hpp"
#include "plugins/sdk/driver.hpp"

namespace headgate::postgres {

// Logs in as `connect` says. What was done, a line each, for people. Throws Error that says why
// not; nothing has been made then.
std::string init_database(const hg_host* host, const hg_connect& connect, const Options& options);

}  // namespace headgate::postgres
