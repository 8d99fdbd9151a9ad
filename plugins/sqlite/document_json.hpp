// document_json: the stored form of a document, canonical Extended JSON v2.
//
// A field of a stored document never begins with `$`, so a wrapper such as {"$oid": ...} can mean
// only the type. Threads: pure functions.
// Source:  https://github.com/mongodb/specifications/blob/master/source/extended-json.md
#pragma once
#include <string>
#include <string_view>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

void append_json(std::string& out, const Value& v);
inline std::string to_json(const Value& v) {
  std::string out;
  append_json(out, v);
  return out;
}

// Throws Error (internal) where the text is not what append_json writes: a store that something
// else has written to.
Value parse_json(std::string_view text);

}  // namespace headgate::sqlite::doc
