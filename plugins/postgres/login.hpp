// login: a connection made and authenticated by libpq, then taken out of its hands.
//
// libpq resolves the name, connects, does TLS and the password exchange; `PG*` variables, .pgpass,
// service files and the certificates of a home directory are ignored. From then on nobody calls
// libpq on the connection but to close it and to make the cancel key. Threads: a connect thread.
#pragma once
#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "plugins/postgres/options.hpp"
#include "plugins/sdk/driver.hpp"

namespace headgate::postgres {

struct FreeConnection {
  void operator()(PGconn* c) const { PQfinish(c); }
};
struct FreeCancel {
  void operator()(PGcancel* c) const { PQfreeCancel(c); }
};

// Whom a transaction's id belongs to: what a receipt is worth only on.
struct SystemId {
  std::uint64_t system = 0;
  std::uint32_t timeline = 0;
};

struct Session {
  std::unique_ptr<PGconn, FreeConnection> libpq;
  std::unique_ptr<PGcancel, FreeCancel> cancel;
  int fd = -1;
  void* ssl = nullptr;  // an SSL*, or null
  int version = 0;      // 150018
  std::optional<SystemId> system;
  std::string warning;  // of an inspection (HG_CONNECT_INSPECT)
};

// What login asks for beside what hg_connect says.
struct LoginSettings {
  std::int64_t statement_timeout_ms = 0;  // of the session; 0: none
  std::int64_t lock_timeout_ms = 0;
  bool ask_system = false;
};

// Throws Error: `unavailable`, not_sent; other_endpoint when a pool that writes meets a standby.
Session log_in(const hg_host* host, const hg_connect& connect, const Options& options,
               const LoginSettings& settings);

}  // namespace headgate::postgres
