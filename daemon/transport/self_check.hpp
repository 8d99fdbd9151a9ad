// The question asked at every start: is a stranger really refused? libzmq lets any key in when no
// ZAP handler answers (library default), so the daemon tries its own doors before it serves.
//
// Threads: start-up's, before the loop runs.
#pragma once
#include <string>
#include <tl/expected.hpp>

namespace headgate {

class Zap;

// Connects to `endpoint` as somebody nobody knows; an error when it gets in, or when the door does
// not answer. `server_key`: the server's public key (Z85), empty for a socket without CURVE.
tl::expected<void, std::string> check_stranger_is_refused(void* context, Zap& zap,
                                                          const std::string& endpoint,
                                                          const std::string& server_key);

}  // namespace headgate
