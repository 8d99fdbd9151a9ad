// StoreCore is what a store's links, jobs and workers share: the plugin, the driver, the settings
// and the pool's ear. It lives as long as the last of them, so a worker that comes back late still
// finds its driver.
//
// Threads: constant once the driver is open, but for `endpoints`, `told` and `events`, which are
// the loop's.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/core/secret.hpp"
#include "daemon/plugin/host.hpp"
#include "daemon/plugin/library.hpp"
#include "daemon/plugin/link.hpp"

namespace headgate::plugin {

// What one connection logs in with. The password is wiped after conn_open.
struct Login {
  std::string account;
  Secret password;
  std::string label;                      // the credential's name
  std::vector<std::uint8_t> tls;          // msgpack map, or empty
  std::shared_ptr<const void> tls_files;  // what its paths lead to, where that is ours
};
// Called on a connect thread, so it may read files; it must be callable from several at once.
using LoginSource = std::function<Result<Login>(const OpenRequest& request)>;

struct StoreSettings {
  std::string name;
  std::string kind;                      // one of describe's
  std::vector<std::string> endpoints;    // empty for embedded stores; read endpoints come last
  std::vector<std::uint8_t> options;     // msgpack map as configured; checked, then completed
  std::vector<std::uint8_t> statements;  // msgpack map name -> text
  std::string state_dir;
  std::uint64_t reply_max = proto::kReplyMax;
  std::uint64_t part_max = proto::kPartMax;
  Micros stream_max{std::chrono::hours(1)};
  Micros reopen_min{std::chrono::seconds(1)};  // pause before a failed driver_open is tried again
  Micros reopen_max{std::chrono::seconds(30)};
  LoginSource login;     // empty: stores without a login
  bool inspect = false;  // connections look at what their account may do (HG_CONNECT_INSPECT)
};

struct StoreCore {
  StoreCore(Host& h, std::shared_ptr<const Library> l, StoreSettings s)
      : host(h),
        library(std::move(l)),
        settings(std::move(s)),
        endpoints(settings.endpoints),
        store_lanes(library->description().lanes) {}
  ~StoreCore() {
    if (driver != nullptr) plugin().driver_close(driver);
  }
  StoreCore(const StoreCore&) = delete;
  StoreCore& operator=(const StoreCore&) = delete;
  [[nodiscard]] const hg_plugin& plugin() const { return library->plugin(); }
  [[nodiscard]] const std::vector<LaneInfo>& lanes() const { return store_lanes; }

  Host& host;
  const std::shared_ptr<const Library> library;
  const StoreSettings settings;
  std::vector<std::string> endpoints;  // in force; the loop's
  std::vector<LaneInfo> store_lanes;   // describe's, with the store's own number of connections
  // Connects that fail are logged: the first of a sort, then one in kTellEvery.
  void connect_failed(std::uint32_t credential, const std::string& endpoint,
                      const std::string& label, const Fault& why);
  void connected(std::uint32_t credential, const std::string& endpoint, const std::string& label);
  static constexpr Micros kTellEvery = std::chrono::seconds(30);
  struct Told {
    std::string why;
    TimePoint at{};
    std::uint64_t since = 0;  // failures that were not told
  };

  std::map<std::pair<std::uint32_t, std::string>, Told> told;  // by credential and endpoint
  hg_driver* driver = nullptr;
  LinkEvents* events = nullptr;  // null: the pool is gone
  std::uint64_t id = 0;          // hg_driver_config.driver_id
};

}  // namespace headgate::plugin
