// Arrays, ranges, multiranges and composites: values inside values.
//
// Depth: that of the types, which TypeCatalog bounds (kTypeDepthMax); an array has six dimensions
// at most. Work: every value inside takes at least four bytes of the message.
#include "plugins/postgres/wire/decode.hpp"

namespace headgate::postgres::wire {
namespace {

constexpr std::uint32_t kDimensionsMax = 6;

class Inside {
 public:
  Inside(Bytes v, const char* what) : pos_(v.data()), end_(pos_ + v.size()), what_(what) {}
  std::uint32_t u32() { return load32(take(4)); }
  std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
  Bytes bytes(std::size_t n) { return {take(n), n}; }
  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - pos_); }
  void done() const {
    if (pos_ != end_) malformed(what_);
  }
  // A length word and a value; NULL is nil.
  void value(proto::Writer& w, const Type& type) {
    const std::int32_t n = i32();
    if (n == -1) return w.nil();
    if (n < 0) malformed(what_);
    write_binary(w, type, bytes(static_cast<std::size_t>(n)));
  }

 private:
  const std::uint8_t* take(std::size_t n) {
    if (left() < n) malformed(what_);
    const std::uint8_t* p = pos_;
    pos_ += n;
    return p;
  }
  const std::uint8_t* pos_;
  const std::uint8_t* end_;
  const char* what_;
};

struct Dimensions {
  std::uint32_t count = 0;
  std::uint32_t size[kDimensionsMax] = {};
};

void write_level(proto::Writer& w, const Type& element, const Dimensions& d, std::uint32_t level,
                 Inside& in) {
  const std::uint32_t n = d.size[level];
  w.array(n);
  for (std::uint32_t i = 0; i < n; ++i) {
    if (level + 1 == d.count)
      in.value(w, element);
    else
      write_level(w, element, d, level + 1, in);
  }
}

// A cast between types of one binary form (text[] to varchar[]) leaves the elements' old number.
bool same_form(const Type& element, Oid sent) {
  if (element.oid == sent) return true;
  const TypePtr other = TypeCatalog::builtin(sent);
  return other != nullptr && other->codec == element.codec && other->element == nullptr;
}

}  // namespace

void write_array(proto::Writer& w, const Type& type, Bytes v) {
  Inside in(v, "array");
  Dimensions d;
  d.count = in.u32();
  const std::uint32_t nulls = in.u32();
  const Oid sent = in.u32();
  if (d.count > kDimensionsMax || nulls > 1) malformed("array");
  if (!same_form(*type.element, sent)) stale(type);
  const std::int32_t begin = type.codec == Codec::vector ? 0 : 1;
  std::uint64_t all = 1;
  bool elsewhere = false;
  for (std::uint32_t i = 0; i < d.count; ++i) {
    const std::int32_t size = in.i32();
    elsewhere = in.i32() != begin || elsewhere;
    if (size < 0) malformed("array");
    d.size[i] = static_cast<std::uint32_t>(size);
    all *= d.size[i];
    if (all > v.size() / 4) malformed("array");  // an element takes four bytes at least
  }
  if (d.count == 0) {
    in.done();
    return w.array(0);
  }
  if (all == 0 && d.count != 1) malformed("array");
  if (elsewhere && all != 0)
    unrepresentable("holds an array whose lower bounds are not 1: cast it to text", "22000");
  write_level(w, *type.element, d, 0, in);
  in.done();
}

void write_range(proto::Writer& w, const Type& type, Bytes v) {
  constexpr std::uint8_t kKnown =
      kRangeEmpty | kRangeLowerIn | kRangeUpperIn | kRangeNoLower | kRangeNoUpper;
  if (v.empty() || (v[0] & ~kKnown) != 0) malformed("range");
  const std::uint8_t flags = v[0];
  Inside in(v.subspan(1), "range");
  const bool empty = (flags & kRangeEmpty) != 0;
  const auto bound = [&](const char* name, std::uint8_t none) {
    w.str(name);
    if (empty || (flags & none) != 0) return w.nil();
    const std::int32_t n = in.i32();
    if (n < 0) malformed("range");
    write_binary(w, *type.element, in.bytes(static_cast<std::size_t>(n)));
  };
  w.map(3);
  bound("lower", kRangeNoLower);
  bound("upper", kRangeNoUpper);
  w.str("bounds");
  // What has no bound does not include it, whatever the flags say.
  const bool lower_in = (flags & (kRangeLowerIn | kRangeNoLower)) == kRangeLowerIn;
  const bool upper_in = (flags & (kRangeUpperIn | kRangeNoUpper)) == kRangeUpperIn;
  static constexpr std::string_view kBounds[] = {"()", "[)", "(]", "[]"};
  w.str(empty ? std::string_view("empty") : kBounds[(lower_in ? 1 : 0) + (upper_in ? 2 : 0)]);
  in.done();
}

void write_multirange(proto::Writer& w, const Type& type, Bytes v) {
  Inside in(v, "multirange");
  const std::uint32_t n = in.u32();
  if (n > in.left() / 5) malformed("multirange");
  w.array(n);
  for (std::uint32_t i = 0; i < n; ++i) write_range(w, *type.element, in.bytes(in.u32()));
  in.done();
}

void write_composite(proto::Writer& w, const Type& type, Bytes v) {
  Inside in(v, "composite");
  if (in.u32() != type.members.size()) stale(type);
  w.map(static_cast<std::uint32_t>(type.members.size()));
  for (const Type::Member& m : type.members) {
    if (in.u32() != m.type->oid) stale(type);
    w.str(m.name);
    in.value(w, *m.type);
  }
  in.done();
}

}  // namespace headgate::postgres::wire
