// Gateway is the whole daemon: the only place where its parts are wired together. Everything that a
// request touches hangs off this one object.
//
// Owner:   main. Threads: the one that runs the loop.
// Start:   log, loop, plugins, stores, grants, then the doors: ZAP handler, self-check, listening.
// Reload:  reads the files again; either the whole new configuration is in force, or nothing
// changed. Drain:   no new connections and calls; what is in flight is answered; leases roll back
// at the
//          deadline; then run() returns.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/access/policy.hpp"
#include "daemon/admin/admin.hpp"
#include "daemon/admin/notify.hpp"
#include "daemon/config/config.hpp"
#include "daemon/core/log.hpp"
#include "daemon/dispatch/dispatcher.hpp"
#include "daemon/gateway_logins.hpp"
#include "daemon/loop/uv_loop.hpp"
#include "daemon/plugin/host.hpp"
#include "daemon/plugin/library.hpp"
#include "daemon/plugin/plugin_store.hpp"
#include "daemon/pool/attempts.hpp"
#include "daemon/transport/admission.hpp"
#include "daemon/transport/frontend.hpp"

namespace headgate {

struct GatewayOptions {
  std::string config_file;
  std::vector<std::string> overrides;  // "daemon.plugin_dir=..."
};

class Gateway final : private admin::Operator, private Admission {
 public:
  explicit Gateway(GatewayOptions options);
  ~Gateway() override;
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  // Everything up to ready. The error is what the operator reads, one fault a line.
  tl::expected<void, std::string> start();
  // Serves until drained. The process's exit code.
  int run();

 private:
  // One configured store.
  struct Served {
    StoreEntry entry;
    std::unique_ptr<plugin::PluginStore> store;
    std::unique_ptr<pool::Attempts> attempts;
    // What pools log in with: by service and access, and how often each has changed.
    std::shared_ptr<Logins> logins;
    std::vector<std::array<std::uint32_t, 4>> by_service;
    std::vector<std::uint32_t> generations;
    std::vector<bool> named;  // by the configuration in force
    std::optional<config::Tls> tls;
    std::uint32_t generation = 0;  // of TLS, and so of every connection
  };
  class RenewJob;
  struct TakeIn : Intake {
    Frontend* frontend = nullptr;
    void take_in() override { frontend->take_in(); }
    [[nodiscard]] bool restless() const override { return frontend->restless(); }
  };
  template <void (Gateway::*F)()>
  struct Do : Task {
    Gateway* g = nullptr;
    void run() override { (g->*F)(); }
  };
  template <void (Gateway::*F)()>
  struct When : Timer {
    Gateway* g = nullptr;
    void fire() override { (g->*F)(); }
  };
  class Dice;

  // gateway.cpp
  tl::expected<void, std::string> read_files();
  tl::expected<void, std::string> open_stores();
  tl::expected<void, std::string> open_doors();
  tl::expected<std::unique_ptr<Served>, std::string> make_store(const config::Store& from,
                                                                std::uint32_t index);
  void make_builtin();
  [[nodiscard]] DispatchSettings dispatch_settings(const config::Config& c) const;
  std::shared_ptr<const access::Policy> make_policy(const config::Config& c);
  std::uint32_t service_index(const std::string& name);
  void watch_signals();
  bool knows(std::string_view user) const override;

  // gateway_credentials.cpp
  void take_credentials(const config::Store& from, Served& s);
  void renew_credentials(Served& s);
  void look_at_secrets();
  void renewed(Served& s, const Logins::News& news, bool looked);
  [[nodiscard]] pool::Settings pool_settings(const config::Store& from, const Served& s) const;
  void apply_pools(Served& s);

  // gateway_reload.cpp
  Result<admin::Reloaded> reload() override;
  void reload_on_signal();
  [[nodiscard]] config::LoadOptions load_options();

  // gateway_drain.cpp
  void drain(std::optional<Micros> within) override;
  void terminate();
  void begin_drain();
  void look_at_drain();
  [[nodiscard]] bool nothing_runs() const;

  // gateway_show.cpp
  [[nodiscard]] std::optional<admin::Table> show(std::string_view what) const override;
  [[nodiscard]] admin::Table show_stores() const;
  [[nodiscard]] admin::Table show_pools() const;
  [[nodiscard]] admin::Table show_services() const;
  [[nodiscard]] admin::Table show_calls() const;
  [[nodiscard]] admin::Table show_leases() const;
  [[nodiscard]] admin::Table show_plugins() const;
  [[nodiscard]] admin::Table show_config() const;
  [[nodiscard]] admin::Table show_version() const;
  [[nodiscard]] admin::Table show_peers() const;
  [[nodiscard]] admin::Table show_limits() const;
  bool kill(std::uint64_t call) override { return dispatcher_->kill(call); }
  [[nodiscard]] access::Policy::Verdict can(std::string_view service, std::string_view store,
                                            std::string_view verb) const override {
    return dispatcher_->policy().can(service, store, verb);
  }

  const GatewayOptions options_;
  std::shared_ptr<Gateway*> alive_ = std::make_shared<Gateway*>(this);  // for jobs that come late
  config::Config config_;
  std::unique_ptr<Log> log_;
  UvLoop loop_;
  std::unique_ptr<plugin::Host> host_;
  std::unique_ptr<plugin::Libraries> libraries_;
  std::unique_ptr<Dice> dice_;
  std::unique_ptr<Dispatcher> dispatcher_;
  admin::Admin admin_{*this};
  StoreEntry builtin_;
  std::vector<std::unique_ptr<Served>> stores_;
  access::UsageBook usage_;
  std::vector<std::string> service_names_;  // by index; never forgotten
  std::unique_ptr<Frontend> frontend_;
  TakeIn take_in_;
  admin::Notify notify_{loop_};
  TimePoint started_{};

  enum class State : std::uint8_t { serving, draining, closing };
  State state_ = State::serving;
  TimePoint drain_at_{};     // leases roll back
  TimePoint farewell_at_{};  // clients have read the last answers
  std::optional<Micros> drain_within_;
  int exit_code_ = 0;
  Do<&Gateway::terminate> on_term_;
  Do<&Gateway::reload_on_signal> on_hup_;
  plugin::JobThreads secrets_{"hg-secrets", 1};
  std::size_t looks_out_ = 0;  // under way
  bool look_soon_ = false;     // something was being written
  When<&Gateway::look_at_secrets> secrets_timer_;
  Do<&Gateway::begin_drain> drain_task_;
  When<&Gateway::look_at_drain> drain_timer_;
};

// For `headgated --check` and for reading files against what plugins take.
config::SchemaOf schema_of(plugin::Libraries& libraries);
// Read endpoints come last.
std::vector<std::string> all_endpoints(const config::Store& from);
// A store as its driver gets it, but for what it logs in with.
plugin::StoreSettings store_settings(const config::Config& config, const config::Store& from);

}  // namespace headgate
