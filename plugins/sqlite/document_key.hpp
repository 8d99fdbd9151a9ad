// document_key: a value as bytes whose memcmp order is MongoDB's order of values.
//
//   key     = rank (1 byte, rank() + 1 of the type) payload
//   number  = class (1 NaN, 2 -inf, 3 negative, 4 zero, 5 positive, 6 +inf), then for 3 and 5 the
//             decimal exponent (2 bytes) and the digits, two a byte as 1..100, and 0 at the end;
//             for 3 all of that complemented. Equal numbers of different types have equal keys.
//   text    = bytes, 0 as 00 ff, then 00 00
//   object  = for each field: key of its rank, name as text, the value's key; 00 at the end
//   array   = the elements' keys; 00 at the end
//   binary  = length (4), subtype, bytes; the rest: fixed length, big-endian, order-preserving
//
// No key is a prefix of another, so keys may follow each other; complemented they sort descending.
// Threads: pure functions.
#pragma once
#include <string>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

void append_key(std::string& out, const Value& v);
inline std::string key_of(const Value& v) {
  std::string out;
  append_key(out, v);
  return out;
}
// With descending: complemented.
void append_key(std::string& out, const Value& v, bool descending);

// The first byte of the keys of a type.
std::uint8_t key_rank(Tag tag);
// Of a string's key without its end: what the keys of all strings with this prefix begin with.
std::string string_key_prefix(std::string_view s);

}  // namespace headgate::sqlite::doc
