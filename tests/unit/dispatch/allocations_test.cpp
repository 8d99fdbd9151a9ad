// No allocation per `ping` in the daemon's own code, from frame to frame.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "tests/unit/dispatch/rig.hpp"

namespace {
bool counting = false;
std::uint64_t allocations = 0;
}  // namespace

void* operator new(std::size_t n) {
  if (counting) ++allocations;
  if (void* p = std::malloc(n == 0 ? 1 : n)) return p;
  throw std::bad_alloc();
}
void* operator new[](std::size_t n) { return operator new(n); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace headgate {
namespace {

// A frame that lives in the storage itself, as a small message of libzmq's does.
Frame inline_frame(const std::vector<std::uint8_t>& bytes) {
  static const Frame::Ops kOps = {
      [](void* from, void* to) { std::memcpy(to, from, Frame::kStorage); }, [](void*) {}};
  Frame f;
  std::memcpy(f.storage(), bytes.data(), bytes.size());
  f.adopt(&kOps, {static_cast<std::uint8_t*>(f.storage()), bytes.size()});
  return f;
}

TEST(Allocations, APingCostsNone) {
  Rig r;
  const PeerId p = r.peer(0);
  r.frames.keep = false;
  auto frame = encoded(r.request(7, "headgate", "ping"));
  ASSERT_LE(frame.size(), Frame::kStorage);
  const auto some = [&](int n) {
    for (int i = 0; i < n; ++i) r.d->on_frame(p, inline_frame(frame));
  };
  some(1000);  // slabs are made
  const std::uint64_t sent = r.frames.sent;
  counting = true;
  some(100'000);
  counting = false;
  EXPECT_EQ(r.frames.sent - sent, 100'000u);
  EXPECT_EQ(allocations, 0u);
  EXPECT_EQ(r.d->counts().replies[0], 101'000u);
}

TEST(Allocations, AndTheCounterCounts) {
  counting = true;
  delete new int(1);
  counting = false;
  EXPECT_GT(allocations, 0u);
}

}  // namespace
}  // namespace headgate
