// JSON in and out: what the command line shows of the protocol's values, and reads.
//
// Values that JSON lacks are objects with one key that begins with '$' (docs/cli.md has the table):
// {"$binary": "base64"}, {"$date": "2026-01-31T08:15:00Z"}, {"$decimal": "12.50"}, ... What
// to_json() gives, pack_json() takes, and it is the same value. Threads: pure functions.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "headgate/value.hpp"

namespace headgate::cli {

using Json = nlohmann::ordered_json;

// Throws Usage, naming `what`, for text that is not exactly one JSON value, holds an integer beyond
// 64 bits (which JSON readers would round), or a key twice in one object.
Json parse_json(std::string_view text, std::string_view what);

// As a float, whatever its value: msgpack-cxx's own pack(double) makes integers of whole numbers.
void pack_real(Packer& p, double v);
// Throws Usage for a '$' object that is not in its form.
void pack_json(Packer& p, const Json& v);
std::vector<std::uint8_t> pack_json(const Json& v);

Json to_json(const msgpack::object& o);
Json to_json(Bytes b);
// One line, UTF-8; bytes of text that are none are replaced.
std::string dump(const Json& v);

std::string base64(std::string_view bytes);
// Throws Usage.
std::string from_base64(std::string_view text);

}  // namespace headgate::cli
