// PluginStore is one configured store over a loaded plugin: its driver, its routes, its connections
// in the making.
//
// Owner:   Gateway. Threads: the loop; driver_open, conn_open and the login source on connect
// threads. Holds:   a driver that cannot be opened leaves the store standing with the reason: calls
// are
//          answered `unavailable`, and open() or route() tries again after a pause that doubles.
//          A password lives from the login source until conn_open has returned, and is wiped.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "daemon/plugin/host.hpp"
#include "daemon/plugin/library.hpp"
#include "daemon/plugin/link.hpp"
#include "daemon/plugin/store_core.hpp"

namespace headgate::plugin {

struct OpenJob;
struct DriverJob;

class PluginStore final : public Store {
 public:
  // The fault lists what is wrong with kind and options (library's describe is the judge).
  static Result<std::unique_ptr<PluginStore>> make(Host& host,
                                                   std::shared_ptr<const Library> library,
                                                   StoreSettings settings);
  // REQUIRES: every link has been closed and destroyed.
  ~PluginStore() override;

  // Opens the driver in this thread, which may block: for start-up. The fault says why not; the
  // store stands all the same and tries again later.
  Result<void> open_driver_now();
  // The same on a connect thread.
  void open_driver();
  [[nodiscard]] bool is_open() const { return core_->driver != nullptr; }
  // Why the driver is not open; empty while it is, or has not been tried.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

  // DDL that the store needs, or empty. May block; the driver must be open.
  Result<std::string> prepare_store(bool dry_run);
  // Makes it over a login of its own, as `request` says. What was done, for people. May block.
  Result<std::string> init_store(const OpenRequest& request);

  [[nodiscard]] const Description& description() const { return core_->library->description(); }
  [[nodiscard]] std::size_t kind() const { return kind_; }
  [[nodiscard]] const Verb* verb(std::string_view name) const {
    return description().verb(kind_, name);
  }
  [[nodiscard]] const std::string& name() const { return core_->settings.name; }

  // After a reload: where OpenRequest::endpoint points from now on. What is on its way goes on.
  void set_endpoints(std::vector<std::string> to) { core_->endpoints = std::move(to); }

  [[nodiscard]] const std::vector<LaneInfo>& lanes() const override { return core_->lanes(); }
  Result<Route> route(const Call& call, std::uint32_t hops, const Fault* previous) override;
  void open(const OpenRequest& request) override;
  Operation* begin(Call* call, Purpose purpose, const Route& route, std::uint32_t attempt,
                   std::uint64_t lease, std::string_view receipt) override;
  void end(Operation& operation) override;
  void set_events(LinkEvents* events) override { core_->events = events; }

 private:
  friend struct OpenJob;
  friend struct DriverJob;
  PluginStore(std::shared_ptr<StoreCore> core, std::size_t kind);
  void start_driver_job();
  void driver_opened(hg_driver* driver, const Fault* why_not);
  void start(OpenJob* job);
  [[nodiscard]] Fault not_open() const;

  std::shared_ptr<StoreCore> core_;
  const std::size_t kind_;
  const std::vector<std::uint8_t> options_;  // completed
  DriverJob* opening_ = nullptr;             // on its way; it forgets us when we die first
  std::vector<OpenJob*> waiting_;            // for the driver
  std::string trouble_;
  TimePoint retry_at_{};
  Micros pause_{0};
};

}  // namespace headgate::plugin
