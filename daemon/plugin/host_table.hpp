// The functions that a plugin's host pointer leads to; see plugin.h for what each promises.
//
// Threads: as plugin.h says. Holds: none of them calls back into the plugin or into the pool.
#pragma once
#include "daemon/plugin/host.hpp"

namespace headgate::plugin {

void fill_host_table(hg_host& table);

// A plugin's hg_done in our words; `bad` names what was out of range, or stays empty.
Done done_from(const hg_done* done, std::string& bad);

}  // namespace headgate::plugin
