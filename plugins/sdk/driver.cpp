// The C side of driver.hpp: trampolines that stop every exception, and the body reader.
#include "plugins/sdk/driver.hpp"

#include <algorithm>

namespace headgate::sdk {
namespace {

// One plugin a shared object: its table, and the host that loaded it.
const Plugin* g_plugin = nullptr;
const hg_host* g_host = nullptr;

Error current_exception_as_error(Outcome outcome) {
  try {
    throw;
  } catch (const Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return {Code::internal, outcome, "out of memory in the plugin"};
  } catch (const std::exception& e) {
    return {Code::internal, outcome, std::string("the plugin threw: ") + e.what()};
  } catch (...) {
    return {Code::internal, outcome, "the plugin threw something that is no exception"};
  }
}

// The details of the last error given to the host through an out parameter. An hg_error lends its
// detail until the caller is done with it; a thread has one such error at a time.
thread_local std::optional<Error> t_last;

int32_t refuse(hg_error* error, Outcome outcome) {
  t_last.emplace(current_exception_as_error(outcome));
  if (error != nullptr) t_last->fill(error);
  return -1;
}

struct Conn {
  std::unique_ptr<Connection> impl;
  hg_conn_id id = 0;
  // What attach(), io() or timer() threw: the connection's state is nobody's guess any more, so it
  // takes no further calls, and the host is told to close it.
  std::optional<Error> dead;
};

Driver* as_driver(hg_driver* d) { return reinterpret_cast<Driver*>(d); }
Conn* as_conn(hg_connection* c) { return reinterpret_cast<Conn*>(c); }

// Runs a function that serves no operation in particular; what it throws ends the connection.
template <class F>
void guarded_connection(Conn* c, F&& f) noexcept {
  try {
    f();
  } catch (...) {
    if (c->dead) return;
    c->dead.emplace(current_exception_as_error(Outcome::not_sent));
    hg_error e{};
    c->dead->fill(&e);
    g_host->lost(g_host, c->id, &e);
  }
}

// True: op has been ended, because its connection is dead.
bool refused(Conn* c, hg_op op) {
  if (!c->dead) return false;
  complete(g_host, op, {.connection = HG_CONN_BROKEN}, &*c->dead);
  return true;
}

// Runs one operation-like function; what it throws completes `op` as a broken connection.
template <class F>
void guarded(hg_op op, F&& f) noexcept {
  try {
    f();
  } catch (...) {
    const Error e = current_exception_as_error(Outcome::unknown);
    complete(g_host, op, {.connection = HG_CONN_BROKEN}, &e);
  }
}

int32_t driver_open(const hg_driver_config* config, hg_driver** out, hg_error* error) noexcept {
  try {
    *out = reinterpret_cast<hg_driver*>(g_plugin->open(g_host, *config).release());
    return 0;
  } catch (...) {
    return refuse(error, Outcome::not_sent);
  }
}

void driver_close(hg_driver* d) noexcept { delete as_driver(d); }

int32_t driver_prepare_store(hg_driver* d, uint32_t dry_run, hg_bytes* out,
                             hg_error* error) noexcept {
  try {
    thread_local std::string ddl;
    ddl = as_driver(d)->prepare_store(dry_run != 0);
    if (out != nullptr) *out = lend(std::string_view(ddl));
    return 0;
  } catch (...) {
    return refuse(error, Outcome::unknown);
  }
}

int32_t driver_init_store(hg_driver* d, const hg_connect* connect, hg_bytes* out,
                          hg_error* error) noexcept {
  try {
    thread_local std::string done;
    done = as_driver(d)->init_store(*connect);
    if (out != nullptr) *out = lend(std::string_view(done));
    return 0;
  } catch (...) {
    return refuse(error, Outcome::unknown);
  }
}

int32_t driver_route(hg_driver* d, const hg_call* call, hg_touches* t, hg_route* out,
                     hg_error* error) noexcept {
  try {
    const Route r = as_driver(d)->route(*call, Touches(g_host, t));
    out->lane = r.lane;
    out->lease = r.lease ? 1 : 0;
    out->idempotent = r.idempotent ? 1 : 0;
    out->digest = r.digest;
    out->tag = r.tag;
    out->endpoint = r.endpoint;
    out->alone = r.alone ? 1 : 0;
    if (out->size >= sizeof *out) out->subscription = r.subscription ? 1 : 0;
    return 0;
  } catch (...) {
    return refuse(error, Outcome::not_sent);
  }
}

int32_t conn_open(hg_driver* d, const hg_connect* connect, hg_connection** out, int32_t* fd,
                  hg_error* error) noexcept {
  try {
    *fd = -1;
    auto conn = std::make_unique<Conn>();
    conn->impl = as_driver(d)->open(*connect, fd);
    conn->id = connect->id;
    *out = reinterpret_cast<hg_connection*>(conn.release());
    return 0;
  } catch (...) {
    return refuse(error, Outcome::not_sent);
  }
}

void conn_attach(hg_connection* c) noexcept {
  guarded_connection(as_conn(c), [&] { as_conn(c)->impl->attach(); });
}

void conn_submit(hg_connection* c, const hg_call* const* calls, uint32_t n) noexcept {
  if (as_conn(c)->dead) {
    for (uint32_t i = 0; i < n; ++i) refused(as_conn(c), calls[i]->op);
    return;
  }
  // Their numbers, while the calls are still lent.
  thread_local std::vector<hg_op> ops;
  ops.clear();
  for (uint32_t i = 0; i < n; ++i) ops.push_back(calls[i]->op);
  try {
    as_conn(c)->impl->submit(calls, n);
  } catch (...) {
    // Which of them were completed only the host knows: it drops a second completion of one
    // operation, so all are ended here.
    const Error e = current_exception_as_error(Outcome::unknown);
    for (const hg_op op : ops) complete(g_host, op, {.connection = HG_CONN_BROKEN}, &e);
  }
}

void conn_io(hg_connection* c, uint32_t events) noexcept {
  guarded_connection(as_conn(c), [&] { as_conn(c)->impl->io(events); });
}
void conn_timer(hg_connection* c) noexcept {
  guarded_connection(as_conn(c), [&] { as_conn(c)->impl->timer(); });
}
void conn_resume(hg_connection* c, hg_op op) noexcept {
  guarded(op, [&] { as_conn(c)->impl->resume(op); });
}
void conn_cancel(hg_connection* c, hg_op op) noexcept {
  try {
    as_conn(c)->impl->cancel(op);
  } catch (...) {  // a cancel that fails leaves the operation to its own end
  }
}
void conn_reset(hg_connection* c, hg_op op) noexcept {
  if (!refused(as_conn(c), op)) guarded(op, [&] { as_conn(c)->impl->reset(op); });
}
void conn_ping(hg_connection* c, hg_op op) noexcept {
  if (!refused(as_conn(c), op)) guarded(op, [&] { as_conn(c)->impl->ping(op); });
}
void conn_close(hg_connection* c) noexcept { delete as_conn(c); }

}  // namespace

void complete(const hg_host* host, hg_op op, const Done& done, const Error* error) {
  hg_done d{};
  d.size = sizeof d;
  d.connection = done.connection;
  d.lease = done.lease;
  d.flags = done.flags;
  if (done.rows_affected) {
    d.flags |= HG_DONE_ROWS_AFFECTED;
    d.rows_affected = *done.rows_affected;
  }
  if (done.last_id) {
    d.flags |= HG_DONE_LAST_ID;
    d.last_id = *done.last_id;
  }
  d.warnings = lend(done.warnings);
  d.receipt = lend(done.receipt);
  if (error == nullptr) return host->complete(host, op, &d);
  hg_error e{};
  error->fill(&e);
  d.error = &e;
  host->complete(host, op, &d);
}

const hg_plugin* export_plugin(const Plugin& plugin, const hg_host* host, hg_error* error) {
  const auto refuse_host = [&](const std::string& why) {
    const Error e(Code::internal, Outcome::not_sent,
                  "plugin " + std::string(plugin.name) + " " + why);
    if (error != nullptr) e.fill(error);
    return nullptr;
  };
  // Nothing behind host->size may be looked at, so the size comes first.
  if (host->size < sizeof(hg_host))
    return refuse_host("needs a host table of " + std::to_string(sizeof(hg_host)) +
                       " bytes (plugin ABI " + std::to_string(HG_ABI_VERSION) +
                       ") and this host has " + std::to_string(host->size));
  if (host->abi_version != HG_ABI_VERSION)
    return refuse_host("is built for plugin ABI " + std::to_string(HG_ABI_VERSION) +
                       " and this host offers " + std::to_string(host->abi_version));
  g_plugin = &plugin;
  g_host = host;
  static hg_plugin table{};
  table.size = sizeof table;
  table.abi_version = HG_ABI_VERSION;
  table.name = plugin.name;
  table.version = plugin.version;
  table.describe = plugin.describe;
  table.driver_open = driver_open;
  table.driver_close = driver_close;
  table.driver_prepare_store = driver_prepare_store;
  table.driver_init_store = driver_init_store;
  table.driver_route = driver_route;
  table.conn_open = conn_open;
  table.conn_attach = conn_attach;
  table.conn_submit = conn_submit;
  table.conn_io = conn_io;
  table.conn_timer = conn_timer;
  table.conn_resume = conn_resume;
  table.conn_cancel = conn_cancel;
  table.conn_reset = conn_reset;
  table.conn_ping = conn_ping;
  table.conn_close = conn_close;
  return &table;
}

Fields::Fields(std::string_view verb, Bytes body, std::initializer_list<std::string_view> known)
    : verb_(verb) {
  proto::Cursor c(body);
  if (c.peek() != proto::Type::map) throw invalid(std::string(verb) + ": the body must be a map");
  const std::uint32_t n = c.read_map();
  for (std::uint32_t i = 0; i < n; ++i) {
    if (c.peek() != proto::Type::str)
      throw invalid(std::string(verb) + ": the body's keys must be strings");
    const std::string_view name = c.read_str();
    const Bytes value = c.skip();
    if (!c.ok()) throw invalid(std::string(verb) + ": the body is cut short");
    if (std::find(known.begin(), known.end(), name) == known.end())
      throw invalid(std::string(verb) + ": unknown field `" + std::string(name.substr(0, 64)) +
                    "`");
    if (find(name) != nullptr)
      throw invalid(std::string(verb) + ": field `" + std::string(name) + "` is given twice");
    entries_.at(count_++) = {name, value};
  }
}

const Fields::Entry* Fields::find(std::string_view name) const {
  for (std::size_t i = 0; i < count_; ++i)
    if (entries_[i].name == name) return &entries_[i];
  return nullptr;
}

Bytes Fields::raw(std::string_view name) const {
  const Entry* e = find(name);
  if (e == nullptr || e->value[0] == 0xc0) return {};
  return e->value;
}

Error Fields::wrong(std::string_view name, std::string_view expected) const {
  return invalid(std::string(verb_) + ": field `" + std::string(name) + "` must be " +
                 std::string(expected));
}

proto::Cursor Fields::at(std::string_view name) const {
  const Bytes b = raw(name);
  if (b.empty())
    throw invalid(std::string(verb_) + ": field `" + std::string(name) + "` is missing");
  return proto::Cursor(b);
}

std::string_view Fields::str(std::string_view name) const {
  proto::Cursor c = at(name);
  const std::string_view s = c.read_str();
  if (!c.ok()) throw wrong(name, "a string");
  return s;
}

std::optional<std::string_view> Fields::opt_str(std::string_view name) const {
  if (raw(name).empty()) return std::nullopt;
  return str(name);
}

Bytes Fields::key(std::string_view name) const {
  proto::Cursor c = at(name);
  const proto::Item it = c.next();
  if (it.type != proto::Type::str && it.type != proto::Type::bin)
    throw wrong(name, "a string or bytes");
  return it.bytes;
}

std::int64_t Fields::integer(std::string_view name) const {
  proto::Cursor c = at(name);
  const std::int64_t v = c.read_int();
  if (!c.ok()) throw wrong(name, "an integer");
  return v;
}

std::optional<std::int64_t> Fields::opt_integer(std::string_view name) const {
  if (raw(name).empty()) return std::nullopt;
  return integer(name);
}

std::optional<double> Fields::opt_number(std::string_view name) const {
  if (raw(name).empty()) return std::nullopt;
  proto::Cursor c = at(name);
  const double v = c.read_float();
  if (!c.ok()) throw wrong(name, "a float, or an integer between -2^53 and 2^53");
  return v;
}

bool Fields::flag(std::string_view name, bool otherwise) const {
  if (raw(name).empty()) return otherwise;
  proto::Cursor c = at(name);
  const bool v = c.read_bool();
  if (!c.ok()) throw wrong(name, "true or false");
  return v;
}

}  // namespace headgate::sdk
