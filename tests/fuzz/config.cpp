// Door: the configuration. Whatever the text, the answer is a Config that shows itself as TOML and
// is taken again with the same values, or at least one fault with a place.
#include "daemon/config/config.hpp"

#include <cstdlib>
#include <string_view>

#include "tests/unit/config/schema.hpp"

using namespace headgate::config;

namespace {
void must(bool b) {
  if (!b) std::abort();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const LoadOptions options = with_schema();
  const auto config = load_text(text, "fuzz.toml", options);
  if (!config) {
    must(!config.error().empty());
    for (const ConfigFault& f : config.error()) must(!f.what.empty() && !f.place.file.empty());
    return 0;
  }
  std::string shown;
  for (const ShownSetting& s : show(*config)) {
    if (!s.value.empty() && s.name.starts_with("daemon.")) shown += s.name + " = " + s.value + "\n";
  }
  const auto again = load_text(shown, "shown.toml", options);
  must(again.has_value());
  for (const Difference& d : {diff(*config, *config), diff(*again, *again)}) {
    must(d.changed.empty() && d.needs_restart.empty());
  }
  for (const std::string& name : diff(*config, *again).changed) must(!name.starts_with("daemon."));
  return 0;
}
