// Plugins that must not be loaded, or that say wrong things about themselves; WRONG names the
// fault.
#include <cstring>
#include <stdexcept>
#include <vector>

#include "plugins/sdk/plugin.h"
#include "proto/writer.hpp"

#define NO_SYMBOL 1
#define OTHER_VERSION_SYMBOL 2
#define OTHER_VERSION_NUMBER 3
#define SHORT_TABLE 4
#define LYING_TABLE 5
#define MISSING_FUNCTION 6
#define REFUSES 7
#define THROWS 8
#define BAD_DESCRIBE 9
#define BAD_LANE 10
#define NO_RESET 11
#define OLDER_TABLE 12
#define NEWER_TABLE 13

#if WRONG == OTHER_VERSION_SYMBOL
#define ENTRY hg_plugin_v3
#elif WRONG == NO_SYMBOL
#define ENTRY hg_something_else
#else
#define ENTRY hg_plugin_v0
#endif

namespace {  // not every fault uses everything
#pragma GCC diagnostic ignored "-Wunused-function"

hg_bytes describe() {
  static headgate::proto::VectorOut out;
  headgate::proto::Writer w(&out);
  out.clear();
#if WRONG == BAD_DESCRIBE
  w.map(40);
  w.str("name");
#else
  w.map(4);
  w.str("name");
  w.str("wrong");
  w.str("version");
  w.str("1");
  w.str("kinds");
  w.array(1);
  w.map(2);
  w.str("kind");
  w.str("sql");
  w.str("verbs");
  w.map(1);
  w.str("ping");
  w.map(1);
  w.str("access");
  w.str("read");
  w.str("lanes");
  w.array(1);
  w.map(5);
  w.str("name");
  w.str("one");
  w.str("model");
  w.str("blocking");
  w.str("max_inflight");
  w.uint(4);
  w.str("max_batch");
  w.uint(WRONG == BAD_LANE ? 8 : 4);
  w.str("lease");
  w.boolean(true);
#endif
  return {out.view().data(), out.view().size()};
}
std::int32_t driver_open(const hg_driver_config*, hg_driver**, hg_error*) { return -1; }
void driver_close(hg_driver*) {}
std::int32_t driver_route(hg_driver*, const hg_call*, hg_touches*, hg_route*, hg_error*) {
  return -1;
}
std::int32_t conn_open(hg_driver*, const hg_connect*, hg_connection**, std::int32_t*, hg_error*) {
  return -1;
}
void conn_submit(hg_connection*, const hg_call* const*, std::uint32_t) {}
void conn_reset(hg_connection*, hg_op) {}
void conn_close(hg_connection*) {}

// A table of a plugin that was built with fields which we do not know yet.
struct Newer {
  hg_plugin known;
  void (*conn_dance)(hg_connection*);
  void* more[7];
};
// Stands behind a table that claims to be longer than it is: not code.
struct Lying {
  std::uint32_t size, abi_version;
  const char *name, *version;
  void* functions[4];
  std::uint64_t rubbish[32];
};

}  // namespace

extern "C" HG_EXPORT const hg_plugin* ENTRY(const hg_host*, hg_error* error) {
#if WRONG == REFUSES
  error->size = sizeof *error;
  std::strcpy(error->message, "not on a Tuesday");
  return nullptr;
#elif WRONG == THROWS
  (void)error;
  throw std::runtime_error("at load");
#elif WRONG == LYING_TABLE
  (void)error;
  static Lying p{};
  p.size = sizeof(hg_plugin);
  p.abi_version = HG_ABI_VERSION;
  p.name = p.version = "lying";
  p.functions[0] = reinterpret_cast<void*>(&describe);
  p.functions[1] = reinterpret_cast<void*>(&driver_open);
  p.functions[2] = reinterpret_cast<void*>(&driver_close);
  std::memset(p.rubbish, 0x5a, sizeof p.rubbish);
  return reinterpret_cast<const hg_plugin*>(&p);
#else
  (void)error;
  static Newer newer{};
  hg_plugin& p = newer.known;
  p.size = sizeof p;
  p.abi_version = HG_ABI_VERSION;
  p.name = "wrong";
  p.version = "1";
  p.describe = describe;
  p.driver_open = driver_open;
  p.driver_close = driver_close;
  p.driver_route = driver_route;
  p.conn_open = conn_open;
  p.conn_submit = conn_submit;
  p.conn_reset = conn_reset;
  p.conn_close = conn_close;
#if WRONG == OTHER_VERSION_NUMBER
  p.abi_version = 7;
#elif WRONG == SHORT_TABLE
  p.size = 40;
#elif WRONG == MISSING_FUNCTION
  p.driver_route = nullptr;
#elif WRONG == NO_RESET
  p.conn_reset = nullptr;
#elif WRONG == NEWER_TABLE
  p.size = sizeof newer;
#endif
  return &p;
#endif
}
