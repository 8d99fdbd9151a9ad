// Parameters for libpq, the wait for it, and what is checked of a fresh session.
#include "plugins/postgres/login.hpp"

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "plugins/postgres/untrusted.hpp"

namespace headgate::postgres {
namespace {

// A file that is not there, so that libpq does not look for one in a home directory.
constexpr const char* kNoFile = "/nonexistent/headgate";
constexpr const char* kSystemAuthorities = "/etc/ssl/certs/ca-certificates.crt";

// Once a process: what libpq would take from the environment is taken out of it.
void forget_environment() {
  static std::once_flag once;
  std::call_once(once, [] {
    PQconninfoOption* all = PQconndefaults();
    for (PQconninfoOption* o = all; o != nullptr && o->keyword != nullptr; ++o)
      if (o->envvar != nullptr) unsetenv(o->envvar);
    if (all != nullptr) PQconninfoFree(all);
    for (const char* name : {"PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGREQUIRESSL", "PGGEQO",
                             "PGTZ", "PGDATESTYLE"})
      unsetenv(name);
  });
}

class Parameters {
 public:
  void add(const char* name, std::string value) {
    if (value.empty()) return;
    names_.push_back(name);
    values_.push_back(std::move(value));
  }
  PGconn* start() {
    std::vector<const char*> names(names_), values;
    for (const std::string& v : values_) values.push_back(v.c_str());
    names.push_back(nullptr);
    values.push_back(nullptr);
    return PQconnectStartParams(names.data(), values.data(), 0);
  }
  ~Parameters() {  // one of them is a password
    for (std::string& v : values_) std::fill(v.begin(), v.end(), '\0');
  }

 private:
  std::vector<const char*> names_;
  std::vector<std::string> values_;
};

// The first address of a name: for a certificate that names another host than the endpoint does,
// libpq must be told both.
std::string address_of(const std::string& host) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || found == nullptr) return {};
  char text[NI_MAXHOST] = {};
  ::getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST);
  ::freeaddrinfo(found);
  return text;
}

void add_endpoint(Parameters& p, std::string_view endpoint, const std::string& server_name) {
  std::string_view host = endpoint, port = "5432";
  if (endpoint.starts_with('/')) {
    // A directory, or the socket file in it: `.s.PGSQL.<port>`.
    const std::size_t file = endpoint.rfind("/.s.PGSQL.");
    if (file != std::string_view::npos) {
      host = endpoint.substr(0, file);
      port = endpoint.substr(file + 10);
    } else if (const std::size_t colon = endpoint.rfind(':'); colon != std::string_view::npos) {
      host = endpoint.substr(0, colon);
      port = endpoint.substr(colon + 1);
    }
  } else if (const std::size_t colon = endpoint.rfind(':');
             colon != std::string_view::npos &&
             endpoint.find(']', colon) == std::string_view::npos) {
    host = endpoint.substr(0, colon);
    port = endpoint.substr(colon + 1);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::string address =
      server_name.empty() || host.starts_with('/') ? "" : address_of(std::string(host));
  p.add("hostaddr", address);
  p.add("host", address.empty() ? std::string(host) : server_name);
  p.add("port", std::string(port));
}

// The map is the SDK's: mode, ca_file, cert_file, key_file, min_version, server_name. Returns the
// name to expect in the certificate, where it is not the endpoint's.
std::string add_tls(Parameters& p, proto::Bytes tls, bool unix_socket) {
  if (tls.empty() || unix_socket) {
    p.add("sslmode", "disable");
    return {};
  }
  const sdk::Fields f("tls", tls,
                      {"mode", "ca_file", "cert_file", "key_file", "min_version", "server_name"});
  const std::string mode(f.opt_str("mode").value_or("verify-full"));
  if (mode == "off") {
    p.add("sslmode", "disable");
    return {};
  }
  if (mode != "verify-full" && mode != "verify-ca")
    throw sdk::invalid("tls: mode must be verify-full, verify-ca or off");
  p.add("sslmode", mode);
  const std::string ca(f.opt_str("ca_file").value_or(""));
  p.add("sslrootcert", ca.empty() ? kSystemAuthorities : ca);
  const std::string cert(f.opt_str("cert_file").value_or(""));
  p.add("sslcert", cert.empty() ? kNoFile : cert);
  p.add("sslkey", std::string(f.opt_str("key_file").value_or(cert.empty() ? kNoFile : "")));
  p.add("sslcrl", kNoFile);
  p.add("ssl_min_protocol_version", std::string(f.opt_str("min_version").value_or("TLSv1.2")));
  return std::string(f.opt_str("server_name").value_or(""));
}

std::string session_options(const hg_connect& connect, const Options& options,
                            const LoginSettings& settings) {
  std::string out =
      "-c standard_conforming_strings=on -c client_min_messages=warning"
      " -c datestyle=ISO -c intervalstyle=postgres -c bytea_output=hex"
      " -c extra_float_digits=1 -c statement_timeout=" +
      std::to_string(settings.statement_timeout_ms) +
      " -c lock_timeout=" + std::to_string(settings.lock_timeout_ms);
  if (connect.access == HG_ACCESS_READ) out += " -c default_transaction_read_only=on";
  std::string level(isolation_sql(options.isolation));
  for (std::size_t i = level.find(' '); i != std::string::npos; i = level.find(' ', i + 2))
    level.insert(i, 1, '\\');  // a blank ends an option
  if (!level.empty()) out += " -c default_transaction_isolation=" + level;
  return out;
}

std::string application_name(const hg_connect& connect) {
  std::string name = "headgate";
  if (connect.label.size > 0) name += ":" + std::string(sdk::text(connect.label));
  for (char& c : name)
    if (c < ' ' || c > '~') c = '?';
  return name.substr(0, 63);
}

class Login {
 public:
  Login(const hg_host* host, const hg_connect& connect) : host_(host), connect_(connect) {}

  // One line of libpq's words about what went wrong.
  std::string why() const {
    std::string text = conn_ == nullptr ? "out of memory" : PQerrorMessage(conn_.get());
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    for (char& c : text)
      if (c == '\n') c = ' ';
    return text;
  }

  void connect(Parameters& p) {
    conn_.reset(p.start());
    if (conn_ == nullptr || PQstatus(conn_.get()) == CONNECTION_BAD) throw refused(why());
    PQsetNoticeProcessor(
        conn_.get(), [](void*, const char*) {}, nullptr);
    for (PostgresPollingStatusType s = PGRES_POLLING_WRITING; s != PGRES_POLLING_OK;
         s = PQconnectPoll(conn_.get())) {
      if (s == PGRES_POLLING_FAILED) throw failed();
      wait(s == PGRES_POLLING_WRITING ? POLLOUT : POLLIN);
    }
  }

  // Runs one statement within the deadline; its first value, or nothing.
  std::string exec(const std::string& sql) {
    if (PQsendQuery(conn_.get(), sql.c_str()) == 0) throw refused(why());
    std::string value, error;
    for (;;) {
      while (PQisBusy(conn_.get()) != 0) {
        if (PQflush(conn_.get()) < 0) throw refused(why());
        wait(POLLIN);
        if (PQconsumeInput(conn_.get()) == 0) throw refused(why());
      }
      PGresult* r = PQgetResult(conn_.get());
      if (r == nullptr) break;
      const ExecStatusType status = PQresultStatus(r);
      if (status == PGRES_TUPLES_OK && PQntuples(r) > 0 && PQgetisnull(r, 0, 0) == 0)
        value = PQgetvalue(r, 0, 0);
      if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) error = why();
      PQclear(r);
      if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT)
        throw refused("COPY is no statement for `init`");
    }
    if (!error.empty()) throw refused(error);
    return value;
  }

  sdk::Error refused(const std::string& why) const {
    sdk::Error e(sdk::Code::unavailable, sdk::Outcome::not_sent,
                 std::string(sdk::text(connect_.endpoint)) + ": " + why);
    e.retry = HG_RETRY_BACKOFF;
    e.breaker = true;
    return e;
  }

  std::unique_ptr<PGconn, FreeConnection> take() { return std::move(conn_); }
  PGconn* raw() const { return conn_.get(); }

 private:
  void wait(short events) const {
    pollfd p{PQsocket(conn_.get()), events, 0};
    for (;;) {
      const std::uint64_t now = host_->now_us(host_);
      if (now >= connect_.deadline_us) throw refused("no answer within the time for a login");
      const std::uint64_t ms =
          std::min<std::uint64_t>((connect_.deadline_us - now) / 1000 + 1, 60'000);
      const int n = ::poll(&p, 1, static_cast<int>(ms));
      if (n > 0) return;
      if (n < 0 && errno != EINTR) throw refused(std::strerror(errno));
    }
  }

  // Why the certificate was refused, which libpq keeps to itself.
  std::string distrust() const {
    std::string authorities;
    PQconninfoOption* all = PQconninfo(conn_.get());
    for (PQconninfoOption* o = all; o != nullptr && o->keyword != nullptr; ++o)
      if (std::string_view(o->keyword) == "sslrootcert" && o->val != nullptr) authorities = o->val;
    if (all != nullptr) PQconninfoFree(all);
    const std::string_view address = PQhostaddr(conn_.get());
    return why_untrusted(std::string(address.empty() ? PQhost(conn_.get()) : address),
                         PQport(conn_.get()), authorities, 2000);
  }

  // libpq 15 tells no SQLSTATE of a failed login, so the server's words decide. Only a wrong guess
  // between "try again later" and "the credential is wrong" can come of it; both are not_sent.
  sdk::Error failed() const {
    std::string text = why();
    if (text.ends_with("certificate verify failed")) {
      const std::string reason = distrust();
      if (!reason.empty()) text += ": " + reason;
    }
    const auto says = [&](std::string_view part) { return text.find(part) != std::string::npos; };
    sdk::Error e = refused(text);
    if (says("password authentication failed") || says("authentication failed for user") ||
        says("no pg_hba.conf entry") || says("no password supplied") ||
        (says("role \"") && says("does not exist")) || says("is not permitted to log in")) {
      e.sqlstate = says("pg_hba.conf") ? "28000" : "28P01";
      e.breaker = false;
    } else if (says("database \"") && says("does not exist")) {
      e.sqlstate = "3D000";
      e.breaker = false;
    } else if (says("too many clients") || says("too many connections") ||
               says("remaining connection slots")) {
      e.sqlstate = "53300";
      e.full = true;
    } else if (says("the database system is") || says("not yet accepting connections")) {
      e.sqlstate = "57P03";
    }
    return e;
  }

  const hg_host* host_;
  const hg_connect& connect_;
  std::unique_ptr<PGconn, FreeConnection> conn_;
};

std::uint64_t number(const std::string& text) {
  std::uint64_t v = 0;
  std::from_chars(text.data(), text.data() + text.size(), v);
  return v;
}

void check_role(Login& login, const hg_connect& connect) {
  if (connect.access == HG_ACCESS_READ) return;
  const char* standby = PQparameterStatus(login.raw(), "in_hot_standby");  // since 14
  const bool is = standby != nullptr ? std::string_view(standby) == "on"
                                     : login.exec("SELECT pg_is_in_recovery()") == "t";
  if (!is) return;
  sdk::Error e = login.refused("this server is a standby, and the pool writes");
  e.retry = HG_RETRY_OTHER_ENDPOINT;
  e.sqlstate = "25006";
  throw e;
}

// What a careful operator should know of the account behind a `read` grant.
std::string inspect(Login& login, const hg_connect& connect) {
  if (connect.access != HG_ACCESS_READ) return {};
  const std::string writes = login.exec(
      "SELECT r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_class c JOIN "
      "pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND "
      "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_' AND "
      "pg_catalog.has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) FROM "
      "pg_catalog.pg_roles r WHERE r.rolname = current_user");
  if (writes != "t") return {};
  return "account `" + std::string(sdk::text(connect.account)) +
         "` serves read pools and could write: give them one that has no right to";
}

}  // namespace

Session log_in(const hg_host* host, const hg_connect& connect, const Options& options,
               const LoginSettings& settings) {
  forget_environment();
  Login login(host, connect);
  const std::string_view endpoint = sdk::text(connect.endpoint);
  if (endpoint.empty()) throw login.refused("the store names no endpoint");
  if (connect.account.size == 0) throw login.refused("the store has no account");
  Parameters p;
  add_endpoint(p, endpoint, add_tls(p, sdk::bytes(connect.tls), endpoint.starts_with('/')));
  p.add("dbname", options.database);
  p.add("user", std::string(sdk::text(connect.account)));
  p.add("password", std::string(sdk::text(connect.password)));
  p.add("passfile", kNoFile);
  p.add("client_encoding", "UTF8");
  p.add("application_name", application_name(connect));
  p.add("options", session_options(connect, options, settings));
  p.add("target_session_attrs", "any");
  p.add("gssencmode", "disable");
  p.add("keepalives", "1");
  p.add("keepalives_idle", "30");
  p.add("keepalives_interval", "10");
  p.add("keepalives_count", "3");
  p.add("tcp_user_timeout", "30000");
  login.connect(p);
  if (PQprotocolVersion(login.raw()) != 3) throw login.refused("it speaks another protocol");
  check_role(login, connect);
  for (const std::string& sql : options.init) login.exec(sql);

  Session out;
  if ((connect.flags & HG_CONNECT_INSPECT) != 0) out.warning = inspect(login, connect);
  if (settings.ask_system) {
    out.system = SystemId{number(login.exec("SELECT system_identifier FROM pg_control_system()")),
                          static_cast<std::uint32_t>(number(
                              login.exec("SELECT timeline_id FROM pg_control_checkpoint()")))};
  }
  out.fd = PQsocket(login.raw());
  out.ssl = PQsslStruct(login.raw(), "OpenSSL");
  out.version = PQserverVersion(login.raw());
  out.cancel.reset(PQgetCancel(login.raw()));
  PQsetnonblocking(login.raw(), 1);
  out.libpq = login.take();
  if (out.cancel == nullptr)
    throw sdk::Error(sdk::Code::internal, sdk::Outcome::not_sent, "libpq gave no cancel key");
  return out;
}

}  // namespace headgate::postgres
