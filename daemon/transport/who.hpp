// Who: what the kernel says about the other end of a descriptor.
//
// A descriptor's number is reused as soon as it is closed, and it is libzmq that closes; so before
// one is shut down it is compared with what was seen on it when the peer came.
#pragma once
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>

namespace headgate {

struct DescriptorKey {
  bool known = false;
  std::uint64_t inode = 0;         // of the socket: no other has it while it lives
  std::uint32_t uid = 0, pid = 0;  // AF_UNIX
  sockaddr_storage address{};      // else
  socklen_t length = 0;
  bool local = false;  // AF_UNIX

  [[nodiscard]] bool same_as(const DescriptorKey& o) const;
  // "ipc" or "address:port".
  [[nodiscard]] std::string text() const;
};

DescriptorKey read_descriptor(int fd);

// The user whose socket is the other end of this loopback TCP connection (the kernel's table of
// sockets says so). Empty when it is no loopback connection or the table does not show it.
std::optional<std::uint32_t> loopback_uid(int fd);

}  // namespace headgate
