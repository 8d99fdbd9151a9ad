// Operation is one attempt of one call on one connection: what a hg_op names.
//
// Owner:     Operations, a slab with generations. Threads: made and ended on the loop; between
//            submit and complete its sink belongs to the thread that serves it. Parts and upload
//            pieces cross threads under its mutex (streams and uploads only).
// Invariant: it completes exactly once; a completion or a sink call with an old generation is
//            counted and dropped. Its call may have been answered already (`call == nullptr`).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/call.hpp"
#include "daemon/core/list.hpp"
#include "plugins/sdk/plugin.h"

namespace headgate::plugin {

enum class ConnState : std::uint8_t { clean = 0, needs_reset = 1, broken = 2 };
enum class LeaseState : std::uint8_t { none = 0, open = 1, failed = 2 };

// hg_done, copied out of the plugin's memory.
struct Done {
  ConnState connection = ConnState::clean;
  LeaseState lease = LeaseState::none;
  bool ok = true;
  bool keep_body = false;
  bool replayed = false;
  bool not_replicated = false;
  bool has_rows_affected = false;
  bool has_last_id = false;
  std::int64_t rows_affected = 0;
  std::int64_t last_id = 0;
  Fault fault;  // when !ok
  std::vector<std::uint8_t> warnings;
  std::string receipt;
};

enum class Purpose : std::uint8_t { call, reset, ping };

struct OperationTag;

struct Operation : Hook<OperationTag> {
  std::uint64_t id = 0;  // hg_op
  Purpose purpose = Purpose::call;
  Call* call = nullptr;   // the pool's: null once the caller has been answered
  void* owner = nullptr;  // the pool's connection that it runs on
  RequestBytes* request = nullptr;
  Done done;                // filled in before LinkEvents::completed
  ReplyBuffer reply;        // the body, or what follows the last part
  std::uint64_t parts = 0;  // parts that have left
  TimePoint submitted{};
};

}  // namespace headgate::plugin
