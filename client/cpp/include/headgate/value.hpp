// Values in and out: what a program passes as parameters and documents, and gets back.
//
// Anything that msgpack-cxx can pack may be passed (numbers, text, vectors, maps, tuples,
// std::optional, MSGPACK_DEFINE and MSGPACK_DEFINE_MAP types), and the types below, which have ext
// forms in PROTOCOL.md. std::string is text and must be UTF-8; bytes are std::vector<char>,
// std::vector<unsigned char> or headgate::Binary.
//
// A value that the type asked for cannot hold exactly is a ValueError, never a silent change.
#pragma once
#ifndef MSGPACK_NO_BOOST
#define MSGPACK_NO_BOOST
#endif
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <msgpack.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "headgate/error.hpp"
#include "proto/values.hpp"

namespace headgate {

using proto::Date;
using proto::Interval;
using proto::LocalTimestamp;
using proto::TimeOfDay;
using proto::Timestamp;
using proto::Uuid;

// Exact: digits * 10^-scale, any size. Decimal("12.50") keeps its two places.
struct Decimal {
  Decimal() = default;
  explicit Decimal(std::string_view text);  // throws ValueError
  bool negative = false;
  std::int16_t scale = 0;
  std::string digits = "0";
  bool operator==(const Decimal&) const = default;
};
std::string to_text(const Decimal& v);

struct Json {
  std::string text;
  bool operator==(const Json&) const = default;
};

// Two's complement, big endian; only what lies beyond 64 bits.
struct BigInteger {
  std::vector<std::uint8_t> bytes;
  bool operator==(const BigInteger&) const = default;
};

// A BSON value that msgpack lacks: BSON's type byte and the value's bytes.
struct Bson {
  std::uint8_t type = 0;
  std::vector<std::uint8_t> bytes;
  bool operator==(const Bson&) const = default;
};

struct ObjectId {
  std::array<std::uint8_t, 12> bytes{};
  bool operator==(const ObjectId&) const = default;
};
std::string to_text(const ObjectId& v);  // 24 hexadecimal digits

struct RawBson {
  std::vector<std::uint8_t> bytes;
  bool operator==(const RawBson&) const = default;
};

// Bytes in a std::string. (A plain std::string is text.)
struct Binary {
  std::string bytes;
  bool operator==(const Binary&) const = default;
};

// Bytes that are msgpack already, exactly one value. Lent.
struct Raw {
  Bytes bytes;
};

// Growing bytes, as msgpack::packer writes them.
class Buffer {
 public:
  void write(const char* p, std::size_t n) {
    bytes_.insert(bytes_.end(), reinterpret_cast<const std::uint8_t*>(p),
                  reinterpret_cast<const std::uint8_t*>(p) + n);
  }
  [[nodiscard]] Bytes view() const { return bytes_; }
  [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }
  void clear() { bytes_.clear(); }

 private:
  std::vector<std::uint8_t> bytes_;
};
using Packer = msgpack::packer<Buffer>;

template <class T>
std::vector<std::uint8_t> pack(const T& value) {
  Buffer b;
  Packer(b).pack(value);
  return b.take();
}

// Builds a map in the order given: Doc("name", "Ada", "tags", std::vector{1, 2}).
class Doc {
 public:
  Doc() = default;
  template <class... Rest>
  explicit Doc(std::string_view key, Rest&&... rest) {
    static_assert(sizeof...(Rest) % 2 == 1, "keys and values come in pairs");
    add_all(key, std::forward<Rest>(rest)...);
  }
  template <class T>
  Doc& add(std::string_view key, const T& value) {
    Packer p(pairs_);
    p.pack(key);
    p.pack(value);
    ++count_;
    return *this;
  }
  [[nodiscard]] std::uint32_t count() const { return count_; }
  [[nodiscard]] Bytes pairs() const { return pairs_.view(); }

 private:
  void add_all() {}
  template <class T, class... Rest>
  void add_all(std::string_view key, const T& value, Rest&&... rest) {
    add(key, value);
    add_all(std::forward<Rest>(rest)...);
  }
  Buffer pairs_;
  std::uint32_t count_ = 0;
};

// Any value that came, looked into when it is asked for. Cheap to copy; owns its bytes.
class Value {
 public:
  Value() = default;  // nil
  static Value parse(Bytes b);

  [[nodiscard]] bool is_nil() const { return object().type == msgpack::type::NIL; }
  [[nodiscard]] bool is_map() const { return object().type == msgpack::type::MAP; }
  [[nodiscard]] bool is_array() const { return object().type == msgpack::type::ARRAY; }
  [[nodiscard]] std::size_t size() const;                      // of a map or an array; else 0
  [[nodiscard]] Value operator[](std::string_view key) const;  // nil when it is not there
  [[nodiscard]] Value at(std::size_t i) const;                 // throws ValueError beyond the end
  [[nodiscard]] std::string key_at(std::size_t i) const;       // of a map
  [[nodiscard]] Value value_at(std::size_t i) const;           // of a map

  // Throws ValueError when the value has no exact form in T.
  template <class T>
  [[nodiscard]] T as() const;

  [[nodiscard]] const msgpack::object& object() const;
  // For the adaptor: a deep copy of an object that somebody else owns.
  static Value copy_of(const msgpack::object& o);

 private:
  Value(std::shared_ptr<const msgpack::object_handle> owner, const msgpack::object* at)
      : owner_(std::move(owner)), at_(at) {}
  std::shared_ptr<const msgpack::object_handle> owner_;
  const msgpack::object* at_ = nullptr;
};

namespace detail {

// What a conversion says when it fails: never a value, only types.
[[noreturn]] void no_form(const msgpack::object& o, std::string_view wanted);

msgpack::object_handle parse(Bytes b);
// The value of a key; nullptr when the map lacks it or the object is no map.
const msgpack::object* field(const msgpack::object& map, std::string_view key);

template <class T>
T convert(const msgpack::object& o) {
  if constexpr (std::is_same_v<T, Value>) {
    return Value::copy_of(o);
  } else {
    try {
      return o.as<T>();
    } catch (const msgpack::type_error&) {
      no_form(o, __PRETTY_FUNCTION__);
    }
  }
}

template <class T>
T field_as(const msgpack::object& map, std::string_view key) {
  const msgpack::object* o = field(map, key);
  return convert<T>(o != nullptr ? *o : msgpack::object());
}

// The ext types: proto's own structs, and the owning ones above.
template <class T>
inline constexpr bool kIsExt =
    std::is_same_v<T, Timestamp> || std::is_same_v<T, Date> || std::is_same_v<T, TimeOfDay> ||
    std::is_same_v<T, LocalTimestamp> || std::is_same_v<T, Interval> || std::is_same_v<T, Uuid> ||
    std::is_same_v<T, Decimal> || std::is_same_v<T, Json> || std::is_same_v<T, BigInteger> ||
    std::is_same_v<T, Bson> || std::is_same_v<T, ObjectId> || std::is_same_v<T, RawBson>;

// Each writes one ext value; throws ValueError when it is not in the protocol's form.
void write_ext(proto::Writer& w, const Timestamp& v);
void write_ext(proto::Writer& w, const Date& v);
void write_ext(proto::Writer& w, const TimeOfDay& v);
void write_ext(proto::Writer& w, const LocalTimestamp& v);
void write_ext(proto::Writer& w, const Interval& v);
void write_ext(proto::Writer& w, const Uuid& v);
void write_ext(proto::Writer& w, const Decimal& v);
void write_ext(proto::Writer& w, const Json& v);
void write_ext(proto::Writer& w, const BigInteger& v);
void write_ext(proto::Writer& w, const Bson& v);
void write_ext(proto::Writer& w, const ObjectId& v);
void write_ext(proto::Writer& w, const RawBson& v);
bool read_ext(const proto::Item& it, Timestamp* out);
bool read_ext(const proto::Item& it, Date* out);
bool read_ext(const proto::Item& it, TimeOfDay* out);
bool read_ext(const proto::Item& it, LocalTimestamp* out);
bool read_ext(const proto::Item& it, Interval* out);
bool read_ext(const proto::Item& it, Uuid* out);
bool read_ext(const proto::Item& it, Decimal* out);
bool read_ext(const proto::Item& it, Json* out);
bool read_ext(const proto::Item& it, BigInteger* out);
bool read_ext(const proto::Item& it, Bson* out);
bool read_ext(const proto::Item& it, ObjectId* out);
bool read_ext(const proto::Item& it, RawBson* out);

proto::Item item_of(const msgpack::object& o);  // of an ext object; else Type::invalid

}  // namespace detail

template <class T>
T Value::as() const {
  return detail::convert<T>(object());
}

// One value in bytes as a T. Throws ValueError.
template <class T>
T unpack(Bytes b) {
  if constexpr (std::is_same_v<T, Value>) {
    return Value::parse(b);
  } else {
    const msgpack::object_handle h = detail::parse(b);
    return detail::convert<T>(h.get());
  }
}

}  // namespace headgate

namespace msgpack {
MSGPACK_API_VERSION_NAMESPACE(MSGPACK_DEFAULT_API_NS) {
  namespace adaptor {

  template <class T>
  struct pack<T, typename std::enable_if<headgate::detail::kIsExt<T>>::type> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& p, const T& v) const {
      headgate::proto::VectorOut out(64);
      headgate::proto::Writer w(&out);
      headgate::detail::write_ext(w, v);
      p.pack_ext_body(reinterpret_cast<const char*>(out.view().data()),
                      static_cast<std::uint32_t>(out.size()));
      return p;
    }
  };

  template <class T>
  struct convert<T, typename std::enable_if<headgate::detail::kIsExt<T>>::type> {
    const msgpack::object& operator()(const msgpack::object& o, T& v) const {
      if (!headgate::detail::read_ext(headgate::detail::item_of(o), &v))
        throw msgpack::type_error();
      return o;
    }
  };

  template <>
  struct pack<headgate::Binary> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& p,
                                        const headgate::Binary& v) const {
      p.pack_bin(static_cast<std::uint32_t>(v.bytes.size()));
      p.pack_bin_body(v.bytes.data(), static_cast<std::uint32_t>(v.bytes.size()));
      return p;
    }
  };

  template <>
  struct convert<headgate::Binary> {
    const msgpack::object& operator()(const msgpack::object& o, headgate::Binary& v) const {
      if (o.type != msgpack::type::BIN) throw msgpack::type_error();
      v.bytes.assign(o.via.bin.ptr, o.via.bin.size);
      return o;
    }
  };

  // nullptr is nil, so that it can stand among parameters.
  template <>
  struct pack<std::nullptr_t> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& p, std::nullptr_t) const {
      return p.pack_nil();
    }
  };

  template <>
  struct pack<headgate::Raw> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& p, const headgate::Raw& v) const {
      p.pack_bin_body(reinterpret_cast<const char*>(v.bytes.data()),
                      static_cast<std::uint32_t>(v.bytes.size()));
      return p;
    }
  };

  template <>
  struct pack<headgate::Doc> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& p, const headgate::Doc& v) const {
      p.pack_map(v.count());
      p.pack_bin_body(reinterpret_cast<const char*>(v.pairs().data()),
                      static_cast<std::uint32_t>(v.pairs().size()));
      return p;
    }
  };

  template <>
  struct pack<headgate::Value> {
    template <class Stream>
    msgpack::packer<Stream>& operator()(msgpack::packer<Stream>& p,
                                        const headgate::Value& v) const {
      return p.pack(v.object());
    }
  };

  template <>
  struct convert<headgate::Value> {
    const msgpack::object& operator()(const msgpack::object& o, headgate::Value& v) const {
      v = headgate::Value::copy_of(o);
      return o;
    }
  };

  }  // namespace adaptor
}  // MSGPACK_API_VERSION_NAMESPACE
}  // namespace msgpack
