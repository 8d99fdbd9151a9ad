// parameter: a caller's msgpack value into a parameter of the type that the server wants, strictly.
//
//   int2 int4 int8 oid      integers in range (no floats, no text)
//   float4 float8           floats; integers that the type holds exactly
//   numeric                 decimals, integers of any size, floats (their shortest digits; NaN and
//                           infinities as such)
//   bool                    bools
//   text family, enum       str (no NUL byte)
//   bytea                   bin
//   date time timetz timestamp timestamptz interval uuid
//                           their ext value; or str in PROTOCOL.md's text form, and no other
//   json jsonb              ext JSON; or str that is JSON
//   array                   lists (nested: as many dimensions; all rows equally long)
//   composite               a map of its columns (missing ones are NULL), or a list of all
//   range, multirange       {lower, upper, bounds}, a list of them; or str
//   inet bit macaddr money xml and all others: str, which the server reads
//   nil                     NULL, for any type
//
// Anything else is refused by name and kind, never converted: sdk::Error (invalid, rejected) with
// the SQLSTATE that a server would give: 42804 (wrong kind), 22003 (range), 22021 (NUL), 22P02,
// 22007, 22008. No message shows a value. Threads: none of its own.
#pragma once
#include <string>
#include <string_view>

#include "plugins/postgres/wire/catalog.hpp"
#include "plugins/postgres/wire/frontend.hpp"
#include "plugins/sdk/driver.hpp"

namespace headgate::postgres::wire {

// Two's complement that becomes a numeric; a longer one is refused (its digits cost its square).
inline constexpr std::size_t kBigIntegerParamMax = 512;
inline constexpr std::size_t kParameterBytesMax = 0x3fffffff;  // PostgreSQL's limit of one value

enum class Form : std::uint8_t {
  best,   // Bind: binary where it is exact, else text
  binary  // COPY: binary, or refused (0A000)
};

// Reads one value from `value` and appends its length word and bytes to `out` (NULL: -1 alone).
// Returns the format code for Bind. `where` begins the message: "parameter 2", "parameter `id`".
// On a throw nothing has been appended; the cursor stands somewhere in the value.
std::int16_t encode_value(OutBuffer& out, const Type& type, proto::Cursor& value,
                          std::string_view where, Form form = Form::best);

// The same as the next value of a Bind.
inline void bind_value(BindWriter& bind, const Type& type, proto::Cursor& value,
                       std::string_view where) {
  bind.appended(encode_value(bind.out(), type, value, where));
}

}  // namespace headgate::postgres::wire
