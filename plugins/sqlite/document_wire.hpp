// document_wire: a value as msgpack, both ways, as PROTOCOL.md's table of values has it.
//
// In:  a plain integer is int32 when it fits, else int64; ext 16 carries the BSON types that
// msgpack
//      lacks; ext -1 is a date of whole milliseconds; ext 1 a decimal of at most 34 digits.
// Out: the same, so that what came in goes out unchanged.
// Threads: pure functions.
#pragma once
#include "plugins/sqlite/document_value.hpp"
#include "proto/cursor.hpp"
#include "proto/writer.hpp"

namespace headgate::sqlite::doc {

// Reads one value. Throws Error (invalid) where it has no BSON form; keys that are no strings, hold
// a NUL or come twice are among that.
Value read_value(proto::Cursor& c);
Value read_value(proto::Bytes msgpack);

// Throws Error (too_large) where the value nests deeper than a body may.
void write_value(proto::Writer& w, const Value& v);

// Throws Error unless v may be stored: at most 16 MiB as BSON, nesting 100, no field that begins
// with `$` except those of a DBRef.
void check_storable(const Value& document);

}  // namespace headgate::sqlite::doc
