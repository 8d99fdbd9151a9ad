#include "daemon/config/settings.hpp"

#include <array>
#include <cstdio>

#include "daemon/config/units.hpp"

namespace headgate::config {
namespace {

constexpr double kMs = 1e3;
constexpr double kSecond = 1e6;
constexpr double kHour = 3600 * kSecond;
constexpr double kDay = 24 * kHour;
constexpr double kKiB = 1 << 10;
constexpr double kMiB = 1 << 20;
constexpr double kGiB = 1 << 30;
constexpr bool kReload = false;
constexpr bool kRestart = true;

using D = Daemon;
constexpr std::array kDaemon = {
    Setting<D>{"listen_ipc", &D::listen_ipc, Unit::path, 0, 0, kRestart,
               "Unix socket for services on this host; empty: none"},
    Setting<D>{"ipc_mode", &D::ipc_mode, Unit::mode, 0, 0777, kRestart,
               "mode of that socket; who may say something is decided by unix_users"},
    Setting<D>{"listen_tcp", &D::listen_tcp, Unit::address, 0, 0, kRestart,
               "address for services elsewhere, encrypted by CURVE; empty: none"},
    Setting<D>{"server_key", &D::server_key, Unit::secret, 0, 0, kRestart,
               "where the gateway's secret CURVE key is (made by `headgate keygen`)"},
    Setting<D>{"allow_plain_tcp_on_loopback", &D::allow_plain_tcp_on_loopback, Unit::flag, 0, 0,
               kRestart,
               "listen_tcp without CURVE, on a loopback address only: callers are the Unix users "
               "that the kernel names"},
    Setting<D>{"allow_env_secrets", &D::allow_env_secrets, Unit::flag, 0, 0, kReload,
               "secrets may come from the environment, which other programs can often read"},
    Setting<D>{"plugin_dir", &D::plugin_dir, Unit::path, 0, 0, kRestart, "where NAME.so is found"},
    Setting<D>{"state_dir", &D::state_dir, Unit::path, 0, 0, kRestart,
               "where embedded stores keep files with relative paths"},
    Setting<D>{"statements_dir", &D::statements_dir, Unit::path, 0, 0, kRestart,
               "the *.sql files of named statements; it may be missing"},
    Setting<D>{"secrets_look_every", &D::secrets_look_every, Unit::duration, 0, kHour, kReload,
               "files of passwords and certificates are looked at for a change; 0s: at a reload"},
    Setting<D>{"log_level", &D::log_level, Unit::level, 0, 0, kReload,
               "least level that is logged"},
    Setting<D>{"drain_timeout", &D::drain_timeout, Unit::duration, 0, kHour, kReload,
               "how long a stop waits for what is in flight before it rolls back"},
    Setting<D>{"default_timeout", &D::default_timeout, Unit::duration, kMs, kDay, kReload,
               "of a request that names none"},
    Setting<D>{"timeout_max", &D::timeout_max, Unit::duration, kMs, kDay, kReload,
               "longest timeout that a request may ask for"},
    Setting<D>{"clients_max", &D::clients_max, Unit::count, 1, 1'000'000, kRestart,
               "connected clients; less when the process may open fewer descriptors"},
    Setting<D>{"calls_max", &D::calls_max, Unit::count, 1, 4'000'000, kRestart,
               "requests inside the gateway at the same time"},
    Setting<D>{"calls_per_peer_max", &D::calls_per_peer_max, Unit::count, 1, 1'000'000, kReload,
               "of them, by one client"},
    Setting<D>{"message_max", &D::message_max, Unit::size, 64 * kKiB, kGiB, kRestart,
               "one frame from a client"},
    Setting<D>{"reply_max", &D::reply_max, Unit::size, 4 * kKiB, kGiB, kRestart,
               "a reply without `fetch`"},
    Setting<D>{"part_max", &D::part_max, Unit::size, 4 * kKiB, 64 * kMiB, kRestart,
               "one part of a streamed reply"},
    Setting<D>{"parked_max", &D::parked_max, Unit::size, 64 * kKiB, kGiB, kReload,
               "what waits for a client that reads slowly, before it is cut"},
    Setting<D>{"threads_max", &D::threads_max, Unit::count, 1, 4096, kRestart,
               "workers of blocking connections, over all stores"},
    Setting<D>{"batch_scheduling", &D::batch_scheduling, Unit::flag, 0, 0, kRestart,
               "waking up interrupts nobody (SCHED_BATCH): more requests a second on busy cores"},
};

using P = Pool;
constexpr std::array kPool = {
    Setting<P>{"connections_min", &P::connections_min, Unit::count, 0, 4096, kReload,
               "kept open even when nobody calls"},
    Setting<P>{"connections_max", &P::connections_max, Unit::count, 1, 4096, kReload,
               "over all pools of the store"},
    Setting<P>{"idle_max", &P::idle_max, Unit::duration, kSecond, kDay, kReload,
               "an idle connection above the minimum is closed after"},
    Setting<P>{"lifetime_max", &P::lifetime_max, Unit::duration, kSecond, 30 * kDay, kReload,
               "any connection is replaced after, less up to 10 % at random"},
    Setting<P>{"check_after", &P::check_after, Unit::duration, 0, kDay, kReload,
               "a connection idle for longer is pinged before it serves"},
    Setting<P>{"connect_timeout", &P::connect_timeout, Unit::duration, 10 * kMs, kHour, kReload,
               "name, connection, TLS and login together"},
    Setting<P>{"connects_max", &P::connects_max, Unit::count, 1, 64, kReload,
               "connections being made at the same time, an endpoint"},
    Setting<P>{"queue_calls_max", &P::queue_calls_max, Unit::count, 1, 1'000'000, kReload,
               "calls of one service that may wait"},
    Setting<P>{"queue_bytes_max", &P::queue_bytes_max, Unit::size, 64 * kKiB, 64 * kGiB, kReload,
               "bytes of one service's waiting calls"},
    Setting<P>{"lease_idle", &P::lease_idle, Unit::duration, 10 * kMs, kDay, kReload,
               "a transaction without a call is rolled back after"},
    Setting<P>{"lease_total", &P::lease_total, Unit::duration, 10 * kMs, kDay, kReload,
               "any transaction is rolled back after"},
    Setting<P>{"writer_lease_idle", &P::writer_lease_idle, Unit::duration, 10 * kMs, kDay, kReload,
               "lease_idle where the store has one writer (SQLite)"},
    Setting<P>{"writer_lease_total", &P::writer_lease_total, Unit::duration, 10 * kMs, kDay,
               kReload, "lease_total where the store has one writer"},
    Setting<P>{"stall_store", &P::stall_store, Unit::duration, 10 * kMs, kDay, kReload,
               "a stream ends when the store gives nothing for"},
    Setting<P>{"stall_caller", &P::stall_caller, Unit::duration, 10 * kMs, kDay, kReload,
               "a stream or an upload ends when the caller takes or gives nothing for"},
    Setting<P>{"stream_max", &P::stream_max, Unit::duration, kSecond, 30 * kDay, kReload,
               "any stream ends after; a subscription (`listen`) that long after a reload"},
    Setting<P>{"attempts_max", &P::attempts_max, Unit::count, 1, 20, kReload,
               "executions of one call, the first included"},
    Setting<P>{"backoff_base", &P::backoff_base, Unit::duration, kMs, 60 * kSecond, kReload,
               "pause before the second attempt: random up to this, then doubling"},
    Setting<P>{"backoff_cap", &P::backoff_cap, Unit::duration, kMs, kHour, kReload,
               "longest pause between attempts"},
    Setting<P>{"budget_service", &P::budget_service, Unit::ratio, 0, 1, kReload,
               "repeats a request, for each service"},
    Setting<P>{"budget_store", &P::budget_store, Unit::ratio, 0, 1, kReload,
               "repeats a request, over all services"},
    Setting<P>{"budget_floor", &P::budget_floor, Unit::count, 0, 10'000, kReload,
               "repeats that are always possible"},
    Setting<P>{"breaker_ratio", &P::breaker_ratio, Unit::ratio, 0.01, 1, kReload,
               "share of failures that opens an endpoint's breaker"},
    Setting<P>{"breaker_min_calls", &P::breaker_min_calls, Unit::count, 1, 1'000'000, kReload,
               "calls in the window before it may open"},
    Setting<P>{"breaker_window", &P::breaker_window, Unit::duration, kSecond, kHour, kReload,
               "time over which failures are counted"},
    Setting<P>{"breaker_open_min", &P::breaker_open_min, Unit::duration, 10 * kMs, kHour, kReload,
               "first time it stays open; doubles"},
    Setting<P>{"breaker_open_max", &P::breaker_open_max, Unit::duration, 10 * kMs, kDay, kReload,
               "longest time it stays open"},
};

constexpr std::array kService = {
    Setting<Service>{"weight", &Service::weight, Unit::count, 1, 1000, kReload,
                     "share of a busy store against the other services"},
};

constexpr std::array kLimits = {
    Setting<Limits>{"calls_max", &Limits::calls_max, Unit::count, 0, 1'000'000, kReload,
                    "calls of the service on the store at the same time; 0: no bound"},
    Setting<Limits>{"calls_per_second", &Limits::calls_per_second, Unit::count, 0, 10'000'000,
                    kReload, "0: no bound"},
    Setting<Limits>{"timeout_max", &Limits::timeout_max, Unit::duration, 0, kDay, kReload,
                    "longest timeout; 0s: the daemon's"},
};

std::string render_ratio(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.15g", v);
  std::string out = text;
  if (out.find_first_of(".e") == std::string::npos) out += ".0";
  return out;
}

std::string render_source(const SecretSource& s) {
  using From = SecretSource::From;
  if (s.from == From::none) return "";
  if (s.from == From::command) {
    std::string out = "{ command = [";
    for (std::size_t i = 0; i < s.command.size(); ++i) {
      out += (i == 0 ? "" : ", ") + quote(s.command[i]);
    }
    return out + "] }";
  }
  const char* key = s.from == From::systemd ? "systemd" : s.from == From::file ? "file" : "env";
  return std::string("{ ") + key + " = " + quote(s.name) + " }";
}

std::string render_number(Unit unit, std::uint64_t n) {
  if (unit == Unit::size) return quote(format_size(n));
  if (unit == Unit::mode) {
    char text[16];
    std::snprintf(text, sizeof text, "\"%04o\"", static_cast<unsigned>(n));
    return text;
  }
  return std::to_string(n);
}

}  // namespace

std::string render(const SecretSource& source) { return render_source(source); }

namespace {

struct Render {
  Unit unit;
  std::string operator()(const std::string& v) const { return quote(v); }
  std::string operator()(std::uint32_t v) const { return render_number(unit, v); }
  std::string operator()(std::uint64_t v) const { return render_number(unit, v); }
  std::string operator()(Micros v) const { return quote(format_duration(v)); }
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(double v) const { return render_ratio(v); }
  std::string operator()(Level v) const { return quote(name(v)); }
  std::string operator()(const SecretSource& v) const { return render_source(v); }
};

std::string bound(Unit unit, double v) {
  switch (unit) {
    case Unit::duration:
      return format_duration(Micros(static_cast<std::int64_t>(v)));
    case Unit::size:
      return format_size(static_cast<std::uint64_t>(v));
    case Unit::ratio:
      return render_ratio(v);
    default:
      return render_number(unit, static_cast<std::uint64_t>(v));
  }
}

template <class T>
void append_rows(std::string& out, std::string_view section, std::span<const Setting<T>> settings) {
  const T defaults{};
  for (const Setting<T>& s : settings) {
    const std::string fallback = render(defaults, s);
    out += "| `" + std::string(section) + std::string(s.name) + "` | " +
           (fallback.empty() ? "none" : "`" + fallback + "`") + " | " +
           range_text(s.unit, s.min, s.max) + " | " + (s.restart ? "restart" : "reload") + " | " +
           std::string(s.help) + " |\n";
  }
}

}  // namespace

std::span<const Setting<Daemon>> daemon_settings() { return kDaemon; }
std::span<const Setting<Pool>> pool_settings() { return kPool; }
std::span<const Setting<Service>> service_settings() { return kService; }
std::span<const Setting<Limits>> limit_settings() { return kLimits; }

template <class T>
std::string render(const T& of, const Setting<T>& setting) {
  return std::visit([&](auto member) { return Render{setting.unit}(of.*member); }, setting.field);
}
template std::string render(const Daemon&, const Setting<Daemon>&);
template std::string render(const Pool&, const Setting<Pool>&);
template std::string render(const Service&, const Setting<Service>&);
template std::string render(const Limits&, const Setting<Limits>&);

std::string range_text(Unit unit, double min, double max) {
  if (min == max || unit == Unit::mode) return "";
  return "from " + bound(unit, min) + " to " + bound(unit, max);
}

std::string settings_table() {
  std::string out =
      "| setting | default | range | takes effect at | meaning |\n|---|---|---|---|---|\n";
  append_rows(out, "daemon.", daemon_settings());
  append_rows(out, "store_defaults.", pool_settings());
  append_rows(out, "services.NAME.", service_settings());
  append_rows(out, "grants.limits.", limit_settings());
  return out;
}

}  // namespace headgate::config
