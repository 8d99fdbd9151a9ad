#include "daemon/transport/who.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <memory>

namespace headgate {

DescriptorKey read_descriptor(int fd) {
  DescriptorKey k;
  k.length = sizeof k.address;
  if (fd < 0 || ::getpeername(fd, reinterpret_cast<sockaddr*>(&k.address), &k.length) != 0) {
    k.length = 0;
    return k;
  }
  struct stat s {};
  if (::fstat(fd, &s) != 0) return k;
  k.inode = s.st_ino;
  k.known = true;
  if (k.address.ss_family != AF_UNIX) return k;
  k.local = true;
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) k.known = false;
  k.uid = who.uid;
  k.pid = static_cast<std::uint32_t>(who.pid);
  return k;
}

bool DescriptorKey::same_as(const DescriptorKey& o) const {
  if (!known || !o.known || inode != o.inode || local != o.local) return false;
  if (local) return uid == o.uid && pid == o.pid;
  return length == o.length && std::memcmp(&address, &o.address, length) == 0;
}

std::string DescriptorKey::text() const {
  if (local || !known) return "ipc";
  char host[INET6_ADDRSTRLEN] = "?";
  if (address.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&address);
    ::inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
    return std::string(host) + ':' + std::to_string(ntohs(in->sin_port));
  }
  const auto* in = reinterpret_cast<const sockaddr_in6*>(&address);
  ::inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
  return '[' + std::string(host) + "]:" + std::to_string(ntohs(in->sin6_port));
}

namespace {

// "0100007F:1F90" as /proc/self/net/tcp writes an address: words in the host's byte order, then the
// port.
std::string table_form(const sockaddr_storage& s) {
  char text[64];
  if (s.ss_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(s);
    std::snprintf(text, sizeof text, "%08X:%04X", in.sin_addr.s_addr, ntohs(in.sin_port));
    return text;
  }
  const auto& in = reinterpret_cast<const sockaddr_in6&>(s);
  std::array<std::uint32_t, 4> words{};
  std::memcpy(words.data(), &in.sin6_addr, sizeof words);
  std::snprintf(text, sizeof text, "%08X%08X%08X%08X:%04X", words[0], words[1], words[2], words[3],
                ntohs(in.sin6_port));
  return text;
}

// The uid of the socket with these two ends in one of the kernel's tables.
std::optional<std::uint32_t> uid_in(const char* table, const std::string& local,
                                    const std::string& remote) {
  const std::unique_ptr<FILE, int (*)(FILE*)> f(std::fopen(table, "re"), &std::fclose);
  if (f == nullptr) return std::nullopt;
  char line[512];
  while (std::fgets(line, sizeof line, f.get()) != nullptr) {
    char from[64];
    char to[64];
    unsigned uid = 0;
    if (std::sscanf(line, " %*d: %63s %63s %*x %*s %*s %*s %u", from, to, &uid) == 3 &&
        local == from && remote == to) {
      return uid;
    }
  }
  return std::nullopt;
}

bool loopback(const sockaddr_storage& s) {
  if (s.ss_family == AF_INET) {
    return (ntohl(reinterpret_cast<const sockaddr_in&>(s).sin_addr.s_addr) >> 24) == 127;
  }
  return s.ss_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(s).sin6_addr);
}

}  // namespace

std::optional<std::uint32_t> loopback_uid(int fd) {
  sockaddr_storage peer{};
  sockaddr_storage mine{};
  socklen_t size = sizeof peer;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return std::nullopt;
  size = sizeof mine;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&mine), &size) != 0) return std::nullopt;
  if (!loopback(peer) || !loopback(mine)) return std::nullopt;
  const std::string local = table_form(peer);  // the peer's end is local to the peer
  const std::string remote = table_form(mine);
  if (peer.ss_family == AF_INET6) return uid_in("/proc/self/net/tcp6", local, remote);
  if (const auto uid = uid_in("/proc/self/net/tcp", local, remote)) return uid;
  // A socket of both families stands in the other table, under mapped addresses.
  const std::string mapped = "0000000000000000FFFF0000";
  return uid_in("/proc/self/net/tcp6", mapped + local, mapped + remote);
}

}  // namespace headgate
