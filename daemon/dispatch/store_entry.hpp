// StoreEntry is one store as dispatch knows it: what it offers and where its calls go.
//
// Owner: Gateway; it outlives the dispatcher. Threads: the loop's. Store 0 is the built-in one.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "daemon/access/verbs.hpp"
#include "daemon/core/call.hpp"
#include "daemon/core/time.hpp"

namespace headgate {

namespace pool {
class Attempts;
}

struct StoreEntry {
  std::uint32_t index = 0;
  std::string name;
  std::string kind;
  access::VerbTable verbs;
  std::vector<std::uint8_t> describe;  // the body of the verb `describe`

  pool::Attempts* attempts = nullptr;          // null: no calls can be taken, see `trouble`
  std::function<std::string()> trouble;        // why (a plugin that could not be loaded)
  std::function<Answer(const Call&)> builtin;  // store 0: answered at once
};

}  // namespace headgate
