// recv and send, or SSL_read and SSL_write.
#include "plugins/postgres/transport.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace headgate::postgres {
namespace {

constexpr std::size_t kPieceMax = 1u << 20;  // handed over at once

SSL* as_ssl(void* p) { return static_cast<SSL*>(p); }

}  // namespace

Transport::Transport(int fd, void* ssl) : fd_(fd), ssl_(ssl) {
  if (ssl_ == nullptr) return;
  SSL_set_mode(as_ssl(ssl_), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

Transport::Moved Transport::ended(std::string why) {
  why_ = std::move(why);
  return {State::ended, 0};
}

Transport::Moved Transport::read(std::span<std::uint8_t> into) {
  const std::size_t size = std::min(into.size(), kPieceMax);
  if (ssl_ != nullptr) {
    ERR_clear_error();
    const int n = SSL_read(as_ssl(ssl_), into.data(), static_cast<int>(size));
    read_wants_write_ = false;
    return n > 0 ? Moved{State::moved, static_cast<std::size_t>(n)} : tls_failed(n, true);
  }
  for (;;) {
    const ssize_t n = ::recv(fd_, into.data(), size, MSG_DONTWAIT);
    if (n > 0) return {State::moved, static_cast<std::size_t>(n)};
    if (n == 0) return ended("the server closed the connection");
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    if (errno != EINTR) return ended(std::strerror(errno));
  }
}

Transport::Moved Transport::write(proto::Bytes from) {
  const std::size_t size = std::min(from.size(), kPieceMax);
  if (ssl_ != nullptr) {
    ERR_clear_error();
    const int n = SSL_write(as_ssl(ssl_), from.data(), static_cast<int>(size));
    return n > 0 ? Moved{State::moved, static_cast<std::size_t>(n)} : tls_failed(n, false);
  }
  for (;;) {
    const ssize_t n = ::send(fd_, from.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) return {State::moved, static_cast<std::size_t>(n)};
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {};
    if (errno != EINTR) return ended(std::strerror(errno));
  }
}

Transport::Moved Transport::tls_failed(int result, bool reading) {
  const int error = errno;
  switch (SSL_get_error(as_ssl(ssl_), result)) {
    case SSL_ERROR_WANT_READ:
      return {};
    case SSL_ERROR_WANT_WRITE:
      if (reading) read_wants_write_ = true;
      return {};
    case SSL_ERROR_ZERO_RETURN:
      return ended("the server closed the connection");
    case SSL_ERROR_SYSCALL:
      return ended(error != 0 ? std::strerror(error) : "the server closed the connection");
    default: {
      char text[256];
      ERR_error_string_n(ERR_get_error(), text, sizeof text);
      return ended(std::string("TLS: ") + text);
    }
  }
}

bool Transport::has_hidden_bytes() const {
  return ssl_ != nullptr && SSL_pending(as_ssl(ssl_)) > 0;
}

}  // namespace headgate::postgres
