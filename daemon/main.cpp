// headgated: reads its arguments, then Gateway is all there is.
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "daemon/connect_check.hpp"
#include "daemon/gateway.hpp"
#include "daemon/store_init.hpp"

namespace {

// Exit codes: docs/operations.md.
constexpr int kNotStarted = 1;
constexpr int kUsage = 2;
constexpr int kBadConfig = 78;  // EX_CONFIG of sysexits.h

struct Task {
  bool connect = false;      // with a check: log in, too
  headgate::StoreInit init;  // in place of a check
};

// Without a look into it: a pipe gives what it holds once. Else errno says why not.
bool readable(const std::string& file) {
  struct stat s {};
  if (::access(file.c_str(), R_OK) != 0 || ::stat(file.c_str(), &s) != 0) return false;
  if (S_ISDIR(s.st_mode)) errno = EISDIR;
  return !S_ISDIR(s.st_mode);
}

int check(const headgate::GatewayOptions& options, const Task& task) {
  headgate::UvLoop loop;
  headgate::CheckLog log;
  headgate::plugin::Host host(loop, log, {});
  host.adopt_thread();
  headgate::plugin::Libraries libraries(host.table());
  headgate::config::LoadOptions load;
  load.schema_of = headgate::schema_of(libraries);
  load.overrides = options.overrides;
  load.read_passwords = task.init.store.empty();  // else the one that is used
  int faults = 0;
  if (!readable(options.config_file)) {
    std::fprintf(stderr, "%s: cannot be read: %s\n", options.config_file.c_str(),
                 std::strerror(errno));
    return kUsage;
  }
  if (task.init.store.empty()) {
    faults = headgate::config::check(options.config_file, load);
    if (!task.connect) return faults;
    // A password that cannot be read is no reason to leave the other stores untried.
    load.read_passwords = faults == 0;
  }
  const auto config = headgate::config::load(options.config_file, load);
  if (!config && faults != 0) return faults;  // told already
  if (!config) {
    for (const auto& f : config.error()) std::fprintf(stderr, "%s\n", f.text().c_str());
    return kUsage;
  }
  if (task.init.store.empty()) {
    return std::max(faults, headgate::check_connections(*config, host, libraries, loop));
  }
  return headgate::init_store(*config, task.init, host, libraries);
}

}  // namespace

int main(int argc, char** argv) {
  // Secrets pass through this process: no core dumps, no ptrace by others of the same user.
  ::prctl(PR_SET_DUMPABLE, 0);
  CLI::App app{"headgated: the gateway between services and their stores"};
  headgate::GatewayOptions options;
  options.config_file = "/etc/headgate/headgate.toml";
  std::string plugin_dir;
  bool only_check = false;
  Task task;
  app.add_option("--config,-c", options.config_file, "configuration file")->capture_default_str();
  app.add_option("--plugin-dir", plugin_dir, "where plugins are, in place of daemon.plugin_dir");
  app.add_option("--set", options.overrides,
                 "one setting over the files, as in daemon.log_level=debug; may be repeated");
  auto* check_flag =
      app.add_flag("--check", only_check, "read the configuration, print its faults, do not start");
  app.add_flag("--connect", task.connect, "with --check: log in to every store, too")
      ->needs(check_flag);
  auto* init = app.add_option("--store-init", task.init.store,
                              "print the statements that this store needs, do not start");
  auto* run = app.add_flag("--run", task.init.run, "with --store-init: run them, too")->needs(init);
  auto* account = app.add_option("--account", task.init.account,
                                 "with --run: who may make tables, in place of the store's account")
                      ->needs(run);
  app.add_option("--password-file", task.init.password_file, "the password of --account")
      ->needs(account);
  app.set_version_flag("--version", std::string("headgated ") + HEADGATE_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : kUsage;
  }
  if (!plugin_dir.empty()) options.overrides.push_back("daemon.plugin_dir=" + plugin_dir);
  if (only_check || !task.init.store.empty()) return check(options, task);

  headgate::Gateway gateway(std::move(options));
  if (auto started = gateway.start(); !started) {
    std::fprintf(stderr, "headgated: %s\n", started.error().c_str());
    return started.error().find(".toml:") != std::string::npos ? kBadConfig : kNotStarted;
  }
  return gateway.run();
}
