// TypeCatalog: what the types of one database are, so that values of them can be read and written.
//
// The types that every server has are known from the start. Those of users (enums, domains,
// composites, ranges, arrays of any of them, extensions' types) are looked up once, by the
// connection that meets them first:
//
//   std::vector<Oid> unknown = catalog.unknown(oids);    // of a Parameter- and RowDescription
//   if (!unknown.empty()) {                              // one round trip for all, nested ones too
//     parse(out, "", TypeCatalog::lookup_sql(server_version_num)); bind with the one text parameter
//     lookup_argument(unknown) and result formats {1}; then for each DataRow
//     catalog.learn(payload); at its end catalog.settle(unknown);
//   }
//   auto type = catalog.type(oid);
//
// Owner:     one connection, or all connections of one thread to one database (numbers differ
//            between databases). Threads: one.
// Invariant: a Type never changes and lives as long as somebody holds it. When more than kTypesMax
//            are remembered, the next unknown() empties the catalogue; a lookup that brings more
//            than that is a fault.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/postgres/wire/messages.hpp"

namespace headgate::postgres::wire {

// How a value of a type reads in binary.
enum class Codec : std::uint8_t {
  as_text,  // not in binary: asked for, and sent, as the server's own text
  boolean,
  int2,
  int4,
  int8,
  float4,
  float8,
  oid,    // oid, xid, cid: 32 bits without a sign
  xid8,   // 64 bits without a sign
  text,   // text, varchar, bpchar, name, enums: bytes that must be UTF-8
  char1,  // "char": one byte
  bytea,
  numeric,
  date,
  time,
  timetz,
  timestamp,
  timestamptz,
  interval,
  uuid,
  json,
  jsonb,
  inet,
  macaddr,
  macaddr8,
  bits,
  array,
  vector,  // int2vector, oidvector: an array that begins at 0
  range,
  multirange,
  composite,
};

struct Type;
using TypePtr = std::shared_ptr<const Type>;

struct Type {
  Oid oid = 0;
  std::string name;  // as the catalogue has it; of an array: the element's and "[]"
  Codec codec = Codec::as_text;
  bool enumeration = false;
  bool domain = false;       // codec, element and members are its base type's
  bool textual = false;      // takes and gives text by nature (text family, enums)
  std::int32_t typmod = -1;  // of a domain
  TypePtr element;  // array, vector: of its elements; range: of its bounds; multirange: its range
  struct Member {
    std::string name;
    TypePtr type;
  };
  std::vector<Member> members;         // composite
  std::vector<std::uint16_t> by_name;  // the members' places, sorted by their names
  // What a value can be asked for: 1 (binary) unless it, or something inside, is text only.
  [[nodiscard]] std::int16_t format() const { return codec == Codec::as_text ? 0 : 1; }
};

inline constexpr std::size_t kTypesMax = 4096;
inline constexpr std::size_t kTypeDepthMax = 32;  // of types inside types
inline constexpr std::size_t kTypeMembersMax =
    1600;  // of a composite: PostgreSQL's limit of columns

class TypeCatalog {
 public:
  // A type that is known to every server, by number or by name; nullptr when it is none.
  static TypePtr builtin(Oid oid);

  // Those of `oids` (0 and doubles left out) that have to be looked up before type() can tell.
  [[nodiscard]] std::vector<Oid> unknown(std::span<const Oid> oids);

  // The type. REQUIRES: it is known. One that the server did not have either is `as_text` with the
  // name "oid N".
  [[nodiscard]] TypePtr type(Oid oid);

  // One statement with one parameter; its result must be asked for in binary.
  static std::string_view lookup_sql(std::int32_t server_version_num);
  static std::string lookup_argument(std::span<const Oid> oids);
  void learn(Bytes data_row);               // throws ProtocolFault
  void settle(std::span<const Oid> asked);  // what was asked for and not answered does not exist

  // DDL has changed this type (StaleType, result.hpp): everything learned is forgotten.
  void forget_learned();
  [[nodiscard]] std::size_t size() const { return learned_.size(); }

 private:
  struct Learned {
    std::string name;
    char type = 'b';  // pg_type.typtype
    bool binary = true;
    bool array = false;
    Oid inner = 0;
    std::int32_t typmod = -1;
    std::vector<std::pair<std::string, Oid>> members;
    TypePtr made;
    bool making = false;  // types that contain themselves exist only in lies
    bool absent = false;
  };
  TypePtr make(Oid oid, std::size_t depth);
  TypePtr make(Oid oid, Learned& l, std::size_t depth);
  void read_members(Learned& l, Bytes names, Bytes types) const;
  std::map<Oid, Learned> learned_;
  std::size_t rows_ = 0;  // of the lookup under way
};

}  // namespace headgate::postgres::wire
