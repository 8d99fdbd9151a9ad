// What the codec's tests share: the recordings, and values as PostgreSQL would print them.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "plugins/postgres/wire/parameter.hpp"
#include "plugins/postgres/wire/result.hpp"

namespace headgate::postgres::wire::test {

using Input = std::vector<std::uint8_t>;

std::string recorded_path(const std::string& name);
Input read_file(const std::string& path);
Input from_hex(const std::string& hex);
std::string to_hex(Bytes b);
std::vector<std::string> conversation_names();

// Puts `bytes` into the reader, `chunk` at a time, and calls `each` for every message.
void feed(Reader& reader, Bytes bytes, std::size_t chunk,
          const std::function<void(const Message&)>& each);

// Reads the message's content with the view that its tag has; throws ProtocolFault when it is not
// in order.
void read_any(const Message& m);

// A catalogue that has learned the recorded user's types.
TypeCatalog recorded_catalog();

// The msgpack value at the cursor as PostgreSQL prints a value of the type (ISO dates, UTC,
// iso_8601 intervals).
std::string pg_text(const Type& type, proto::Cursor& c);

}  // namespace headgate::postgres::wire::test
