// Every recorded value, decoded and compared with the server's own text, and encoded again to the
// server's own bytes.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/unit/postgres_wire/support.hpp"

namespace headgate::postgres::wire::test {
namespace {

struct Vector {
  std::string type, text;
  Oid oid = 0;
  Input binary;
};

std::vector<Vector> vectors() {
  std::vector<Vector> out;
  std::ifstream in(recorded_path("types.jsonl"));
  for (std::string line; std::getline(in, line);) {
    const auto j = nlohmann::json::parse(line);
    out.push_back({j["type"], j["text"], j["oid"], from_hex(j["binary"])});
  }
  return out;
}

// Values that no message of ours can carry: refused, not changed.
bool not_carried(const Vector& v, const Type& type) {
  return (type.codec == Codec::array && v.text.starts_with("[")) ||
         (type.codec == Codec::timestamp && v.text.starts_with("294276"));
}

TEST(WireTypes, TextOfEveryValueIsTheServers) {
  TypeCatalog catalog = recorded_catalog();
  std::size_t in_binary = 0;
  for (const Vector& v : vectors()) {
    SCOPED_TRACE(v.type + " " + v.text);
    const TypePtr type = catalog.type(v.oid);
    proto::VectorOut out;
    proto::Writer w(&out);
    if (not_carried(v, *type)) {
      EXPECT_THROW(write_binary(w, *type, v.binary), Unrepresentable);
      continue;
    }
    if (type->format() == 1) {
      ++in_binary;
      write_binary(w, *type, v.binary);
    } else {
      write_text(w, *type, proto::bytes_of(v.text));
    }
    ASSERT_EQ(proto::check(out.view()), proto::Shape::good);
    proto::Cursor c(out.view());
    EXPECT_EQ(pg_text(*type, c), v.text);
    EXPECT_TRUE(c.at_end());
  }
  EXPECT_GT(in_binary, 180u);
}

TEST(WireTypes, WhatWasReadIsWrittenByteForByte) {
  TypeCatalog catalog = recorded_catalog();
  for (const Vector& v : vectors()) {
    SCOPED_TRACE(v.type + " " + v.text);
    const TypePtr type = catalog.type(v.oid);
    if (type->format() == 0 || not_carried(v, *type)) continue;
    proto::VectorOut value;
    proto::Writer w(&value);
    write_binary(w, *type, v.binary);
    OutBuffer out;
    proto::Cursor c(value.view());
    EXPECT_EQ(encode_value(out, *type, c, "parameter 1", Form::binary), 1);
    ASSERT_GE(out.size(), 4u);
    if (v.type == "numeric" && v.text.ends_with("Infinity")) continue;  // its scale is noise
    EXPECT_EQ(load32(out.view().data()), v.binary.size());
    EXPECT_EQ(to_hex(out.view().subspan(4)), to_hex(v.binary));
    EXPECT_TRUE(c.at_end());
  }
}

// A value cut short or followed by a byte is never taken for another one silently: it is a fault,
// or (text and bytes, which have no length of their own) what it says.
TEST(WireTypes, CutAndLengthenedValuesAreFaults) {
  TypeCatalog catalog = recorded_catalog();
  for (const Vector& v : vectors()) {
    const TypePtr type = catalog.type(v.oid);
    if (type->format() == 0) continue;
    const bool open = type->codec == Codec::text || type->codec == Codec::bytea ||
                      type->codec == Codec::json || type->codec == Codec::jsonb;
    for (std::size_t n = 0; n <= v.binary.size() + 1; ++n) {
      if (n == v.binary.size()) continue;
      SCOPED_TRACE(v.type + " " + v.text + " at " + std::to_string(n));
      Input cut(v.binary.begin(),
                v.binary.begin() + static_cast<long>(std::min(n, v.binary.size())));
      cut.resize(n, 'x');
      cut.shrink_to_fit();
      proto::VectorOut out;
      proto::Writer w(&out);
      bool refused = false;
      try {
        write_binary(w, *type, cut);
      } catch (const ProtocolFault&) {
        refused = true;
      } catch (const Unrepresentable&) {
        refused = true;
      }
      EXPECT_TRUE(refused || open);
      if (!refused) {
        EXPECT_EQ(proto::check(out.view()), proto::Shape::good);
      }
    }
  }
}

TEST(WireTypes, FormatsAndNames) {
  TypeCatalog catalog = recorded_catalog();
  for (const Vector& v : vectors()) {
    const TypePtr type = catalog.type(v.oid);
    EXPECT_FALSE(type->name.starts_with("oid ")) << v.type;
  }
  EXPECT_EQ(catalog.type(1007)->name, "int4[]");
  EXPECT_EQ(catalog.type(790)->format(), 0);   // money
  EXPECT_EQ(catalog.type(791)->format(), 0);   // money[]
  EXPECT_EQ(catalog.type(2249)->format(), 0);  // record
  EXPECT_EQ(catalog.type(4451)->element->element->oid, 23u);
  EXPECT_EQ(catalog.type(99'999'999)->name, "oid 99999999");
}

// Lies about values: each must be refused, and none may cost more than it weighs.
TEST(WireTypes, Lies) {
  const std::pair<Oid, const char*> lies[] = {
      {16, "02"},                                          // bool
      {1700, "0001000000007fff0001"},                      // numeric: scale
      {1700, "00010000123400000001"},                      // sign
      {1700, "00010000000000002710"},                      // a group above 9999
      {1700, "00010000000000020001ff"},                    // size
      {1700, "0002000000000000000107d0"},                  // digits that its scale hides
      {1082, "7ffffff0"},                                  // date beyond the end
      {1083, "000000141dd76001"},                          // after 24:00
      {1266, "00000000000000000000e100"},                  // offset 57600
      {869, "0221000401020304"},                           // 33 bits
      {869, "0420000401020304"},                           // family
      {869, "0220020401020304"},                           // cidr flag
      {1560, "ffffffff80"},                                // bits
      {3802, "027b7d"},                                    // jsonb version
      {1007, "00000007000000000000001700000001"},          // seven dimensions
      {1007, "0000000100000000000000177fffffff00000001"},  // elements that are not there
      {1007, "000000020000000000000017000100000000000100010000000000010000000400000001"},
      {1007, "00000001000000000000001700000001000000010000000500000001"},  // a long element
      {3904, "20"},                                                        // range flags
      {3904, "0200000004"},                  // a bound that is not there
      {3904, "02ffffffff00000004000000ff"},  // a NULL bound
      {4451, "7fffffff"},                    // multirange
  };
  for (const auto& [oid, hex] : lies) {
    SCOPED_TRACE(hex);
    proto::VectorOut out;
    proto::Writer w(&out);
    EXPECT_THROW(write_binary(w, *TypeCatalog::builtin(oid), from_hex(hex)), ProtocolFault);
    EXPECT_LT(out.size(), 64u);
  }
  proto::VectorOut out;
  proto::Writer w(&out);
  EXPECT_THROW(write_binary(w, *TypeCatalog::builtin(25), from_hex("ff")), Unrepresentable);
  EXPECT_THROW(write_binary(w, *TypeCatalog::builtin(114), from_hex("22c322")), Unrepresentable);
  EXPECT_THROW(write_binary(w, *TypeCatalog::builtin(18), from_hex("ff")), Unrepresentable);
  // PostgreSQL 17's infinite interval
  EXPECT_THROW(
      write_binary(w, *TypeCatalog::builtin(1186), from_hex("7fffffffffffffff7fffffff7fffffff")),
      Unrepresentable);
  // elements of another type than the catalogue says
  EXPECT_THROW(write_binary(w, *TypeCatalog::builtin(1007), from_hex("000000000000000000000019")),
               StaleType);
  // but varchar[] made of text[] keeps its elements' number
  write_binary(w, *TypeCatalog::builtin(1015), from_hex("000000000000000000000019"));
}

TEST(WireTypes, CompositeThatHasChanged) {
  TypeCatalog catalog = recorded_catalog();
  for (const Vector& v : vectors()) {
    if (v.type != "pair") continue;
    proto::VectorOut out;
    proto::Writer w(&out);
    Input other = v.binary;
    other[3] = 3;
    EXPECT_THROW(write_binary(w, *catalog.type(v.oid), other), StaleType);
    other = v.binary;
    other[7] = 20;
    EXPECT_THROW(write_binary(w, *catalog.type(v.oid), other), StaleType);
  }
}

}  // namespace
}  // namespace headgate::postgres::wire::test
