// Start: the parts, in the order in which they need each other.
#include "daemon/gateway.hpp"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>

namespace headgate {
namespace {

// A daemon that wakes up for every message would interrupt those who are about to send more: it is
// told to wait until they sleep or have had their share. What an administrator chose stays.
// Returns 0 or an errno. Threads made later inherit it.
int schedule_as_batch() {
  if (::sched_getscheduler(0) != SCHED_OTHER) return 0;
  const sched_param none{};
  return ::sched_setscheduler(0, SCHED_BATCH, &none) == 0 ? 0 : errno;
}

// Descriptors of our own: loop, ZeroMQ, log, threads, library files.
constexpr std::uint32_t kOwnDescriptors = 96;
// An embedded store opens a few files a connection (SQLite: database, log and index).
constexpr std::uint32_t kDescriptorsPerConnection = 4;

std::string uid_name(std::uint32_t uid) { return "uid:" + std::to_string(uid); }

std::vector<access::Verb> verbs_of(const plugin::Kind& kind) {
  std::vector<access::Verb> verbs;
  for (const auto& [name, v] : kind.verbs) {
    verbs.push_back({name, v.access, v.streams, v.uploads, v.waits});
  }
  if (kind.verbs.find("describe") == kind.verbs.end()) {
    verbs.push_back({"describe", Access::read});
  }
  return verbs;
}

std::string lines(const std::vector<config::ConfigFault>& faults) {
  std::string out;
  for (const auto& f : faults) out += (out.empty() ? "" : "\n") + f.text();
  return out;
}

}  // namespace

class Gateway::Dice final : public pool::Random {
 public:
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_{std::random_device{}()};
};

Gateway::Gateway(GatewayOptions options) : options_(std::move(options)) {
  on_term_.g = on_hup_.g = nullptr;
  on_term_.g = this;
  on_hup_.g = this;
  drain_task_.g = this;
  drain_timer_.g = this;
  secrets_timer_.g = this;
}

Gateway::~Gateway() {
  *alive_ = nullptr;
  loop_.disarm(drain_timer_);
  loop_.disarm(secrets_timer_);
  loop_.set_intake(nullptr);
  frontend_.reset();
  for (auto& s : stores_) {
    if (s->attempts != nullptr && !s->attempts->closed()) {
      // A driver does not come back: it keeps what it holds, and the process ends without it.
      (void)s->attempts.release();
      (void)s->store.release();
    }
  }
  stores_.clear();
  dispatcher_.reset();
}

config::SchemaOf schema_of(plugin::Libraries& libraries) {
  using Type = plugin::Option::Type;
  using Wanted = config::OptionSchema::Type;
  return [&libraries](const std::string& directory,
                      const std::string& name) -> tl::expected<config::PluginSchema, std::string> {
    const auto library = libraries.load({directory, name, ""});
    if (!library) return tl::make_unexpected(library.error().message);
    const plugin::Description& d = (*library)->description();
    config::PluginSchema schema;
    schema.endpoints = d.endpoints;
    for (const plugin::Option& o : d.options) {
      config::OptionSchema s;
      s.name = o.name;
      switch (o.type) {
        case Type::str:
          s.type = Wanted::str;
          break;
        case Type::integer:
          s.type = Wanted::integer;
          break;
        case Type::boolean:
          s.type = Wanted::boolean;
          break;
        case Type::list:
          s.type = Wanted::list;
          break;
        case Type::duration_ms:
          s.type = Wanted::duration_ms;
          break;
        case Type::bytes:
          s.type = Wanted::bytes;
          break;
      }
      s.required = o.required;
      s.secret = o.secret;
      s.min = o.min;
      s.max = o.max;
      s.values = o.values;
      schema.options.push_back(std::move(s));
    }
    for (const plugin::Kind& k : d.kinds) {
      for (const access::Verb& v : verbs_of(k)) schema.verbs[k.kind].push_back(v.name);
    }
    return schema;
  };
}

tl::expected<void, std::string> Gateway::start() {
  started_ = loop_.now();
  std::signal(SIGPIPE, SIG_IGN);
  if (auto r = read_files(); !r) return r;
  make_builtin();
  dispatcher_ = std::make_unique<Dispatcher>(loop_, *log_, dispatch_settings(config_));
  if (auto r = open_stores(); !r) return r;
  dispatcher_->set_policy(make_policy(config_));
  watch_signals();
  return open_doors();
}

// Twice: the host needs numbers of the files, and the files are checked against plugins that are
// loaded with the host's table.
tl::expected<void, std::string> Gateway::read_files() {
  config::LoadOptions plain;
  plain.overrides = options_.overrides;
  auto first = config::load(options_.config_file, plain);
  if (!first) return tl::make_unexpected(lines(first.error()));
  const int not_batch = first->daemon.batch_scheduling ? schedule_as_batch() : 0;
  LogSettings log;
  log.level = first->daemon.log_level;
  log.journald = config::is_journal(log.fd);
  log_ = open_log(log);
  if (not_batch != 0) log_->warn("batch_scheduling", {{"why", std::strerror(not_batch)}});
  plugin::HostSettings host;
  host.threads_max = first->daemon.threads_max;
  host_ = std::make_unique<plugin::Host>(loop_, *log_, host);
  host_->adopt_thread();
  libraries_ = std::make_unique<plugin::Libraries>(host_->table());
  auto read = config::load(options_.config_file, load_options());
  if (!read) return tl::make_unexpected(lines(read.error()));
  config_ = std::move(*read);
  for (const auto& w : config_.warnings) log_->warn("config", {{"warning", w.text()}});
  return {};
}

DispatchSettings Gateway::dispatch_settings(const config::Config& c) const {
  DispatchSettings s;
  s.limits.message_max = c.daemon.message_max;
  s.limits.reply_max = c.daemon.reply_max;
  s.limits.part_max = c.daemon.part_max;
  s.limits.timeout_ms_max = static_cast<std::uint64_t>(c.daemon.timeout_max.count() / 1000);
  s.limits.calls_per_peer_max = c.daemon.calls_per_peer_max;
  s.default_timeout = c.daemon.default_timeout;
  s.calls_max = c.daemon.calls_max;
  return s;
}

void Gateway::make_builtin() {
  builtin_.index = access::kBuiltinStore;
  builtin_.name = "headgate";
  builtin_.kind = "admin";
  builtin_.verbs = access::VerbTable(admin::verbs());
  builtin_.describe = admin::describe_reply();
  builtin_.builtin = [this](const Call& call) { return admin_.serve(call); };
}

std::vector<std::string> all_endpoints(const config::Store& from) {
  std::vector<std::string> all = from.endpoints;
  all.insert(all.end(), from.read_endpoints.begin(), from.read_endpoints.end());
  return all;
}

plugin::StoreSettings store_settings(const config::Config& config, const config::Store& from) {
  plugin::StoreSettings s;
  s.name = from.name;
  s.kind = from.kind;
  s.endpoints = all_endpoints(from);
  s.options = from.options;
  s.statements = config::pack_statements(config);
  s.state_dir = config.daemon.state_dir;
  s.reply_max = config.daemon.reply_max;
  s.part_max = config.daemon.part_max;
  s.stream_max = from.pool.stream_max;
  return s;
}

tl::expected<std::unique_ptr<Gateway::Served>, std::string> Gateway::make_store(
    const config::Store& from, std::uint32_t index) {
  auto library = libraries_->load({config_.daemon.plugin_dir, from.plugin, ""});
  if (!library) return tl::make_unexpected(from.place.text() + ": " + library.error().message);
  auto made = std::make_unique<Served>();
  made->logins = std::make_shared<Logins>(from.name);
  take_credentials(from, *made);
  plugin::StoreSettings settings = store_settings(config_, from);
  if (!from.endpoints.empty()) {
    settings.login = [logins = made->logins, log = log_.get()](const plugin::OpenRequest& r) {
      std::string why;
      auto login = logins->login(r, &why);
      if (!login) {
        log->error("credential_unreadable", {{"store", logins->store}, {"why", std::move(why)}});
      }
      return login;
    };
  }
  auto store = plugin::PluginStore::make(*host_, *library, std::move(settings));
  if (!store) return tl::make_unexpected(from.place.text() + ": " + store.error().message);
  made->store = std::move(*store);
  const plugin::Description& d = (*library)->description();
  made->entry.index = index;
  made->entry.name = from.name;
  made->entry.kind = from.kind;
  made->entry.verbs = access::VerbTable(verbs_of(d.kinds[made->store->kind()]));
  made->entry.describe = plugin::describe_reply(d, made->store->kind());
  // A store that cannot be opened is reported, and heals: calls try again.
  if (auto opened = made->store->open_driver_now(); !opened) {
    log_->error("store_not_open", {{"store", from.name}, {"why", opened.error().message}});
  }
  made->attempts = pool::make_attempts(loop_, *dice_, *made->store, *dispatcher_,
                                       pool_settings(from, *made), log_.get());
  made->entry.attempts = made->attempts.get();
  return made;
}

tl::expected<void, std::string> Gateway::open_stores() {
  dice_ = std::make_unique<Dice>();
  std::vector<StoreEntry*> entries = {&builtin_};
  for (const config::Store& s : config_.stores) {
    auto made = make_store(s, static_cast<std::uint32_t>(entries.size()));
    if (!made) return tl::make_unexpected(made.error());
    entries.push_back(&(*made)->entry);
    stores_.push_back(std::move(*made));
  }
  dispatcher_->set_stores(entries);
  for (auto& s : stores_) {
    renew_credentials(*s);
    s->attempts->warm();
  }
  look_at_secrets();
  return {};
}

std::uint32_t Gateway::service_index(const std::string& name) {
  for (std::uint32_t i = 0; i < service_names_.size(); ++i) {
    if (service_names_[i] == name) return i + 1;  // 0 is our own
  }
  service_names_.push_back(name);
  return static_cast<std::uint32_t>(service_names_.size());
}

std::shared_ptr<const access::Policy> Gateway::make_policy(const config::Config& c) {
  access::PolicyInput in;
  in.own_user = uid_name(::geteuid());
  for (const config::Service& s : c.services) {
    access::ServiceInput service{s.name, service_index(s.name), s.weight, {}};
    for (const std::uint32_t uid : s.uids) service.users.push_back(uid_name(uid));
    for (const std::string& key : s.curve_keys) service.users.push_back("curve:" + key);
    in.services.push_back(std::move(service));
  }
  for (const config::Grant& g : c.grants) {
    access::Rule r;
    r.access = g.access;
    r.verbs = g.verbs;
    r.collections = g.collections;
    r.key_prefixes = g.key_prefixes;
    r.statements = g.statements;
    r.limits = {g.limits.calls_max, g.limits.calls_per_second, g.limits.timeout_max};
    r.place = g.place.file_line();
    in.grants.push_back({g.service, g.store, std::move(r)});
  }
  in.stores.push_back({builtin_.name, &builtin_.verbs});
  for (const auto& s : stores_) in.stores.push_back({s->entry.name, &s->entry.verbs});
  return std::make_shared<access::Policy>(std::move(in), usage_);
}

bool Gateway::knows(std::string_view user) const {
  return dispatcher_->policy().service_of(user).has_value();
}

void Gateway::watch_signals() {
  loop_.on_signal(SIGTERM, on_term_);
  loop_.on_signal(SIGINT, on_term_);
  loop_.on_signal(SIGHUP, on_hup_);
}

namespace {

// A key file of `headgate keygen` has a line `secret = "..."`; else the text is the key.
Secret key_of(const Secret& file) {
  std::string_view s = file.reveal();
  if (const auto at = s.find("secret"); at != std::string_view::npos) {
    const auto open = s.find('"', at);
    const auto close = open == std::string_view::npos ? open : s.find('"', open + 1);
    if (close != std::string_view::npos)
      return Secret(std::string(s.substr(open + 1, close - open - 1)));
  }
  while (!s.empty() && static_cast<unsigned char>(s.back()) <= ' ') s.remove_suffix(1);
  return Secret(std::string(s));
}

}  // namespace

tl::expected<void, std::string> Gateway::open_doors() {
  FrontendSettings s;
  s.ipc_path = config_.daemon.listen_ipc;
  s.ipc_mode = config_.daemon.ipc_mode;
  s.tcp = config_.daemon.listen_tcp;
  s.plain_tcp = config_.daemon.allow_plain_tcp_on_loopback;
  s.message_max = config_.daemon.message_max;
  s.parked_max = config_.daemon.parked_max;
  s.clients_max = config_.daemon.clients_max;
  s.descriptors_reserved = kOwnDescriptors;
  for (const config::Store& store : config_.stores) {
    s.descriptors_reserved += store.pool.connections_max * kDescriptorsPerConnection;
  }
  if (!s.tcp.empty() && !s.plain_tcp) {
    auto key = config::read_secret(config_.daemon.server_key);
    if (!key) return tl::make_unexpected(key.error());
    s.server_key = key_of(*key);
  }
  auto opened = Frontend::open(loop_, *log_, *this, *dispatcher_, std::move(s));
  if (!opened) return tl::make_unexpected(opened.error());
  frontend_ = std::move(*opened);
  dispatcher_->set_frames(frontend_.get());
  take_in_.frontend = frontend_.get();
  loop_.set_intake(&take_in_);
  return {};
}

int Gateway::run() {
  const std::string status = "serving " + std::to_string(stores_.size()) + " stores";
  log_->info("ready", {{"version", HEADGATE_VERSION},
                       {"ipc", config_.daemon.listen_ipc},
                       {"tcp", frontend_->tcp_address()},
                       {"server_key", frontend_->server_public_key()},
                       {"stores", stores_.size()},
                       {"services", config_.services.size()},
                       {"clients_max", frontend_->counts().clients_max}});
  notify_.ready(status);
  loop_.run();
  log_->info("stopped", {{"exit_code", exit_code_}});
  log_->flush();
  return exit_code_;
}

}  // namespace headgate
