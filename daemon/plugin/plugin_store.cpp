// Routes and operations; what opens drivers and connections is in opening.cpp.
#include "daemon/plugin/plugin_store.hpp"

#include <algorithm>
#include <cassert>

#include "daemon/plugin/opening.hpp"

namespace headgate::plugin {
namespace {

hg_bytes lend(std::string_view s) {
  return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
hg_bytes lend(proto::Bytes b) { return {b.data(), b.size()}; }

std::uint32_t flag(bool on, int bit) { return on ? static_cast<std::uint32_t>(bit) : 0u; }

// What driver_route and conn_submit both see of a call.
void lend_call(const Call& call, hg_call* c) {
  *c = hg_call{};
  c->size = sizeof *c;
  c->flags = flag(call.read_only, HG_CALL_READ_ONLY) | flag(call.idempotent, HG_CALL_IDEMPOTENT) |
             flag(call.fetch > 0, HG_CALL_STREAM) | flag(call.upload, HG_CALL_UPLOAD);
  c->verb = lend(call.verb);
  c->body = lend(call.body);
  c->service = lend(call.share.service_name);
  c->key = lend(call.key);
  c->trace = lend(call.trace);
  c->received_us = static_cast<std::uint64_t>(call.received.us);
  c->deadline_us = static_cast<std::uint64_t>(call.deadline.us);
  c->fetch = call.fetch;
  c->access = static_cast<std::uint32_t>(call.access);
}

TimePoint store_time(const Call& call, TimePoint now, Micros stream_max) {
  return call.fetch > 0 ? now + stream_max : work_until(now, call.deadline);
}

}  // namespace

Result<std::unique_ptr<PluginStore>> PluginStore::make(Host& host,
                                                       std::shared_ptr<const Library> library,
                                                       StoreSettings settings) {
  const Description& d = library->description();
  const std::string store = "store " + settings.name + ": ";
  const int kind = d.kind_index(settings.kind);
  if (kind < 0)
    return fault(Code::invalid,
                 store + "plugin " + d.name + " has no kind \"" + settings.kind + "\"");
  std::string wrong;
  for (const OptionFault& f : check_options(d, settings.options))
    wrong += (wrong.empty() ? "" : "; ") + (f.option.empty() ? "" : "option `" + f.option + "` ") +
             f.what;
  if (!wrong.empty()) return fault(Code::invalid, store + wrong);
  if (d.endpoints && settings.endpoints.empty())
    return fault(Code::invalid, store + "plugin " + d.name + " needs endpoints");
  if (!d.endpoints && !settings.endpoints.empty())
    return fault(Code::invalid, store + "plugin " + d.name + " takes no endpoints");
  auto core = std::make_shared<StoreCore>(host, std::move(library), std::move(settings));
  return std::unique_ptr<PluginStore>(
      new PluginStore(std::move(core), static_cast<std::size_t>(kind)));
}

PluginStore::PluginStore(std::shared_ptr<StoreCore> core, std::size_t kind)
    : core_(std::move(core)),
      kind_(kind),
      options_(complete_options(core_->library->description(), core_->settings.options)) {
  for (LaneInfo& lane : core_->store_lanes)
    if (const auto n = int_option(options_, lane.connections_option); n && *n > 0)
      lane.connections = std::min(static_cast<std::uint32_t>(*n), lane.connections_max);
  core_->id = core_->host.add_store(*core_);
}

PluginStore::~PluginStore() {
  core_->events = nullptr;
  core_->host.remove_store(core_->id);
  if (opening_ != nullptr) opening_->store = nullptr;
  for (OpenJob* job : waiting_) delete job;
}

Result<Route> PluginStore::route(const Call& call, std::uint32_t hops, const Fault* previous) {
  if (core_->driver == nullptr) {
    start_driver_job();
    return tl::make_unexpected(not_open());
  }
  hg_call c;
  lend_call(call, &c);
  c.work_until_us = static_cast<std::uint64_t>(
      store_time(call, core_->host.loop().now(), core_->settings.stream_max).us);
  c.lease = call.tx;  // before the pool has looked the lease up: that there is one
  c.attempt = call.attempts + 1;
  c.hops = hops;
  hg_error before;
  if (previous != nullptr) {
    lend_fault(*previous, &before);
    c.previous = &before;
  }
  hg_touches touches;
  touches.call = &call;
  touches.kind = &core_->library->description().kinds[kind_];
  hg_route r{};
  r.size = sizeof r;
  r.endpoint = -1;
  hg_error error{};
  error.size = sizeof error;
  std::int32_t code = -1;
  try {
    code = core_->plugin().driver_route(core_->driver, &c, &touches, &r, &error);
  } catch (...) {
    core_->host.misdeed(Misdeed::threw, core_->settings.name, "driver_route");
    return fault(Code::internal, "the plugin threw while it routed the call");
  }
  if (touches.unknown) return fault(Code::unsupported, "this store has no " + touches.what);
  if (touches.denied) return fault(Code::denied, "not granted: " + touches.what);
  if (code != 0) {
    Fault f = fault_from(error);
    f.outcome = Outcome::not_sent;  // routing does no I/O
    return tl::make_unexpected(std::move(f));
  }
  const std::vector<LaneInfo>& all = lanes();
  const auto endpoints =
      static_cast<std::int32_t>(std::max<std::size_t>(core_->endpoints.size(), 1));
  if (r.lane >= all.size() || r.endpoint < -1 || r.endpoint >= endpoints ||
      (r.lease != 0 && !all[r.lane].lease))
    return fault(
        Code::internal,
        "the plugin routed the call to a lane, an endpoint or a lease that it does not have");
  Route out;
  out.lane = r.lane;
  out.lease = r.lease != 0;
  out.idempotent = r.idempotent != 0;
  out.alone = r.alone != 0;
  out.subscription = r.subscription != 0;
  out.endpoint = r.endpoint;
  out.digest = r.digest;
  out.tag = r.tag;
  return out;
}

Operation* PluginStore::begin(Call* call, Purpose purpose, const Route& route,
                              std::uint32_t attempt, std::uint64_t lease,
                              std::string_view receipt) {
  Host& host = core_->host;
  Slot* s = host.operations().begin();
  if (s == nullptr) return nullptr;
  s->purpose = purpose;
  s->call = call;
  s->parts = 0;
  s->room = 0;
  s->alone = route.alone;
  s->reply_max = core_->settings.reply_max;
  s->sink.set_body_max(core_->settings.reply_max + sizeof(std::uint64_t));  // and the canary
  if (call == nullptr) {
    s->lent = hg_call{};
    s->lent.size = sizeof s->lent;
    s->lent.op = s->id;
    return s;
  }
  if (call->bytes != nullptr) {
    s->request = call->bytes;
    ++s->request->holders;
  }
  lend_call(*call, &s->lent);
  hg_call& c = s->lent;
  c.op = s->id;
  if (route.alone || route.lease || lease != 0) c.flags |= HG_CALL_ALONE;
  s->service.assign(call->share.service_name);
  c.service = lend(std::string_view(s->service));
  c.work_until_us = static_cast<std::uint64_t>(
      (route.subscription ? kNever
                          : store_time(*call, host.loop().now(), core_->settings.stream_max))
          .us);
  const std::size_t n = std::min(receipt.size(), s->receipt.size());
  std::copy_n(receipt.begin(), n, s->receipt.begin());
  c.receipt = {s->receipt.data(), n};
  c.tag = route.tag;
  c.lease = lease;
  c.attempt = attempt;
  s->streams = call->fetch > 0;
  s->uploads = call->upload;
  if (s->streams || s->uploads) {
    if (!s->stream) s->stream = std::make_unique<Stream>();
    s->stream->credit = call->credit;
  }
  return s;
}

void PluginStore::end(Operation& operation) {
  core_->host.operations().end(static_cast<Slot&>(operation));
}

Result<std::string> PluginStore::prepare_store(bool dry_run) {
  if (core_->driver == nullptr) return tl::make_unexpected(not_open());
  if (core_->plugin().driver_prepare_store == nullptr) return std::string();
  hg_error error{};
  error.size = sizeof error;
  hg_bytes out{};
  try {
    if (core_->plugin().driver_prepare_store(core_->driver, dry_run ? 1 : 0, &out, &error) != 0)
      return tl::make_unexpected(fault_from(error));
  } catch (...) {
    return fault(Code::internal, "the plugin threw in driver_prepare_store", Outcome::unknown);
  }
  return std::string(proto::text_of({out.data, static_cast<std::size_t>(out.size)}));
}

}  // namespace headgate::plugin
