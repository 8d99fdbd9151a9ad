// What we send: byte for byte, and refused without a trace.
#include <gtest/gtest.h>

#include "tests/unit/postgres_wire/support.hpp"

namespace headgate::postgres::wire::test {
namespace {

template <class F>
std::string sent(F f) {
  OutBuffer out;
  f(out);
  return to_hex(out.view());
}

TEST(WireFrontend, Messages) {
  EXPECT_EQ(sent([](auto& o) { sync(o); }), "5300000004");
  EXPECT_EQ(sent([](auto& o) { flush(o); }), "4800000004");
  EXPECT_EQ(sent([](auto& o) { copy_done(o); }), "6300000004");
  EXPECT_EQ(sent([](auto& o) { terminate(o); }), "5800000004");
  EXPECT_EQ(sent([](auto& o) { parse(o, "a", "x", std::array<Oid, 1>{23}); }),
            "500000000e610078000001"
            "00000017");
  EXPECT_EQ(sent([](auto& o) { describe_statement(o, "a"); }), "4400000007536100");
  EXPECT_EQ(sent([](auto& o) { describe_portal(o, ""); }), "44000000065000");
  EXPECT_EQ(sent([](auto& o) { close_statement(o, "a"); }), "4300000007536100");
  EXPECT_EQ(sent([](auto& o) { close_portal(o, "a"); }), "4300000007506100");
  EXPECT_EQ(sent([](auto& o) { execute(o, "", 5); }), "45000000090000000005");
  EXPECT_EQ(sent([](auto& o) { query(o, "x"); }), "51000000067800");
  EXPECT_EQ(sent([](auto& o) { copy_data(o, proto::bytes_of("ab")); }), "64000000066162");
  EXPECT_EQ(sent([](auto& o) { copy_fail(o, "no"); }), "66000000076e6f00");
  EXPECT_EQ(sent([](auto& o) {
              BindWriter b(o, "", "s", 3);
              b.null();
              b.text("t");
              b.binary(std::array<std::uint8_t, 2>{1, 2});
              b.finish(std::array<std::int16_t, 1>{1});
            }),
            "420000002400730000030001000000010003ffffffff000000017400000002"
            "010200010001");
  EXPECT_EQ(sent([](auto& o) {
              CopyDataWriter d(o);
              copy_binary_header(o);
              copy_binary_row(o, 1);
              copy_binary_trailer(o);
              d.finish();
            }),
            "640000001b5047434f50590aff0d0a0000000000000000000001ffff");
}

template <class F>
void refused(const char* sqlstate, F f) {
  OutBuffer out;
  sync(out);
  const std::string before = to_hex(out.view());
  try {
    f(out);
    ADD_FAILURE() << "taken, instead of " << sqlstate;
  } catch (const sdk::Error& e) {
    EXPECT_EQ(e.sqlstate, sqlstate);
    EXPECT_EQ(e.outcome, sdk::Outcome::rejected);
  }
  EXPECT_EQ(to_hex(out.view()), before) << "a trace is left";
}

TEST(WireFrontend, RefusalsLeaveNoTrace) {
  const std::string nul("a\0b", 3);
  refused("22021", [&](auto& o) { parse(o, "", nul); });
  refused("22021", [&](auto& o) { parse(o, nul, "x"); });
  refused("22021", [&](auto& o) { query(o, nul); });
  refused("22021", [&](auto& o) { copy_fail(o, nul); });
  refused("42622", [&](auto& o) { parse(o, std::string(64, 'n'), "x"); });
  refused("54023", [&](auto& o) { parse(o, "", "x", std::vector<Oid>(65'536)); });
  refused("54023", [&](auto& o) { BindWriter(o, "", "", 65'536); });
  refused("22021", [&](auto& o) { BindWriter(o, "", "", 1).text(nul); });
  // A length alone: nothing of it is read.
  const Bytes gigabyte(static_cast<const std::uint8_t*>(nullptr), kMessageBytesMax + 1);
  refused("54000", [&](auto& o) { copy_data(o, gigabyte); });
  refused("54000", [&](auto& o) { BindWriter(o, "", "", 1).binary(gigabyte); });
  refused("", [&](auto& o) {
    BindWriter b(o, "", "", 1);
    b.finish({});
  });
  refused("", [&](auto& o) {
    BindWriter b(o, "", "", 0);
    b.null();
  });
}

TEST(WireFrontend, BufferKeepsItsBytesWhileItMovesAndGrows) {
  OutBuffer out;
  std::string expected;
  std::size_t taken = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string piece(static_cast<std::size_t>(i % 97), static_cast<char>('a' + i % 26));
    out.put(piece);
    expected += piece;
    const std::size_t n = out.size() * static_cast<std::size_t>(i % 5) / 5;
    out.consumed(n);
    taken += n;
    ASSERT_EQ(proto::text_of(out.view()), std::string_view(expected).substr(taken));
  }
}

}  // namespace
}  // namespace headgate::postgres::wire::test
