// The grammar, one reply at a time.
#include "protocol.hpp"

#include <algorithm>
#include <charconv>

namespace memcached {
namespace {

bool starts(std::string_view s, std::string_view with) { return s.substr(0, with.size()) == with; }

template <class T>
bool number(std::string_view s, T& out) {
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), out);
  return error == std::errc() && end == s.data() + s.size() && !s.empty();
}

// VALUE <key> <flags> <bytes>\r\n<data>\r\nEND\r\n
std::optional<Reply> read_value(std::string_view in, std::string_view line, std::string_view key) {
  const Reply nonsense{};
  std::string_view rest = line.substr(6);
  const std::size_t space = rest.find(' ');
  // A value of another key means that replies and requests have come apart.
  if (space == std::string_view::npos || rest.substr(0, space) != key) return nonsense;
  rest.remove_prefix(space + 1);
  const std::size_t gap = rest.find(' ');
  std::uint32_t flags = 0;
  std::size_t size = 0;
  if (gap == std::string_view::npos || !number(rest.substr(0, gap), flags) ||
      !number(rest.substr(gap + 1), size) || size > kValueMax)
    return nonsense;
  const std::size_t at = line.size() + 2;
  constexpr std::string_view tail = "\r\nEND\r\n";
  if (in.size() < at + size + tail.size()) return std::nullopt;
  if (in.substr(at + size, tail.size()) != tail) return nonsense;
  return Reply{Reply::Kind::value, in.substr(at, size), 0, at + size + tail.size()};
}

}  // namespace

bool good_key(std::string_view key) {
  return !key.empty() && key.size() <= kKeyMax && std::all_of(key.begin(), key.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  });
}

void put_command(std::string& out, Command command, std::string_view key, std::string_view value,
                 std::uint64_t by) {
  switch (command) {
    case Command::get:
      out.append("get ").append(key);
      break;
    case Command::remove:
      out.append("delete ").append(key);
      break;
    case Command::increment:
      out.append("incr ").append(key).append(" ").append(std::to_string(by));
      break;
    case Command::version:
      out.append("version");
      break;
    default:
      out.append(command == Command::set ? "set " : command == Command::add ? "add " : "replace ");
      out.append(key)
          .append(" 0 0 ")
          .append(std::to_string(value.size()))
          .append("\r\n")
          .append(value);
  }
  out.append("\r\n");
}

std::optional<Reply> read_reply(std::string_view in, Command command, std::string_view key) {
  const std::size_t end = in.substr(0, kLineMax).find("\r\n");
  if (end == std::string_view::npos)
    return in.size() >= kLineMax ? std::optional<Reply>(Reply{}) : std::nullopt;
  const std::string_view line = in.substr(0, end);
  Reply r;
  r.size = end + 2;
  const auto kind = [&](Reply::Kind k) {
    r.kind = k;
    return r;
  };
  if (line == "ERROR" || starts(line, "CLIENT_ERROR ")) {
    r.value = line;
    return kind(Reply::Kind::refused);
  }
  if (starts(line, "SERVER_ERROR ")) {
    r.value = line;
    return kind(Reply::Kind::failed);
  }
  switch (command) {
    case Command::get:
      if (line == "END") return kind(Reply::Kind::miss);
      if (starts(line, "VALUE ")) return read_value(in, line, key);
      break;
    case Command::remove:
      if (line == "DELETED") return kind(Reply::Kind::deleted);
      if (line == "NOT_FOUND") return kind(Reply::Kind::not_found);
      break;
    case Command::increment:
      if (line == "NOT_FOUND") return kind(Reply::Kind::not_found);
      if (number(line, r.number)) return kind(Reply::Kind::number);
      break;
    case Command::version:
      if (starts(line, "VERSION ")) return kind(Reply::Kind::version);
      break;
    default:
      if (line == "STORED") return kind(Reply::Kind::stored);
      if (line == "NOT_STORED") return kind(Reply::Kind::not_stored);
  }
  return Reply{};
}

}  // namespace memcached
