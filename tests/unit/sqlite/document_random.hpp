// Random values and documents for tests: few different scalars, so that they meet often, and all
// the shapes that arrays and missing fields can take.
#pragma once
#include <limits>
#include <random>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

inline Value random_scalar(std::mt19937_64& random) {
  const auto small = static_cast<std::int32_t>(random() % 7) - 2;
  switch (random() % 18) {
    case 0:
    case 1:
    case 2:
    case 3:
      return Value::int32(small);
    case 4:
      return Value::int64(small);
    case 5:
      return Value::floating(small);
    case 6:
      return Value::floating(small + 0.5);
    case 7:
      return Value::decimal(Decimal::from_double(small + 0.5));
    case 8:
      return random() % 4 == 0 ? Value::floating(std::numeric_limits<double>::quiet_NaN())
                               : Value::floating(-0.0);
    case 9:
    case 10:
      return Value::string(std::string(1, static_cast<char>('a' + random() % 4)));
    case 11:
      return Value::string(std::string(random() % 3, random() % 2 == 0 ? '\0' : 'b'));
    case 12:
      return Value();
    case 13:
      return Value::boolean(random() % 2 == 0);
    case 14:
      return Value::date(small);
    case 15:
      return Value::object_id(std::string(12, static_cast<char>(random() % 2 == 0 ? 0xff : 1)));
    case 16:
      return Value::binary(std::string(random() % 3, static_cast<char>(random())),
                           static_cast<std::uint8_t>(random() % 2 * 5));
    default:
      switch (random() % 6) {
        case 0:
          return Value::plain(Tag::min_key);
        case 1:
          return Value::plain(Tag::max_key);
        case 2:
          return Value::timestamp(random());
        case 3:
          return Value::code("c");
        case 4:
          return Value::regex({"^a", random() % 2 == 0 ? "i" : ""});
        default:
          return Value::int64(static_cast<std::int64_t>(random()));
      }
  }
}

inline Value random_value(std::mt19937_64& random, int depth) {
  const auto kind = depth > 0 ? random() % 5 : 0;
  if (kind == 3) {
    Array items;
    for (auto n = random() % 4; n > 0; --n) items.push_back(random_value(random, depth - 1));
    return Value::array(std::move(items));
  }
  if (kind == 4) {
    Value object = Value::object();
    for (auto n = random() % 4; n > 0; --n)
      object.set(std::string(1, static_cast<char>('a' + random() % 3)),
                 random_value(random, depth - 1));
    return object;
  }
  return random_scalar(random);
}

}  // namespace headgate::sqlite::doc
