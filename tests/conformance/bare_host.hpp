// BareHost is the smallest host that a plugin can run on: operations, sinks, streams, uploads, one
// loop thread for event lanes, and a worker for each connection of a blocking lane. No pool, no
// policy: it does what it is told and checks that the plugin keeps the rules of plugin.h.
//
// Owner:   a bare Target. Threads: as marked; one mutex guards everything that crosses threads.
// Holds:   violations() lists every rule that the plugin broke; a conforming run leaves it empty.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "plugins/sdk/plugin.h"
#include "proto/cursor.hpp"

namespace headgate::conformance {

struct Ended {
  hg_done done{};
  bool ok = true;
  hg_error error{};  // its detail points into `detail`
  std::vector<std::uint8_t> detail, warnings, receipt;
};

// One operation: what is lent to the plugin, and what came back.
struct Op {
  hg_op id = 0;
  hg_call call{};
  std::string verb, service = "conformance", key, receipt;
  std::vector<std::uint8_t> body;
  hg_error previous{};

  std::vector<std::uint8_t> reply;
  std::uint64_t reserved = 0;
  std::deque<std::vector<std::uint8_t>> parts;
  std::uint64_t parts_out = 0, credit = 4;
  std::deque<std::vector<std::uint8_t>> pieces;
  std::vector<std::uint8_t> taken;
  bool last_piece = false, aborted = false, abandoned = false, wants_resume = false;
  std::optional<Ended> ended;
  struct BareConnection* connection = nullptr;
};

struct BareConnection {
  hg_connection* handle = nullptr;
  hg_conn_id id = 0;
  std::uint32_t lane = 0;
  std::uint32_t access = HG_ACCESS_WRITE;
  bool event = false, leased = false, broken = false, needs_reset = false;
  std::uint32_t inflight = 0, max_inflight = 1, max_batch = 1;
  std::uint32_t cancelling = 0;  // cancels under way: nothing new begins meanwhile
  std::deque<Op*> queue;         // of a blocking lane's worker
  std::function<void()> job;     // reset or ping, run by the worker alone
  bool stop = false;
  std::thread worker;
  // event lanes
  int fd = -1;
  std::uint32_t events = 0;
  std::uint64_t timer_us = 0;
};

class BareHost {
 public:
  BareHost();
  ~BareHost();
  BareHost(const BareHost&) = delete;
  BareHost& operator=(const BareHost&) = delete;

  const hg_host* table() const { return &table_; }
  void use(const hg_plugin* plugin, std::uint64_t max) {
    plugin_ = plugin;
    reply_max = max;
  }
  static std::uint64_t now_us();

  // Any thread.
  Op* begin();
  void end(Op* op);
  void attach(BareConnection* c);  // starts its worker, or gives it to the loop thread
  // `counted`: whoever chose the connection has counted the operation in already.
  void submit(BareConnection* c, Op* op, bool counted = false);
  void special(BareConnection* c, Op* op, bool reset);  // reset or ping
  void close(BareConnection* c);
  void cancel(Op* op);
  void abandon(Op* op);
  void give_credit(Op* op, std::uint64_t sequence);
  void give_piece(Op* op, std::vector<std::uint8_t> piece, bool last, bool abort);
  // Waits until `ready` holds, it is looked at under the lock; false: `until_us` passed.
  bool wait(std::uint64_t until_us, const std::function<bool()>& ready);
  // Waits for host->wake with this token, at most `ms`.
  void wait_for_wake(std::uint64_t token, std::uint32_t ms);
  std::mutex& mutex() { return mutex_; }

  // Touches of one driver_route call.
  struct Touch {
    std::string verb;
    std::uint32_t kind;
    std::string name;
  };
  std::vector<std::string> violations();
  void violation(std::string text);
  std::vector<std::string> logged();

 private:
  friend struct HostCalls;
  void serve(BareConnection* c);
  void loop();
  void on_loop(std::function<void()> f);
  Op* find(hg_op id);
  void check(const Ended& e);

  // The table is first, so that a hg_host* is this object.
  hg_host table_{};
  const hg_plugin* plugin_ = nullptr;
  std::uint64_t reply_max = 8u << 20;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<hg_op, std::unique_ptr<Op>> ops_;
  hg_op next_ = 1;
  std::map<hg_conn_id, BareConnection*> event_connections_;
  std::map<std::uint64_t, std::uint64_t> wakes_;
  std::vector<std::string> violations_, log_;
  std::deque<std::function<void()>> loop_jobs_;
  int loop_wake_[2] = {-1, -1};
  bool loop_stop_ = false;
  std::thread loop_thread_;
};

}  // namespace headgate::conformance

// The host's own struct behind hg_touches.
struct hg_touches {
  std::vector<headgate::conformance::BareHost::Touch> touches;
};
