// Plans of results: formats, header, rows; and that a row costs no allocation.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "tests/unit/postgres_wire/support.hpp"

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

namespace headgate::postgres::wire::test {
namespace {

struct Builder {
  Input bytes;
  Builder& u16(std::uint32_t v) { return u8(v >> 8).u8(v); }
  Builder& u32(std::uint32_t v) { return u16(v >> 16).u16(v); }
  Builder& u8(std::uint32_t v) {
    bytes.push_back(static_cast<std::uint8_t>(v));
    return *this;
  }
  Builder& raw(std::string_view s) {
    bytes.insert(bytes.end(), s.begin(), s.end());
    return *this;
  }
  Builder& value(std::string_view s) { return u32(static_cast<std::uint32_t>(s.size())).raw(s); }
  Builder& field(std::string_view name, Oid type, std::uint32_t typmod = 0xffffffff) {
    return raw(name).u8(0).u32(0).u16(0).u32(type).u16(4).u32(typmod).u16(0);
  }
};

TEST(WirePlan, HeaderAndRows) {
  TypeCatalog catalog;
  Builder d;
  d.u16(4).field("id", 23).field("v", 25).field("p", 1700, (10 << 16 | 2) + 4).field("m", 790);
  const ResultPlan plan(d.bytes, catalog);
  EXPECT_EQ(ResultPlan::types_in(d.bytes), (std::vector<Oid>{23, 25, 1700, 790}));
  EXPECT_EQ(std::vector<std::int16_t>(plan.formats().begin(), plan.formats().end()),
            (std::vector<std::int16_t>{1, 1, 1, 0}));
  EXPECT_EQ(to_hex(plan.header()),
            "94"
            "95a26964a4696e7434c0c0c0"
            "95a176a474657874c0c0c0"
            "95a170a76e756d65726963c00a02"
            "95a16da56d6f6e6579c0c0c0");
  Builder r;
  r.u16(4).value(std::string_view("\0\0\1\0", 4)).value("ab").u32(0xffffffff).value("$1");
  proto::VectorOut out;
  proto::Writer w(&out);
  plan.write_row(w, r.bytes);
  EXPECT_EQ(to_hex(out.view()), "94cd0100a26162c0a22431");
  for (std::size_t n = 0; n < r.bytes.size(); ++n)
    EXPECT_THROW(plan.write_row(w, Bytes(r.bytes).first(n)), ProtocolFault) << n;
  r.u8(0);
  EXPECT_THROW(plan.write_row(w, r.bytes), ProtocolFault);
  Builder fewer;
  fewer.u16(1).value("x");
  EXPECT_THROW(plan.write_row(w, fewer.bytes), ProtocolFault);
}

TEST(WirePlan, ARefusedValueNamesItsColumn) {
  TypeCatalog catalog;
  Builder d;
  d.u16(2).field("id", 23).field("note", 25);
  const ResultPlan plan(d.bytes, catalog);
  ASSERT_EQ(plan.formats().size(), 1u);
  Builder r;
  r.u16(2).value(std::string_view("\0\0\0\1", 4)).value("\xff");
  proto::VectorOut out;
  proto::Writer w(&out);
  try {
    plan.write_row(w, r.bytes);
    FAIL();
  } catch (const Unrepresentable& e) {
    EXPECT_EQ(e.message,
              "column 2 (note) holds text that is not UTF-8: read it as bytes with convert_to()");
    EXPECT_EQ(e.sqlstate, "22021");
  }
}

TEST(WirePlan, ARowCostsNoAllocation) {
  TypeCatalog catalog;
  Builder d;
  d.u16(5).field("a", 23).field("b", 25).field("c", 1700).field("d", 1184).field("e", 1007);
  const ResultPlan plan(d.bytes, catalog);
  Builder r;
  r.u16(5).value(std::string_view("\0\0\1\0", 4)).value("some text");
  r.value(std::string_view("\0\1\0\0\0\0\0\0\0\1", 10));
  r.value(std::string_view("\0\0\0\0\0\0\0\1", 8));
  r.value(std::string_view("\0\0\0\0\0\0\0\0\0\0\0\x17", 12));
  Builder message;
  message.u8('D').u32(static_cast<std::uint32_t>(r.bytes.size() + 4));
  message.bytes.insert(message.bytes.end(), r.bytes.begin(), r.bytes.end());
  Reader reader;
  OutBuffer out;
  proto::VectorOut reply(4096);
  const std::array<std::int16_t, 1> binary = {1};
  const auto once = [&] {
    reply.clear();
    proto::Writer w(&reply);
    auto room = reader.room();
    std::copy(message.bytes.begin(), message.bytes.end(), room.begin());
    reader.received(message.bytes.size());
    Message m;
    while (reader.next(&m)) plan.write_row(w, m.payload);
    BindWriter bind(out, "", "s1", 1);
    const std::uint8_t seven = 7;
    proto::Cursor c({&seven, 1});
    bind_value(bind, *TypeCatalog::builtin(23), c, "parameter 1");
    bind.finish(binary);
    execute(out);
    sync(out);
    out.consumed(out.size());
  };
  once();
  counting = true;
  for (int i = 0; i < 1000; ++i) once();
  counting = false;
  EXPECT_EQ(allocations, 0u);
  counting = true;
  delete new int(1);
  counting = false;
  EXPECT_GT(allocations, 0u) << "the counter counts";
}

TEST(WireCatalog, LookupIsTheRecordedOne) {
  const Input sql = read_file(recorded_path("lookup.sql"));
  EXPECT_EQ(std::string(sql.begin(), sql.end()),
            std::string(TypeCatalog::lookup_sql(150'000)) + "\n");
  EXPECT_EQ(TypeCatalog::lookup_sql(130'000).find("multirange"), std::string_view::npos);
  EXPECT_EQ(TypeCatalog::lookup_sql(130'000).find("rngmultitypid"), std::string_view::npos);
  const Oid two[] = {1, 2};
  EXPECT_EQ(TypeCatalog::lookup_argument(two), "{1,2}");
}

TEST(WireCatalog, UnknownSettledAndForgotten) {
  TypeCatalog catalog;
  const Oid asked[] = {23, 0, 20'000, 20'000, 20'001};
  EXPECT_EQ(catalog.unknown(asked), (std::vector<Oid>{20'000, 20'001}));
  catalog.settle(asked);
  EXPECT_TRUE(catalog.unknown(asked).empty());
  EXPECT_EQ(catalog.type(20'000)->name, "oid 20000");
  EXPECT_EQ(catalog.type(20'000)->format(), 0);
  catalog.forget_learned();
  EXPECT_EQ(catalog.unknown(asked).size(), 2u);
}

// A server that says that a type contains itself.
TEST(WireCatalog, TypesThatContainThemselves) {
  const auto row = [](Oid oid, char type, bool array, Oid inner) {
    Builder r;
    Builder id, in;
    id.u32(oid);
    in.u32(inner);
    const auto text = [](const Builder& b) {
      return std::string_view(reinterpret_cast<const char*>(b.bytes.data()), b.bytes.size());
    };
    const std::string none(12, '\0');
    r.u16(9).value(text(id)).value("loop").value({&type, 1}).value("\1");
    r.value(array ? std::string_view("\1", 1) : std::string_view("\0", 1)).value(text(in));
    r.value("\xff\xff\xff\xff").value(none).value(none);
    return r.bytes;
  };
  TypeCatalog catalog;
  catalog.learn(row(20'000, 'b', true, 20'001));
  catalog.learn(row(20'001, 'd', false, 20'000));
  EXPECT_EQ(catalog.type(20'000)->format(), 0);
  EXPECT_EQ(catalog.type(20'001)->format(), 0);
  for (Oid o = 30'000; o < 30'100; ++o) catalog.learn(row(o, 'b', true, o + 1));
  catalog.learn(row(30'100, 'b', true, 23));
  EXPECT_EQ(catalog.type(30'000)->format(), 0) << "deeper than kTypeDepthMax";
  const Input good = row(20'000, 'b', true, 20'001);
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_THROW(catalog.learn(Bytes(good).first(n)), ProtocolFault) << n;
}

}  // namespace
}  // namespace headgate::postgres::wire::test
