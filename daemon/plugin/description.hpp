// Description is what a plugin says about itself, read from `describe` and checked: grants, retry,
// configuration checks, documentation and the conformance gate are built from this one table.
//
// Owner:   Library; constant after loading, so any thread may read it.
// Holds:   every number is inside the bounds below, names are unique, and a lane that leases,
// cancels
//          or runs on the loop belongs to a plugin that has the functions for it.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/call.hpp"
#include "daemon/core/result.hpp"
#include "daemon/plugin/link.hpp"
#include "plugins/sdk/plugin.h"

namespace headgate::plugin {

inline constexpr std::uint64_t kDescribeBytesMax = 1u << 20;
inline constexpr std::uint32_t kLanesMax = 16;
inline constexpr std::uint32_t kVerbsMax = 512;  // a kind
inline constexpr std::uint32_t kOptionsMax = 128;
inline constexpr std::uint32_t kConnectionsMax = 4096;  // of a lane
inline constexpr std::uint32_t kLaneInflightMax = 65'536;

struct Verb {
  Access access = Access::write;
  bool streams = false;
  bool uploads = false;
  bool waits = false;
};

struct Kind {
  std::string kind;  // sql, document, key_value
  std::map<std::string, Verb, std::less<>> verbs;
  std::vector<std::string> capabilities;
  std::map<std::string, std::int64_t, std::less<>> limits;
};

struct Option {
  enum class Type : std::uint8_t { str, integer, boolean, list, duration_ms, bytes };
  std::string name;
  Type type = Type::str;
  bool required = false;
  bool secret = false;
  std::optional<std::int64_t> min, max;  // of a number; of a str or list: its length
  std::vector<std::string> values;       // that a str may have; empty: any
  std::vector<std::uint8_t> fallback;    // one msgpack value; empty: none
  std::string help;
};
std::string_view name(Option::Type t);

struct Description {
  std::string name, version, product;
  std::vector<Kind> kinds;
  std::vector<LaneInfo> lanes;
  std::vector<Option> options;  // in the order of describe
  bool endpoints = false;
  bool keeps_secrets = false;
  std::vector<std::uint8_t> raw;  // as the plugin gave it

  // Index into kinds, as hg_driver_config.kind counts; -1: not offered.
  [[nodiscard]] int kind_index(std::string_view kind) const;
  [[nodiscard]] const Verb* verb(std::size_t kind, std::string_view name) const;
  [[nodiscard]] const Option* option(std::string_view name) const;
};

// Reads and checks describe's map. The fault says what is wrong with which entry.
Result<Description> read_description(proto::Bytes map, const hg_plugin& plugin);

// The body of the verb `describe` for one kind, which the host answers itself (proto/verbs.json).
std::vector<std::uint8_t> describe_reply(const Description& d, std::size_t kind);

// One thing that is wrong with a store's options.
struct OptionFault {
  std::string option;
  std::string what;  // "must be an integer from 1 to 64, not a string"
};

// `options`: the store's options as one msgpack map. A duration may be a number (milliseconds) or a
// text ("250ms", "5s", "2m", "1h", "7d"); bytes a number or a text ("64KiB", "8MiB", "1GiB").
// Every fault is found: unknown, missing, wrongly typed, out of range, given twice.
std::vector<OptionFault> check_options(const Description& d, proto::Bytes options);

// The map that driver_open gets: defaults filled in, durations and sizes as numbers.
// REQUIRES: check_options found nothing.
std::vector<std::uint8_t> complete_options(const Description& d, proto::Bytes options);
// The value of an integer among completed options; empty when there is none of that name.
std::optional<std::int64_t> int_option(proto::Bytes options, std::string_view name);

}  // namespace headgate::plugin
