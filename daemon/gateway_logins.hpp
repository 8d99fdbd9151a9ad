// Logins is what the connections of one store need to log in, shared with those in the making.
//
// Owner: Gateway and connect jobs, whoever ends last. Threads: any.
#pragma once
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/access/credentials.hpp"
#include "daemon/config/certificates.hpp"
#include "daemon/config/config.hpp"
#include "daemon/core/log.hpp"
#include "daemon/plugin/store_core.hpp"

namespace headgate {

struct Logins {
  explicit Logins(std::string name) : store(std::move(name)) {}
  // Takes over what an account logs in with; its index (access::Credentials::put).
  std::uint32_t put(const config::Account& account, bool* changed);
  // `why`: what the operator reads of a source that cannot be read; the fault goes to callers.
  Result<plugin::Login> login(const plugin::OpenRequest& request, std::string* why);
  // For the operator's own commands: the fault itself says why.
  Result<plugin::Login> login_or_why(const plugin::OpenRequest& request);
  // What the configuration says. False: its files cannot be used, and `why` says so; whoever logs
  // in then meets them as they are.
  bool set_tls(const config::Tls& to, std::string* why);

  struct News {
    access::Credentials::Renewed passwords;
    bool certificates = false;  // are other ones now
    std::string unusable;       // why new ones are not taken; those that are known stay
    bool unsettled = false;     // something has only just changed: look again soon
  };
  // Reads every source; or, of files, those that have changed. May block.
  News renew();
  News look();

  const std::string store;
  access::Credentials credentials;

 private:
  void read_certificates(News& out);

  std::mutex mutex_;  // of what follows
  config::Tls tls_;
  std::shared_ptr<const config::Certificates> certificates_;
  access::Reading reading_;  // of their files
  std::string told_;         // why they could not be used then
};

}  // namespace headgate
