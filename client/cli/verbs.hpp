// Bodies from words: `headgate kv STORE set color blue --ttl_ms 5000` by proto/verbs.json, which is
// compiled in. So the command line knows every verb that the table names, and no other.
//
// The rule. The fields of a verb's body are positional in the table's order, but for its booleans;
// a field that is a list takes all words but those that required fields after it need. Any field is
// also an option, `--name value`; a boolean is `--name` alone. Pairs (`list<[field, value]>`) are
// two words each. One word that begins with '{' is the whole body as JSON.
//
// Threads: pure functions over a constant.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace headgate::cli {

struct Field {
  std::string name;
  std::string type;  // as in the table, without the '?'
  bool required = false;
};
struct VerbShape {
  std::string name;
  std::vector<Field> fields;
  bool stream = false;
};

// The verbs of a kind (`sql`, `document`, `key_value`, `admin`), the common ones not among them.
std::vector<std::string> verb_names(std::string_view kind);
// Throws Usage that names the nearest verb.
VerbShape verb_shape(std::string_view kind, std::string_view verb);
// "set KEY VALUE [--nx] [--xx] [--ttl_ms INT] ..."
std::string usage_of(const VerbShape& shape);

// The body as msgpack. `base64`: words that stand for bytes are base64. Throws Usage.
std::vector<std::uint8_t> body_of(const VerbShape& shape, const std::vector<std::string>& words,
                                  bool base64);

}  // namespace headgate::cli
