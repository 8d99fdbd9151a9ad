// A plugin on the bare ABI as a Target: loads it, opens a driver, keeps a few connections a lane,
// and follows what the plugin answers (reroute, wait, backoff) as the core would, in the plainest
// way.
#include <dlfcn.h>
#include <sys/stat.h>

#include <algorithm>
#include <stdexcept>

#include "tests/conformance/bare_host.hpp"
#include "tests/conformance/target.hpp"

namespace headgate::conformance {
namespace {

hg_bytes lend(const std::string& s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
hg_bytes lend(const std::vector<std::uint8_t>& v) { return {v.data(), v.size()}; }

struct LaneInfo {
  std::string name;
  bool event = false, lease = false, read_only = false;
  std::uint32_t connections_max = 1, max_inflight = 1, max_batch = 1;
};

std::shared_ptr<BareHost> process_host() {
  static const std::shared_ptr<BareHost> host = std::make_shared<BareHost>();
  return host;
}
// Names of connections, over all targets of that host.
std::atomic<hg_conn_id> g_next_connection{1};

class BareTarget;

// One caller: its leases live in `leases_`, by the id of the begin.
class BareCaller : public Caller {
 public:
  explicit BareCaller(BareTarget& t) : target_(t) {}
  ~BareCaller() override;
  std::unique_ptr<Running> start(const std::string& verb, const Json& body,
                                 const Options& o) override;
  Reply upload(const std::string& verb, const Json& body, const std::vector<Json>& pieces,
               const Options& o, bool abort) override;
  Reply raw(const std::string& verb, proto::Bytes body, const Options& o) override;

  BareTarget& target_;
  std::map<std::uint64_t, BareConnection*> leases_;
};

class BareTarget : public Target {
 public:
  explicit BareTarget(const BareOptions& o);
  ~BareTarget() override;
  std::unique_ptr<Caller> caller() override { return std::make_unique<BareCaller>(*this); }
  const Json& describe() const override { return describe_; }
  bool bare() const override { return true; }

  // A connection of this lane with room, or a new one; waits for one until the deadline. The
  // operation that it is for is counted in.
  BareConnection* acquire(std::uint32_t lane, std::uint32_t access, bool alone, std::uint64_t until,
                          hg_error* error);
  void release(BareConnection* c);
  void prepare_store();

  BareOptions options_;
  Json describe_;
  std::vector<LaneInfo> lanes_;
  void* library_ = nullptr;
  const hg_plugin* plugin_ = nullptr;
  // One host in a process, as in the daemon: the SDK remembers whom the plugin was loaded by.
  std::shared_ptr<BareHost> host_ = process_host();
  hg_driver* driver_ = nullptr;
  std::mutex open_mutex_;
  std::vector<std::unique_ptr<BareConnection>> connections_;
  std::atomic<std::uint64_t> next_request_{1};
};

std::uint32_t access_of(const Json& verb, const Options& o) {
  if (o.read_only) return HG_ACCESS_READ;
  const std::string a = verb.is_object() ? verb.value("access", "write") : "write";
  return a == "admin" ? HG_ACCESS_ADMIN : HG_ACCESS_WRITE;
}

Reply refused(const hg_error& e, std::uint64_t id) {
  Reply r;
  r.id = id;
  r.code = static_cast<Code>(e.code);
  r.outcome = static_cast<Outcome>(e.outcome);
  r.retryable = e.retry != HG_RETRY_NEVER;
  r.message = e.message;
  r.sqlstate = e.sqlstate;
  r.vendor_code = e.vendor_code;
  return r;
}

// One request, from route to its end. Attempts follow each other inside wait().
class BareRunning : public Running {
 public:
  BareRunning(BareCaller& caller, std::string verb, std::vector<std::uint8_t> body, Options o)
      : caller_(caller),
        target_(caller.target_),
        verb_(std::move(verb)),
        body_(std::move(body)),
        options_(std::move(o)),
        id_(target_.next_request_++),
        begun_(BareHost::now_us()),
        deadline_(begun_ + std::uint64_t{options_.timeout_ms} * 1000) {}
  ~BareRunning() override {
    if (op_ != nullptr) {
      cancel();
      target_.host_->abandon(op_);
      wait();
    }
  }

  void go(bool upload) {
    upload_ = upload;
    attempt(nullptr);
  }
  Op* op() { return op_; }

  std::optional<Json> part() override {
    if (op_ == nullptr) return std::nullopt;
    std::vector<std::uint8_t> bytes;
    target_.host_->wait(deadline_ + 5'000'000, [&] { return !op_->parts.empty() || op_->ended; });
    {
      std::lock_guard lock(target_.host_->mutex());
      if (op_->parts.empty()) return std::nullopt;
      bytes = std::move(op_->parts.front());
      op_->parts.pop_front();
    }
    target_.host_->give_credit(op_, ++taken_ + 4);
    return from_bytes(bytes);
  }

  void cancel() override {
    cancelled_ = true;
    if (op_ != nullptr) {
      target_.host_->abandon(op_);
      target_.host_->cancel(op_);
    }
  }

  Reply wait() override {
    while (op_ != nullptr) {
      if (options_.fetch != 0)
        while (auto p = part()) parts_.push_back(std::move(*p));
      // At the deadline the store is told to stop; its own answer says what became of it.
      if (!target_.host_->wait(deadline_, [&] { return op_->ended.has_value(); })) {
        late_ = true;
        target_.host_->cancel(op_);
        if (!target_.host_->wait(BareHost::now_us() + 10'000'000,
                                 [&] { return op_->ended.has_value(); }))
          throw std::runtime_error(verb_ + ": the operation did not end within 10 s of its cancel");
      }
      finish();
    }
    reply_.parts = std::move(parts_);
    return reply_;
  }

 private:
  void attempt(const hg_error* previous) {
    hg_error error{};
    error.size = sizeof error;
    hg_call call{};
    hg_touches touches;
    op_ = target_.host_->begin();
    op_->verb = verb_;
    op_->body = body_;
    op_->key = options_.key;
    if (previous != nullptr) op_->previous = *previous;
    const Json& verbs = target_.describe_["verbs"];
    const std::uint32_t access = access_of(verbs.contains(verb_) ? verbs[verb_] : Json(), options_);
    const std::uint64_t margin =
        std::clamp<std::uint64_t>((deadline_ - begun_) / 20, 5'000, 100'000);
    call.size = sizeof call;
    call.flags = (options_.read_only ? 1u * HG_CALL_READ_ONLY : 0u) |
                 (options_.idempotent ? 1u * HG_CALL_IDEMPOTENT : 0u) |
                 (options_.fetch != 0 ? 1u * HG_CALL_STREAM : 0u) |
                 (upload_ ? 1u * HG_CALL_UPLOAD : 0u);
    call.verb = lend(op_->verb);
    call.body = lend(op_->body);
    call.service = lend(op_->service);
    call.key = lend(op_->key);
    call.lease = options_.tx;
    call.received_us = begun_;
    call.deadline_us = deadline_;
    call.work_until_us = deadline_ > margin ? deadline_ - margin : 0;
    call.fetch = options_.fetch;
    call.attempt = ++attempts_;
    call.access = access;
    call.hops = hops_;
    call.previous = previous != nullptr ? &op_->previous : nullptr;

    hg_route route{};
    route.size = sizeof route;
    route.endpoint = -1;
    if (target_.plugin_->driver_route(target_.driver_, &call, &touches, &route, &error) != 0)
      return end_with(refused(error, id_));
    if (route.lane >= target_.lanes_.size()) {
      target_.host_->violation("driver_route named a lane that describe does not have");
      return end_with(refused(error, id_));
    }
    call.tag = route.tag;
    BareConnection* c = nullptr;
    if (options_.tx != 0) {
      auto lease = caller_.leases_.find(options_.tx);
      if (lease == caller_.leases_.end()) {
        Reply r;
        r.code = Code::transaction_expired;
        r.outcome = Outcome::rolled_back;
        return end_with(std::move(r));
      }
      c = lease->second;
      call.flags |= HG_CALL_ALONE;
    } else {
      const bool alone = route.lease != 0 || route.alone != 0;
      if (alone) call.flags |= HG_CALL_ALONE;
      c = target_.acquire(route.lane, access, alone || !options_.key.empty(), deadline_, &error);
      if (c == nullptr) return end_with(refused(error, id_));
    }
    call.op = op_->id;
    op_->call = call;
    target_.host_->submit(c, op_, options_.tx == 0);
  }

  void end_with(Reply r) {
    target_.host_->end(op_);
    op_ = nullptr;
    r.id = id_;
    reply_ = std::move(r);
  }

  // Takes the end of an attempt in, and starts another where the plugin says that it helps.
  void finish() {
    Ended e;
    std::vector<std::uint8_t> body;
    std::uint64_t parts = 0;
    {
      std::lock_guard lock(target_.host_->mutex());
      e = std::move(*op_->ended);
      body = std::move(op_->reply);
      parts = op_->parts_out;
    }
    BareConnection* c = op_->connection;
    lease(c, e);
    const hg_error error = e.error;
    const bool again =
        !e.ok && !cancelled_ && options_.tx == 0 && parts == 0 && BareHost::now_us() < deadline_;
    if (again && error.retry == HG_RETRY_REROUTE && hops_ < 5) {
      ++hops_;
      target_.host_->end(op_);
      return attempt(&error);
    }
    if (again && error.retry == HG_RETRY_WAIT) {
      --attempts_;
      target_.host_->end(op_);
      op_ = nullptr;
      target_.host_->wait_for_wake(error.wait_token, std::max(1u, error.retry_after_ms));
      return attempt(nullptr);
    }
    if (again && error.retry == HG_RETRY_BACKOFF && error.outcome <= HG_ROLLED_BACK &&
        attempts_ < 3) {
      target_.host_->end(op_);
      op_ = nullptr;
      target_.host_->wait_for_wake(~0ull, 20);
      return attempt(nullptr);
    }
    Reply r = e.ok ? Reply{} : refused(error, id_);
    // What the plugin would have tried elsewhere ends here: its caller no longer wants it.
    if (!e.ok && cancelled_ && error.retry == HG_RETRY_REROUTE) r.code = Code::cancelled;
    // Nor was it its caller who stopped it.
    if (!e.ok && late_ && r.code == Code::cancelled) r.code = Code::deadline;
    r.replayed = (e.done.flags & HG_DONE_REPLAYED) != 0;
    if (e.done.flags & HG_DONE_ROWS_AFFECTED) r.rows_affected = e.done.rows_affected;
    if (e.done.flags & HG_DONE_LAST_ID) r.last_id = e.done.last_id;
    if ((e.ok || (e.done.flags & HG_DONE_KEEP_BODY)) && !body.empty()) {
      if (proto::check(body) != proto::Shape::good)
        target_.host_->violation(verb_ + ": a reply that is not one msgpack value");
      r.body = from_bytes(body);
    }
    end_with(std::move(r));
  }

  void lease(BareConnection* c, const Ended& e) {
    const bool held = options_.tx != 0;
    if (e.done.lease == HG_LEASE_NONE) {
      if (held) {
        caller_.leases_.erase(options_.tx);
        c->needs_reset = true;
      }
      c->leased = false;
      target_.release(c);
    } else if (!held) {
      c->leased = true;
      caller_.leases_[id_] = c;
    }
  }

  BareCaller& caller_;
  BareTarget& target_;
  std::string verb_;
  std::vector<std::uint8_t> body_;
  Options options_;
  std::uint64_t id_, begun_, deadline_;
  std::uint32_t attempts_ = 0, hops_ = 0;
  std::uint64_t taken_ = 0;
  bool upload_ = false;
  std::atomic<bool> cancelled_{false};
  bool late_ = false;  // stopped at its deadline
  Op* op_ = nullptr;
  std::vector<Json> parts_;
  Reply reply_;
};

BareCaller::~BareCaller() {
  // A caller that is gone: its transactions are rolled back by a reset, as the core does.
  for (auto& [id, c] : leases_) {
    c->needs_reset = true;
    c->leased = false;
    target_.release(c);
  }
}

std::unique_ptr<Running> BareCaller::start(const std::string& verb, const Json& body,
                                           const Options& o) {
  auto r = std::make_unique<BareRunning>(*this, verb, to_bytes(body), o);
  r->go(false);
  return r;
}

Reply BareCaller::raw(const std::string& verb, proto::Bytes body, const Options& o) {
  BareRunning r(*this, verb, std::vector<std::uint8_t>(body.begin(), body.end()), o);
  r.go(false);
  return r.wait();
}

Reply BareCaller::upload(const std::string& verb, const Json& body, const std::vector<Json>& pieces,
                         const Options& o, bool abort) {
  BareRunning r(*this, verb, to_bytes(body), o);
  r.go(true);
  for (const Json& piece : pieces)
    if (r.op() != nullptr) target_.host_->give_piece(r.op(), to_bytes(piece), false, false);
  if (r.op() != nullptr) target_.host_->give_piece(r.op(), {}, !abort, abort);
  return r.wait();
}

BareTarget::BareTarget(const BareOptions& o) : options_(o) {
  library_ = dlopen(o.plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) throw std::runtime_error(std::string("cannot load it: ") + dlerror());
  auto entry = reinterpret_cast<hg_plugin_entry>(dlsym(library_, HG_PLUGIN_ENTRY));
  if (entry == nullptr) throw std::runtime_error(o.plugin + " does not export " HG_PLUGIN_ENTRY);
  hg_error error{};
  error.size = sizeof error;
  plugin_ = entry(host_->table(), &error);
  if (plugin_ == nullptr)
    throw std::runtime_error(std::string("it refused this host: ") + error.message);
  host_->use(plugin_, o.reply_max);
  const hg_bytes d = plugin_->describe();
  const Json all = from_bytes({d.data, static_cast<std::size_t>(d.size)});
  std::uint32_t kind_index = 0;
  bool found = false;
  for (const Json& k : all.at("kinds")) {
    if (o.kind.empty() || k.at("kind") == o.kind) {
      describe_ = k;
      found = true;
      break;
    }
    ++kind_index;
  }
  if (!found) throw std::runtime_error("the plugin has no kind `" + o.kind + "`");
  describe_["product"] = all.value("product", "");
  describe_["version"] = all.value("version", "");
  describe_["lanes"] = all.at("lanes");
  describe_["options"] = all.value("options", Json::object());
  for (const Json& l : all.at("lanes"))
    lanes_.push_back({l.at("name"), l.at("model") == "event", l.value("lease", false),
                      l.value("read_only", false), l.value("connections_max", 1u),
                      l.value("max_inflight", 1u), l.value("max_batch", 1u)});

  // What describe declares as an option's default is given when the profile does not.
  Json options = o.options.is_object() ? o.options : Json::object();
  for (auto& [name, schema] : describe_["options"].items())
    if (!options.contains(name) && schema.contains("default") && !schema["default"].is_null())
      options[name] = schema["default"];
  const std::vector<std::uint8_t> option_bytes = to_bytes(options);
  const std::vector<std::uint8_t> statement_bytes =
      to_bytes(o.statements.is_object() ? o.statements : Json::object());
  const std::string store = "conformance";
  hg_driver_config config{};
  config.size = sizeof config;
  config.kind = kind_index;
  config.driver_id = 1;
  config.store = lend(store);
  config.options = lend(option_bytes);
  config.statements = lend(statement_bytes);
  config.state_dir = lend(o.state_dir);
  config.reply_max = o.reply_max;
  config.part_max = 256 << 10;
  if (plugin_->driver_open(&config, &driver_, &error) != 0)
    throw std::runtime_error(std::string("driver_open: ") + error.message);
  if (o.prepare_store) prepare_store();
}

// The DDL that the plugin shows, statement by statement.
void BareTarget::prepare_store() {
  hg_error error{};
  error.size = sizeof error;
  hg_bytes out{};
  if (plugin_->driver_prepare_store == nullptr ||
      plugin_->driver_prepare_store(driver_, 1, &out, &error) != 0)
    throw std::runtime_error(std::string("driver_prepare_store: ") + error.message);
  const std::string ddl(reinterpret_cast<const char*>(out.data), out.size);
  auto c = caller();
  for (std::size_t at = 0; at < ddl.size();) {
    const std::size_t end = std::min(ddl.find(";\n", at), ddl.size());
    const Reply r = c->call("execute", {{"sql", ddl.substr(at, end - at)}});
    if (!r.ok()) throw std::runtime_error("the store's DDL: " + r.message);
    at = end + 2;
  }
}

BareTarget::~BareTarget() {
  for (auto& c : connections_) host_->close(c.get());
  if (driver_ != nullptr) plugin_->driver_close(driver_);
  host_.reset();  // the library stays loaded: the ABI promises that it is never closed
}

BareConnection* BareTarget::acquire(std::uint32_t lane, std::uint32_t access, bool alone,
                                    std::uint64_t until, hg_error* error) {
  const LaneInfo& info = lanes_[lane];
  for (;;) {
    std::unique_lock lock(open_mutex_);
    std::uint32_t of_lane = 0;
    for (auto& c : connections_) {
      std::lock_guard inner(host_->mutex());
      if (c->lane != lane || c->broken) continue;
      ++of_lane;
      if ((access == HG_ACCESS_READ) != (c->access == HG_ACCESS_READ)) continue;
      const std::uint32_t room = alone ? 1 : info.max_inflight;
      if (!c->leased && !c->needs_reset && c->cancelling == 0 && c->inflight < room) {
        c->leased = alone;
        ++c->inflight;
        return c.get();
      }
    }
    if (of_lane < std::max(1u, info.connections_max)) {
      auto c = std::make_unique<BareConnection>();
      c->id = g_next_connection++;
      c->lane = lane;
      c->access = access;
      c->event = info.event;
      c->max_inflight = info.max_inflight;
      c->max_batch = info.max_batch;
      hg_connect connect{};
      connect.size = sizeof connect;
      connect.lane = lane;
      connect.access = access;
      connect.generation = 1;
      connect.id = c->id;
      connect.deadline_us = until;
      connect.endpoint = lend(options_.endpoint);
      connect.account = lend(options_.account);
      connect.password = lend(options_.password);
      connect.label = lend(options_.account);
      std::int32_t fd = -1;
      if (plugin_->conn_open(driver_, &connect, &c->handle, &fd, error) != 0) return nullptr;
      host_->attach(c.get());
      connections_.push_back(std::move(c));
      continue;
    }
    lock.unlock();
    if (BareHost::now_us() >= until) {
      error->code = HG_QUEUE_TIMEOUT;
      error->outcome = HG_NOT_SENT;
      return nullptr;
    }
    host_->wait_for_wake(~0ull - 1, 5);
  }
}

void BareTarget::release(BareConnection* c) {
  if (c->broken || !c->needs_reset || plugin_->conn_reset == nullptr) return;
  Op* op = host_->begin();
  host_->special(c, op, true);
  if (!host_->wait(BareHost::now_us() + 10'000'000, [&] { return op->ended.has_value(); }))
    throw std::runtime_error("conn_reset did not complete within 10 s");
  {
    std::lock_guard lock(host_->mutex());
    c->needs_reset = false;
    if (op->ended->done.connection == HG_CONN_BROKEN) c->broken = true;
  }
  host_->end(op);
}

}  // namespace

std::unique_ptr<Target> make_bare_target(const BareOptions& options) {
  return std::make_unique<BareTarget>(options);
}

std::vector<std::string> violations_of(Target& target) {
  return target.bare() ? static_cast<BareTarget&>(target).host_->violations()
                       : std::vector<std::string>{};
}

// For the ABI cases, which look at the host itself.
BareHost& host_of(Target& target) { return *static_cast<BareTarget&>(target).host_; }
const hg_plugin* plugin_of(Target& target) { return static_cast<BareTarget&>(target).plugin_; }
hg_driver* driver_of(Target& target) { return static_cast<BareTarget&>(target).driver_; }

}  // namespace headgate::conformance
