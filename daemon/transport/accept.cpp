#include "daemon/transport/accept.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>

namespace headgate::accept_guard {
namespace {

std::atomic<int> first_refused{INT_MAX};
std::atomic<int> spare{-1};  // given up to accept and close a connection when none is left
std::atomic<std::uint64_t> accepted{0};
std::atomic<std::uint64_t> refused{0};

int refuse(int fd) {
  ::close(fd);
  refused.fetch_add(1, std::memory_order_relaxed);
  errno = ECONNABORTED;
  return -1;
}

int take(int listener, sockaddr* address, socklen_t* length, int flags) {
  const auto call = [&] {
    return static_cast<int>(::syscall(SYS_accept4, listener, address, length, flags));
  };
  int fd = call();
  if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
    // Left alone, the connection would stay in the queue and the listener would spin.
    const int given_up = spare.exchange(-1);
    if (given_up < 0) {
      errno = EAGAIN;
      return -1;
    }
    ::close(given_up);
    fd = call();
    if (fd >= 0) refuse(fd);
    spare.store(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    errno = ECONNABORTED;
    return -1;
  }
  if (fd < 0) return fd;
  if (fd >= first_refused.load(std::memory_order_relaxed)) return refuse(fd);
  accepted.fetch_add(1, std::memory_order_relaxed);
  return fd;
}

}  // namespace

void set_first_refused(int descriptor) {
  first_refused.store(descriptor);
  if (spare.load() < 0) spare.store(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

Counts counts() { return {accepted.load(), refused.load()}; }

}  // namespace headgate::accept_guard

extern "C" __attribute__((visibility("default"))) int accept4(int listener, sockaddr* address,
                                                              socklen_t* length, int flags) {
  return headgate::accept_guard::take(listener, address, length, flags);
}
