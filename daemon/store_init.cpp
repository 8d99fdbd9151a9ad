#include "daemon/store_init.hpp"

#include <cstdio>

#include "daemon/gateway.hpp"

namespace headgate {

int print_store_ddl(const config::Config& config, const std::string& store, plugin::Host& host,
                    plugin::Libraries& libraries) {
  const auto no = [&](const std::string& why) {
    std::fprintf(stderr, "headgated: store %s: %s\n", store.c_str(), why.c_str());
    return 1;
  };
  const config::Store* from = config.store(store);
  if (from == nullptr) return no("there is none of that name");
  auto library = libraries.load({config.daemon.plugin_dir, from->plugin, ""});
  if (!library) return no(library.error().message);
  auto made = plugin::PluginStore::make(host, *library, store_settings(config, *from));
  if (!made) return no(made.error().message);
  if (auto opened = (*made)->open_driver_now(); !opened) return no(opened.error().message);
  const auto ddl = (*made)->prepare_store(true);
  if (!ddl) return no(ddl.error().message);
  if (ddl->empty()) std::fprintf(stderr, "store %s needs nothing\n", store.c_str());
  std::fputs(ddl->c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace headgate
