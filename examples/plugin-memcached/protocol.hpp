// memcached's text protocol without sockets: what to send, and what a reply says, fed byte by byte.
//
// Owner:  a connection. Threads: the loop's.
// Source: https://github.com/memcached/memcached/blob/master/doc/protocol.txt
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace memcached {

inline constexpr std::size_t kKeyMax = 250;
inline constexpr std::size_t kLineMax = 2048;        // a reply's first line
inline constexpr std::size_t kValueMax = 64u << 20;  // beyond it the server is not believed

enum class Command : std::uint8_t { get, set, add, replace, remove, increment, version };

// Appends a command to `out`. REQUIRES: good_key(key), where it has one.
void put_command(std::string& out, Command command, std::string_view key, std::string_view value,
                 std::uint64_t by);
// No byte that the protocol gives a meaning to, and not too long.
bool good_key(std::string_view key);

struct Reply {
  enum class Kind : std::uint8_t {
    value,
    miss,
    stored,
    not_stored,
    deleted,
    not_found,
    number,
    version,
    refused,
    failed,
    nonsense
  };
  Kind kind = Kind::nonsense;
  std::string_view value;  // of value; text of refused and failed. Lent by the bytes read from.
  std::uint64_t number = 0;
  std::size_t size = 0;  // bytes that it took
};

// Reads the reply to `command` from the front of `in`; nothing: more bytes are needed. Whatever the
// bytes are, nothing behind them is read; what cannot be a reply is `nonsense`.
std::optional<Reply> read_reply(std::string_view in, Command command, std::string_view key);

}  // namespace memcached
