// encode: msgpack values into PostgreSQL's binary forms; what parameter.cpp is made of.
//
// Every function takes the item that was read and appends the value's bytes, without their length
// word; a value of another kind is refused by mismatch(). Source: the *_recv functions of
// PostgreSQL 15 (src/backend/utils/adt). Threads: none of its own.
#pragma once
#include "plugins/postgres/wire/parameter.hpp"
#include "proto/values.hpp"

namespace headgate::postgres::wire {

struct Encoding {
  OutBuffer& out;
  std::string_view where;  // begins every message
  [[noreturn]] void refuse(const char* sqlstate, std::string_view why) const;
  // The value is of a kind that the type does not take.
  [[noreturn]] void mismatch(const Type& type, const proto::Item& it) const;
  // An ext value whose payload is not in its form.
  [[noreturn]] void bad_ext(const proto::Item& it) const;
};

// A length word and the value's bytes in binary; NULL: -1.
void encode_binary(const Encoding& e, const Type& type, proto::Cursor& value);

void encode_integer(const Encoding& e, const Type& type, const proto::Item& it);
void encode_float(const Encoding& e, const Type& type, const proto::Item& it);
void encode_numeric(const Encoding& e, const Type& type, const proto::Item& it);
void encode_string(const Encoding& e, const Type& type, const proto::Item& it);
void encode_time(const Encoding& e, const Type& type, const proto::Item& it);
void encode_uuid(const Encoding& e, const Type& type, const proto::Item& it);
void encode_json(const Encoding& e, const Type& type, const proto::Item& it);
// From the canonical text forms alone, where the server cannot be asked to read them.
void encode_inet(const Encoding& e, const Type& type, const proto::Item& it);
void encode_macaddr(const Encoding& e, const Type& type, const proto::Item& it);
void encode_bits(const Encoding& e, const Type& type, const proto::Item& it);

// These read what is inside the container from the cursor. REQUIRES: `it` is its header.
void encode_array(const Encoding& e, const Type& type, const proto::Item& it, proto::Cursor& c);
void encode_range(const Encoding& e, const Type& type, const proto::Item& it, proto::Cursor& c);
void encode_multirange(const Encoding& e, const Type& type, const proto::Item& it,
                       proto::Cursor& c);
void encode_composite(const Encoding& e, const Type& type, const proto::Item& it, proto::Cursor& c);

inline void need_no_nul(const Encoding& e, Bytes text) {
  if (!text.empty() && std::memchr(text.data(), 0, text.size()) != nullptr)
    e.refuse("22021", "text with a NUL byte cannot be stored");
}

}  // namespace headgate::postgres::wire
