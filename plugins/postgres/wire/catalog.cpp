// Looking types up, and making Types of what was learned.
#include "plugins/postgres/wire/catalog.hpp"

#include <algorithm>

#include "plugins/postgres/wire/clean_text.hpp"

namespace headgate::postgres::wire {
namespace {

// The types asked for and all that is inside them. Read in binary: learn() knows the columns.
#define HEADGATE_LOOKUP(MULTIRANGE_NEED, MULTIRANGE_INNER)                                      \
  "WITH RECURSIVE need(oid) AS ("                                                               \
  " SELECT pg_catalog.unnest($1::pg_catalog.oid[])"                                             \
  " UNION SELECT d.oid FROM need n CROSS JOIN LATERAL ("                                        \
  "  SELECT t.typelem AS oid FROM pg_catalog.pg_type t"                                         \
  "   WHERE t.oid = n.oid AND t.typelem <> 0 AND t.typlen = -1"                                 \
  "  UNION ALL SELECT t.typbasetype FROM pg_catalog.pg_type t"                                  \
  "   WHERE t.oid = n.oid AND t.typbasetype <> 0"                                               \
  "  UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = "              \
  "n.oid" MULTIRANGE_NEED                                                                       \
  "  UNION ALL SELECT a.atttypid FROM pg_catalog.pg_type t"                                     \
  "   JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid"                                \
  "   WHERE t.oid = n.oid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped) d)"      \
  " SELECT t.oid, t.typname, t.typtype,"                                                        \
  " t.typsend::pg_catalog.oid <> 0 AND t.typreceive::pg_catalog.oid <> 0,"                      \
  " t.typelem <> 0 AND t.typlen = -1 AND t.typcategory = 'A',"                                  \
  " CASE t.typtype WHEN 'd' THEN t.typbasetype"                                                 \
  "  WHEN 'r' THEN (SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = "         \
  "t.oid)" MULTIRANGE_INNER                                                                     \
  "  ELSE t.typelem END,"                                                                       \
  " t.typtypmod,"                                                                               \
  " ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a"                     \
  "  WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped" \
  "  ORDER BY a.attnum),"                                                                       \
  " ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a"                                     \
  "  WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped" \
  "  ORDER BY a.attnum)"                                                                        \
  " FROM need JOIN pg_catalog.pg_type t USING (oid)"

constexpr char kLookup[] = HEADGATE_LOOKUP(
    "  UNION ALL SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = n.oid",
    "  WHEN 'm' THEN (SELECT r.rngtypid FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid)");
constexpr char kLookupBefore14[] = HEADGATE_LOOKUP("", "");

[[noreturn]] void fault(const char* why) {
  throw ProtocolFault(std::string("the server's answer about types ") + why);
}

// The elements of a one-dimensional array without NULLs, in binary.
std::vector<Bytes> elements_of(Bytes array) {
  PayloadReader r(array, "answer about types");
  const std::uint32_t dimensions = r.u32();
  (void)r.u32();  // has NULLs
  (void)r.u32();  // the elements' type
  std::vector<Bytes> out;
  if (dimensions == 0) return r.done(), out;
  if (dimensions != 1) r.fail("has an array of an unexpected form");
  const std::uint32_t n = r.u32();
  (void)r.u32();  // lower bound
  if (n > kTypeMembersMax) r.fail("has too many members");
  for (std::uint32_t i = 0; i < n; ++i) out.push_back(r.bytes(r.u32()));
  r.done();
  return out;
}

std::uint32_t number(Bytes b) {
  if (b.size() != 4) fault("has a number of a wrong size");
  return load32(b.data());
}
std::uint8_t byte(Bytes b) {
  if (b.size() != 1) fault("has a character of a wrong size");
  return b[0];
}

TypePtr text_only(Oid oid, std::string name) {
  auto t = std::make_shared<Type>();
  t->oid = oid;
  t->name = std::move(name);
  return t;
}

}  // namespace

std::vector<Oid> TypeCatalog::unknown(std::span<const Oid> oids) {
  if (learned_.size() > kTypesMax) forget_learned();
  std::vector<Oid> out;
  for (const Oid oid : oids) {
    if (oid == 0 || builtin(oid) != nullptr || learned_.count(oid) != 0) continue;
    if (std::find(out.begin(), out.end(), oid) == out.end()) out.push_back(oid);
  }
  rows_ = 0;
  return out;
}

std::string_view TypeCatalog::lookup_sql(std::int32_t server_version_num) {
  return server_version_num >= 140'000 ? kLookup : kLookupBefore14;
}

std::string TypeCatalog::lookup_argument(std::span<const Oid> oids) {
  std::string out = "{";
  for (const Oid oid : oids) {
    if (out.size() > 1) out += ',';
    out += std::to_string(oid);
  }
  return out + "}";
}

void TypeCatalog::read_members(Learned& l, Bytes names, Bytes types) const {
  const std::vector<Bytes> n = elements_of(names);
  const std::vector<Bytes> t = elements_of(types);
  if (n.size() != t.size()) fault("has more names than types");
  for (std::size_t i = 0; i < n.size(); ++i)
    l.members.emplace_back(clean_text(proto::text_of(n[i]), 255), number(t[i]));
}

void TypeCatalog::learn(Bytes data_row) {
  if (++rows_ > kTypesMax) fault("has too many rows");
  DataRow row(data_row);
  Bytes column[9];
  if (row.count() != std::size(column)) fault("has a wrong number of columns");
  for (Bytes& c : column) {
    DataRow::Value v;
    if (!row.next(&v) || v.null) fault("has a NULL");
    c = v.bytes;
  }
  DataRow::Value none;
  (void)row.next(&none);  // checks the end
  const Oid oid = number(column[0]);
  if (builtin(oid) != nullptr) return;  // what is inside a type may be one
  Learned l;
  l.name = clean_text(proto::text_of(column[1]), 255);
  l.type = static_cast<char>(byte(column[2]));
  l.binary = byte(column[3]) != 0;
  l.array = byte(column[4]) != 0;
  l.inner = number(column[5]);
  l.typmod = static_cast<std::int32_t>(number(column[6]));
  read_members(l, column[7], column[8]);
  learned_.insert_or_assign(oid, std::move(l));
}

void TypeCatalog::settle(std::span<const Oid> asked) {
  for (const Oid oid : asked) {
    if (learned_.count(oid) != 0 || builtin(oid) != nullptr) continue;
    Learned l;
    l.absent = true;
    l.name = "oid " + std::to_string(oid);
    learned_.emplace(oid, std::move(l));
  }
}

void TypeCatalog::forget_learned() { learned_.clear(); }

TypePtr TypeCatalog::type(Oid oid) { return make(oid, 0); }

TypePtr TypeCatalog::make(Oid oid, std::size_t depth) {
  if (TypePtr known = builtin(oid)) return known;
  const auto it = learned_.find(oid);
  if (it == learned_.end()) return text_only(oid, "oid " + std::to_string(oid));
  Learned& l = it->second;
  if (l.made != nullptr) return l.made;
  if (l.making || depth >= kTypeDepthMax) return text_only(oid, l.name);
  l.making = true;
  TypePtr made = make(oid, l, depth);
  l.making = false;
  l.made = made;
  return made;
}

TypePtr TypeCatalog::make(Oid oid, Learned& l, std::size_t depth) {
  auto t = std::make_shared<Type>();
  t->oid = oid;
  t->name = l.name;
  if (l.absent) return t;
  const auto inner = [&](Codec codec) {
    t->element = make(l.inner, depth + 1);
    if (l.binary && t->element->format() == 1) t->codec = codec;
  };
  switch (l.type) {
    case 'e':
      t->codec = Codec::text;
      t->enumeration = t->textual = true;
      break;
    case 'd': {
      const TypePtr base = make(l.inner, depth + 1);
      *t = *base;
      t->oid = oid;
      t->name = l.name;
      t->domain = true;
      t->typmod = l.typmod;
      break;
    }
    case 'r':
      inner(Codec::range);
      break;
    case 'm':
      inner(Codec::multirange);
      if (t->element->codec != Codec::range) t->codec = Codec::as_text;
      break;
    case 'c': {
      bool binary = l.binary;
      for (const auto& [name, type] : l.members) {
        t->members.push_back({name, make(type, depth + 1)});
        binary = binary && t->members.back().type->format() == 1;
      }
      for (std::size_t i = 0; i < t->members.size(); ++i)
        t->by_name.push_back(static_cast<std::uint16_t>(i));
      std::sort(t->by_name.begin(), t->by_name.end(), [&](std::uint16_t a, std::uint16_t b) {
        return t->members[a].name < t->members[b].name;
      });
      if (binary) t->codec = Codec::composite;
      break;
    }
    default:
      if (!l.array) break;
      inner(Codec::array);
      t->name = t->element->name + "[]";
  }
  return t;
}

}  // namespace headgate::postgres::wire
