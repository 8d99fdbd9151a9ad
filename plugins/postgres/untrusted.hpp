// untrusted: why a server's certificate was not accepted.
//
// libpq 15 says "certificate verify failed" and no more. So, after such a login, the server is
// asked for its certificate once again, by a handshake of our own that sends no login and ends at
// once. Threads: a connect thread; waits for at most `patience_ms`.
#pragma once
#include <string>

namespace headgate::postgres {

// OpenSSL's words, as "certificate has expired"; empty: it could not be found out.
std::string why_untrusted(const std::string& host, const std::string& port,
                          const std::string& ca_file, int patience_ms);

}  // namespace headgate::postgres
