// msgpack-cxx as the second opinion: on random values, and on mutations of them, the cursor and it
// agree on what one well-formed value is, and on what it says.
//
// Environment: HEADGATE_SEED repeats a run.
#include <gtest/gtest.h>

#include <cstdlib>
#include <msgpack.hpp>
#include <random>

#include "proto/cursor.hpp"
#include "proto/writer.hpp"

namespace headgate::proto {
namespace {

using Buffer = std::vector<std::uint8_t>;
using Random = std::mt19937_64;

std::uint64_t seed() {
  const char* s = std::getenv("HEADGATE_SEED");
  return s != nullptr ? std::strtoull(s, nullptr, 10) : std::random_device{}();
}

// A number near an edge of some width, as often as not.
std::uint64_t number(Random& r) {
  const std::uint64_t edge = std::uint64_t{1} << r() % 64;
  switch (r() % 4) {
    case 0:
      return edge;
    case 1:
      return edge - 1;
    case 2:
      return r() % 200;
    default:
      return r();
  }
}

std::size_t length(Random& r) {
  static constexpr std::size_t kEdges[] = {0, 1, 2, 4, 8, 15, 16, 17, 31, 32, 255, 256, 257};
  return r() % 50 == 0 ? 65'530 + r() % 12 : kEdges[r() % std::size(kEdges)];
}

void value(Writer& w, Random& r, int depth) {
  switch (r() % (depth > 0 ? 10 : 8)) {
    case 0:
      w.nil();
      break;
    case 1:
      w.boolean(r() % 2 == 0);
      break;
    case 2:
      w.uint(number(r));
      break;
    case 3:
      w.sint(static_cast<std::int64_t>(number(r)));
      break;
    case 4:
      w.real(static_cast<double>(number(r)) / 7);
      break;
    case 5:
      w.str(std::string(length(r), static_cast<char>('a' + r() % 26)));
      break;
    case 6:
      w.bin(Buffer(length(r), static_cast<std::uint8_t>(r())));
      break;
    case 7:
      w.ext(static_cast<std::int8_t>(r()), Buffer(length(r), static_cast<std::uint8_t>(r())));
      break;
    case 8: {
      const std::uint32_t n = r() % 20 == 0 ? 17 : static_cast<std::uint32_t>(r() % 5);
      w.array(n);
      for (std::uint32_t i = 0; i < n; ++i) value(w, r, depth - 1);
      break;
    }
    default: {
      const std::uint32_t n = r() % 20 == 0 ? 17 : static_cast<std::uint32_t>(r() % 4);
      w.map(n);
      for (std::uint32_t i = 0; i < n; ++i) {
        value(w, r, 0);
        value(w, r, depth - 1);
      }
    }
  }
}

Buffer random_value(Random& r) {
  VectorOut out;
  Writer w(&out);
  value(w, r, 5);
  return {out.view().begin(), out.view().end()};
}

Buffer mutated(Buffer b, Random& r) {
  for (std::size_t n = 1 + r() % 3; n > 0; --n) {
    if (b.empty()) return b;
    const std::size_t at = r() % std::min<std::size_t>(b.size(), 64);
    switch (r() % 4) {
      case 0:
        b[at] = static_cast<std::uint8_t>(r());
        break;
      case 1:
        b.erase(b.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 2:
        b.insert(b.begin() + static_cast<std::ptrdiff_t>(at), static_cast<std::uint8_t>(r()));
        break;
      default:
        b.pop_back();
        break;
    }
  }
  return b;
}

// Whether the cursor and msgpack-cxx read the same value.
bool same(Cursor& c, const msgpack::object& o) {
  const Item it = c.next();
  switch (it.type) {
    case Type::nil:
      return o.type == msgpack::type::NIL;
    case Type::boolean:
      return o.type == msgpack::type::BOOLEAN && o.via.boolean == it.boolean;
    case Type::uint:
      return o.type == msgpack::type::POSITIVE_INTEGER && o.via.u64 == it.uint;
    case Type::sint:
      return o.type == msgpack::type::NEGATIVE_INTEGER && o.via.i64 == it.sint;
    case Type::float32:
    case Type::float64:
      return (o.type == msgpack::type::FLOAT32 || o.type == msgpack::type::FLOAT64) &&
             (o.via.f64 == it.real || (o.via.f64 != o.via.f64 && it.real != it.real));
    case Type::str:
      return o.type == msgpack::type::STR &&
             text_of(it.bytes) == std::string_view(o.via.str.ptr, o.via.str.size);
    case Type::bin:
      return o.type == msgpack::type::BIN &&
             text_of(it.bytes) == std::string_view(o.via.bin.ptr, o.via.bin.size);
    case Type::ext:
      return o.type == msgpack::type::EXT && o.via.ext.type() == it.ext &&
             text_of(it.bytes) == std::string_view(o.via.ext.data(), o.via.ext.size);
    case Type::array:
      if (o.type != msgpack::type::ARRAY || o.via.array.size != it.count) return false;
      for (std::uint32_t i = 0; i < it.count; ++i)
        if (!same(c, o.via.array.ptr[i])) return false;
      return true;
    case Type::map:
      if (o.type != msgpack::type::MAP || o.via.map.size != it.count) return false;
      for (std::uint32_t i = 0; i < it.count; ++i)
        if (!same(c, o.via.map.ptr[i].key) || !same(c, o.via.map.ptr[i].val)) return false;
      return true;
    case Type::invalid:
      break;
  }
  return false;
}

// msgpack-cxx's word on the first value: its end, or nothing. It allocates what a header announces,
// so it is held to the bytes that there are, for its depth as well.
std::optional<std::size_t> theirs(const Buffer& b, msgpack::object_handle* h) {
  const auto n = static_cast<std::uint32_t>(b.size());
  try {
    std::size_t off = 0;
    *h = msgpack::unpack(reinterpret_cast<const char*>(b.data()), b.size(), off, nullptr, nullptr,
                         msgpack::unpack_limit(n, n, n, n, n, n));
    return off;
  } catch (const msgpack::unpack_error&) {
    return std::nullopt;
  }
}

std::optional<std::size_t> ours(const Buffer& b) {
  Cursor c(b);
  const Bytes whole = c.skip();
  return c.ok() ? std::optional(whole.size()) : std::nullopt;
}

TEST(Differential, RandomValues) {
  const std::uint64_t s = seed();
  SCOPED_TRACE("HEADGATE_SEED=" + std::to_string(s));
  Random r(s);
  for (int i = 0; i < 20'000; ++i) {
    const Buffer b = random_value(r);
    msgpack::object_handle h;
    ASSERT_EQ(theirs(b, &h), b.size());
    ASSERT_EQ(ours(b), b.size());
    ASSERT_EQ(check(b), Shape::good);
    Cursor c(b);
    ASSERT_TRUE(same(c, h.get()));
    ASSERT_TRUE(c.at_end());
  }
}

TEST(Differential, MutatedValues) {
  const std::uint64_t s = seed();
  SCOPED_TRACE("HEADGATE_SEED=" + std::to_string(s));
  Random r(s);
  int refused = 0, accepted = 0;
  for (int i = 0; i < 60'000; ++i) {
    const Buffer b = mutated(random_value(r), r);
    msgpack::object_handle h;
    const auto them = theirs(b, &h), us = ours(b);
    ASSERT_EQ(them, us) << "input " << i;
    const Shape shape = check(b);
    if (shape == Shape::too_deep || shape == Shape::too_many) continue;  // limits of ours alone
    if (!us.has_value()) {
      ++refused;
      ASSERT_TRUE(shape == Shape::truncated || shape == Shape::bad_byte || shape == Shape::bad_utf8)
          << name(shape);
      continue;
    }
    ++accepted;
    Cursor c(b);
    ASSERT_TRUE(same(c, h.get())) << "input " << i;
    const Shape wanted = *us < b.size() ? Shape::trailing : Shape::good;
    ASSERT_TRUE(shape == wanted || shape == Shape::bad_utf8) << name(shape);
  }
  EXPECT_GT(refused, 1000);
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace headgate::proto
