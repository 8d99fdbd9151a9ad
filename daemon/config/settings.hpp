// settings: the one table of everything with a name, a unit, a range and a default.
//
// It feeds the parser, `show config`, diff() (what a reload changes), the table of
// docs/configuration.md and the check of etc/headgate.toml. Defaults are the members' initializers
// in config.hpp; everything else about a setting is its line in settings.cpp.
//
// Threads: constants.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "daemon/config/config.hpp"

namespace headgate::config {

enum class Unit : std::uint8_t {
  text,      // string
  path,      // string; relative to the file that says it
  address,   // "tcp://address:port"
  flag,      // true or false
  count,     // integer
  size,      // "64MiB", or bytes
  duration,  // "250ms"
  ratio,     // 0.0 to 1.0
  level,     // debug, info, warn, error
  mode,      // "0660"
  secret,    // a table that says where the secret is
};

template <class T>
using Field = std::variant<std::string T::*, std::uint32_t T::*, std::uint64_t T::*, Micros T::*,
                           bool T::*, double T::*, Level T::*, SecretSource T::*>;

template <class T>
struct Setting {
  std::string_view name;
  Field<T> field;
  Unit unit;
  double min, max;  // of numbers; bytes and microseconds for sizes and durations
  bool restart;     // takes effect at the next start, not at a reload
  std::string_view help;
};

std::span<const Setting<Daemon>> daemon_settings();
std::span<const Setting<Pool>> pool_settings();
std::span<const Setting<Service>> service_settings();
std::span<const Setting<Limits>> limit_settings();

// The value as TOML would have it ("" for a secret that is not given; else its source).
template <class T>
std::string render(const T& of, const Setting<T>& setting);
extern template std::string render(const Daemon&, const Setting<Daemon>&);
extern template std::string render(const Pool&, const Setting<Pool>&);
extern template std::string render(const Service&, const Setting<Service>&);
extern template std::string render(const Limits&, const Setting<Limits>&);

// A secret's source as TOML would have it; "" for none.
std::string render(const SecretSource& source);
// "verify-full", "verify-ca" or "off".
std::string_view word(Tls::Mode mode);

// The bounds of a number, as its unit writes them: "from 1s to 24h"; "" where there are none.
std::string range_text(Unit unit, double min, double max);

// The Markdown table between the marks of docs/configuration.md.
std::string settings_table();

}  // namespace headgate::config
