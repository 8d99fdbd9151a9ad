// Host is our side of the plugin border: the table of functions that plugins call, and what those
// functions need. One for a process; it outlives every plugin's last call.
//
// Owner:   Gateway. Threads: the table's functions as plugin.h says for each; the rest on the loop,
//          except where marked.
// Holds:   a call without a stream takes no lock and, once its buffers have grown, allocates
// nothing
//          here. A second completion, a number that names nothing any more, and a sink used against
//          its rules are counted, logged and dropped: they reach no other operation.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "daemon/core/log.hpp"
#include "daemon/plugin/inbox.hpp"
#include "daemon/plugin/job_threads.hpp"
#include "daemon/plugin/operations.hpp"

namespace headgate::plugin {
struct Kind;
}

// What driver_route is lent: whose touches they are, and the first one that was denied.
struct hg_touches {
  const headgate::Call* call = nullptr;
  const headgate::plugin::Kind* kind = nullptr;  // of the store
  bool denied = false;
  bool unknown = false;  // denied: the first thing touched was a verb that the store does not have
  std::string what;      // "key `a`", for the refusal
};

namespace headgate::plugin {

class EventLink;
class Worker;
struct StoreCore;

struct HostSettings {
  std::uint32_t operations_max = 131'072;           // attempts under way, resets and pings included
  std::uint32_t threads_max = 64;                   // connection workers, written-off ones included
  std::uint32_t connect_threads = 32;               // at most; a server that says nothing holds one
  Micros write_off_after{std::chrono::seconds(5)};  // a worker that ignores its cancel
  Micros cancel_again{std::chrono::milliseconds(250)};
};

// What plugins have done wrong or late, since the start. For `show plugins` and metrics.
enum class Misdeed : std::uint8_t {
  late_completion,    // of an operation that was written off or ended: dropped
  second_completion,  // dropped
  stale_call,         // a sink or upload call with a number that names no running operation
  sink_misuse,        // committed more than reserved, wrote behind it, patched outside
  not_completed,      // submit or close returned with an operation still open
  threw,              // an exception crossed the border
  bad_done,           // numbers out of range, a malformed warning or detail, a long receipt
  wrong_thread,       // watch, timer or lost from another thread than the loop's
};
inline constexpr std::size_t kMisdeeds = 8;
std::string_view name(Misdeed m);

class Host {
 public:
  Host(Loop& loop, Log& log, HostSettings settings);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] const hg_host* table() const { return &table_; }
  [[nodiscard]] Loop& loop() const { return inbox_.loop(); }
  [[nodiscard]] Inbox& inbox() { return inbox_; }
  [[nodiscard]] Operations& operations() { return operations_; }
  [[nodiscard]] const HostSettings& settings() const { return settings_; }
  [[nodiscard]] JobThreads& connects() { return connects_; }
  [[nodiscard]] JobThreads& cancels() { return cancels_; }
  [[nodiscard]] Log& log() { return log_; }
  // The loop runs in this thread from now on.
  void adopt_thread() { inbox_.adopt_thread(); }

  // Stores, for wake() and log() of plugins.
  std::uint64_t add_store(StoreCore& core);
  void remove_store(std::uint64_t driver_id);

  // Connections of event lanes, for watch(), timer() and lost().
  hg_conn_id new_connection_id();
  void set_link(hg_conn_id id, EventLink* link);  // null: the number is free again
  [[nodiscard]] EventLink* link(hg_conn_id id) const;

  // The thread budget. False: threads_max are running.
  bool take_thread();
  void give_thread();
  [[nodiscard]] std::uint32_t threads() const { return threads_; }
  // Workers that did not come back from a cancel. Each keeps its thread until it does.
  void write_off(std::shared_ptr<Worker> worker);
  void returned(Worker& worker);
  [[nodiscard]] std::size_t written_off() const { return written_off_.size(); }
  [[nodiscard]] std::uint64_t written_off_total() const { return written_off_total_; }

  // Any thread. Completes an operation in the plugin's place; false: it was in no such phase.
  bool complete_for(Slot& s, hg_op op, Phase from, Done done, bool more = false);
  // Any thread. Counts it and says it: the first ones of a sort, then ever fewer.
  void misdeed(Misdeed m, std::string_view store, std::string_view what = {});
  [[nodiscard]] std::uint64_t misdeeds(Misdeed m) const {
    return misdeeds_[static_cast<std::size_t>(m)].load(std::memory_order_relaxed);
  }

  // Microseconds of CLOCK_MONOTONIC. Any thread.
  static std::uint64_t now_us();

 private:
  struct Table : hg_host {
    Host* host = nullptr;
  };
  friend struct HostTable;  // the functions, in host.cpp
  struct Wakes final : Inbox::Node {
    void deliver() override;
    Host* host = nullptr;
    std::mutex mutex;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> waiting, taken;
    bool pushed = false;
  };
  struct ConnectionEntry {
    std::uint32_t generation = 0;
    EventLink* link = nullptr;
    bool used = false;
  };

  Log& log_;
  const HostSettings settings_;
  Inbox inbox_;
  Operations operations_;
  Table table_{};
  std::vector<ConnectionEntry> connections_;
  std::vector<std::uint32_t> free_connections_;
  std::mutex stores_mutex_;  // stores_ is read by plugins' threads in log()
  std::unordered_map<std::uint64_t, StoreCore*> stores_;
  std::uint64_t next_store_ = 1;
  std::uint32_t threads_ = 0;
  std::vector<std::shared_ptr<Worker>> written_off_;
  std::uint64_t written_off_total_ = 0;
  std::array<std::atomic<std::uint64_t>, kMisdeeds> misdeeds_{};
  Wakes wakes_;
  JobThreads connects_;
  JobThreads cancels_;
};

// What a plugin's error says, in our words; nothing beyond error->size is read, and numbers out of
// range become `internal, unknown`.
Fault fault_from(const hg_error& error);
// The same the other way, for a call that is routed again. Text and detail stay lent by `f`.
void lend_fault(const Fault& f, hg_error* error);

}  // namespace headgate::plugin
