// The errors of the document kind, by what the caller did. All are `rejected`: the store has done
// nothing, or the connection undoes it.
#pragma once
#include <string>

#include "plugins/sdk/driver.hpp"

namespace headgate::sqlite::doc {

inline sdk::Error bad(std::string m) {
  return {sdk::Code::invalid, sdk::Outcome::rejected, std::move(m)};
}
// REQUIRES: m names what is not supported.
inline sdk::Error no(std::string m) {
  return {sdk::Code::unsupported, sdk::Outcome::rejected, std::move(m)};
}
inline sdk::Error too_large(std::string m) {
  return {sdk::Code::too_large, sdk::Outcome::rejected, std::move(m)};
}
inline sdk::Error broken(std::string m) {
  return {sdk::Code::internal, sdk::Outcome::rejected, std::move(m)};
}

// A name of the caller's for a message: quoted, and short enough for one.
inline std::string quoted(std::string_view name) {
  std::string out = "`";
  for (const char c : name.substr(0, 80)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  if (name.size() > 80) out += "...";
  return out + "`";
}

}  // namespace headgate::sqlite::doc
