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

std::atomic<int> range_first{0};
std::atomic<int> range_end{INT_MAX};
std::atomic<int> range_next{0};
std::atomic<bool> closed{false};
std::atomic<int> spare{-1};  // given up to accept and close a connection when none is left
std::atomic<std::uint64_t> accepted{0};
std::atomic<std::uint64_t> refused{0};

int refuse(int fd) {
  ::close(fd);
  refused.fetch_add(1, std::memory_order_relaxed);
  errno = ECONNABORTED;
  return -1;
}

// The same connection under the next free number of the range, or -1.
int place(int fd) {
  if (closed.load(std::memory_order_relaxed)) return -1;
  const int first = range_first.load(std::memory_order_relaxed);
  const int end = range_end.load(std::memory_order_relaxed);
  for (const int from : {range_next.load(std::memory_order_relaxed), first}) {
    const int placed = ::fcntl(fd, F_DUPFD_CLOEXEC, from);
    if (placed >= 0 && placed < end) {
      range_next.store(placed + 1 < end ? placed + 1 : first, std::memory_order_relaxed);
      return placed;
    }
    if (placed >= 0) ::close(placed);
  }
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
  const int placed = place(fd);
  ::close(fd);
  if (placed < 0) {
    refused.fetch_add(1, std::memory_order_relaxed);
    errno = ECONNABORTED;
    return -1;
  }
  accepted.fetch_add(1, std::memory_order_relaxed);
  return placed;
}

}  // namespace

void set_range(int first, int end) {
  range_first.store(first);
  range_next.store(first);
  range_end.store(end);
  closed.store(false);
  if (spare.load() < 0) spare.store(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

void close_doors() { closed.store(true); }

Counts counts() { return {accepted.load(), refused.load()}; }

}  // namespace headgate::accept_guard

extern "C" __attribute__((visibility("default"))) int accept4(int listener, sockaddr* address,
                                                              socklen_t* length, int flags) {
  return headgate::accept_guard::take(listener, address, length, flags);
}
