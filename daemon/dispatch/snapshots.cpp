// What `show` sees of dispatch, by value.
#include "daemon/dispatch/dispatcher.hpp"

namespace headgate {

std::vector<PeerRow> Dispatcher::peer_rows() const {
  std::vector<PeerRow> rows;
  for (const auto& p : peers_) {
    if (p == nullptr || p->id == 0) continue;
    rows.push_back({p->id, std::string(policy_->share(p->service).service_name), p->user, p->where,
                    p->client, p->pid, p->calls.size(), p->requests,
                    (loop_.now() - p->since).count()});
  }
  return rows;
}

std::vector<CallRow> Dispatcher::call_rows() const {
  std::vector<CallRow> rows;
  inflight_.each([&](const InflightCall& c) {
    if (c.at->index == access::kBuiltinStore) return;  // the `show` that asks
    rows.push_back({c.id, c.peer, std::string(c.share.service_name), std::string(c.store),
                    std::string(c.verb), (loop_.now() - c.received).count(),
                    c.deadline == kNever ? -1 : (c.deadline - loop_.now()).count(), c.attempts});
  });
  return rows;
}

std::vector<ServiceRow> Dispatcher::service_rows() const {
  std::vector<ServiceRow> rows;
  const auto row = [&](const ServiceShare& s) {
    ServiceRow r{std::string(s.service_name), s.weight, 0, 0, 0, 0};
    for (const auto& p : peers_) {
      if (p != nullptr && p->id != 0 && p->service == s.service) ++r.peers;
    }
    if (s.service < services_.size()) {
      r.calls = services_[s.service].calls;
      r.requests = services_[s.service].requests;
      r.errors = services_[s.service].errors;
    }
    rows.push_back(std::move(r));
  };
  row(policy_->share(access::kOwnService));
  for (const auto& s : policy_->services()) row(policy_->share(s.index));
  return rows;
}

}  // namespace headgate
