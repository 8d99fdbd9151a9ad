// Where a gateway listens, and with which keys: PROTOCOL.md, "How a client finds the gateway".
//
// Threads: values.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace headgate::detail {

struct Address {
  std::string endpoint;    // as libzmq takes it
  std::string server_key;  // Z85, 40 characters; empty: no CURVE
  std::string public_key;
  std::string secret_key;
};

// Reads the addresses of `url`, the environment filling in what is empty. Throws Error(invalid).
std::vector<Address> addresses(std::string_view url, std::string_view key_file);

}  // namespace headgate::detail
