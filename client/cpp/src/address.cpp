#include "address.hpp"

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "headgate/error.hpp"

namespace headgate::detail {
namespace {

constexpr std::string_view kDefaultUrl = "ipc:///run/headgate/headgate.sock";
constexpr std::size_t kKeyLength = 40;
constexpr std::string_view kZ85 =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

[[noreturn]] void refuse(const std::string& why) {
  throw Error(Code::invalid, Outcome::not_sent, why);
}

bool is_key(std::string_view s) {
  return s.size() == kKeyLength && s.find_first_not_of(kZ85) == std::string_view::npos;
}

std::string_view trim(std::string_view s) {
  const std::size_t a = s.find_first_not_of(" \t\r\n");
  if (a == std::string_view::npos) return {};
  return s.substr(a, s.find_last_not_of(" \t\r\n") - a + 1);
}

// `name = "value"`, a comment behind it allowed. Empty: the line is something else.
std::string_view value_of(std::string_view line, std::string_view name) {
  line = trim(line);
  if (!line.starts_with(name)) return {};
  line = trim(line.substr(name.size()));
  if (!line.starts_with('=')) return {};
  line = trim(line.substr(1));
  if (line.size() < kKeyLength + 2 || line[0] != '"' || line[kKeyLength + 1] != '"') return {};
  return line.substr(1, kKeyLength);
}

void read_keys(const std::string& file, Address* a) {
  std::ifstream in(file);
  if (!in) refuse("cannot read the key file " + file);
  for (std::string line; std::getline(in, line);) {
    if (const auto v = value_of(line, "public"); !v.empty()) a->public_key = v;
    if (const auto v = value_of(line, "secret"); !v.empty()) a->secret_key = v;
  }
  if (!is_key(a->public_key) || !is_key(a->secret_key))
    refuse(file +
           " is no key file: it needs the lines public = \"...\" and secret = \"...\" of 40"
           " characters (see headgate keygen)");
}

bool tcp_shape(std::string_view endpoint) {
  const std::string_view rest = endpoint.substr(6);
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view port = rest.substr(colon + 1);
  return !port.empty() && port.size() <= 5 &&
         port.find_first_not_of("0123456789") == std::string_view::npos &&
         rest.find('/') == std::string_view::npos;
}

Address parse(std::string_view text, const std::string& key_file) {
  const std::size_t mark = text.find('?');
  Address a;
  a.endpoint = text.substr(0, mark);
  const std::string_view query =
      mark == std::string_view::npos ? std::string_view{} : text.substr(mark + 1);
  if (a.endpoint.starts_with("ipc://") && a.endpoint.size() > 6) {
    if (mark != std::string_view::npos) refuse("an ipc address takes no options: " + a.endpoint);
    return a;
  }
  if (!a.endpoint.starts_with("tcp://") || !tcp_shape(a.endpoint))
    refuse("`" + a.endpoint + "` is no gateway address: it must be ipc:///path or" +
           " tcp://host:port?server_key=KEY");
  if (mark == std::string_view::npos) return a;
  constexpr std::string_view kOption = "server_key=";
  if (!query.starts_with(kOption))
    refuse("unknown option in " + a.endpoint + "?...: only server_key is known");
  a.server_key = query.substr(kOption.size());
  if (!is_key(a.server_key)) refuse("server_key must have 40 characters (Z85)");
  if (key_file.empty())
    refuse(a.endpoint + " needs the client's key: give key_file or set HEADGATE_KEY_FILE" +
           " (headgate keygen makes one)");
  read_keys(key_file, &a);
  return a;
}

std::string or_environment(std::string_view given, const char* name) {
  if (!given.empty()) return std::string(given);
  const char* v = std::getenv(name);
  return v == nullptr ? "" : v;
}

}  // namespace

std::vector<Address> addresses(std::string_view url, std::string_view key_file) {
  std::string all = or_environment(url, "HEADGATE_URL");
  if (trim(all).empty()) all = kDefaultUrl;
  const std::string keys = or_environment(key_file, "HEADGATE_KEY_FILE");
  std::vector<Address> out;
  for (std::string_view rest = all;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view one = trim(rest.substr(0, comma));
    if (!one.empty()) out.push_back(parse(one, keys));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (out.empty()) refuse("no gateway address in `" + all + "`");
  return out;
}

}  // namespace headgate::detail
