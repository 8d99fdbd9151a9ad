// The pieces of describe's map (README.md, "describe"), and the table of a plugin's integer options
// that feeds describe as well as reading.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "plugins/sdk/driver.hpp"

namespace headgate::sdk {

struct VerbEntry {
  std::string_view name;
  std::string_view access;  // read, write or admin
  bool streams = false;
  bool uploads = false;
  bool waits = false;
};
// One pair of a kind's verbs map.
void describe_verb(proto::Writer& w, const VerbEntry& v);

struct LaneEntry {
  std::string_view name;
  std::string_view model;  // event or blocking
  std::int64_t connections;
  std::int64_t connections_max;
  std::string_view per;   // pool or store
  std::int64_t inflight;  // on one connection
  std::int64_t batch;     // of these in one submit
  bool lease;
  bool read_only;
  std::string_view cancel;  // none or operation
  std::string_view option;  // that says how many connections; or empty
};
// One entry of the lanes' list.
void describe_lane(proto::Writer& w, const LaneEntry& l);

// One pair of the options map that has no range. `otherwise`: its default; empty: none. `values`:
// that a str may have; empty: any, but not an empty text where it is required or has a default.
void describe_option(proto::Writer& w, std::string_view name, std::string_view type, bool required,
                     std::string_view help, std::string_view otherwise,
                     std::span<const std::string_view> values = {});
// The same of an integer.
void describe_option(proto::Writer& w, std::string_view name, std::string_view type,
                     std::string_view help, std::int64_t otherwise, std::int64_t min,
                     std::int64_t max);
// An integer from min to max. Throws Error (invalid) with the option's name.
std::int64_t read_int_option(std::string_view name, std::int64_t min, std::int64_t max,
                             proto::Cursor value);

// An integer option and where it stands in the plugin's Options.
template <class Options>
struct IntOption {
  std::string_view name;
  std::string_view type;  // int, bytes or duration_ms
  std::int64_t Options::*field;
  std::int64_t min;
  std::int64_t max;
  std::string_view help;
};

// False: it is none of the table's.
template <class Options>
bool read_int_option(std::span<const IntOption<Options>> table, Options& out, std::string_view name,
                     proto::Cursor value) {
  for (const IntOption<Options>& o : table) {
    if (o.name != name) continue;
    out.*o.field = read_int_option(o.name, o.min, o.max, value);
    return true;
  }
  return false;
}

template <class Options>
void describe_int_options(proto::Writer& w, std::span<const IntOption<Options>> table) {
  const Options otherwise;
  for (const IntOption<Options>& o : table)
    describe_option(w, o.name, o.type, o.help, otherwise.*o.field, o.min, o.max);
}

}  // namespace headgate::sdk
