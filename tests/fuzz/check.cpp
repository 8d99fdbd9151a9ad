// Door: the body check and the cursor. check() and skip() must agree on what one value is, and a
// checked value must be walkable to its end.
#include <cstdlib>

#include "proto/cursor.hpp"

using namespace headgate::proto;

namespace {
void must(bool b) {
  if (!b) std::abort();
}

// Walks a checked value header by header; counts what it met.
std::uint64_t walk(Bytes b) {
  Cursor c(b);
  std::uint64_t open = 1, met = 0;
  while (open > 0) {
    const Item it = c.next();
    must(c.ok());
    --open;
    ++met;
    if (it.type == Type::array) open += it.count;
    if (it.type == Type::map) open += std::uint64_t{2} * it.count;
    if (it.type == Type::str) must(valid_utf8(text_of(it.bytes)));
  }
  must(c.at_end());
  return met;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes b(data, size);
  const Shape s = check(b);
  Cursor c(b);
  const Bytes whole = c.skip();
  if (s == Shape::good) {
    must(whole.size() == size);
    must(walk(b) <= kElementsMax);
  }
  if (c.ok()) must(s != Shape::truncated && s != Shape::bad_byte);
  if (s == Shape::good) must(check(b, 1, 3) != Shape::truncated);
  return 0;
}
