// ProtocolFault: the server said something that the v3 protocol does not allow.
//
// After it nothing on that connection can be trusted: the connection ends, what was in flight on it
// is `unknown` unless it had been answered. It is thrown where the bytes are read and caught once,
// at the top of the connection's io(). Its text names the message and the rule, never a value.
#pragma once
#include <stdexcept>
#include <string>

namespace headgate::postgres::wire {

struct ProtocolFault : std::runtime_error {
  explicit ProtocolFault(const std::string& what) : std::runtime_error(what) {}
};

}  // namespace headgate::postgres::wire
