// Reload: the files are read again; a fault changes nothing, else everything that may change does.
#include <algorithm>

#include "daemon/gateway.hpp"

namespace headgate {
namespace {

// What a restart alone changes stays as it is in force, whatever the new files say.
void keep_what_needs_a_restart(const config::Config& before, config::Config& after) {
  const config::Daemon& old = before.daemon;
  config::Daemon& d = after.daemon;
  d.listen_ipc = old.listen_ipc;
  d.ipc_mode = old.ipc_mode;
  d.listen_tcp = old.listen_tcp;
  d.server_key = old.server_key;
  d.allow_plain_tcp_on_loopback = old.allow_plain_tcp_on_loopback;
  d.plugin_dir = old.plugin_dir;
  d.state_dir = old.state_dir;
  d.statements_dir = old.statements_dir;
  d.clients_max = old.clients_max;
  d.calls_max = old.calls_max;
  d.message_max = old.message_max;
  d.reply_max = old.reply_max;
  d.part_max = old.part_max;
  d.threads_max = old.threads_max;
  std::vector<config::Store> stores;
  for (const config::Store& s : before.stores) {
    stores.push_back(s);
    const config::Store* now = after.store(s.name);
    if (now == nullptr) continue;
    stores.back().pool = now->pool;
    stores.back().tls = now->tls;
    stores.back().account = now->account;
    stores.back().password = now->password;
    if (!config::made_alike(s, *now)) continue;
    stores.back().endpoints = now->endpoints;
    stores.back().read_endpoints = now->read_endpoints;
  }
  after.stores = std::move(stores);
  after.statements = before.statements;
}

}  // namespace

config::LoadOptions Gateway::load_options() {
  config::LoadOptions o;
  o.schema_of = schema_of(*libraries_);
  o.overrides = options_.overrides;
  o.read_passwords = state_ == State::serving && frontend_ != nullptr;  // at a reload
  return o;
}

Result<admin::Reloaded> Gateway::reload() {
  if (state_ != State::serving) return fault(Code::draining, "this gateway is going away");
  notify_.reloading();
  auto read = config::load(options_.config_file, load_options());
  if (!read) {
    std::string all;
    for (const auto& f : read.error()) {
      log_->error("reload_refused", {{"fault", f.text()}});
      all += (all.empty() ? "" : "; ") + f.text();
    }
    notify_.ready("serving; the last reload was refused");
    return fault(Code::invalid, std::move(all), Outcome::rejected);
  }
  const config::Difference difference = config::diff(config_, *read);
  keep_what_needs_a_restart(config_, *read);
  config_ = std::move(*read);
  log_->set_level(config_.daemon.log_level);
  for (const auto& w : config_.warnings) log_->warn("config", {{"warning", w.text()}});
  dispatcher_->apply(dispatch_settings(config_));
  dispatcher_->set_policy(make_policy(config_));
  frontend_->set_parked_max(config_.daemon.parked_max);
  for (auto& s : stores_) {
    take_credentials(*config_.store(s->entry.name), *s);
    apply_pools(*s);
    renew_credentials(*s);
  }
  look_at_secrets();  // at the pace that holds now
  frontend_->revoke();
  const auto list = [](const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& n : names) out += (out.empty() ? "" : ",") + n;
    return out;
  };
  log_->info("reload", {{"file", options_.config_file},
                        {"changed", list(difference.changed)},
                        {"needs_restart", list(difference.needs_restart)}});
  notify_.ready("serving " + std::to_string(stores_.size()) + " stores");
  return admin::Reloaded{difference.changed, difference.needs_restart};
}

void Gateway::reload_on_signal() { (void)reload(); }

}  // namespace headgate
