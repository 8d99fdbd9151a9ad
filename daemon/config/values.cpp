// One value of the files at a time: right type, right unit, inside its range.
#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "daemon/config/reader.hpp"
#include "daemon/config/units.hpp"

namespace headgate::config {
namespace {

constexpr std::string_view kOverride = "--set ";

bool names_a_secret(std::string_view key) {
  for (const std::string_view word :
       {"password", "passwd", "passphrase", "secret", "token", "private_key", "api_key"}) {
    if (key.find(word) != std::string_view::npos) return true;
  }
  return false;
}

std::string literal_secret(const std::string& path, std::string_view key) {
  const std::string k(key);
  return path + ": a secret may not stand in the configuration; say where it is: " + k +
         " = { systemd = \"" + k + "\" } (LoadCredential= in the unit), " + k +
         " = { file = \"/path\" } (mode 0600, of root or the gateway's user) or " + k +
         " = { command = [\"/path/program\"] }";
}

std::string_view expected_words(Unit unit) {
  switch (unit) {
    case Unit::text:
    case Unit::path:
      return "a string";
    case Unit::address:
      return "an address like \"tcp://0.0.0.0:7733\" or \"tcp://[::1]:7733\"";
    case Unit::flag:
      return "true or false";
    case Unit::count:
      return "an integer";
    case Unit::size:
      return "a size like \"64MiB\" (B, KiB, MiB, GiB)";
    case Unit::duration:
      return "a duration like \"5s\" or \"250ms\" (us, ms, s, m, h, d)";
    case Unit::ratio:
      return "a number";
    case Unit::level:
      return "one of \"debug\", \"info\", \"warn\", \"error\"";
    case Unit::mode:
      return "a mode like \"0660\"";
    case Unit::secret:
      return "where the secret is: { systemd = \"NAME\" }, { file = \"/path\" }, "
             "{ command = [\"/path/program\"] } or { env = \"NAME\" }";
  }
  return "?";
}

std::string shown(const Node& v) {
  if (v.is(Node::Kind::string)) {
    return quote(v.text.size() > 80 ? v.text.substr(0, 77) + "..." : v.text);
  }
  if (v.is(Node::Kind::integer)) return std::to_string(v.integer);
  if (v.is(Node::Kind::real) && !std::isfinite(v.real)) return std::isnan(v.real) ? "nan" : "inf";
  return std::string(name(v.kind));
}

std::string not_this(const std::string& path, Unit unit, const Node& v) {
  return path + ": expected " + std::string(expected_words(unit)) + ", not " + shown(v);
}

// Carries a checked number into a member of whatever type.
struct Assign {
  double number;
  bool operator()(std::uint32_t& to) const { return set(to); }
  bool operator()(std::uint64_t& to) const { return set(to); }
  bool operator()(Micros& to) const {
    to = Micros(static_cast<std::int64_t>(number));
    return true;
  }
  bool operator()(double& to) const {
    to = number;
    return true;
  }
  template <class T>
  bool operator()(T&) const {
    return false;
  }

 private:
  template <class T>
  bool set(T& to) const {
    to = static_cast<T>(number);
    return true;
  }
};

}  // namespace

std::string absolute(const std::string& text, const Place& place) {
  namespace fs = std::filesystem;
  if (text.empty() || text.front() == '/') return text;
  std::error_code error;
  fs::path base = fs::current_path(error);
  if (!place.file.starts_with(kOverride)) base /= fs::path(place.file).parent_path();
  return (base / text).lexically_normal().string();
}

std::optional<TcpAddress> parse_tcp(std::string_view text) {
  if (!text.starts_with("tcp://")) return std::nullopt;
  text.remove_prefix(6);
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view port_text = text.substr(colon + 1);
  std::uint32_t port = 0;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  if (error != std::errc{} || end != port_text.data() + port_text.size()) return std::nullopt;
  if (port == 0 || port > 65535) return std::nullopt;
  std::string host(text.substr(0, colon));
  in6_addr six{};
  in_addr four{};
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &six) != 1) return std::nullopt;
    return TcpAddress{IN6_IS_ADDR_LOOPBACK(&six) != 0};
  }
  if (::inet_pton(AF_INET, host.c_str(), &four) != 1) return std::nullopt;
  return TcpAddress{(ntohl(four.s_addr) >> 24) == 127};
}

bool is_z85_key(std::string_view text) {
  constexpr std::string_view kDigits =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
  if (text.size() != 40) return false;
  for (std::size_t i = 0; i < text.size(); i += 5) {
    std::uint64_t value = 0;
    for (std::size_t k = i; k < i + 5; ++k) {
      const std::size_t digit = kDigits.find(text[k]);
      if (digit == std::string_view::npos) return false;
      value = value * 85 + digit;
    }
    if (value > UINT32_MAX) return false;
  }
  return true;
}

bool Reader::expect(const Node& n, Node::Kind kind, const std::string& path) {
  if (n.is(kind)) return true;
  faults_.add(n.place, path + ": expected " + std::string(name(kind)) + ", not " +
                           std::string(name(n.kind)));
  return false;
}

bool Reader::good_name(const std::string& name, const Node& at, std::string_view of) {
  const bool good =
      !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '-';
      });
  if (!good) {
    faults_.add(at.key_place.line != 0 ? at.key_place : at.place,
                std::string(of) + " " + quote(name) +
                    ": expected a name of up to 63 letters, digits, '_' and '-'");
  }
  return good;
}

void Reader::unknown(const std::string& key, const Node& value, const std::string& section,
                     const std::vector<std::string_view>& known) {
  const Place& at = value.key_place;
  if (names_a_secret(key) && value.is(Node::Kind::string)) {
    return faults_.add(at, literal_secret(section.empty() ? key : section + "." + key, key));
  }
  std::string what = section.empty() ? "unknown section " : section + ": unknown setting ";
  what += quote(key);
  if (const std::string meant = nearest(key, known); !meant.empty()) {
    what += "; did you mean " + quote(meant) + "?";
  } else if (known.size() <= 8) {
    what += "; expected one of ";
    for (std::size_t i = 0; i < known.size(); ++i) {
      what += (i == 0 ? "" : ", ") + std::string(known[i]);
    }
  }
  faults_.add(at, what);
}

void Reader::read_number(const Node& v, const std::string& path, Unit unit, double min, double max,
                         double& into) {
  std::optional<double> n;
  if (unit == Unit::duration && v.is(Node::Kind::string)) {
    if (const auto d = parse_duration(v.text)) n = static_cast<double>(d->count());
  } else if (unit == Unit::size && v.is(Node::Kind::string)) {
    if (const auto s = parse_size(v.text)) n = static_cast<double>(*s);
  } else if (unit == Unit::mode && v.is(Node::Kind::string)) {
    std::uint32_t mode = 0;
    const char* end = v.text.data() + v.text.size();
    const auto [rest, error] = std::from_chars(v.text.data(), end, mode, 8);
    if (error == std::errc{} && rest == end && mode <= 0777) n = mode;
  } else if ((unit == Unit::count || unit == Unit::size || unit == Unit::ratio) &&
             v.is(Node::Kind::integer)) {
    n = static_cast<double>(v.integer);
  } else if (unit == Unit::ratio && v.is(Node::Kind::real) && std::isfinite(v.real)) {
    n = v.real;
  }
  if (!n) return faults_.add(v.place, not_this(path, unit, v));
  if (*n < min || *n > max) {
    const std::string value = v.is(Node::Kind::string)    ? v.text
                              : v.is(Node::Kind::integer) ? std::to_string(v.integer)
                                                          : std::to_string(v.real);
    return faults_.add(
        v.place, path + ": " + value + " is out of range, expected " + range_text(unit, min, max));
  }
  into = *n;
}

// `now`: one that cannot be read is a fault, where that can be told here (other processes have
// another environment, and a program may take its time).
void Reader::read_source(const Node& value, const std::string& path, SecretSource& into, bool now) {
  if (value.is(Node::Kind::string)) {
    const std::size_t dot = path.rfind('.');
    return faults_.add(value.place, literal_secret(path, path.substr(dot + 1)));
  }
  if (!value.is(Node::Kind::table) || value.entries.size() != 1) {
    return faults_.add(value.place, not_this(path, Unit::secret, value));
  }
  const auto& [key, v] = value.entries.front();
  into.place = value.place;
  if (key == "command") {
    if (!expect(v, Node::Kind::array, path + ".command")) return;
    for (const Node& item : v.items) {
      if (!expect(item, Node::Kind::string, path + ".command")) return;
      into.command.push_back(item.text);
    }
    if (into.command.empty() || !into.command.front().starts_with('/')) {
      return faults_.add(v.place, path + ".command: expected [\"/path/program\", ...]");
    }
    if (::access(into.command.front().c_str(), X_OK) != 0) {
      return faults_.add(v.place, path + ".command: " + into.command.front() +
                                      " is not a program that can be run");
    }
    into.from = SecretSource::From::command;
    return;
  }
  if (key != "systemd" && key != "file" && key != "env") {
    return unknown(key, v, path, {"systemd", "file", "env", "command"});
  }
  if (!expect(v, Node::Kind::string, path + "." + key)) return;
  const bool in_path = key == "systemd" && v.text.find('/') != std::string::npos;
  if (v.text.empty() || in_path) {
    return faults_.add(v.place,
                       path + "." + key + ": expected a " + (key == "file" ? "path" : "name"));
  }
  if (key == "env" && !config_.daemon.allow_env_secrets) {
    return faults_.add(v.place, path +
                                    ": secrets from the environment need "
                                    "daemon.allow_env_secrets = true (other programs can "
                                    "often read it; prefer systemd or file)");
  }
  into.name = key == "file" ? absolute(v.text, v.place) : v.text;
  into.from = key == "systemd" ? SecretSource::From::systemd
              : key == "file"  ? SecretSource::From::file
                               : SecretSource::From::env;
  if (into.from == SecretSource::From::env) {
    config_.warnings.push_back({v.place, path + ": comes from the environment, which other "
                                                "programs can often read; prefer systemd or file"});
  }
  const bool systemd = into.from == SecretSource::From::systemd && in_a_unit();
  if (now && (into.from == SecretSource::From::file || systemd)) {
    const auto secret = read_secret(into);
    if (!secret) faults_.add(v.place, path + ": " + secret.error());
  }
}

template <class T>
void Reader::read_value(const Node& v, const std::string& path, const Setting<T>& s, T& into) {
  const auto member = [&]<class M>(M T::*) -> M& { return into.*std::get<M T::*>(s.field); };
  switch (s.unit) {
    case Unit::text:
    case Unit::path:
    case Unit::address: {
      if (!v.is(Node::Kind::string) || v.text.find('\0') != std::string::npos ||
          (s.unit == Unit::address && !v.text.empty() && !parse_tcp(v.text))) {
        return faults_.add(v.place, not_this(path, s.unit, v));
      }
      std::string& to = member(static_cast<std::string T::*>(nullptr));
      to = s.unit == Unit::path ? absolute(v.text, v.place) : v.text;
      return;
    }
    case Unit::flag:
      if (!v.is(Node::Kind::flag)) return faults_.add(v.place, not_this(path, s.unit, v));
      member(static_cast<bool T::*>(nullptr)) = v.flag;
      return;
    case Unit::level: {
      const auto level = v.is(Node::Kind::string) ? level_from(v.text) : std::nullopt;
      if (!level) return faults_.add(v.place, not_this(path, s.unit, v));
      member(static_cast<Level T::*>(nullptr)) = *level;
      return;
    }
    case Unit::secret:
      return read_source(v, path, member(static_cast<SecretSource T::*>(nullptr)), true);
    default: {
      double n = -1;
      read_number(v, path, s.unit, s.min, s.max, n);
      if (n >= 0) std::visit([&](auto m) { Assign{n}(into.*m); }, s.field);
    }
  }
}

template <class T>
void Reader::read_settings(const Node& table, const std::string& section,
                           std::span<const Setting<T>> settings, T& into,
                           std::initializer_list<std::string_view> others) {
  for (const auto& [key, value] : table.entries) {
    const auto s = std::find_if(settings.begin(), settings.end(),
                                [&k = key](const Setting<T>& x) { return x.name == k; });
    if (s != settings.end()) {
      const std::string path = section + "." + key;
      read_value(value, path, *s, into);
      config_.set_at[path] = value.key_place;
    } else if (std::find(others.begin(), others.end(), key) == others.end()) {
      std::vector<std::string_view> known(others);
      for (const Setting<T>& x : settings) known.push_back(x.name);
      unknown(key, value, section, known);
    }
  }
}
template void Reader::read_settings(const Node&, const std::string&,
                                    std::span<const Setting<Daemon>>, Daemon&,
                                    std::initializer_list<std::string_view>);
template void Reader::read_settings(const Node&, const std::string&, std::span<const Setting<Pool>>,
                                    Pool&, std::initializer_list<std::string_view>);
template void Reader::read_settings(const Node&, const std::string&,
                                    std::span<const Setting<Service>>, Service&,
                                    std::initializer_list<std::string_view>);
template void Reader::read_settings(const Node&, const std::string&,
                                    std::span<const Setting<Limits>>, Limits&,
                                    std::initializer_list<std::string_view>);

std::optional<std::string> Reader::string_at(const Node& table, std::string_view key,
                                             const std::string& section) {
  const Node* v = table.find(key);
  const std::string path = section + "." + std::string(key);
  if (v == nullptr) {
    faults_.add(table.place, section + ": " + std::string(key) + " is missing");
    return std::nullopt;
  }
  if (!expect(*v, Node::Kind::string, path)) return std::nullopt;
  return v->text;
}

std::vector<std::string> Reader::strings_at(const Node& table, std::string_view key,
                                            const std::string& section) {
  std::vector<std::string> out;
  const Node* v = table.find(key);
  if (v == nullptr) return out;
  const std::string path = section + "." + std::string(key);
  if (!v->is(Node::Kind::array) || v->items.empty()) {
    faults_.add(v->place, path + ": expected an array of one or more strings");
    return out;
  }
  for (const Node& item : v->items) {
    if (!expect(item, Node::Kind::string, path)) continue;
    if (item.text.empty()) {
      faults_.add(item.place, path + ": expected no empty string");
    } else {
      out.push_back(item.text);
    }
  }
  return out;
}

}  // namespace headgate::config
