// Writing the pieces of describe.
#include "plugins/sdk/describe.hpp"

namespace headgate::sdk {
namespace {

void begin_option(proto::Writer& w, std::string_view name, std::string_view type, bool required,
                  std::string_view help, std::uint32_t more = 0) {
  w.str(name);
  w.map(7 + more);
  w.str("type");
  w.str(type);
  w.str("required");
  w.boolean(required);
  w.str("secret");
  w.boolean(false);
  w.str("help");
  w.str(help);
  w.str("default");
}

}  // namespace

void describe_verb(proto::Writer& w, const VerbEntry& v) {
  w.str(v.name);
  w.map(4);
  w.str("access");
  w.str(v.access);
  w.str("streams");
  w.boolean(v.streams);
  w.str("uploads");
  w.boolean(v.uploads);
  w.str("waits");
  w.boolean(v.waits);
}

void describe_lane(proto::Writer& w, const LaneEntry& l) {
  w.map(l.option.empty() ? 10 : 11);
  if (!l.option.empty()) {
    w.str("connections_option");
    w.str(l.option);
  }
  w.str("name");
  w.str(l.name);
  w.str("model");
  w.str(l.model);
  w.str("connections");
  w.sint(l.connections);
  w.str("connections_max");
  w.sint(l.connections_max);
  w.str("per");
  w.str(l.per);
  w.str("max_inflight");
  w.sint(l.inflight);
  w.str("max_batch");
  w.sint(l.batch);
  w.str("lease");
  w.boolean(l.lease);
  w.str("read_only");
  w.boolean(l.read_only);
  w.str("cancel");
  w.str(l.cancel);
}

void describe_option(proto::Writer& w, std::string_view name, std::string_view type, bool required,
                     std::string_view help, std::string_view otherwise,
                     std::span<const std::string_view> values) {
  begin_option(w, name, type, required, help, values.empty() ? 0 : 1);
  otherwise.empty() ? w.nil() : w.str(otherwise);
  w.str("min");
  type == "str" && (required || !otherwise.empty()) ? w.sint(1) : w.nil();
  w.str("max");
  w.nil();
  if (values.empty()) return;
  w.str("values");
  w.array(static_cast<std::uint32_t>(values.size()));
  for (const std::string_view v : values) w.str(v);
}

void describe_option(proto::Writer& w, std::string_view name, std::string_view type,
                     std::string_view help, std::int64_t otherwise, std::int64_t min,
                     std::int64_t max) {
  begin_option(w, name, type, false, help);
  w.sint(otherwise);
  w.str("min");
  w.sint(min);
  w.str("max");
  w.sint(max);
}

std::int64_t read_int_option(std::string_view name, std::int64_t min, std::int64_t max,
                             proto::Cursor value) {
  const std::int64_t v = value.read_int();
  if (value.ok() && v >= min && v <= max) return v;
  throw invalid("option `" + std::string(name) + "` must be an integer from " +
                std::to_string(min) + " to " + std::to_string(max));
}

}  // namespace headgate::sdk
