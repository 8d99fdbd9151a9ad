// Cursor, Writer and check: every form of every type, and every way to lie about a length.
#include "proto/cursor.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <new>

#include "proto/writer.hpp"

// Counts what this thread allocates, to hold the promise that nothing on the way in does.
static thread_local int allocations = 0;
[[gnu::noinline]] void* operator new(std::size_t n) {
  ++allocations;
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace headgate::proto {
namespace {

using Buffer = std::vector<std::uint8_t>;

template <class F>
Buffer written(F&& f) {
  VectorOut out(1);
  Writer w(&out);
  f(w);
  EXPECT_TRUE(w.ok());
  return {out.view().begin(), out.view().end()};
}

TEST(Writer, UsesTheShortestForm) {
  const std::pair<std::uint64_t, std::size_t> uints[] = {
      {0, 1},     {127, 1},   {128, 2},        {255, 2},         {256, 3},
      {65535, 3}, {65536, 5}, {0xffffffff, 5}, {0x100000000, 9}, {UINT64_MAX, 9}};
  for (const auto& [v, n] : uints) {
    EXPECT_EQ(written([&](Writer& w) { w.uint(v); }).size(), n) << v;
    if (v <= INT64_MAX) {
      EXPECT_EQ(written([&](Writer& w) { w.sint(static_cast<std::int64_t>(v)); }).size(), n) << v;
    }
  }
  const std::pair<std::int64_t, std::size_t> sints[] = {
      {-1, 1},       {-32, 1},       {-33, 2},
      {-128, 2},     {-129, 3},      {-32768, 3},
      {-32769, 5},   {INT32_MIN, 5}, {INT32_MIN - 1LL, 9},
      {INT64_MIN, 9}};
  for (const auto& [v, n] : sints) EXPECT_EQ(written([&](Writer& w) { w.sint(v); }).size(), n) << v;
  for (const auto& [length, head] : {std::pair<std::size_t, std::size_t>{0, 1},
                                     {31, 1},
                                     {32, 2},
                                     {255, 2},
                                     {256, 3},
                                     {65535, 3},
                                     {65536, 5}})
    EXPECT_EQ(written([&](Writer& w) { w.str(std::string(length, 'x')); }).size(), head + length);
  for (const auto& [length, head] :
       {std::pair<std::size_t, std::size_t>{0, 2}, {255, 2}, {256, 3}, {65535, 3}, {65536, 5}})
    EXPECT_EQ(written([&](Writer& w) { w.bin(Buffer(length)); }).size(), head + length);
  for (const auto& [length, head] : {std::pair<std::size_t, std::size_t>{0, 3},
                                     {1, 2},
                                     {2, 2},
                                     {3, 3},
                                     {4, 2},
                                     {8, 2},
                                     {16, 2},
                                     {17, 3},
                                     {255, 3},
                                     {256, 4},
                                     {65536, 6}})
    EXPECT_EQ(written([&](Writer& w) { w.ext(5, Buffer(length)); }).size(), head + length);
}

TEST(Writer, AFixedBufferIsNeverOverrun) {
  std::array<std::uint8_t, 8> memory{};
  memory.fill(0xee);
  FixedOut out{{memory.data(), 5}};
  Writer w(&out);
  w.str("abc");
  EXPECT_TRUE(w.ok());
  w.uint(300);
  EXPECT_FALSE(w.ok());
  w.nil();
  EXPECT_EQ(out.size(), 4u) << "nothing is written after a failure, not even what would fit";
  EXPECT_EQ(memory[5], 0xee);
}

TEST(Cursor, ReadsBackWhatWasWritten) {
  const Buffer b = written([](Writer& w) {
    w.array(11);
    w.nil();
    w.boolean(true);
    w.uint(UINT64_MAX);
    w.sint(INT64_MIN);
    w.real(-0.5);
    w.str("text");
    w.bin(Buffer{1, 2});
    w.ext(-3, Buffer{9});
    w.map(1);
    w.str("k");
    w.uint(1);
    w.array32(0);
    w.sint(5);
  });
  Cursor c(b);
  EXPECT_EQ(c.read_array(), 11u);
  EXPECT_TRUE(c.read_nil());
  EXPECT_TRUE(c.read_bool());
  EXPECT_EQ(c.read_uint(), UINT64_MAX);
  EXPECT_EQ(c.read_int(), INT64_MIN);
  EXPECT_EQ(c.read_float(), -0.5);
  EXPECT_EQ(c.read_str(), "text");
  EXPECT_EQ(c.read_bin().size(), 2u);
  const Item ext = c.next();
  EXPECT_EQ(ext.type, Type::ext);
  EXPECT_EQ(ext.ext, -3);
  EXPECT_EQ(c.read_map(), 1u);
  EXPECT_EQ(c.read_str(), "k");
  EXPECT_EQ(c.read_int(), 1);
  EXPECT_EQ(c.read_array(), 0u);
  EXPECT_EQ(c.read_uint(), 5u) << "a signed writer's positive number is a uint";
  EXPECT_TRUE(c.ok() && c.at_end());
}

TEST(Cursor, SignsAndWidthsDoNotMatter) {
  const Buffer forms[] = {{5},
                          {0xcc, 5},
                          {0xcd, 0, 5},
                          {0xce, 0, 0, 0, 5},
                          {0xcf, 0, 0, 0, 0, 0, 0, 0, 5},
                          {0xd0, 5},
                          {0xd1, 0, 5},
                          {0xd2, 0, 0, 0, 5},
                          {0xd3, 0, 0, 0, 0, 0, 0, 0, 5}};
  for (const Buffer& f : forms) {
    Cursor a(f), b(f), d(f);
    EXPECT_EQ(a.read_uint(), 5u);
    EXPECT_EQ(b.read_int(), 5);
    EXPECT_EQ(d.read_float(), 5.0);
    EXPECT_TRUE(a.ok() && b.ok() && d.ok());
  }
}

TEST(Cursor, AnIntegerThatDoesNotFitFails) {
  const Buffer top = written([](Writer& w) { w.uint(UINT64_MAX); });
  Cursor a(top);
  a.read_int();
  EXPECT_FALSE(a.ok());
  const Buffer minus = {0xff};
  Cursor b(minus);
  b.read_uint();
  EXPECT_FALSE(b.ok());
  const Buffer inexact = written([](Writer& w) { w.uint((1ull << 53) + 1); });
  Cursor d(inexact);
  d.read_float();
  EXPECT_FALSE(d.ok());
}

TEST(Cursor, AFailureStays) {
  const Buffer b = {0xa1, 'x', 0x01, 0x02};
  Cursor c(b);
  c.read_uint();
  EXPECT_FALSE(c.ok());
  EXPECT_EQ(c.peek(), Type::invalid);
  EXPECT_EQ(c.read_uint(), 0u);
  EXPECT_TRUE(c.skip().empty());
  EXPECT_FALSE(c.ok());
}

// Every first byte, alone and with too few bytes after it.
TEST(Cursor, EveryHeaderCutShortFailsInsideItsBytes) {
  for (int first = 0; first < 256; ++first) {
    for (std::size_t more = 0; more < 12; ++more) {
      const auto exact = std::make_unique<std::uint8_t[]>(1 + more);
      exact[0] = static_cast<std::uint8_t>(first);
      for (std::size_t i = 1; i <= more; ++i) exact[i] = 0xff;
      Cursor c({exact.get(), 1 + more});
      const Item it = c.next();
      EXPECT_EQ(it.type == Type::invalid, !c.ok());
      EXPECT_LE(c.left(), more);
      Cursor s({exact.get(), 1 + more});
      const Bytes whole = s.skip();
      EXPECT_LE(whole.size(), 1 + more);
      (void)check({exact.get(), 1 + more});
    }
  }
}

TEST(Cursor, AContainerMayNotClaimMoreThanThereIs) {
  const Buffer lies[] = {{0xdd, 0xff, 0xff, 0xff, 0xff},
                         {0xdf, 0x7f, 0xff, 0xff, 0xff, 0, 0},
                         {0xdc, 0x00, 0x02, 0xc0},
                         {0x91},
                         {0x81, 0xc0},
                         {0xdf, 0x80, 0x00, 0x00, 0x01, 0, 0},
                         {0xde, 0x00, 0x02, 0, 0, 0}};
  for (const Buffer& b : lies) {
    Cursor c(b);
    c.next();
    EXPECT_FALSE(c.ok());
    EXPECT_EQ(check(b), Shape::truncated);
  }
}

TEST(Check, Limits) {
  auto nested = [](std::size_t arrays) {
    Buffer b(arrays, 0x91);
    b.push_back(0xc0);
    return b;
  };
  EXPECT_EQ(check(nested(128)), Shape::good);
  EXPECT_EQ(check(nested(129)), Shape::too_deep);
  EXPECT_EQ(check(nested(1'000'000)), Shape::too_deep);
  EXPECT_EQ(check(nested(3), 3), Shape::good);
  EXPECT_EQ(check(nested(3), 2), Shape::too_deep);
  EXPECT_EQ(check(nested(200), 100'000), Shape::too_deep) << "no limit goes above kDepthMax";
  const Buffer three = {0x92, 0x01, 0x02};
  EXPECT_EQ(check(three, 128, 3), Shape::good);
  EXPECT_EQ(check(three, 128, 2), Shape::too_many);
  EXPECT_EQ(check(Buffer{0x81, 0xa0, 0x01}, 128, 3), Shape::good);
  EXPECT_EQ(check(Buffer{0x81, 0xa0, 0x01}, 128, 2), Shape::too_many);
  EXPECT_EQ(check(Buffer{}), Shape::truncated);
  EXPECT_EQ(check(Buffer{0xc0, 0xc0}), Shape::trailing);
  EXPECT_EQ(check(Buffer{0xc1}), Shape::bad_byte);
  EXPECT_EQ(check(Buffer{0x92, 0x01, 0xc1}), Shape::bad_byte);
  EXPECT_EQ(check(Buffer{0xa1, 0xff}), Shape::bad_utf8);
  EXPECT_EQ(check(Buffer{0xc4, 0x01, 0xff}), Shape::good) << "bytes need not be text";
}

TEST(Check, AllocatesNothing) {
  const Buffer b(10'000, 0x91);
  const int before = allocations;
  EXPECT_EQ(check(b), Shape::too_deep);
  Cursor c(b);
  (void)c.skip();
  EXPECT_EQ(allocations, before);
}

TEST(Utf8, WellFormedAndNot) {
  for (const char* good : {"", "plain", "é", "€", "😀", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf",
                           "a long enough text é with more than eight bytes 😀"})
    EXPECT_TRUE(valid_utf8(good)) << good;
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xc3",
                          "\xe2\x82", "\xf0\x9f\x98", "12345678\xff", "1234567\xc3"})
    EXPECT_FALSE(valid_utf8(bad)) << bad;
}

// Against a decoder that is written from the table of RFC 3629 one code point at a time.
bool slow_utf8(std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    const auto at = [&](std::size_t n) {
      return n < s.size() ? static_cast<unsigned char>(s[n]) : 0u;
    };
    const unsigned b = at(i);
    const std::size_t n = b < 0x80 ? 1 : b >> 5 == 6 ? 2 : b >> 4 == 14 ? 3 : b >> 3 == 30 ? 4 : 0;
    if (n == 0 || i + n > s.size()) return false;
    unsigned v = n == 1 ? b : b & (0x7fu >> n);
    for (std::size_t k = 1; k < n; ++k) {
      if (at(i + k) >> 6 != 2) return false;
      v = v << 6 | (at(i + k) & 0x3f);
    }
    const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff)) return false;
    i += n;
  }
  return true;
}

TEST(Utf8, EveryTwoAndThreeBytes) {
  std::string s(3, 'x');
  for (unsigned a = 0x7f; a < 256; ++a)
    for (unsigned b = 0x60; b < 256; ++b)
      for (unsigned c :
           {0x00u, 0x41u, 0x7fu, 0x80u, 0x8fu, 0x90u, 0x9fu, 0xa0u, 0xbfu, 0xc0u, 0xffu}) {
        s[0] = static_cast<char>(a);
        s[1] = static_cast<char>(b);
        s[2] = static_cast<char>(c);
        ASSERT_EQ(valid_utf8(s), slow_utf8(s)) << a << " " << b << " " << c;
        ASSERT_EQ(valid_utf8(s.substr(0, 2)), slow_utf8(s.substr(0, 2)));
      }
}

}  // namespace
}  // namespace headgate::proto
