// Accept stands between libzmq and accept4(2): libzmq 4.3.4 aborts the process when its ipc listener
// meets EMFILE, and no option of it bounds the number of connections. accept.cpp defines accept4
// itself (the dynamic linker prefers the program's), so a connection that would take the last
// descriptors is closed right there and libzmq sees ECONNABORTED, which it expects.
//
// Threads: libzmq's I/O thread calls it; limits are set before sockets are bound.
#pragma once
#include <cstdint>

namespace headgate::accept_guard {

// Connections whose descriptor would have this number or a higher one are closed at once.
// Descriptors are numbered from the lowest free one, so at least RLIMIT_NOFILE - first stay free.
void set_first_refused(int descriptor);

struct Counts {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;
};
Counts counts();

}  // namespace headgate::accept_guard
