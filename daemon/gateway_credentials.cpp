// What stores log in with: accounts, passwords and certificates of the configuration, carried to
// the pools, read outside the loop, and read again at a reload and when their files change.
#include <algorithm>

#include "daemon/config/settings.hpp"
#include "daemon/gateway.hpp"
#include "daemon/gateway_logins.hpp"

namespace headgate {
namespace {

// While something is being written.
constexpr Micros kLookAgain = std::chrono::seconds(1);

}  // namespace

// Reads passwords and certificates of one store on a thread that may block: all of them, or of
// those in files what has changed.
class Gateway::RenewJob final : public plugin::Job, public plugin::Inbox::Node {
 public:
  RenewJob(Gateway& g, Served& s, bool all)
      : gateway_(g.alive_), host_(*g.host_), served_(s), logins_(s.logins), all_(all) {}

  void work() override {
    news_ = all_ ? logins_->renew() : logins_->look();
    host_.inbox().push(*this);
  }
  void deliver() override {
    if (Gateway* g = *gateway_) g->renewed(served_, news_, !all_);
    delete this;
  }

 private:
  std::shared_ptr<Gateway*> gateway_;  // null inside: it is gone
  plugin::Host& host_;
  Served& served_;
  std::shared_ptr<Logins> logins_;
  Logins::News news_;
  const bool all_;
};

void Gateway::renew_credentials(Served& s) {
  if (s.logins->credentials.size() > 0) host_->connects().add(*new RenewJob(*this, s, true));
}

// Files are asked, not watched: that alone works for what is mounted over, swapped by a symbolic
// link above it, or on another host's disk. On a thread of its own, since a disk may hang.
void Gateway::look_at_secrets() {
  if (looks_out_ > 0 || state_ != State::serving) return;
  loop_.disarm(secrets_timer_);
  look_soon_ = false;
  if (config_.daemon.secrets_look_every == Micros(0)) return;
  for (auto& s : stores_) {
    if (s->logins->credentials.size() == 0) continue;
    ++looks_out_;
    secrets_.add(*new RenewJob(*this, *s, false));
  }
}

void Gateway::renewed(Served& s, const Logins::News& news, bool looked) {
  for (const std::string& why : news.passwords.unreadable) {
    log_->error("credential_unreadable", {{"store", s.entry.name}, {"why", why}});
  }
  for (const std::uint32_t i : news.passwords.changed) {
    ++s.generations[i];
    log_->info("credential_changed",
               {{"store", s.entry.name}, {"credential", s.logins->credentials.name(i)}});
  }
  if (!news.unusable.empty()) {
    log_->error("certificates_unusable", {{"store", s.entry.name}, {"why", news.unusable}});
  }
  if (news.certificates) {
    ++s.generation;
    log_->info("certificates_changed", {{"store", s.entry.name}});
  }
  if (!news.passwords.changed.empty() || news.certificates) apply_pools(s);
  if (!looked) return;
  look_soon_ = look_soon_ || news.unsettled;
  const Micros every = config_.daemon.secrets_look_every;
  if (--looks_out_ > 0 || every == Micros(0)) return;
  loop_.arm(secrets_timer_, loop_.now() + (look_soon_ ? std::min(every, kLookAgain) : every));
}

void Gateway::take_credentials(const config::Store& from, Served& s) {
  const auto accounts = config::accounts(config_, from);
  if (!s.tls || !(from.tls == *s.tls)) {
    if (s.tls) ++s.generation;
    s.tls = from.tls;
    std::string why;
    if (!s.logins->set_tls(from.tls, &why)) {
      log_->error("certificates_unusable", {{"store", from.name}, {"why", why}});
    }
  }
  std::vector<std::uint32_t> index;  // of accounts, in the pools
  for (const config::Account& a : accounts) {
    bool changed = false;
    index.push_back(s.logins->put(a, &changed));
    s.generations.resize(s.logins->credentials.size());
    if (changed) ++s.generations[index.back()];
  }
  for (std::uint32_t i = 0; i < s.generations.size(); ++i) {
    const bool named = std::find(index.begin(), index.end(), i) != index.end();
    if (s.named.size() > i && s.named[i] && !named) ++s.generations[i];  // its connections go
    s.named.resize(s.generations.size());
    s.named[i] = named;
  }
  s.by_service.assign(1, {});
  if (accounts.empty()) return;
  const auto row = [&](std::string_view service) {
    std::array<std::uint32_t, 4> out{};
    for (const Access a : {Access::read, Access::write, Access::admin}) {
      const Access as = a == Access::read ? a : Access::write;
      out[static_cast<std::size_t>(a)] = index[config::account_of(config_, from, service, as)];
    }
    return out;
  };
  s.by_service[0] = row("");
  for (const config::Service& service : config_.services) {
    const std::uint32_t at = service_index(service.name);
    if (s.by_service.size() <= at) s.by_service.resize(at + 1, s.by_service[0]);
    s.by_service[at] = row(service.name);
  }
}

pool::Settings Gateway::pool_settings(const config::Store& from, const Served& s) const {
  pool::Settings out;
  out.store = from.name;
  out.endpoints = static_cast<std::uint32_t>(std::max<std::size_t>(from.endpoints.size(), 1));
  out.read_endpoints = static_cast<std::uint32_t>(from.read_endpoints.size());
  out.endpoints += out.read_endpoints;
  out.addresses = all_endpoints(from);
  out.credentials.by_service = s.by_service;
  out.credentials.generations = s.generations;
  for (std::uint32_t i = 0; i < s.generations.size(); ++i)
    out.credentials.names.push_back(s.logins->credentials.name(i));
  config::give_numbers(from.pool, out);
  return out;
}

void Gateway::apply_pools(Served& s) {
  const config::Store* from = config_.store(s.entry.name);
  s.store->set_endpoints(all_endpoints(*from));
  s.attempts->apply(pool_settings(*from, s), s.generation);
}

}  // namespace headgate
