#include "proto/cursor.hpp"

#include <array>
#include <bit>
#include <cstring>

namespace headgate::proto {
namespace {

template <class T>
T big_endian(const std::uint8_t* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  if constexpr (sizeof(T) == 2)
    return static_cast<T>(__builtin_bswap16(static_cast<std::uint16_t>(v)));
  if constexpr (sizeof(T) == 4)
    return static_cast<T>(__builtin_bswap32(static_cast<std::uint32_t>(v)));
  if constexpr (sizeof(T) == 8)
    return static_cast<T>(__builtin_bswap64(static_cast<std::uint64_t>(v)));
  return v;
}

Type type_of(std::uint8_t b) {
  if (b <= 0x7f) return Type::uint;
  if (b <= 0x8f) return Type::map;
  if (b <= 0x9f) return Type::array;
  if (b <= 0xbf) return Type::str;
  if (b >= 0xe0) return Type::sint;
  static constexpr std::array<Type, 32> kTypes = {
      Type::nil,  Type::invalid, Type::boolean, Type::boolean, Type::bin,     Type::bin,
      Type::bin,  Type::ext,     Type::ext,     Type::ext,     Type::float32, Type::float64,
      Type::uint, Type::uint,    Type::uint,    Type::uint,    Type::sint,    Type::sint,
      Type::sint, Type::sint,    Type::ext,     Type::ext,     Type::ext,     Type::ext,
      Type::ext,  Type::str,     Type::str,     Type::str,     Type::array,   Type::array,
      Type::map,  Type::map};
  return kTypes[b - 0xc0];
}

}  // namespace

bool Cursor::take(std::size_t n, const std::uint8_t** p) {
  if (!ok_ || left() < n) {
    ok_ = false;
    return false;
  }
  *p = pos_;
  pos_ += n;
  return true;
}

Type Cursor::peek() const {
  if (!ok_ || pos_ == end_) return Type::invalid;
  return type_of(*pos_);
}

Item Cursor::next() {
  Item it;
  const std::uint8_t* p = nullptr;
  if (!take(1, &p)) return it;
  const std::uint8_t b = *p;
  std::uint64_t size = 0;
  // Reads an unsigned big-endian number of `width` bytes.
  auto number = [&](std::size_t width) -> std::uint64_t {
    if (!take(width, &p)) return 0;
    switch (width) {
      case 1:
        return *p;
      case 2:
        return big_endian<std::uint16_t>(p);
      case 4:
        return big_endian<std::uint32_t>(p);
      default:
        return big_endian<std::uint64_t>(p);
    }
  };
  auto payload = [&](Type t) {
    if (!take(size, &p)) return;
    it.bytes = {p, size};
    it.type = t;
  };
  auto container = [&](Type t, std::uint64_t n) {
    // Each element takes a byte at least: a count above the bytes left is a lie.
    if (!ok_ || n > left() / (t == Type::map ? 2 : 1)) {
      ok_ = false;
      return;
    }
    it.count = static_cast<std::uint32_t>(n);
    it.type = t;
  };
  auto sint = [&](std::int64_t v) {
    if (!ok_) return;
    if (v >= 0) {
      it.uint = static_cast<std::uint64_t>(v);
      it.type = Type::uint;
    } else {
      it.sint = v;
      it.type = Type::sint;
    }
  };
  if (b <= 0x7f) {
    it.type = Type::uint;
    it.uint = b;
    return it;
  }
  if (b >= 0xe0) {
    sint(static_cast<std::int8_t>(b));
    return it;
  }
  if (b <= 0x8f) {
    container(Type::map, b & 0x0f);
    return it;
  }
  if (b <= 0x9f) {
    container(Type::array, b & 0x0f);
    return it;
  }
  if (b <= 0xbf) {
    size = b & 0x1f;
    payload(Type::str);
    return it;
  }
  switch (b) {
    case 0xc0:
      it.type = Type::nil;
      break;
    case 0xc2:
    case 0xc3:
      it.type = Type::boolean;
      it.boolean = b == 0xc3;
      break;
    case 0xc4:
    case 0xc5:
    case 0xc6:
      size = number(std::size_t{1} << (b - 0xc4));
      payload(Type::bin);
      break;
    case 0xc7:
    case 0xc8:
    case 0xc9:
      size = number(std::size_t{1} << (b - 0xc7));
      it.ext = static_cast<std::int8_t>(number(1));
      payload(Type::ext);
      break;
    case 0xca: {
      const auto bits = static_cast<std::uint32_t>(number(4));
      if (ok_) {
        it.type = Type::float32;
        it.real = std::bit_cast<float>(bits);
      }
      break;
    }
    case 0xcb: {
      const std::uint64_t bits = number(8);
      if (ok_) {
        it.type = Type::float64;
        it.real = std::bit_cast<double>(bits);
      }
      break;
    }
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
      it.uint = number(std::size_t{1} << (b - 0xcc));
      if (ok_) it.type = Type::uint;
      break;
    case 0xd0:
      sint(static_cast<std::int8_t>(number(1)));
      break;
    case 0xd1:
      sint(static_cast<std::int16_t>(number(2)));
      break;
    case 0xd2:
      sint(static_cast<std::int32_t>(number(4)));
      break;
    case 0xd3:
      sint(static_cast<std::int64_t>(number(8)));
      break;
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      size = std::uint64_t{1} << (b - 0xd4);
      it.ext = static_cast<std::int8_t>(number(1));
      payload(Type::ext);
      break;
    case 0xd9:
    case 0xda:
    case 0xdb:
      size = number(std::size_t{1} << (b - 0xd9));
      payload(Type::str);
      break;
    case 0xdc:
      container(Type::array, number(2));
      break;
    case 0xdd:
      container(Type::array, number(4));
      break;
    case 0xde:
      container(Type::map, number(2));
      break;
    case 0xdf:
      container(Type::map, number(4));
      break;
    default:
      ok_ = false;
      break;  // 0xc1, never used
  }
  if (!ok_) it.type = Type::invalid;
  return it;
}

std::uint64_t Cursor::read_uint() {
  const Item it = next();
  if (it.type != Type::uint) ok_ = false;
  return it.uint;
}

std::int64_t Cursor::read_int() {
  const Item it = next();
  if (it.type == Type::sint) return it.sint;
  if (it.type != Type::uint || it.uint > static_cast<std::uint64_t>(INT64_MAX)) {
    ok_ = false;
    return 0;
  }
  return static_cast<std::int64_t>(it.uint);
}

bool Cursor::read_bool() {
  const Item it = next();
  if (it.type != Type::boolean) ok_ = false;
  return it.boolean;
}

double Cursor::read_float() {
  const Item it = next();
  constexpr std::uint64_t kExact = std::uint64_t{1} << 53;
  if (it.type == Type::float32 || it.type == Type::float64) return it.real;
  if (it.type == Type::uint && it.uint <= kExact) return static_cast<double>(it.uint);
  if (it.type == Type::sint && it.sint >= -static_cast<std::int64_t>(kExact))
    return static_cast<double>(it.sint);
  ok_ = false;
  return 0;
}

std::string_view Cursor::read_str() {
  const Item it = next();
  if (it.type != Type::str) {
    ok_ = false;
    return {};
  }
  return text_of(it.bytes);
}

Bytes Cursor::read_bin() {
  const Item it = next();
  if (it.type != Type::bin) {
    ok_ = false;
    return {};
  }
  return it.bytes;
}

std::uint32_t Cursor::read_array() {
  const Item it = next();
  if (it.type != Type::array) {
    ok_ = false;
    return 0;
  }
  return it.count;
}

std::uint32_t Cursor::read_map() {
  const Item it = next();
  if (it.type != Type::map) {
    ok_ = false;
    return 0;
  }
  return it.count;
}

bool Cursor::read_nil() {
  if (peek() != Type::nil) return false;
  next();
  return true;
}

Bytes Cursor::skip() {
  const std::uint8_t* begin = pos_;
  std::uint64_t open = 1;  // values still to skip; depth does not matter here
  while (open > 0 && ok_) {
    const Item it = next();
    if (it.type == Type::invalid) break;
    --open;
    if (it.type == Type::array) open += it.count;
    if (it.type == Type::map) open += std::uint64_t{2} * it.count;
    if (open > left()) ok_ = false;
  }
  if (!ok_) return {};
  return {begin, static_cast<std::size_t>(pos_ - begin)};
}

Shape check(Bytes b, std::uint32_t depth_max, std::uint32_t elements_max) {
  // One counter of values still open for each level of nesting.
  std::array<std::uint64_t, kDepthMax + 1> open{};
  if (depth_max > kDepthMax) depth_max = kDepthMax;
  Cursor c(b);
  std::uint32_t depth = 0;
  std::uint64_t elements = 0;
  open[0] = 1;
  for (;;) {
    while (open[depth] == 0) {
      if (depth == 0) return c.at_end() ? Shape::good : Shape::trailing;
      --depth;
    }
    --open[depth];
    const bool reserved = !c.at_end() && *c.position() == 0xc1;
    const Item it = c.next();
    if (!c.ok()) return reserved ? Shape::bad_byte : Shape::truncated;
    if (++elements > elements_max) return Shape::too_many;
    if (it.type == Type::str && !valid_utf8(text_of(it.bytes))) return Shape::bad_utf8;
    if (it.type == Type::array || it.type == Type::map) {
      if (++depth > depth_max) return Shape::too_deep;
      open[depth] = it.type == Type::map ? std::uint64_t{2} * it.count : it.count;
      if (open[depth] > elements_max - elements) return Shape::too_many;
    }
  }
}

bool valid_utf8(std::string_view s) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(s.data());
  const auto* end = p + s.size();
  while (p < end) {
    if (end - p >= 8) {  // eight ASCII bytes at a time
      std::uint64_t w;
      std::memcpy(&w, p, 8);
      if ((w & 0x8080808080808080u) == 0) {
        p += 8;
        continue;
      }
    }
    const std::uint8_t b = *p;
    if (b < 0x80) {
      ++p;
      continue;
    }
    // RFC 3629, section 4: the well-formed sequences.
    int n = 0;
    std::uint8_t lo = 0x80, hi = 0xbf;
    if (b >= 0xc2 && b <= 0xdf)
      n = 1;
    else if (b >= 0xe0 && b <= 0xef) {
      n = 2;
      if (b == 0xe0) lo = 0xa0;
      if (b == 0xed) hi = 0x9f;
    } else if (b >= 0xf0 && b <= 0xf4) {
      n = 3;
      if (b == 0xf0) lo = 0x90;
      if (b == 0xf4) hi = 0x8f;
    } else
      return false;
    if (end - p <= n) return false;
    if (p[1] < lo || p[1] > hi) return false;
    for (int i = 2; i <= n; ++i)
      if (p[i] < 0x80 || p[i] > 0xbf) return false;
    p += n + 1;
  }
  return true;
}

std::string_view name(Shape s) {
  switch (s) {
    case Shape::good:
      return "good";
    case Shape::truncated:
      return "truncated";
    case Shape::trailing:
      return "bytes after the value";
    case Shape::too_deep:
      return "nested too deeply";
    case Shape::too_many:
      return "too many elements";
    case Shape::bad_byte:
      return "the byte 0xc1";
    case Shape::bad_utf8:
      return "a str that is not UTF-8";
  }
  return "?";
}

}  // namespace headgate::proto
