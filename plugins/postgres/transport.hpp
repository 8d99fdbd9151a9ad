// Transport moves bytes over the socket that libpq logged in on, with or without TLS, and never
// waits.
//
// Owner: a connection, which keeps libpq's PGconn alive meanwhile. Threads: the loop's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "proto/cursor.hpp"

namespace headgate::postgres {

class Transport {
 public:
  enum class State : std::uint8_t { moved, blocked, ended };
  struct Moved {
    State state = State::blocked;
    std::size_t n = 0;
  };
  Transport(int fd, void* ssl);

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] bool encrypted() const { return ssl_ != nullptr; }
  Moved read(std::span<std::uint8_t> into);
  Moved write(proto::Bytes from);
  // TLS may need the other direction: a read that waits to write, a write that waits to read.
  [[nodiscard]] bool read_wants_write() const { return read_wants_write_; }
  // Decrypted bytes that no descriptor will announce.
  [[nodiscard]] bool has_hidden_bytes() const;
  // Why it ended.
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  Moved ended(std::string why);
  Moved tls_failed(int result, bool reading);
  int fd_;
  void* ssl_;
  bool read_wants_write_ = false;
  std::string why_;
};

}  // namespace headgate::postgres
