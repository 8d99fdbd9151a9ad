// hello and welcome, and goaway.
#include <vector>

#include "daemon/dispatch/dispatcher.hpp"

namespace headgate {
namespace {

std::uint32_t milliseconds(Micros t) {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(t).count());
}

}  // namespace

void Dispatcher::on_hello(PeerState& p, const proto::Hello& f) {
  if (p.greeted) {
    frames_->cut(p.id, "said hello twice");
    return;
  }
  if (draining_) {
    reply(p.id, f.id, {Code::draining, "this gateway is going away"});
    return;
  }
  p.greeted = true;
  p.pongs = f.pongs;
  p.client = std::string(f.name) + ' ' + std::string(f.version);
  proto::VectorOut stores;
  proto::Writer list(&stores);
  struct Granted {
    const StoreEntry* store;
    std::vector<std::string_view> verbs;
  };
  std::vector<Granted> granted;
  for (const StoreEntry* s : stores_) {
    const access::Grant& g = p.own && s->index == access::kBuiltinStore
                                 ? policy_->own_grant()
                                 : policy_->grant(p.service, s->index);
    std::vector<std::string_view> verbs;
    for (std::uint32_t v = 0; v < s->verbs.size(); ++v) {
      if (g.rule_for(v) >= 0) verbs.emplace_back(s->verbs[v].name);
    }
    if (!verbs.empty()) granted.push_back({s, std::move(verbs)});
  }
  list.array(static_cast<std::uint32_t>(granted.size()));
  for (const Granted& g : granted) proto::encode_store(list, g.store->name, g.store->kind, g.verbs);
  proto::Welcome welcome;
  welcome.id = f.id;
  welcome.limits = settings_.limits;
  welcome.stores = stores.view();
  proto::VectorOut frame;
  proto::Writer w(&frame);
  proto::encode(w, welcome);
  log_.debug("hello", {{"service", policy_->share(p.service).service_name},
                       {"user", p.user},
                       {"client", p.client}});
  frames_->send(p.id, frame.view(), proto::Bytes{});
}

void Dispatcher::drain(Micros within) {
  draining_ = true;
  drain_within_ = within;
  std::uint8_t bytes[32];
  proto::Out out{bytes, bytes + sizeof bytes, nullptr};
  proto::Writer w(&out);
  proto::encode(w, proto::Goaway{milliseconds(within)});
  for (auto& p : peers_) {
    if (p == nullptr || p->id == 0 || !p->greeted) continue;
    frames_->send(p->id, {bytes, static_cast<std::size_t>(out.pos - bytes)}, proto::Bytes{});
  }
}

}  // namespace headgate
