// BareHost is the smallest host that a plugin can live in, for tests: no loop, no pool, no wire.
//
// BareHost::the() is the process's one table of host functions. A BareStore opens a driver of a
// plugin and gives each connection a thread, as the daemon does for blocking lanes: calls queued
// for the writer are handed over together, a lease keeps its connection, a reroute is followed.
// call() waits for the reply; many threads may call at once.
//
//   auto store = BareStore(plugin_of(make_sql_kind), {.options = {{"path", "x.db"}}});
//   Reply r = store.call("query", {{"sql", "SELECT ?"}, {"params", {1}}});
//   EXPECT_EQ(r.body["rows"][0][0], 1);
//
// Bodies are JSON here: binary is bin, binary with a subtype is an ext of that type.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "plugins/sdk/driver.hpp"
#include "plugins/sqlite/kind.hpp"

namespace headgate::sqlite::test {

using Json = nlohmann::json;

Json bin(std::string_view bytes);
Json ext(int type, std::string_view payload);
std::vector<std::uint8_t> pack(const Json& j);

// How a call ended.
struct Reply {
  int code = HG_OK;
  int outcome = HG_APPLIED;
  int retry = HG_RETRY_NEVER;
  int lease = HG_LEASE_NONE;
  int connection = HG_CONN_CLEAN;
  std::uint32_t flags = 0;
  std::string message;
  std::string sqlstate;
  int vendor_code = 0;
  std::uint64_t wait_token = 0;
  std::uint32_t retry_after_ms = 0;
  std::int64_t rows_affected = -1;  // -1: not told
  std::int64_t last_id = -1;
  Json body;                      // nil when there is none
  std::vector<std::uint8_t> raw;  // the same as bytes
  std::vector<Json> parts;        // streamed before the reply, unless on_part took them
  std::uint64_t lease_id = 0;     // to be given as CallOptions.lease while lease is OPEN
  int hops = 0;
  [[nodiscard]] bool ok() const { return code == HG_OK; }
};

struct CallOptions {
  std::uint64_t timeout_ms = 10'000;
  std::uint64_t received_us = 0;  // of a call that is asked again: when it arrived; 0: now
  std::uint64_t lease = 0;
  bool read_only = false;
  int access = HG_ACCESS_WRITE;
  std::uint64_t fetch = 0;
  std::string key;
  std::string service = "tests";
  std::function<bool(proto::Bytes)> on_part;    // false: nobody takes more
  std::function<std::optional<Json>()> upload;  // pieces; nullopt: the end
  bool abort_upload = false;                    // ends the upload as aborted instead
};

// The operation of a call in flight, for cancel().
struct Ticket;

class BareHost : public hg_host {
 public:
  static BareHost& the();
  std::function<void(std::uint64_t token)> on_wake;  // set before any call
  std::uint64_t reply_max = 8u << 20;

  hg_op add(std::shared_ptr<Ticket> t);
  std::shared_ptr<Ticket> find(hg_op op);
  void remove(hg_op op);

 private:
  BareHost();
  std::mutex mutex_;
  std::map<hg_op, std::shared_ptr<Ticket>> ops_;
  hg_op next_ = 1;
};

// A table over one kind: the plugin that a store of this kind sees.
using MakeKind = std::unique_ptr<Kind> (*)(const hg_host*, const hg_driver_config&);
const hg_plugin* plugin_of(MakeKind make);

struct StoreOptions {
  Json options = {{"path", "store.db"}};
  Json statements = Json::object();
  std::uint64_t part_max = 256u << 10;
  std::uint32_t readers = 2;
  std::string dir;  // empty: a fresh temporary directory, removed at the end
};

class BareStore {
 public:
  // Throws std::runtime_error with the plugin's message when the driver refuses to open.
  BareStore(const hg_plugin* plugin, const StoreOptions& options = {});
  ~BareStore();

  Reply call(std::string_view verb, const Json& body, const CallOptions& options = {});
  Reply call_raw(std::string_view verb, proto::Bytes body, const CallOptions& options = {});
  // Starts a call; wait() gives its reply. cancel() is what a caller's cancel does.
  std::shared_ptr<Ticket> start(std::string_view verb, const Json& body, const CallOptions& o = {});
  Reply wait(const std::shared_ptr<Ticket>& t);
  void cancel(const std::shared_ptr<Ticket>& t);
  // Submits these to the writer in one conn_submit, in this order, and waits for all.
  std::vector<Reply> together(const std::vector<std::pair<std::string, Json>>& calls,
                              const std::vector<CallOptions>& options = {});
  // What the core does to an expired lease.
  Reply reset(std::uint64_t lease);
  // Closes all connections (threads ended); the next call opens new ones.
  void close_connections();
  // Holds back the writer's thread so that calls pile up; release lets them go together.
  void hold_writer();
  void release_writer();

  [[nodiscard]] const std::string& dir() const { return dir_; }
  // What route() touched in the last call of this thread: "verb kind name".
  static std::vector<std::string>& touched();

 private:
  struct Worker;
  Worker* worker_for(std::uint32_t lane, std::uint64_t lease, int access);
  void finish_route(const std::shared_ptr<Ticket>& t);
  const hg_plugin* plugin_;
  StoreOptions options_;
  std::string dir_;
  bool own_dir_ = false;
  hg_driver* driver_ = nullptr;
  std::mutex mutex_;
  std::condition_variable free_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::uint64_t next_lease_ = 1;
};

}  // namespace headgate::sqlite::test
