// Lists and maps into arrays, ranges, multiranges and composites.
#include <algorithm>
#include <vector>

#include "plugins/postgres/wire/decode.hpp"
#include "plugins/postgres/wire/encode.hpp"

namespace headgate::postgres::wire {
namespace {

using proto::Item;

constexpr std::size_t kDimensionsMax = 6;

// Types whose own values are lists: a list in a list is then one of them, not a dimension.
bool takes_lists(const Type& t) {
  return t.codec == Codec::composite || t.codec == Codec::multirange || t.codec == Codec::array ||
         t.codec == Codec::vector;
}

struct Shape {
  std::uint32_t size[kDimensionsMax] = {};
  std::size_t count = 0;
};

// The first element of each level says how long its lists are; write_level holds the others to it.
Shape shape_of(const Encoding& e, const Type& element, std::uint32_t n, proto::Cursor c) {
  Shape s;
  s.size[s.count++] = n;
  while (n != 0 && !takes_lists(element) && c.peek() == proto::Type::array) {
    if (s.count == kDimensionsMax) e.refuse("54000", "an array has six dimensions at most");
    n = c.read_array();
    if (n == 0) e.refuse("2202E", "an empty list inside a list is no dimension of an array");
    s.size[s.count++] = n;
  }
  return s;
}

bool write_level(const Encoding& e, const Type& type, const Shape& s, std::size_t level,
                 proto::Cursor& c) {
  bool nulls = false;
  for (std::uint32_t i = 0; i < s.size[level]; ++i) {
    if (level + 1 == s.count) {
      if (!takes_lists(*type.element) && c.peek() == proto::Type::array)
        e.refuse("2202E", "the lists of an array are not equally deep");
      nulls = c.peek() == proto::Type::nil || nulls;
      encode_binary(e, *type.element, c);
      continue;
    }
    const Item it = c.next();
    if (it.type != proto::Type::array || it.count != s.size[level + 1])
      e.refuse("2202E", "the lists of an array are not equally long and deep");
    nulls = write_level(e, type, s, level + 1, c) || nulls;
  }
  return nulls;
}

}  // namespace

void encode_array(const Encoding& e, const Type& type, const Item& it, proto::Cursor& c) {
  if (it.type != proto::Type::array) e.mismatch(type, it);
  const bool vector = type.codec == Codec::vector;
  const Shape s = shape_of(e, *type.element, it.count, c);
  if (vector && s.count != 1) e.mismatch(*type.element, c.next());
  const std::size_t at = e.out.size();
  const std::size_t dimensions = it.count == 0 && !vector ? 0 : s.count;
  e.out.put32(static_cast<std::uint32_t>(dimensions));
  e.out.put32(0);
  e.out.put32(type.element->oid);
  for (std::size_t i = 0; i < dimensions; ++i) {
    e.out.put32(s.size[i]);
    e.out.put32(vector ? 0 : 1);
  }
  if (dimensions != 0 && write_level(e, type, s, 0, c)) {
    if (vector) e.refuse("22004", "type " + type.name + " holds no NULL");
    store32(e.out.at(at + 4), 1);
  }
}

void encode_range(const Encoding& e, const Type& type, const Item& it, proto::Cursor& c) {
  if (it.type != proto::Type::map) e.mismatch(type, it);
  Bytes lower, upper;
  std::optional<std::string_view> bounds;
  for (std::uint32_t i = 0; i < it.count; ++i) {
    const Item key = c.next();
    const std::string_view name = key.type == proto::Type::str ? proto::text_of(key.bytes) : "";
    Bytes* bound = name == "lower" ? &lower : name == "upper" ? &upper : nullptr;
    if (bound != nullptr && bound->empty()) {
      *bound = c.skip();
    } else if (name == "bounds" && !bounds && c.peek() == proto::Type::str) {
      bounds = c.read_str();
    } else {
      e.refuse("22P02", "a range is a map of lower, upper and bounds, each once");
    }
  }
  if (!c.ok()) e.refuse("07001", "the value is cut short");
  const auto none = [](Bytes b) { return b.empty() || b[0] == 0xc0; };
  const std::string_view form = bounds.value_or("[)");
  std::uint8_t flags = kRangeEmpty;
  if (form != "empty") {
    if (form.size() != 2 || (form[0] != '[' && form[0] != '(') ||
        (form[1] != ']' && form[1] != ')'))
      e.refuse("22P02", "bounds of a range are one of \"[)\" \"[]\" \"()\" \"(]\" \"empty\"");
    flags = none(lower) ? kRangeNoLower : form[0] == '[' ? kRangeLowerIn : 0;
    flags = static_cast<std::uint8_t>(flags | (none(upper)      ? kRangeNoUpper
                                               : form[1] == ']' ? kRangeUpperIn
                                                                : 0));
  } else if (!none(lower) || !none(upper)) {
    e.refuse("22P02", "an empty range has no lower and no upper");
  }
  e.out.put8(flags);
  for (const Bytes bound : {lower, upper}) {
    if (none(bound)) continue;
    proto::Cursor value(bound);
    encode_binary(e, *type.element, value);
  }
}

void encode_multirange(const Encoding& e, const Type& type, const Item& it, proto::Cursor& c) {
  if (it.type != proto::Type::array) e.mismatch(type, it);
  e.out.put32(it.count);
  for (std::uint32_t i = 0; i < it.count; ++i) {
    if (c.peek() == proto::Type::nil) e.refuse("22004", "a multirange holds no NULL");
    encode_binary(e, *type.element, c);
  }
}

void encode_composite(const Encoding& e, const Type& type, const Item& it, proto::Cursor& c) {
  const std::size_t n = type.members.size();
  std::vector<Bytes> values(n);
  if (it.type == proto::Type::array) {
    if (it.count != n)
      e.refuse("42804", "type " + type.name + " has " + std::to_string(n) + " columns, and " +
                            std::to_string(it.count) + " values were given");
    for (Bytes& v : values) v = c.skip();
  } else if (it.type == proto::Type::map) {
    for (std::uint32_t i = 0; i < it.count; ++i) {
      const Item key = c.next();
      const std::string_view name = proto::text_of(key.bytes);
      const auto at = std::lower_bound(
          type.by_name.begin(), type.by_name.end(), name,
          [&](std::uint16_t m, std::string_view s) { return type.members[m].name < s; });
      if (key.type != proto::Type::str || at == type.by_name.end() ||
          type.members[*at].name != name)
        e.refuse("42703", "type " + type.name + " has no column of a given name");
      if (!values[*at].empty()) e.refuse("42701", "a column is given twice");
      values[*at] = c.skip();
    }
  } else {
    e.mismatch(type, it);
  }
  if (!c.ok()) e.refuse("07001", "the value is cut short");
  e.out.put32(static_cast<std::uint32_t>(n));
  for (std::size_t i = 0; i < n; ++i) {
    e.out.put32(type.members[i].type->oid);
    if (values[i].empty()) {
      e.out.put32(0xffffffff);
      continue;
    }
    proto::Cursor value(values[i]);
    encode_binary(e, *type.members[i].type, value);
  }
}

}  // namespace headgate::postgres::wire
