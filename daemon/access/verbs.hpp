// VerbTable is what one store offers, from its plugin's describe: the names and their flags, found
// by a hash that was fitted to them.
//
// Owner: the store's entry in dispatch. Threads: read-only once built.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/core/call.hpp"

namespace headgate::access {

// FNV-1a, with a seed that a table is fitted by.
inline std::uint32_t hash_of(std::string_view s, std::uint32_t seed) {
  std::uint32_t h = 2166136261u ^ seed;
  for (const char c : s) h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
  return h ^ (h >> 15);
}

// A fixed set of names, each in a place of its own: a look-up is one hash and one comparison.
class NameTable {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  NameTable() = default;
  // REQUIRES: no name twice.
  explicit NameTable(std::vector<std::string> names);
  // Index of the name in the list it was built from, or kNone.
  [[nodiscard]] std::uint32_t find(std::string_view name) const {
    if (cells_.empty()) return kNone;
    const std::uint32_t i = cells_[hash_of(name, seed_) & (cells_.size() - 1)];
    return i != kNone && names_[i] == name ? i : kNone;
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::uint32_t> cells_;  // index of the one name that may be meant
  std::uint32_t seed_ = 0;
};

struct Verb {
  std::string name;
  Access access = Access::write;
  bool streams = false;
  bool uploads = false;
  bool waits = false;
};

class VerbTable {
 public:
  VerbTable() = default;
  explicit VerbTable(std::vector<Verb> verbs);
  [[nodiscard]] std::uint32_t find(std::string_view name) const { return names_.find(name); }
  [[nodiscard]] const Verb& operator[](std::uint32_t i) const { return verbs_[i]; }
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(verbs_.size()); }

 private:
  std::vector<Verb> verbs_;
  NameTable names_;
};

}  // namespace headgate::access
