// The description of a plugin as the tests' configuration files expect it: all option types.
#pragma once
#include "daemon/config/config.hpp"

namespace headgate::config {

inline LoadOptions with_schema() {
  LoadOptions options;
  options.schema_of = [](const std::string&,
                         const std::string& plugin) -> tl::expected<PluginSchema, std::string> {
    using T = OptionSchema::Type;
    PluginSchema s;
    if (plugin == "postgres") {
      s.endpoints = true;
      s.options = {{"database", T::str, true, false, {}, {}}};
      s.verbs = {{"sql", {"ping", "query", "execute", "run"}}};
      return s;
    }
    if (plugin != "sqlite") return tl::make_unexpected(plugin + ".so: no such file");
    s.options = {{"path", T::str, true, false, 1, 4096},
                 {"synchronous", T::str, false, false, {}, {}, {"full", "normal"}},
                 {"readers", T::integer, false, false, 1, 64},
                 {"busy_timeout", T::duration_ms, false, false, 0, 60'000},
                 {"cache", T::bytes, false, false, 0, 1 << 30},
                 {"strict", T::boolean, false, false, {}, {}},
                 {"pragmas", T::list, false, false, {}, 2},
                 {"pass", T::str, false, true, {}, {}}};
    s.verbs = {{"sql", {"ping", "query", "execute", "run"}},
               {"document", {"ping", "find", "insert_one"}},
               {"key_value", {"ping", "get", "set"}}};
    return s;
  };
  return options;
}

}  // namespace headgate::config
