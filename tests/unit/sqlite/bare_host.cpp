// The host functions, and the few rules of a pool that a plugin can notice.
#include "tests/unit/sqlite/bare_host.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "plugins/sqlite/driver.hpp"

namespace headgate::sqlite::test {

struct Ticket {
  hg_call call{};
  std::string verb, service, key;
  std::vector<std::uint8_t> body;
  CallOptions options;
  hg_route route{};
  hg_error previous{};
  bool rerouted = false;

  std::mutex mutex;
  std::condition_variable done_cv;
  bool done = false;
  std::atomic<bool> cancelled{false};
  Reply reply;
  std::vector<std::uint8_t> sink;
  std::size_t used = 0;
  std::vector<std::uint8_t> piece;
};

struct BareStore::Worker {
  std::uint32_t lane = 0;
  int access = HG_ACCESS_WRITE;
  std::uint64_t lease = 0;  // the lease that holds it
  hg_connection* connection = nullptr;
  std::deque<std::shared_ptr<Ticket>> queue;
  std::vector<hg_op> running;
  bool held = false;
  bool stop = false;
  std::thread thread;
};

Json bin(std::string_view b) { return Json::binary(std::vector<std::uint8_t>(b.begin(), b.end())); }
Json ext(int type, std::string_view b) {
  return Json::binary(std::vector<std::uint8_t>(b.begin(), b.end()),
                      static_cast<std::uint8_t>(type));
}
std::vector<std::uint8_t> pack(const Json& j) { return Json::to_msgpack(j); }

namespace {

std::shared_ptr<Ticket> ticket(const hg_host* h, hg_op op) {
  auto t = static_cast<BareHost*>(const_cast<hg_host*>(h))->find(op);
  if (t == nullptr) {
    std::fprintf(stderr, "host function called for an operation that is not open\n");
    std::abort();
  }
  return t;
}

std::uint64_t clock_us(const hg_host*) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

std::int32_t do_reserve(const hg_host* h, hg_op op, std::uint64_t n, std::uint8_t** out,
                        std::uint64_t* room) {
  auto t = ticket(h, op);
  const std::uint64_t max = static_cast<const BareHost*>(h)->reply_max;
  if (t->cancelled) return HG_STOP;
  if (t->used + n > max) return HG_FULL;
  if (t->sink.size() - t->used < n)
    t->sink.resize(std::max<std::size_t>({512, t->sink.size() * 2, t->used + n}));
  *out = t->sink.data() + t->used;
  *room = std::min<std::uint64_t>(t->sink.size(), max) - t->used;
  return HG_GO;
}

std::int32_t do_flush(const hg_host* h, hg_op op) {
  auto t = ticket(h, op);
  const proto::Bytes part(t->sink.data(), t->used);
  bool go = true;
  if (t->options.on_part)
    go = t->options.on_part(part);
  else
    t->reply.parts.push_back(Json::from_msgpack(part.begin(), part.end()));
  t->used = 0;
  return go && !t->cancelled ? HG_GO : HG_STOP;
}

std::int32_t do_take(const hg_host* h, hg_op op, hg_bytes* out) {
  auto t = ticket(h, op);
  *out = {};
  std::optional<Json> next = t->options.upload ? t->options.upload() : std::nullopt;
  if (t->cancelled) return HG_TAKE_ABORTED;
  if (!next) return t->options.abort_upload ? HG_TAKE_ABORTED : HG_TAKE_END;
  t->piece = pack(*next);
  *out = {t->piece.data(), t->piece.size()};
  return HG_TAKE_DATA;
}

void read_error(Reply& r, const hg_error& e) {
  r.code = e.code;
  r.outcome = e.outcome;
  r.retry = e.retry;
  r.message = e.message;
  r.sqlstate = e.sqlstate;
  r.vendor_code = e.vendor_code;
  r.wait_token = e.wait_token;
  r.retry_after_ms = e.retry_after_ms;
}

void do_complete(const hg_host* h, hg_op op, const hg_done* d) {
  auto* host = static_cast<BareHost*>(const_cast<hg_host*>(h));
  auto t = host->find(op);
  if (t == nullptr) {
    std::fprintf(stderr, "an operation was completed twice\n");
    std::abort();
  }
  host->remove(op);
  const std::lock_guard lock(t->mutex);
  Reply& r = t->reply;
  r.code = HG_OK;
  r.outcome = HG_APPLIED;
  r.retry = HG_RETRY_NEVER;
  r.lease = d->lease;
  r.connection = d->connection;
  r.flags = d->flags;
  if ((d->flags & HG_DONE_ROWS_AFFECTED) != 0) r.rows_affected = d->rows_affected;
  if ((d->flags & HG_DONE_LAST_ID) != 0) r.last_id = d->last_id;
  if (d->error != nullptr) {
    read_error(r, *d->error);
    t->previous = *d->error;
    t->previous.detail = {};
  }
  r.body = nullptr;
  r.raw.clear();
  if (d->error == nullptr || (d->flags & HG_DONE_KEEP_BODY) != 0) {
    r.raw.assign(t->sink.begin(), t->sink.begin() + static_cast<std::ptrdiff_t>(t->used));
    if (proto::check(r.raw) != proto::Shape::good && !(r.raw.empty())) {
      std::fprintf(stderr, "the reply to %s is no msgpack\n", t->verb.c_str());
      std::abort();
    }
    if (!r.raw.empty()) r.body = Json::from_msgpack(r.raw, true, false);
  }
  t->done = true;
  t->done_cv.notify_all();
}

}  // namespace

BareHost& BareHost::the() {
  static BareHost host;
  return host;
}

BareHost::BareHost() : hg_host{} {
  size = sizeof(hg_host);
  abi_version = HG_ABI_VERSION;
  now_us = clock_us;
  reserve = do_reserve;
  commit = [](const hg_host* h, hg_op op, std::uint64_t n) { ticket(h, op)->used += n; };
  patch = [](const hg_host* h, hg_op op, std::uint64_t at, const std::uint8_t* b, std::uint64_t n) {
    auto t = ticket(h, op);
    if (at + n > t->used) std::abort();
    std::copy_n(b, n, t->sink.data() + at);
  };
  written = [](const hg_host* h, hg_op op) {
    return static_cast<std::uint64_t>(ticket(h, op)->used);
  };
  rewind = [](const hg_host* h, hg_op op) { ticket(h, op)->used = 0; };
  flush_part = do_flush;
  take = do_take;
  complete = do_complete;
  touch = [](const hg_host*, hg_touches*, hg_bytes verb, std::uint32_t kind, hg_bytes name) {
    BareStore::touched().push_back(std::string(sdk::text(verb)) + " " + std::to_string(kind) + " " +
                                   std::string(sdk::text(name)));
    return static_cast<std::int32_t>(1);
  };
  watch = [](const hg_host*, hg_conn_id, std::int32_t, std::uint32_t) {};
  timer = [](const hg_host*, hg_conn_id, std::uint64_t) {};
  lost = [](const hg_host*, hg_conn_id, const hg_error*) {};
  wake = [](const hg_host* h, std::uint64_t, std::uint64_t token) {
    const auto* self = static_cast<const BareHost*>(h);
    if (self->on_wake) self->on_wake(token);
  };
  log = [](const hg_host*, std::uint64_t, std::int32_t level, hg_bytes m) {
    if (level >= HG_LOG_ERROR)
      std::fprintf(stderr, "plugin: %.*s\n", static_cast<int>(m.size),
                   reinterpret_cast<const char*>(m.data));
  };
}

hg_op BareHost::add(std::shared_ptr<Ticket> t) {
  const std::lock_guard lock(mutex_);
  const hg_op op = next_++;
  ops_[op] = std::move(t);
  return op;
}
std::shared_ptr<Ticket> BareHost::find(hg_op op) {
  const std::lock_guard lock(mutex_);
  const auto it = ops_.find(op);
  return it == ops_.end() ? nullptr : it->second;
}
void BareHost::remove(hg_op op) {
  const std::lock_guard lock(mutex_);
  ops_.erase(op);
}

namespace {
MakeKind g_make = nullptr;
}

const hg_plugin* plugin_of(MakeKind make) {
  g_make = make;
  static const sdk::Plugin plugin = {
      "sqlite", "test", [] { return hg_bytes{}; },
      [](const hg_host* host, const hg_driver_config& config) -> std::unique_ptr<sdk::Driver> {
        return std::make_unique<SqliteDriver>(host, config, g_make(host, config));
      }};
  hg_error e{};
  const hg_plugin* table = sdk::export_plugin(plugin, &BareHost::the(), &e);
  if (table == nullptr) throw std::runtime_error(e.message);
  return table;
}

std::vector<std::string>& BareStore::touched() {
  thread_local std::vector<std::string> names;
  return names;
}

BareStore::BareStore(const hg_plugin* plugin, const StoreOptions& options)
    : plugin_(plugin), options_(options), dir_(options.dir) {
  if (dir_.empty()) {
    std::string name = (std::filesystem::temp_directory_path() / "hg-sqlite-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    dir_ = name;
    own_dir_ = true;
  }
  const auto opts = pack(options.options);
  const auto statements = pack(options.statements);
  hg_driver_config config{};
  config.size = sizeof config;
  config.driver_id = 7;
  config.store = sdk::lend(std::string_view("test"));
  config.options = {opts.data(), opts.size()};
  config.statements = {statements.data(), statements.size()};
  config.state_dir = sdk::lend(std::string_view(dir_));
  config.reply_max = BareHost::the().reply_max;
  config.part_max = options.part_max;
  hg_error e{};
  if (plugin_->driver_open(&config, &driver_, &e) != 0) throw std::runtime_error(e.message);
  for (std::uint32_t i = 0; i <= options.readers * 2; ++i) {
    auto w = std::make_unique<Worker>();
    w->lane = i == 0 ? kWriteLane : kReadLane;
    w->access = i % 2 == 0 ? HG_ACCESS_WRITE : HG_ACCESS_READ;
    workers_.push_back(std::move(w));
  }
}

BareStore::~BareStore() {
  close_connections();
  plugin_->driver_close(driver_);
  if (own_dir_) std::filesystem::remove_all(dir_);
}

void BareStore::close_connections() {
  std::unique_lock lock(mutex_);
  for (auto& w : workers_) w->stop = true;
  free_.notify_all();
  for (auto& w : workers_) {
    lock.unlock();
    if (w->thread.joinable()) w->thread.join();
    lock.lock();
    if (w->connection != nullptr) plugin_->conn_close(w->connection);
    w->connection = nullptr;
    w->stop = false;
    w->lease = 0;
    w->thread = {};
  }
}

BareStore::Worker* BareStore::worker_for(std::uint32_t lane, std::uint64_t lease, int access) {
  Worker* best = nullptr;
  for (auto& w : workers_) {
    if (lease != 0 && w->lease == lease) return w.get();
    if (lease != 0 || w->lane != lane || (lane == kReadLane && w->access != access)) continue;
    const auto load = [](const Worker& x) {
      return x.queue.size() + x.running.size() + (x.lease != 0 ? 1000 : 0);
    };
    if (best == nullptr || load(*w) < load(*best)) best = w.get();
  }
  return best;
}

namespace {

// Fails a call on the host's side.
void refuse(const std::shared_ptr<Ticket>& t, int code, const std::string& message) {
  hg_error e{};
  e.size = sizeof e;
  e.code = code;
  std::snprintf(e.message, sizeof e.message, "%s", message.c_str());
  hg_done d{};
  d.size = sizeof d;
  d.error = &e;
  BareHost& host = BareHost::the();
  host.complete(&host, t->call.op, &d);
}

}  // namespace

void BareStore::finish_route(const std::shared_ptr<Ticket>& t) {
  hg_error e{};
  t->route = {};
  t->call.op = 0;
  t->call.previous = t->rerouted ? &t->previous : nullptr;
  // A real hg_touches is the host's; any address that is not null makes the SDK ask.
  auto* touches = reinterpret_cast<hg_touches*>(t.get());
  const int rc = plugin_->driver_route(driver_, &t->call, touches, &t->route, &e);
  t->call.tag = t->route.tag;
  t->call.op = BareHost::the().add(t);
  if (rc != 0) {
    hg_done d{};
    d.size = sizeof d;
    d.error = &e;
    BareHost::the().complete(&BareHost::the(), t->call.op, &d);
    return;
  }
  const std::lock_guard lock(mutex_);
  const int access = t->call.access == HG_ACCESS_READ ? HG_ACCESS_READ : HG_ACCESS_WRITE;
  Worker* w = worker_for(t->route.lane, t->call.lease, access);
  if (w == nullptr) {
    refuse(t, HG_TRANSACTION_EXPIRED, "no such lease");
    return;
  }
  w->queue.push_back(t);
  if (!w->thread.joinable()) {
    w->thread = std::thread([this, w] {
      std::unique_lock lk(mutex_);
      for (;;) {
        // A leased connection takes its lease's calls only.
        const auto ready = [&]() -> bool {
          if (w->held) return false;
          for (auto& x : w->queue)
            if (w->lease == 0 || x->call.lease == w->lease) return true;
          return false;
        };
        free_.wait(lk, [&] { return ready() || w->stop; });
        if (!ready()) return;
        std::vector<std::shared_ptr<Ticket>> take;
        const std::size_t max = w->lane == kWriteLane ? 512 : 1;
        for (auto it = w->queue.begin(); it != w->queue.end() && take.size() < max;) {
          auto& x = *it;
          const bool mine = w->lease == 0 || x->call.lease == w->lease;
          const bool single = x->route.lease != 0 || x->route.alone != 0 || w->lease != 0;
          if (!mine || (single && !take.empty())) {
            ++it;
            continue;
          }
          if (single) x->call.flags |= HG_CALL_ALONE;
          take.push_back(x);
          it = w->queue.erase(it);
          if (single) break;
        }
        std::vector<const hg_call*> calls;
        for (auto& x : take) {
          calls.push_back(&x->call);
          w->running.push_back(x->call.op);
        }
        lk.unlock();
        bool open = w->connection != nullptr;
        if (!open) {
          hg_connect c{};
          c.size = sizeof c;
          c.lane = w->lane;
          c.access = static_cast<std::uint32_t>(w->access);
          hg_error err{};
          std::int32_t fd = -1;
          open = plugin_->conn_open(driver_, &c, &w->connection, &fd, &err) == 0;
          if (!open)
            for (auto& x : take) {
              hg_done d{};
              d.size = sizeof d;
              d.error = &err;
              BareHost::the().complete(&BareHost::the(), x->call.op, &d);
            }
        }
        if (open)
          plugin_->conn_submit(w->connection, calls.data(),
                               static_cast<std::uint32_t>(calls.size()));
        lk.lock();
        w->running.clear();
        bool broken = false;
        for (auto& x : take) {
          const std::lock_guard tl(x->mutex);
          if (!x->done) {
            std::fprintf(stderr, "conn_submit returned before %s was completed\n", x->verb.c_str());
            std::abort();
          }
          broken = broken || x->reply.connection == HG_CONN_BROKEN;
          if (x->reply.lease != HG_LEASE_NONE) {
            if (w->lease == 0) w->lease = next_lease_++;
            x->reply.lease_id = w->lease;
          } else if (x->call.lease != 0 || x->route.lease != 0) {
            w->lease = 0;
          }
        }
        if (broken && w->connection != nullptr) {
          plugin_->conn_close(w->connection);
          w->connection = nullptr;
          w->lease = 0;
        }
        for (auto& x : take) {
          const std::lock_guard tl(x->mutex);
          x->call.size = 0;  // marks: the worker is through with it
          x->done_cv.notify_all();
        }
        free_.notify_all();
      }
    });
  }
  free_.notify_all();
}

std::shared_ptr<Ticket> BareStore::start(std::string_view verb, const Json& body,
                                         const CallOptions& o) {
  auto t = std::make_shared<Ticket>();
  t->body = pack(body);
  t->verb = verb;
  t->service = o.service;
  t->key = o.key;
  t->options = o;
  hg_call& c = t->call;
  c.size = sizeof c;
  c.flags = (o.read_only ? HG_CALL_READ_ONLY : 0) | (o.fetch != 0 ? HG_CALL_STREAM : 0) |
            (o.upload || o.abort_upload ? HG_CALL_UPLOAD : 0);
  c.verb = sdk::lend(std::string_view(t->verb));
  c.body = {t->body.data(), t->body.size()};
  c.service = sdk::lend(std::string_view(t->service));
  c.key = sdk::lend(std::string_view(t->key));
  c.lease = o.lease;
  c.received_us = o.received_us != 0 ? o.received_us : clock_us(nullptr);
  c.deadline_us = c.received_us + o.timeout_ms * 1000;
  c.work_until_us = c.deadline_us - std::min<std::uint64_t>(o.timeout_ms * 50, 100'000);
  c.fetch = o.fetch;
  c.attempt = 1;
  c.access = static_cast<std::uint32_t>(o.access);
  touched().clear();
  finish_route(t);
  return t;
}

Reply BareStore::wait(const std::shared_ptr<Ticket>& t) {
  for (;;) {
    std::unique_lock lock(t->mutex);
    t->done_cv.wait(lock, [&] { return t->done; });
    if (t->call.op != 0 && t->reply.retry != HG_RETRY_REROUTE) {
      // The worker names the lease after complete().
      if (t->reply.lease != HG_LEASE_NONE) t->done_cv.wait(lock, [&] { return t->call.size == 0; });
      return t->reply;
    }
    if (++t->reply.hops > 5) return t->reply;
    t->done_cv.wait(lock, [&] { return t->call.size == 0; });
    t->call.size = sizeof t->call;
    t->call.hops++;
    t->done = false;
    t->used = 0;
    t->rerouted = true;
    lock.unlock();
    finish_route(t);
  }
}

void BareStore::cancel(const std::shared_ptr<Ticket>& t) {
  t->cancelled = true;
  const std::lock_guard lock(mutex_);
  for (auto& w : workers_)
    for (const hg_op op : w->running)
      if (op == t->call.op && w->connection != nullptr) plugin_->conn_cancel(w->connection, op);
}

Reply BareStore::call(std::string_view verb, const Json& body, const CallOptions& options) {
  return wait(start(verb, body, options));
}

Reply BareStore::call_raw(std::string_view verb, proto::Bytes body, const CallOptions& options) {
  Json keep;  // the body goes as it is
  auto t = std::make_shared<Ticket>();
  t->body.assign(body.begin(), body.end());
  t->verb = verb;
  t->service = options.service;
  t->options = options;
  hg_call& c = t->call;
  c.size = sizeof c;
  c.verb = sdk::lend(std::string_view(t->verb));
  c.body = {t->body.data(), t->body.size()};
  c.service = sdk::lend(std::string_view(t->service));
  c.lease = options.lease;
  c.received_us = clock_us(nullptr);
  c.deadline_us = c.work_until_us = c.received_us + options.timeout_ms * 1000;
  c.attempt = 1;
  c.access = static_cast<std::uint32_t>(options.access);
  finish_route(t);
  return wait(t);
}

void BareStore::hold_writer() {
  const std::lock_guard lock(mutex_);
  workers_[0]->held = true;
}
void BareStore::release_writer() {
  const std::lock_guard lock(mutex_);
  workers_[0]->held = false;
  free_.notify_all();
}

std::vector<Reply> BareStore::together(const std::vector<std::pair<std::string, Json>>& calls,
                                       const std::vector<CallOptions>& options) {
  hold_writer();
  std::vector<std::shared_ptr<Ticket>> tickets;
  for (std::size_t i = 0; i < calls.size(); ++i)
    tickets.push_back(
        start(calls[i].first, calls[i].second, i < options.size() ? options[i] : CallOptions{}));
  release_writer();
  std::vector<Reply> replies;
  for (auto& t : tickets) replies.push_back(wait(t));
  return replies;
}

Reply BareStore::reset(std::uint64_t lease) {
  auto t = std::make_shared<Ticket>();
  t->verb = "reset";
  t->call.op = BareHost::the().add(t);
  Worker* w = nullptr;
  {
    std::unique_lock lock(mutex_);
    w = worker_for(0, lease, HG_ACCESS_WRITE);
    if (w == nullptr) {
      refuse(t, HG_TRANSACTION_EXPIRED, "no such lease");
      return t->reply;
    }
    free_.wait(lock, [&] { return w->running.empty(); });
    // No call runs and none will while the lease holds: this thread may use the connection.
    plugin_->conn_reset(w->connection, t->call.op);
    w->lease = 0;
    free_.notify_all();
  }
  return t->reply;
}

}  // namespace headgate::sqlite::test
