// Documents for tests, written as relaxed Extended JSON with single quotes: {'a': 1, 'd': {'$date':
// 5}}.
#pragma once
#include <ostream>
#include <string>
#include <string_view>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

// Plain numbers are int32, int64 or double as they are written; {'$numberLong': '5'}, {'$oid':
// ...},
// {'$numberDecimal': ...}, {'$date': ms}, {'$regex': ..., '$re': 1} (a regex value), {'$minKey': 1}
// and their kin are those types.
Value V(std::string_view text);
std::string show(const Value& v);
void PrintTo(const Value& v, std::ostream* out);

}  // namespace headgate::sqlite::doc
