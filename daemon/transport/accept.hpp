// Accept stands between libzmq and accept4(2), for two things that no option of libzmq gives.
//
// It aborts the process when its ipc listener meets EMFILE; and it is the only one who knows which
// connection a descriptor belongs to, so whoever shuts one down must be sure that its number has
// not been given to the next client meanwhile. accept.cpp therefore defines accept4 itself (the
// dynamic linker prefers the program's): clients have a range of descriptors of their own, a number
// is not used again before all others were, and a connection that finds the range full is closed at
// once (libzmq sees ECONNABORTED, which it expects).
//
// Threads: libzmq's I/O thread calls it; the range is set before sockets are bound.
#pragma once
#include <cstdint>

namespace headgate::accept_guard {

// Clients get the descriptors from first up to, not including, end. Everything else in the process
// has those below `first` for itself.
void set_range(int first, int end);

// From now on every new connection is closed at once: a drain. (zmq_unbind would end the
// connections that are there as well.)
void close_doors();

struct Counts {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0;
};
Counts counts();

}  // namespace headgate::accept_guard
