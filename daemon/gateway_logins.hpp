// Logins is what the connections of one store need to log in, shared with those in the making.
//
// Owner: Gateway and connect jobs, whoever ends last. Threads: any.
#pragma once
#include <mutex>
#include <string>
#include <vector>

#include "daemon/access/credentials.hpp"
#include "daemon/config/config.hpp"
#include "daemon/core/log.hpp"
#include "daemon/plugin/store_core.hpp"

namespace headgate {

struct Logins {
  explicit Logins(std::string name) : store(std::move(name)) {}
  Result<plugin::Login> login(const plugin::OpenRequest& request, Log& log);
  void set_tls(const config::Tls& to);

  const std::string store;
  access::Credentials credentials;
  std::mutex mutex;  // of what follows
  config::Tls tls;
  std::vector<std::uint8_t> packed_tls;
  std::string stamp;  // of the certificates' files when they were last looked at
};

}  // namespace headgate
