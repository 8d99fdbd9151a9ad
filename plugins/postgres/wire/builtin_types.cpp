// The types that every PostgreSQL has, with the numbers that never change (pg_type.dat; OIDs below
// 10000). What a newer or another server has beside them is looked up like a user's type.
#include <unordered_map>

#include "plugins/postgres/wire/catalog.hpp"

namespace headgate::postgres::wire {
namespace {

struct Builtin {
  Oid oid;
  Oid array;  // the type of arrays of it; 0: none
  const char* name;
  Codec codec = Codec::as_text;
  Oid inner = 0;  // range: of its bounds; multirange: its range; vector: its elements
  bool textual = false;
};

constexpr Builtin kBuiltins[] = {
    {16, 1000, "bool", Codec::boolean},
    {17, 1001, "bytea", Codec::bytea},
    {18, 1002, "char", Codec::char1, 0, true},
    {19, 1003, "name", Codec::text, 0, true},
    {20, 1016, "int8", Codec::int8},
    {21, 1005, "int2", Codec::int2},
    {22, 1006, "int2vector", Codec::vector, 21},
    {23, 1007, "int4", Codec::int4},
    {24, 1008, "regproc"},
    {25, 1009, "text", Codec::text, 0, true},
    {26, 1028, "oid", Codec::oid},
    {27, 1010, "tid"},
    {28, 1011, "xid", Codec::oid},
    {29, 1012, "cid", Codec::oid},
    {30, 1013, "oidvector", Codec::vector, 26},
    {32, 0, "pg_ddl_command"},
    {114, 199, "json", Codec::json},
    {142, 143, "xml"},
    {194, 0, "pg_node_tree"},
    {269, 0, "table_am_handler"},
    {325, 0, "index_am_handler"},
    {600, 1017, "point"},
    {601, 1018, "lseg"},
    {602, 1019, "path"},
    {603, 1020, "box"},
    {604, 1027, "polygon"},
    {628, 629, "line"},
    {650, 651, "cidr", Codec::inet},
    {700, 1021, "float4", Codec::float4},
    {701, 1022, "float8", Codec::float8},
    {705, 0, "unknown", Codec::text, 0, true},
    {718, 719, "circle"},
    {774, 775, "macaddr8", Codec::macaddr8},
    {790, 791, "money"},
    {829, 1040, "macaddr", Codec::macaddr},
    {869, 1041, "inet", Codec::inet},
    {1033, 1034, "aclitem"},
    {1042, 1014, "bpchar", Codec::text, 0, true},
    {1043, 1015, "varchar", Codec::text, 0, true},
    {1082, 1182, "date", Codec::date},
    {1083, 1183, "time", Codec::time},
    {1114, 1115, "timestamp", Codec::timestamp},
    {1184, 1185, "timestamptz", Codec::timestamptz},
    {1186, 1187, "interval", Codec::interval},
    {1266, 1270, "timetz", Codec::timetz},
    {1560, 1561, "bit", Codec::bits},
    {1562, 1563, "varbit", Codec::bits},
    {1700, 1231, "numeric", Codec::numeric},
    {1790, 2201, "refcursor", Codec::text, 0, true},
    {2202, 2207, "regprocedure"},
    {2203, 2208, "regoper"},
    {2204, 2209, "regoperator"},
    {2205, 2210, "regclass"},
    {2206, 2211, "regtype"},
    {2249, 2287, "record"},
    {2275, 1263, "cstring", Codec::text, 0, true},
    {2276, 0, "any"},
    {2277, 0, "anyarray"},
    {2278, 0, "void"},
    {2279, 0, "trigger"},
    {2280, 0, "language_handler"},
    {2281, 0, "internal"},
    {2283, 0, "anyelement"},
    {2776, 0, "anynonarray"},
    {2950, 2951, "uuid", Codec::uuid},
    {2970, 2949, "txid_snapshot"},
    {3115, 0, "fdw_handler"},
    {3220, 3221, "pg_lsn"},
    {3310, 0, "tsm_handler"},
    {3361, 0, "pg_ndistinct"},
    {3402, 0, "pg_dependencies"},
    {3500, 0, "anyenum"},
    {3614, 3643, "tsvector"},
    {3615, 3645, "tsquery"},
    {3642, 3644, "gtsvector"},
    {3734, 3735, "regconfig"},
    {3769, 3770, "regdictionary"},
    {3802, 3807, "jsonb", Codec::jsonb},
    {3831, 0, "anyrange"},
    {3838, 0, "event_trigger"},
    {3904, 3905, "int4range", Codec::range, 23},
    {3906, 3907, "numrange", Codec::range, 1700},
    {3908, 3909, "tsrange", Codec::range, 1114},
    {3910, 3911, "tstzrange", Codec::range, 1184},
    {3912, 3913, "daterange", Codec::range, 1082},
    {3926, 3927, "int8range", Codec::range, 20},
    {4072, 4073, "jsonpath"},
    {4089, 4090, "regnamespace"},
    {4096, 4097, "regrole"},
    {4191, 4192, "regcollation"},
    {4451, 6150, "int4multirange", Codec::multirange, 3904},
    {4532, 6151, "nummultirange", Codec::multirange, 3906},
    {4533, 6152, "tsmultirange", Codec::multirange, 3908},
    {4534, 6153, "tstzmultirange", Codec::multirange, 3910},
    {4535, 6155, "datemultirange", Codec::multirange, 3912},
    {4536, 6157, "int8multirange", Codec::multirange, 3926},
    {4537, 0, "anymultirange"},
    {4538, 0, "anycompatiblemultirange"},
    {4600, 0, "pg_brin_bloom_summary"},
    {4601, 0, "pg_brin_minmax_multi_summary"},
    {5017, 0, "pg_mcv_list"},
    {5038, 5039, "pg_snapshot"},
    {5069, 271, "xid8", Codec::xid8},
    {5077, 0, "anycompatible"},
    {5078, 0, "anycompatiblearray"},
    {5079, 0, "anycompatiblenonarray"},
    {5080, 0, "anycompatiblerange"},
};

using Types = std::unordered_map<Oid, TypePtr>;

void add(Types& types, Type type) {
  const Oid oid = type.oid;
  types.emplace(oid, std::make_shared<const Type>(std::move(type)));
}

Types make_builtins() {
  Types types;
  // What is inside comes first: ranges follow their bounds, multiranges their ranges.
  for (const Codec inner : {Codec::as_text, Codec::range, Codec::multirange})
    for (const Builtin& b : kBuiltins) {
      const bool later = b.codec == Codec::range || b.codec == Codec::multirange;
      if ((inner == Codec::as_text) == later || (later && b.codec != inner)) continue;
      Type t;
      t.oid = b.oid;
      t.name = b.name;
      t.codec = b.codec;
      t.textual = b.textual;
      if (b.inner != 0) t.element = types.at(b.inner);
      add(types, std::move(t));
    }
  for (const Builtin& b : kBuiltins) {
    if (b.array == 0) continue;
    Type t;
    t.oid = b.array;
    t.name = std::string(b.name) + "[]";
    t.element = types.at(b.oid);
    t.codec = t.element->format() == 1 ? Codec::array : Codec::as_text;
    add(types, std::move(t));
  }
  return types;
}

}  // namespace

TypePtr TypeCatalog::builtin(Oid oid) {
  static const Types kTypes = make_builtins();
  const auto it = kTypes.find(oid);
  return it == kTypes.end() ? nullptr : it->second;
}

}  // namespace headgate::postgres::wire
