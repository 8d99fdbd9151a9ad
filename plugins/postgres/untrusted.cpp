#include "plugins/postgres/untrusted.hpp"

#include <netdb.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <memory>

namespace headgate::postgres {
namespace {

// SSLRequest of the wire protocol: length 8, code 80877103.
constexpr std::uint8_t kSslRequest[] = {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f};

struct Fd {
  int fd = -1;
  ~Fd() {
    if (fd >= 0) ::close(fd);
  }
};

bool connect_to(Fd& to, const std::string& host, const std::string& port, int patience_ms) {
  addrinfo hints{};
  addrinfo* found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, &::freeaddrinfo);
  const timeval patience{patience_ms / 1000, (patience_ms % 1000) * 1000};
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (to.fd >= 0) ::close(to.fd);
    to.fd = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (to.fd < 0) continue;
    // On Linux SO_SNDTIMEO bounds connect() as well.
    ::setsockopt(to.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    ::setsockopt(to.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (::connect(to.fd, a->ai_addr, a->ai_addrlen) == 0) return true;
  }
  return false;
}

}  // namespace

std::string why_untrusted(const std::string& host, const std::string& port,
                          const std::string& ca_file, int patience_ms) {
  Fd server;
  if (!connect_to(server, host, port, patience_ms)) return {};
  char answer = 0;
  if (::send(server.fd, kSslRequest, sizeof kSslRequest, MSG_NOSIGNAL) != sizeof kSslRequest ||
      ::recv(server.fd, &answer, 1, 0) != 1 || answer != 'S') {
    return {};
  }
  const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_client_method()),
                                                                  &SSL_CTX_free);
  if (context == nullptr) return {};
  if (SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr) != 1) return {};
  // The handshake goes on whatever is found, and what was found is remembered.
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), &SSL_free);
  if (ssl == nullptr || SSL_set_fd(ssl.get(), server.fd) != 1) return {};
  (void)SSL_connect(ssl.get());
  const long result = SSL_get_verify_result(ssl.get());
  return result == X509_V_OK ? std::string() : X509_verify_cert_error_string(result);
}

}  // namespace headgate::postgres
