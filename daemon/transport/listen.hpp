// Listening sockets that we make ourselves, because libzmq's own ipc bind takes a path away from a
// daemon that still serves it.
//
// Threads: start-up's. Errors are sentences for the operator.
#pragma once
#include <cstdint>
#include <string>
#include <tl/expected.hpp>

namespace headgate {

// Connections that may wait to be taken: all clients of a host come at once when the daemon has
// been restarted, and one that finds no place here is refused. The kernel takes less when
// net.core.somaxconn says so.
inline constexpr int kBacklog = 4096;

// An ipc path that is ours alone: a lock beside it, the socket in a directory that nobody else can
// write, with its own mode. The destructor removes the socket and lets the lock go.
class IpcListener {
 public:
  IpcListener() = default;
  IpcListener(IpcListener&& o) noexcept;
  IpcListener& operator=(IpcListener&& o) noexcept;
  ~IpcListener();

  static tl::expected<IpcListener, std::string> open(const std::string& path, std::uint32_t mode);

  // The listening descriptor; whoever calls this owns it from then on (libzmq closes it).
  int release_descriptor();
  // Removes the path, so that nobody finds us any more; the lock is kept.
  void hide();

 private:
  std::string path_;
  int fd_ = -1;
  int lock_ = -1;
};

// "tcp://address:port": is the address a loopback one (127.0.0.0/8, [::1], localhost)?
bool is_loopback(const std::string& endpoint);

}  // namespace headgate
