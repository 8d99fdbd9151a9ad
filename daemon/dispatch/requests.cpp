// A request's way in: hello said? store and verb known? granted? time left? room? Then it is a
// call.
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "daemon/dispatch/dispatcher.hpp"
#include "daemon/pool/attempts.hpp"

namespace headgate {
namespace {

// Window of the smallest (arrival - sent). Clocks of two machines drift apart by some 50 us a
// second at worst, so a minimum older than two windows says nothing about now.
constexpr Micros kOffsetWindow = std::chrono::minutes(1);
// Added to the `wait_ms` of a verb that waits by nature.
constexpr Micros kWaitMargin = std::chrono::seconds(2);

// The body's own wait: PROTOCOL.md, "Time".
Micros wait_of(proto::Bytes body) {
  proto::Cursor c(body);
  const std::uint32_t pairs = c.read_map();
  for (std::uint32_t i = 0; i < pairs && c.ok(); ++i) {
    const bool wait = c.read_str() == "wait_ms";
    if (!wait) {
      c.skip();
      continue;
    }
    const std::uint64_t ms = c.peek() == proto::Type::uint ? c.read_uint() : 0;
    return std::chrono::milliseconds(std::min<std::uint64_t>(ms, proto::kTimeoutMsMax));
  }
  return Micros(0);
}

}  // namespace

// How much longer than the quickest frame of late this one was on its way: what it waited in a
// stopped daemon or a full socket.
Micros Dispatcher::age_of(PeerState& p, std::uint64_t sent_us) {
  const std::int64_t offset =
      loop_.now().us - static_cast<std::int64_t>(std::min<std::uint64_t>(sent_us, INT64_MAX));
  if (loop_.now() - p.window > kOffsetWindow) {
    p.offset_before = std::exchange(p.offset, INT64_MAX);
    p.window = loop_.now();
  }
  const std::int64_t smallest = std::min(p.offset, p.offset_before);
  p.offset = std::min(p.offset, offset);
  if (smallest == INT64_MAX || offset <= smallest) return Micros(0);
  return Micros(offset - smallest);
}

Micros Dispatcher::timeout_of(const proto::Request& f, const access::Verb& verb,
                              const access::Limits& limits) const {
  Micros t = f.options.timeout_ms == 0 ? settings_.default_timeout
                                       : Micros(std::chrono::milliseconds(f.options.timeout_ms));
  if (verb.waits) t = std::max(t, wait_of(f.body) + kWaitMargin);
  t = std::min(t, Micros(std::chrono::milliseconds(settings_.limits.timeout_ms_max)));
  if (limits.timeout_max > Micros(0)) t = std::min(t, limits.timeout_max);
  return t;
}

bool Dispatcher::within(const access::Rule& rule, access::Usage& usage, Refused* why) {
  const access::Limits& l = rule.limits;
  if (l.calls_max != 0 && usage.calls >= l.calls_max) {
    *why = {Code::overloaded, "the grant's calls_max is reached", 10};
    return false;
  }
  if (l.calls_per_second == 0) return true;
  const double rate = l.calls_per_second;
  const double passed = static_cast<double>((loop_.now() - usage.filled).count()) / 1e6;
  usage.bucket = std::min(rate, usage.bucket + passed * rate);
  usage.filled = loop_.now();
  if (usage.bucket < 1) {
    const auto wait = static_cast<std::uint32_t>(std::ceil((1 - usage.bucket) / rate * 1000));
    *why = {Code::overloaded, "the grant's calls_per_second is reached", wait};
    return false;
  }
  usage.bucket -= 1;
  return true;
}

void Dispatcher::on_request(PeerState& p, const proto::Request& f, RequestBytes*& bytes) {
  const auto refuse = [&](Code code, std::string_view message, std::uint32_t after = 0) {
    reply(p.id, f.id, {code, message, after});
  };
  ++counts_.requests;
  ++p.requests;
  if (inflight_.find(p.id, f.id) != nullptr) {
    frames_->cut(p.id, "used the id of a call in flight again");
    return;
  }
  if (!p.greeted) return refuse(Code::unauthenticated, "say hello first");
  ServiceCounts& service_counts = service(p.service);
  ++service_counts.requests;
  if (draining_ && f.options.tx == 0) {
    return refuse(Code::draining, "this gateway takes no new work", 1);
  }
  const std::uint32_t at = store_names_.find(f.store);
  if (at == access::NameTable::kNone) {
    return refuse(Code::not_found, "there is no store `" + std::string(f.store) + "`");
  }
  StoreEntry& store = *stores_[at];
  const access::Grant& grant =
      p.own && at == access::kBuiltinStore ? policy_->own_grant() : policy_->grant(p.service, at);
  if (grant.empty()) {
    return refuse(Code::denied, "no grant on the store `" + std::string(f.store) + "`");
  }
  const std::uint32_t v = store.verbs.find(f.verb);
  if (v == access::NameTable::kNone) {
    return refuse(Code::unsupported, "this store has no verb `" + std::string(f.verb) + "`");
  }
  const access::Verb& verb = store.verbs[v];
  const int r = grant.rule_for(v);
  if (r < 0) {
    return refuse(Code::denied, "no grant for `" + std::string(f.verb) + "` on this store");
  }
  const access::Rule& rule = grant.rule(r);
  if (f.options.fetch != 0 && !verb.streams) {
    return refuse(Code::invalid, "option `fetch`: this verb does not stream");
  }
  if (at == access::kBuiltinStore && f.options.tx != 0) {
    return refuse(Code::invalid, "option `tx`: this store has no transactions");
  }
  const Micros left = timeout_of(f, verb, rule.limits) - age_of(p, f.sent_us);
  if (left <= Micros(0)) {
    return refuse(Code::queue_timeout, "the request was on its way for longer than its timeout");
  }
  if (p.calls.size() >= settings_.limits.calls_per_peer_max) {
    return refuse(Code::overloaded, "calls_per_peer_max is reached", 10);
  }
  if (inflight_.full()) return refuse(Code::overloaded, "calls_max is reached", 10);
  if (bytes_.bytes() > settings_.request_bytes_max) {
    return refuse(Code::overloaded, "too many bytes of requests are in flight", 10);
  }
  access::Usage& usage = grant.usage(r);
  Refused why{Code::ok, {}};
  if (!within(rule, usage, &why)) return refuse(why.code, why.message, why.retry_after_ms);

  InflightCall& c = inflight_.add(p.id, f.id);
  c.at = &store;
  c.policy = policy_;
  c.usage = &usage;
  ++usage.calls;
  ++service_counts.calls;
  c.share = policy_->share(p.service);
  c.permission = &grant;
  c.bytes = std::exchange(bytes, nullptr);
  c.verb = f.verb;
  c.store = store.name;
  c.body = f.body;
  c.key = f.options.key;
  c.trace = f.options.trace;
  c.tx = f.options.tx;
  c.fetch = f.options.fetch;
  c.credit = f.options.credit;
  c.read_only = f.options.read_only;
  c.idempotent = f.options.idempotent;
  c.upload = verb.uploads;
  c.waits = verb.waits;
  c.access = f.options.read_only || !grant.writes() ? Access::read : Access::write;
  c.received = loop_.now();
  c.deadline = c.received + left;
  p.calls.push_back(c);
  start(c);
}

void Dispatcher::start(InflightCall& c) {
  static constexpr std::uint8_t kEmptyMap[] = {0x80};
  const bool builtin = c.at->index == access::kBuiltinStore;
  if (builtin && c.verb == "ping") {
    finish(c, Answer{}, {}, kEmptyMap);
  } else if (c.verb == "describe" && !c.at->describe.empty()) {
    finish(c, Answer{}, {}, c.at->describe);
  } else if (builtin) {
    Answer a = c.at->builtin(c);
    answer(c, std::move(a));
  } else if (c.at->attempts == nullptr) {
    Answer a;
    a.code = a.fault.code = Code::unavailable;
    a.outcome = a.fault.outcome = Outcome::not_sent;
    a.fault.message = c.at->trouble ? c.at->trouble() : "the store cannot be served";
    answer(c, std::move(a));
  } else {
    c.at->attempts->start(c);
  }
}

}  // namespace headgate
