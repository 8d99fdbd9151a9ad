#include "daemon/access/verbs.hpp"

#include <bit>
#include <utility>

namespace headgate::access {

// Tries seeds until no two names share a place, with more places each time that takes long.
NameTable::NameTable(std::vector<std::string> names) : names_(std::move(names)) {
  if (names_.empty()) return;
  std::size_t places = std::bit_ceil(names_.size() * 2);
  for (std::uint32_t attempt = 1;; ++attempt) {
    cells_.assign(places, kNone);
    seed_ = attempt * 2654435769u;
    bool fits = true;
    for (std::uint32_t i = 0; fits && i < names_.size(); ++i) {
      std::uint32_t& c = cells_[hash_of(names_[i], seed_) & (places - 1)];
      fits = c == kNone;
      c = i;
    }
    if (fits) return;
    if (attempt % 64 == 0) places *= 2;
  }
}

VerbTable::VerbTable(std::vector<Verb> verbs) : verbs_(std::move(verbs)) {
  std::vector<std::string> names;
  names.reserve(verbs_.size());
  for (const Verb& v : verbs_) names.push_back(v.name);
  names_ = NameTable(std::move(names));
}

}  // namespace headgate::access
