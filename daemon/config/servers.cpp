// [stores.NAME] of plugins that talk to servers: endpoints, TLS, and the store's own account.
#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "daemon/config/certificates.hpp"
#include "daemon/config/reader.hpp"
#include "daemon/config/units.hpp"
#include "proto/writer.hpp"

namespace headgate::config {
namespace {

constexpr std::size_t kEndpointsMax = 64;  // of a store
constexpr std::size_t kTextMax = 1024;     // a host's name has 253, an account's fewer

bool is_path(std::string_view endpoint) { return endpoint.starts_with('/'); }

// "host:port", "1.2.3.4:port" or "[::1]:port"; the host without brackets, or nothing.
std::optional<std::string> host_of(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view port_text = text.substr(colon + 1);
  std::uint32_t port = 0;
  const char* last = port_text.data() + port_text.size();
  const auto [end, error] = std::from_chars(port_text.data(), last, port);
  if (error != std::errc{} || end != last || port == 0 || port > 65535) return std::nullopt;
  std::string host(text.substr(0, colon));
  in6_addr six{};
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
    if (::inet_pton(AF_INET6, host.c_str(), &six) != 1) return std::nullopt;
    return host;
  }
  const bool good = std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
  return good ? std::optional(host) : std::nullopt;
}

bool on_this_host(std::string_view endpoint) {
  if (is_path(endpoint)) return true;
  const std::string host = host_of(endpoint).value_or("");
  in_addr four{};
  if (::inet_pton(AF_INET, host.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  return host == "localhost" || host == "::1";
}

}  // namespace

std::string_view word(Tls::Mode mode) {
  switch (mode) {
    case Tls::Mode::verify_full:
      return "verify-full";
    case Tls::Mode::verify_ca:
      return "verify-ca";
    case Tls::Mode::off:
      return "off";
  }
  return "";
}

std::string endpoint_key(std::string_view store, std::string_view list, std::size_t at) {
  return "stores." + std::string(store) + "." + std::string(list) + "[" + std::to_string(at) + "]";
}

void Reader::read_endpoints(Store& store, const Node& table) {
  const std::string section = "stores." + store.name;
  for (const auto& [key, into] : {std::pair("endpoints", &store.endpoints),
                                  std::pair("read_endpoints", &store.read_endpoints)}) {
    const Node* list = table.find(key);
    *into = strings_at(table, key, section);
    if (list == nullptr || !list->is(Node::Kind::array)) continue;
    if (list->items.size() > kEndpointsMax) {
      faults_.add(list->place, section + "." + key + ": expected at most " +
                                   std::to_string(kEndpointsMax) + " endpoints");
    }
    std::vector<std::string> seen;
    for (const Node& item : list->items) {
      if (!item.is(Node::Kind::string) || item.text.empty()) continue;  // told already
      config_.set_at[endpoint_key(store.name, key, seen.size())] = item.place;
      const bool good = item.text.size() <= kTextMax && item.text.find('\0') == std::string::npos &&
                        (is_path(item.text) || host_of(item.text));
      if (!good) {
        faults_.add(item.place, section + "." + key +
                                    ": expected \"host:port\", \"[::1]:port\" or the path of a "
                                    "Unix socket, not " +
                                    quote(item.text.substr(0, 80)));
      } else if (std::find(seen.begin(), seen.end(), item.text) != seen.end()) {
        faults_.add(item.place, section + "." + key + ": " + quote(item.text) + " is named twice");
      }
      seen.push_back(item.text);
    }
  }
}

void Reader::read_tls(Store& store, const Node& value) {
  const std::string path = "stores." + store.name + ".tls";
  const auto mode = [&](const Node& n, const std::string& where) {
    for (const auto m : {Tls::Mode::verify_full, Tls::Mode::verify_ca, Tls::Mode::off}) {
      if (!n.is(Node::Kind::string) || n.text != word(m)) continue;
      store.tls.mode = m;
      return;
    }
    faults_.add(n.place, where + ": expected \"verify-full\", \"verify-ca\" or \"off\"");
  };
  config_.set_at[path] = value.key_place;
  if (value.is(Node::Kind::string)) return mode(value, path);
  if (!value.is(Node::Kind::table)) {
    return faults_.add(
        value.place, path + ": expected \"off\" or a table, not " + std::string(name(value.kind)));
  }
  for (const auto& [key, v] : value.entries) {
    const std::string where = path + "." + key;
    std::string* file = key == "ca_file"     ? &store.tls.ca_file
                        : key == "cert_file" ? &store.tls.cert_file
                        : key == "key_file"  ? &store.tls.key_file
                                             : nullptr;
    if (key == "mode") {
      mode(v, where);
    } else if (key == "min_version") {
      if (!v.is(Node::Kind::string) || (v.text != "1.2" && v.text != "1.3")) {
        faults_.add(v.place, where + ": expected \"1.2\" or \"1.3\"");
      } else {
        store.tls.min_version = v.text;
      }
    } else if (key == "server_name") {
      if (!v.is(Node::Kind::string) || v.text.empty() || v.text.size() > kTextMax) {
        faults_.add(v.place, where + ": expected the name in the server's certificate");
      } else {
        store.tls.server_name = v.text;
      }
    } else if (file != nullptr) {
      if (!expect(v, Node::Kind::string, where)) continue;
      if (v.text.empty()) {
        faults_.add(v.place, where + ": expected the path of a file");
      } else {
        *file = absolute(v.text, v.place);
      }
    } else {
      unknown(key, v, path,
              {"mode", "min_version", "ca_file", "cert_file", "key_file", "server_name"});
    }
  }
}

// What the files hold, where passwords are read as well: at a check and at a reload. At start one
// store's certificate is no reason to serve nobody.
void Reader::check_certificates(const Store& store, const Node* tls) {
  if (!options_.read_passwords || tls == nullptr || !tls->is(Node::Kind::table)) return;
  const std::string path = "stores." + store.name + ".tls.";
  std::vector<TlsFault> overdue;
  for (const auto& [key, what] : faults_of(store.tls, &overdue)) {
    const Node* at = tls->find(key);
    faults_.add((at == nullptr ? tls : at)->place, path + std::string(key) + ": " + what);
  }
  for (const auto& [key, what] : overdue) {
    const Node* at = tls->find(key);
    config_.warnings.push_back(
        {(at == nullptr ? tls : at)->place, path + std::string(key) + ": " + what});
  }
}

// REQUIRES: everything of the store's has been read.
void Reader::check_tls(const Store& store, const Node& table) {
  const std::string path = "stores." + store.name + ".tls";
  const Node* tls = table.find("tls");
  const Place& at = tls == nullptr ? table.place : tls->place;
  const Tls& t = store.tls;
  if (t.cert_file.empty() != t.key_file.empty()) {
    faults_.add(at, path + ": expected cert_file and key_file together");
  }
  std::vector<std::string> all = store.endpoints;
  all.insert(all.end(), store.read_endpoints.begin(), store.read_endpoints.end());
  if (t.mode != Tls::Mode::off) {
    if (tls != nullptr && !all.empty() && std::all_of(all.begin(), all.end(), is_path)) {
      faults_.add(at, path + ": every endpoint is a Unix socket, over which there is no TLS");
    }
    return;
  }
  if (!t.ca_file.empty() || !t.cert_file.empty() || !t.server_name.empty()) {
    faults_.add(at, path + ": mode is \"off\"; expected no certificates beside it");
  }
  for (const std::string& endpoint : all) {
    if (on_this_host(endpoint)) continue;
    config_.warnings.push_back(
        {at, path + " is \"off\": passwords and data cross the network to " + quote(endpoint) +
                 " unencrypted, and nothing proves that it is the right server"});
  }
}

void Reader::read_server(Store& store, const Node& table, const PluginSchema* known) {
  const std::string section = "stores." + store.name;
  if (known != nullptr && !known->endpoints) {
    for (const std::string_view key :
         {"endpoints", "read_endpoints", "tls", "account", "password"}) {
      const Node* n = table.find(key);
      if (n != nullptr && key == "password" && n->is(Node::Kind::string)) {
        read_source(*n, section + ".password", store.password, false);  // which says how to do it
      } else if (n != nullptr) {
        faults_.add(n->key_place, section + "." + std::string(key) + ": plugin " +
                                      quote(store.plugin) + " talks to no server and takes none");
      }
    }
    return;
  }
  read_endpoints(store, table);
  if (const Node* tls = table.find("tls")) read_tls(store, *tls);
  if (table.find("account") != nullptr) {
    store.account = string_at(table, "account", section).value_or("");
    config_.set_at[section + ".account"] = table.find("account")->key_place;
  }
  if (const Node* password = table.find("password")) {
    read_source(*password, section + ".password", store.password, options_.read_passwords);
    config_.set_at[section + ".password"] = password->key_place;
    if (table.find("account") == nullptr) {
      faults_.add(password->key_place, section + ".password: expected an account beside it");
    }
  }
  check_tls(store, table);
  check_certificates(store, table.find("tls"));
  if (known != nullptr && table.find("endpoints") == nullptr) {
    faults_.add(table.place, section + ": endpoints is missing; plugin " + quote(store.plugin) +
                                 " needs it, as in endpoints = [\"host:port\"]");
  }
}

std::vector<std::uint8_t> pack_tls(const Tls& tls) {
  std::vector<std::pair<std::string_view, std::string>> pairs = {
      {"mode", std::string(word(tls.mode))}};
  const auto add = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) pairs.emplace_back(key, value);
  };
  if (tls.mode != Tls::Mode::off) {
    add("min_version", "TLSv" + tls.min_version);
    add("ca_file", tls.ca_file);
    add("cert_file", tls.cert_file);
    add("key_file", tls.key_file);
    add("server_name", tls.server_name);
  }
  proto::VectorOut out;
  proto::Writer w(&out);
  w.map(static_cast<std::uint32_t>(pairs.size()));
  for (const auto& [key, value] : pairs) {
    w.str(key);
    w.str(value);
  }
  return {out.view().begin(), out.view().end()};
}

}  // namespace headgate::config
