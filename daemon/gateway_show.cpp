// `show`: snapshots as tables.
#include "daemon/gateway.hpp"

namespace headgate {
namespace {

using admin::Cell;
using admin::Table;

template <class T>
Cell n(T v) {
  return static_cast<std::int64_t>(v);
}

}  // namespace

std::optional<Table> Gateway::show(std::string_view what) const {
  if (what == "stores") return show_stores();
  if (what == "pools") return show_pools();
  if (what == "services") return show_services();
  if (what == "calls") return show_calls();
  if (what == "leases") return show_leases();
  if (what == "plugins") return show_plugins();
  if (what == "config") return show_config();
  if (what == "version") return show_version();
  if (what == "peers") return show_peers();
  if (what == "limits") return show_limits();
  return std::nullopt;
}

Table Gateway::show_stores() const {
  Table t{{"store", "kind", "plugin", "product", "open", "trouble", "connections", "waiting",
           "leases", "calls"},
          {}};
  t.rows.push_back({builtin_.name, builtin_.kind, Cell{}, std::string("Headgate"), true,
                    std::string(), n(0), n(0), n(0), n(0)});
  for (const auto& s : stores_) {
    std::uint64_t connections = 0;
    std::uint64_t waiting = 0;
    std::uint64_t calls = 0;
    for (const pool::PoolRow& r : s->attempts->rows()) {
      connections += r.connections;
      waiting += r.waiting;
      calls += r.calls;
    }
    const plugin::Description& d = s->store->description();
    t.rows.push_back({s->entry.name, s->entry.kind, d.name, d.product, s->store->is_open(),
                      s->store->trouble(), n(connections), n(waiting),
                      n(s->attempts->leases().size()), n(calls)});
  }
  return t;
}

Table Gateway::show_pools() const {
  Table t{{"store", "lane", "access", "connections", "idle", "busy", "leased", "connecting",
           "waiting", "oldest_wait_us", "calls", "attempts", "retries", "refused", "breaker",
           "credential", "ceiling"},
          {}};
  for (const auto& s : stores_) {
    for (const pool::PoolRow& r : s->attempts->rows()) {
      t.rows.push_back({r.store, r.lane, r.access, n(r.connections), n(r.idle), n(r.busy),
                        n(r.leased), n(r.connecting), n(r.waiting), n(r.oldest_wait_us), n(r.calls),
                        n(r.attempts), n(r.retries), n(r.refused), r.breaker,
                        s->logins->credentials.name(r.credential), n(r.ceiling)});
    }
  }
  return t;
}

Table Gateway::show_services() const {
  Table t{{"service", "weight", "peers", "calls", "requests", "errors"}, {}};
  for (const ServiceRow& r : dispatcher_->service_rows()) {
    t.rows.push_back({r.service, n(r.weight), n(r.peers), n(r.calls), n(r.requests), n(r.errors)});
  }
  return t;
}

Table Gateway::show_calls() const {
  Table t{{"call", "service", "store", "verb", "age_us", "left_us", "attempts", "peer"}, {}};
  for (const CallRow& r : dispatcher_->call_rows()) {
    t.rows.push_back(
        {n(r.id), r.service, r.store, r.verb, n(r.age_us), n(r.left_us), n(r.attempts), n(r.peer)});
  }
  return t;
}

Table Gateway::show_leases() const {
  Table t{{"store", "service", "lane", "age_us", "idle_us", "call", "peer"}, {}};
  for (const auto& s : stores_) {
    for (const pool::LeaseRow& r : s->attempts->leases()) {
      t.rows.push_back(
          {s->entry.name, r.service, r.lane, n(r.age_us), n(r.idle_us), n(r.call_id), n(r.peer)});
    }
  }
  return t;
}

Table Gateway::show_plugins() const {
  Table t{{"plugin", "version", "product", "store", "kind", "lanes", "file"}, {}};
  for (const auto& s : stores_) {
    const plugin::Description& d = s->store->description();
    std::string lanes;
    for (const plugin::LaneInfo& l : d.lanes) {
      lanes += (lanes.empty() ? "" : ", ") + l.name + (l.event ? " (event)" : " (blocking)");
    }
    const auto library = libraries_->load({config_.daemon.plugin_dir, d.name, ""});
    t.rows.push_back({d.name, d.version, d.product, s->entry.name, s->entry.kind, lanes,
                      library ? (*library)->path() : std::string()});
  }
  for (std::size_t m = 0; m < plugin::kMisdeeds; ++m) {
    const auto which = static_cast<plugin::Misdeed>(m);
    if (const std::uint64_t count = host_->misdeeds(which); count > 0) {
      t.rows.push_back({std::string("(misdeed)"), Cell{}, std::string(plugin::name(which)), Cell{},
                        Cell{}, std::to_string(count), Cell{}});
    }
  }
  return t;
}

Table Gateway::show_config() const {
  Table t{{"name", "value", "default", "changes_at", "place"}, {}};
  for (const config::ShownSetting& s : config::show(config_)) {
    t.rows.push_back(
        {s.name, s.value, s.fallback, std::string(s.restart ? "restart" : "reload"), s.place});
  }
  return t;
}

Table Gateway::show_version() const {
  Table t{{"name", "value"}, {}};
  t.rows.push_back({std::string("headgated"), std::string(HEADGATE_VERSION)});
  t.rows.push_back({std::string("protocol"), n(proto::kVersion)});
  t.rows.push_back({std::string("plugin_abi"), n(HG_ABI_VERSION)});
  t.rows.push_back({std::string("uptime_us"), n((loop_.now() - started_).count())});
  t.rows.push_back({std::string("config_file"), options_.config_file});
  return t;
}

Table Gateway::show_peers() const {
  Table t{{"peer", "service", "user", "pid", "where", "client", "calls", "requests", "age_us"}, {}};
  for (const PeerRow& r : dispatcher_->peer_rows()) {
    t.rows.push_back({n(r.id), r.service, r.user, n(r.pid), r.where, r.client, n(r.calls),
                      n(r.requests), n(r.age_us)});
  }
  return t;
}

Table Gateway::show_limits() const {
  const FrontendCounts f = frontend_->counts();
  const DispatchSettings d = dispatch_settings(config_);
  Table t{{"name", "used", "max", "refused"}, {}};
  const auto add = [&](const char* name, Cell used, Cell max, Cell refused = {}) {
    t.rows.push_back({std::string(name), std::move(used), std::move(max), std::move(refused)});
  };
  add("clients", n(f.connections), n(f.clients_max), n(f.refused_connections));
  add("peers", n(f.peers), n(f.clients_max));
  add("logins", n(f.admitted_logins), Cell{}, n(f.refused_logins));
  add("cuts", n(f.cuts), Cell{});
  add("calls", n(dispatcher_->inflight()), n(d.calls_max));
  add("request_bytes", n(dispatcher_->request_bytes()), n(d.request_bytes_max));
  add("parked_bytes", n(f.parked_bytes), n(config_.daemon.parked_max));
  add("threads", n(host_->threads()), n(config_.daemon.threads_max));
  add("threads_written_off", n(host_->written_off()), Cell{});
  add("frames_in", n(f.frames_in), Cell{}, n(dispatcher_->counts().refused_frames));
  add("frames_out", n(f.frames_out), Cell{});
  add("log_lines_dropped", n(log_->dropped()), Cell{});
  for (std::size_t c = 0; c < proto::kCodes; ++c) {
    const std::uint64_t count = dispatcher_->counts().replies[c];
    if (count > 0) {
      t.rows.push_back({"replies." + std::string(proto::kCodeNames[c]), n(count), Cell{}, Cell{}});
    }
  }
  return t;
}

}  // namespace headgate
