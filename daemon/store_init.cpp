#include "daemon/store_init.hpp"

#include <algorithm>
#include <cstdio>

#include "daemon/gateway.hpp"

namespace headgate {
namespace {

// For the login and all that is made; another one who does the same is waited for.
constexpr Micros kTime = std::chrono::seconds(30);

int no(const std::string& store, const std::string& why) {
  std::fprintf(stderr, "headgated: store %s: %s\n", store.c_str(), why.c_str());
  return 1;
}

int print_ddl(const std::string& store, plugin::PluginStore& made) {
  const auto ddl = made.prepare_store(true);
  if (!ddl) return no(store, ddl.error().message);
  if (ddl->empty()) std::fprintf(stderr, "store %s needs nothing\n", store.c_str());
  std::fputs(ddl->c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

// At the endpoint that takes writes.
int make_it(const config::Store& from, plugin::PluginStore& made, Loop& loop) {
  const std::size_t endpoints = std::max<std::size_t>(from.endpoints.size(), 1);
  std::string why;
  for (std::size_t at = 0; at < endpoints; ++at) {
    plugin::OpenRequest r;
    r.access = Access::write;
    r.endpoint = static_cast<std::int32_t>(at);
    r.deadline = loop.now() + kTime;
    const auto done = made.init_store(r);
    if (done) {
      std::fputs(done->empty() ? "nothing is needed\n" : done->c_str(), stdout);
      return std::fflush(stdout) == 0 ? 0 : 1;
    }
    const Fault& f = done.error();
    why += (why.empty() ? "" : "; ") + f.message;
    if (f.outcome == Outcome::unknown) why += " (it may have been done: run it again)";
    if (!f.sqlstate.empty()) why += " (SQLSTATE " + f.sqlstate + ")";
    // Another one may be had where this one is a standby, or is not there at all.
    if (f.outcome != Outcome::not_sent) break;
  }
  return no(from.name, why);
}

}  // namespace

int init_store(const config::Config& config, const StoreInit& init, plugin::Host& host,
               plugin::Libraries& libraries) {
  const config::Store* from = config.store(init.store);
  if (from == nullptr) return no(init.store, "there is none of that name");
  auto library = libraries.load({config.daemon.plugin_dir, from->plugin, ""});
  if (!library) return no(init.store, library.error().message);
  plugin::StoreSettings settings = store_settings(config, *from);
  Logins logins(from->name);
  if (init.run && !from->endpoints.empty()) {
    config::Account account = config::accounts(config, *from).at(0);
    if (!init.account.empty()) {
      account.account = init.account;
      account.password = {};
      if (!init.password_file.empty()) {
        account.password.from = config::SecretSource::From::file;
        account.password.name = init.password_file;
      }
    }
    bool changed = false;
    (void)logins.put(account, &changed);
    if (std::string why; !logins.set_tls(from->tls, &why)) return no(init.store, why);
    settings.login = [&logins](const plugin::OpenRequest& r) { return logins.login_or_why(r); };
  }
  auto made = plugin::PluginStore::make(host, *library, std::move(settings));
  if (!made) return no(init.store, made.error().message);
  if (auto opened = (*made)->open_driver_now(); !opened)
    return no(init.store, opened.error().message);
  if (!init.run) return print_ddl(init.store, **made);
  host.loop().refresh();
  return make_it(*from, **made, host.loop());
}

}  // namespace headgate
