// Budgets, numbers and misdeeds; the table's functions are in host_table.cpp.
#include "daemon/plugin/host.hpp"

#include <time.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "daemon/plugin/blocking_lane.hpp"
#include "daemon/plugin/host_table.hpp"
#include "daemon/plugin/store_core.hpp"

namespace headgate::plugin {

std::string_view name(Misdeed m) {
  constexpr std::array<std::string_view, kMisdeeds> names = {
      "late_completion", "second_completion", "stale_call",  "sink_misuse", "not_completed",
      "threw",           "bad_done",          "wrong_thread"};
  return names[static_cast<std::size_t>(m)];
}

Host::Host(Loop& loop, Log& log, HostSettings settings)
    : log_(log),
      settings_(settings),
      inbox_(loop),
      operations_(settings.operations_max),
      connects_("hg-connect", settings.connect_threads),
      cancels_("hg-cancel", 1) {
  wakes_.host = this;
  table_.host = this;
  fill_host_table(table_);
}

Host::~Host() {
  connects_.stop(std::chrono::seconds(2));
  cancels_.stop(std::chrono::seconds(2));
  // Whatever they have pushed since the loop's last turn still owns memory.
  inbox_.run();
  for (std::shared_ptr<Worker>& w : written_off_) {
    // Its thread hangs in the plugin and will find this memory when it comes back.
    new std::shared_ptr<Worker>(std::move(w));
  }
}

std::uint64_t Host::now_us() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000 +
         static_cast<std::uint64_t>(t.tv_nsec) / 1000;
}

std::uint64_t Host::add_store(StoreCore& core) {
  std::lock_guard lock(stores_mutex_);
  stores_[next_store_] = &core;
  return next_store_++;
}

void Host::remove_store(std::uint64_t driver_id) {
  std::lock_guard lock(stores_mutex_);
  stores_.erase(driver_id);
}

hg_conn_id Host::new_connection_id() {
  std::uint32_t index = 0;
  if (free_connections_.empty()) {
    index = static_cast<std::uint32_t>(connections_.size());
    connections_.emplace_back();
  } else {
    index = free_connections_.back();
    free_connections_.pop_back();
  }
  ConnectionEntry& e = connections_[index];
  e.used = true;
  ++e.generation;
  return static_cast<std::uint64_t>(e.generation) << 32 | (index + 1);
}

void Host::set_link(hg_conn_id id, EventLink* link) {
  const auto index = static_cast<std::uint32_t>(id & 0xffffffff) - 1;
  if (index >= connections_.size() || connections_[index].generation != id >> 32) return;
  ConnectionEntry& e = connections_[index];
  e.link = link;
  if (link == nullptr && e.used) {
    e.used = false;
    free_connections_.push_back(index);
  }
}

EventLink* Host::link(hg_conn_id id) const {
  const auto index = static_cast<std::uint32_t>(id & 0xffffffff) - 1;
  if (index >= connections_.size() || connections_[index].generation != id >> 32) return nullptr;
  return connections_[index].link;
}

bool Host::take_thread() {
  if (threads_ >= settings_.threads_max) return false;
  ++threads_;
  return true;
}

void Host::give_thread() {
  assert(threads_ > 0);
  --threads_;
}

void Host::write_off(std::shared_ptr<Worker> worker) {
  ++written_off_total_;
  log_.error("worker_written_off", {{"connection", worker->label()},
                                    {"written_off", written_off_.size() + 1},
                                    {"why", "did not come back after its cancel"}});
  written_off_.push_back(std::move(worker));
}

void Host::returned(Worker& worker) {
  const auto it =
      std::find_if(written_off_.begin(), written_off_.end(),
                   [&](const std::shared_ptr<Worker>& w) { return w.get() == &worker; });
  if (it == written_off_.end()) return;
  log_.warn("worker_returned", {{"connection", worker.label()}});
  const std::shared_ptr<Worker> keep = std::move(*it);
  written_off_.erase(it);
  keep->join();
}

bool Host::complete_for(Slot& s, hg_op op, Phase from, Done done, bool more) {
  if (!s.move(op, from, Phase::done)) return false;
  s.done = std::move(done);
  s.ready.store(true, std::memory_order_release);
  if (!s.in_inbox.exchange(true, std::memory_order_seq_cst))
    inbox_.push(s, more);
  else if (!more)
    inbox_.wake();
  return true;
}

void Host::misdeed(Misdeed m, std::string_view store, std::string_view what) {
  const std::uint64_t n =
      misdeeds_[static_cast<std::size_t>(m)].fetch_add(1, std::memory_order_relaxed) + 1;
  if (n > 8 && (n & (n - 1)) != 0) return;
  log_.error("plugin_misdeed",
             {{"misdeed", name(m)}, {"store", store}, {"what", what}, {"count", n}});
}

void Host::Wakes::deliver() {
  {
    std::lock_guard lock(mutex);
    pushed = false;
    taken.swap(waiting);
  }
  for (const auto& [driver_id, token] : taken) {
    StoreCore* core = nullptr;
    {
      std::lock_guard lock(host->stores_mutex_);
      const auto it = host->stores_.find(driver_id);
      if (it != host->stores_.end()) core = it->second;
    }
    // Stores come and go on the loop, where we are.
    if (core != nullptr && core->events != nullptr) core->events->wake(token);
  }
  taken.clear();
}

}  // namespace headgate::plugin
