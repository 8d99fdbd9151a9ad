// Drivers and connections in the making.
#include "daemon/plugin/opening.hpp"

#include <algorithm>

#include "daemon/plugin/blocking_lane.hpp"
#include "daemon/plugin/event_lane.hpp"

namespace headgate::plugin {
namespace {

hg_bytes lend(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
hg_bytes lend(proto::Bytes b) { return {b.data(), b.size()}; }

Fault unavailable(std::string message, Retry retry) {
  Fault f;
  f.code = Code::unavailable;
  f.message = std::move(message);
  f.retry = retry;
  return f;
}

std::string address_of(const StoreCore& core, const OpenRequest& r) {
  const auto at = static_cast<std::size_t>(std::max(r.endpoint, 0));
  return at < core.endpoints.size() ? core.endpoints[at] : std::string();
}

Result<Login> login_for(const StoreCore& core, const OpenRequest& r) {
  return core.settings.login ? core.settings.login(r) : Login{};
}

// Lent by all of its arguments.
hg_connect connect_of(const StoreCore& core, const OpenRequest& r, std::string_view endpoint,
                      const Login& login) {
  const StoreSettings& s = core.settings;
  hg_connect c{};
  c.size = sizeof c;
  c.lane = r.lane;
  c.access = static_cast<std::uint32_t>(r.access);
  c.generation = r.generation;
  c.deadline_us = static_cast<std::uint64_t>(r.deadline.us);
  c.endpoint = lend(endpoint);
  c.account = lend(login.account);
  c.password = lend(login.password.reveal());
  c.label = lend(login.label);
  c.tls = lend(proto::Bytes(login.tls));
  c.flags = s.inspect ? HG_CONNECT_INSPECT : 0u;
  return c;
}

}  // namespace

hg_driver* open_driver(StoreCore& core, std::uint32_t kind, proto::Bytes options, Fault* why_not) {
  const StoreSettings& s = core.settings;
  hg_driver_config config{};
  config.size = sizeof config;
  config.kind = kind;
  config.driver_id = core.id;
  config.store = lend(s.name);
  config.options = lend(options);
  config.statements = lend(proto::Bytes(s.statements));
  config.state_dir = lend(s.state_dir);
  config.reply_max = s.reply_max;
  config.part_max = s.part_max;
  hg_driver* driver = nullptr;
  hg_error error{};
  error.size = sizeof error;
  try {
    if (core.plugin().driver_open(&config, &driver, &error) == 0 && driver != nullptr)
      return driver;
  } catch (...) {
    core.host.misdeed(Misdeed::threw, s.name, "driver_open");
    *why_not = unavailable("the plugin threw while it opened the store", Retry::backoff);
    return nullptr;
  }
  *why_not = error.message[0] != '\0' ? fault_from(error)
                                      : unavailable("the plugin gave no reason", Retry::backoff);
  return nullptr;
}

void DriverJob::work() {
  driver = open_driver(*core, kind, options, &why_not);
  core->host.inbox().push(*this);
}

void DriverJob::deliver() {
  if (store != nullptr)
    store->driver_opened(driver, driver == nullptr ? &why_not : nullptr);
  else if (driver != nullptr)
    core->plugin().driver_close(driver);
  delete this;
}

Result<void> PluginStore::open_driver_now() {
  if (core_->driver != nullptr) return {};
  Fault why_not;
  hg_driver* driver =
      plugin::open_driver(*core_, static_cast<std::uint32_t>(kind_), options_, &why_not);
  driver_opened(driver, driver == nullptr ? &why_not : nullptr);
  if (driver == nullptr) return tl::make_unexpected(why_not);
  return {};
}

void PluginStore::open_driver() {
  retry_at_ = {};
  start_driver_job();
}

void PluginStore::start_driver_job() {
  if (core_->driver != nullptr || opening_ != nullptr) return;
  if (core_->host.loop().now() < retry_at_) return;
  opening_ = new DriverJob;
  opening_->core = core_;
  opening_->store = this;
  opening_->kind = static_cast<std::uint32_t>(kind_);
  opening_->options = options_;
  core_->host.connects().add(*opening_);
}

void PluginStore::driver_opened(hg_driver* driver, const Fault* why_not) {
  opening_ = nullptr;
  if (driver != nullptr) {
    core_->driver = driver;
    trouble_.clear();
    pause_ = Micros(0);
    core_->host.log().info("store_open", {{"store", core_->settings.name}});
  } else {
    const StoreSettings& s = core_->settings;
    trouble_ = why_not->message;
    pause_ = std::clamp(pause_ * 2, s.reopen_min, s.reopen_max);
    retry_at_ = core_->host.loop().now() + pause_;
    core_->host.log().error("store_cannot_open", {{"store", s.name}, {"why", trouble_}});
  }
  std::vector<OpenJob*> due;
  due.swap(waiting_);
  for (OpenJob* job : due) start(job);
}

Fault PluginStore::not_open() const {
  const Micros left = retry_at_ - core_->host.loop().now();
  Fault f = unavailable(trouble_.empty() ? "the store is being opened" : "cannot open: " + trouble_,
                        Retry::backoff);
  f.retry_after_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(left.count() / 1000, 0));
  return f;
}

void PluginStore::open(const OpenRequest& request) {
  auto* job = new OpenJob;
  job->core = core_;
  job->request = request;
  job->endpoint = address_of(*core_, request);
  if (core_->driver == nullptr) start_driver_job();
  if (opening_ != nullptr)
    waiting_.push_back(job);
  else
    start(job);
}

void PluginStore::start(OpenJob* job) {
  Host& host = core_->host;
  const OpenRequest& r = job->request;
  if (core_->driver == nullptr) {
    job->why_not = not_open();
  } else if (r.lane >= lanes().size()) {
    job->why_not.message = "no such lane";
  } else if (!lanes()[r.lane].event && !host.take_thread()) {
    job->why_not = unavailable("all threads_max (" + std::to_string(host.settings().threads_max) +
                                   ") worker threads are in use",
                               Retry::backoff);
  } else {
    job->has_thread = !lanes()[r.lane].event;
    job->id = host.new_connection_id();
    host.connects().add(*job);
    return;
  }
  host.inbox().push(*job);  // refused, but not inside the pool's call
}

Result<std::string> PluginStore::init_store(const OpenRequest& request) {
  if (core_->driver == nullptr) return tl::make_unexpected(not_open());
  if (core_->plugin().driver_init_store == nullptr)
    return fault(Code::unsupported, "its plugin makes nothing in a store");
  Result<Login> login = login_for(*core_, request);
  if (!login) return tl::make_unexpected(login.error());
  const std::string endpoint = address_of(*core_, request);
  const hg_connect c = connect_of(*core_, request, endpoint, *login);
  hg_error error{};
  error.size = sizeof error;
  hg_bytes out{};
  int failed = 0;
  try {
    failed = core_->plugin().driver_init_store(core_->driver, &c, &out, &error);
  } catch (...) {
    return fault(Code::internal, "the plugin threw in driver_init_store", Outcome::unknown);
  }
  login->password.forget();
  if (failed != 0) return tl::make_unexpected(fault_from(error));
  return std::string(proto::text_of({out.data, static_cast<std::size_t>(out.size)}));
}

void OpenJob::work() {
  const StoreSettings& s = core->settings;
  Host& host = core->host;
  if (closing) {
    try {
      core->plugin().conn_close(connection);
    } catch (...) {
      host.misdeed(Misdeed::threw, s.name, "conn_close");
    }
    connection = nullptr;
    host.inbox().push(*this);
    return;
  }
  Result<Login> login = login_for(*core, request);
  if (!login) {
    why_not = login.error();
    host.inbox().push(*this);
    return;
  }
  hg_connect c = connect_of(*core, request, endpoint, *login);
  c.id = id;
  label = login->label;
  hg_error error{};
  error.size = sizeof error;
  try {
    if (core->plugin().conn_open(core->driver, &c, &connection, &fd, &error) != 0) {
      connection = nullptr;
      why_not = fault_from(error);
    } else if (connection == nullptr) {
      why_not.message = "the plugin opened no connection and gave no reason";
    }
  } catch (...) {
    connection = nullptr;
    host.misdeed(Misdeed::threw, s.name, "conn_open");
    why_not.message = "the plugin threw while it opened a connection";
  }
  login->password.forget();
  host.inbox().push(*this);
}

void StoreCore::connect_failed(std::uint32_t credential, const std::string& endpoint,
                               const std::string& label, const Fault& why) {
  Told& t = told[{credential, endpoint}];
  const TimePoint now = host.loop().now();
  if (t.why == why.message && now < t.at + kTellEvery) {
    ++t.since;
    return;
  }
  host.log().error("connect_failed", {{"store", settings.name},
                                      {"endpoint", endpoint},
                                      {"credential", label},
                                      {"why", why.message},
                                      {"sqlstate", why.sqlstate},
                                      {"more_like_it", t.since}});
  t = {why.message, now, 0};
}

void StoreCore::connected(std::uint32_t credential, const std::string& endpoint,
                          const std::string& label) {
  if (told.empty() || told.erase({credential, endpoint}) == 0) return;
  host.log().info("connected_again",
                  {{"store", settings.name}, {"endpoint", endpoint}, {"credential", label}});
}

void OpenJob::deliver() {
  Host& host = core->host;
  LinkEvents* events = core->events;
  if (connection == nullptr) {
    if (has_thread) host.give_thread();
    if (id != 0) host.set_link(id, nullptr);
    if (!closing) core->connect_failed(request.credential, endpoint, label, why_not);
    if (events != nullptr && !closing) events->open_failed(request.ticket, why_not);
    delete this;
    return;
  }
  if (events == nullptr) {
    closing = true;
    host.connects().add(*this);
    return;
  }
  core->connected(request.credential, endpoint, label);
  if (core->lanes()[request.lane].event) {
    auto link = std::make_unique<EventLink>(core, request, id, connection);
    link->attach();
    events->opened(request.ticket, std::move(link));
  } else {
    host.set_link(id, nullptr);
    events->opened(request.ticket, std::make_unique<BlockingLink>(core, request, connection, fd));
  }
  delete this;
}

}  // namespace headgate::plugin
