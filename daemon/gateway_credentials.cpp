// What stores log in with: accounts and passwords of the configuration, carried to the pools, read
// outside the loop, and read again at a reload.
#include <sys/stat.h>

#include <algorithm>
#include <mutex>

#include "daemon/config/settings.hpp"
#include "daemon/gateway.hpp"
#include "daemon/gateway_logins.hpp"

namespace headgate {
namespace {

// Changes when a file does: which file it is, its size and its times.
std::string stamp_of(const config::Tls& tls) {
  std::string out;
  for (const std::string* file : {&tls.ca_file, &tls.cert_file, &tls.key_file}) {
    struct stat s {};
    if (!file->empty() && ::stat(file->c_str(), &s) == 0) {
      out += std::to_string(s.st_ino) + ":" + std::to_string(s.st_size) + ":" +
             std::to_string(s.st_mtim.tv_sec) + "." + std::to_string(s.st_mtim.tv_nsec);
    }
    out += ";";
  }
  return out;
}

}  // namespace

Result<plugin::Login> Logins::login(const plugin::OpenRequest& request, Log& log) {
  auto given = credentials.login(request.credential, request.fresh);
  if (!given) {
    log.error("credential_unreadable", {{"store", store}, {"why", given.error()}});
    // As a refused login: tried once more, then slowly. It is no fault of the server's.
    return fault(Code::unauthenticated, "the password of credential `" +
                                            credentials.name(request.credential) +
                                            "` cannot be read; the gateway's log says why");
  }
  plugin::Login out;
  out.account = std::move(given->account);
  out.label = std::move(given->name);
  out.password = std::move(given->password);
  const std::lock_guard lock(mutex);
  out.tls = packed_tls;
  return out;
}

void Logins::set_tls(const config::Tls& to) {
  const std::lock_guard lock(mutex);
  tls = to;
  packed_tls = config::pack_tls(to);
}

// Reads every password of one store, and looks at its certificates, on a connect thread.
class Gateway::RenewJob final : public plugin::Job, public plugin::Inbox::Node {
 public:
  RenewJob(Gateway& g, Served& s)
      : gateway_(g.alive_), host_(*g.host_), served_(s), logins_(s.logins) {}

  void work() override {
    renewed_ = logins_->credentials.renew();
    const std::lock_guard lock(logins_->mutex);
    const std::string stamp = stamp_of(logins_->tls);
    new_certificates_ = !logins_->stamp.empty() && logins_->stamp != stamp;
    logins_->stamp = stamp;
    host_.inbox().push(*this);
  }
  void deliver() override {
    if (Gateway* g = *gateway_) g->renewed(served_, renewed_, new_certificates_);
    delete this;
  }

 private:
  std::shared_ptr<Gateway*> gateway_;  // null inside: it is gone
  plugin::Host& host_;
  Served& served_;
  std::shared_ptr<Logins> logins_;
  access::Credentials::Renewed renewed_;
  bool new_certificates_ = false;
};

void Gateway::renew_credentials(Served& s) {
  if (s.logins->credentials.size() > 0) host_->connects().add(*new RenewJob(*this, s));
}

void Gateway::renewed(Served& s, const access::Credentials::Renewed& what, bool certificates) {
  for (const std::string& why : what.unreadable) {
    log_->error("credential_unreadable", {{"store", s.entry.name}, {"why", why}});
  }
  for (const std::uint32_t i : what.changed) {
    ++s.generations[i];
    log_->info("credential_changed",
               {{"store", s.entry.name}, {"credential", s.logins->credentials.name(i)}});
  }
  if (certificates) {
    ++s.generation;
    log_->info("certificates_changed", {{"store", s.entry.name}});
  }
  if (!what.changed.empty() || certificates) apply_pools(s);
}

void Gateway::take_credentials(const config::Store& from, Served& s) {
  const auto accounts = config::accounts(config_, from);
  if (!(from.tls == s.logins->tls) || s.logins->packed_tls.empty()) {
    if (!s.logins->packed_tls.empty()) ++s.generation;
    s.logins->set_tls(from.tls);
  }
  std::vector<std::uint32_t> index;  // of accounts, in the pools
  for (const config::Account& a : accounts) {
    access::CredentialInput input;
    input.name = a.name;
    input.account = a.account;
    input.source = config::render(a.password);
    input.read = [source = a.password] { return config::read_secret(source); };
    bool changed = false;
    index.push_back(s.logins->credentials.put(std::move(input), &changed));
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
  out.credentials.by_service = s.by_service;
  out.credentials.generations = s.generations;
  for (std::uint32_t i = 0; i < s.generations.size(); ++i)
    out.credentials.names.push_back(s.logins->credentials.name(i));
  config::give_numbers(from.pool, out);
  return out;
}

void Gateway::apply_pools(Served& s) {
  const config::Store* from = config_.store(s.entry.name);
  s.attempts->apply(pool_settings(*from, s), s.generation);
}

}  // namespace headgate
