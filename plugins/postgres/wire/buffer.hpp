// OutBuffer: the bytes that wait to be sent on one connection, in one piece.
//
// Owner:     the connection. Threads: its own.
// Invariant: view() is what has been appended and not yet consumed(). Memory is reused: appending
//            allocates only when more waits than ever before, and a buffer that has been emptied
//            after a large message gives that memory back.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "proto/cursor.hpp"

namespace headgate::postgres::wire {

using proto::Bytes;

// A type's number in the server's catalogue.
using Oid = std::uint32_t;

inline std::uint16_t load16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
inline std::uint32_t load32(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap32(v);
}
inline std::uint64_t load64(const std::uint8_t* p) {
  std::uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap64(v);
}
inline void store16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}
inline void store32(std::uint8_t* p, std::uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}
inline void store64(std::uint8_t* p, std::uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}

class OutBuffer {
 public:
  // An emptied buffer keeps up to this much.
  static constexpr std::size_t kKeep = 256u << 10;

  [[nodiscard]] Bytes view() const { return {store_.get() + head_, tail_ - head_}; }
  [[nodiscard]] std::size_t size() const { return tail_ - head_; }
  [[nodiscard]] bool empty() const { return head_ == tail_; }

  // The first n bytes of view() have been sent. REQUIRES: n <= size().
  void consumed(std::size_t n) {
    head_ += n;
    if (head_ == tail_) emptied();
  }
  void clear() { consumed(size()); }

  // n more bytes at the end, to be written by the caller at once. Any call moves what an earlier
  // one returned.
  std::uint8_t* extend(std::size_t n) {
    if (capacity_ - tail_ < n) grow(n);
    std::uint8_t* p = store_.get() + tail_;
    tail_ += n;
    return p;
  }
  void put8(std::uint8_t v) { *extend(1) = v; }
  void put16(std::uint16_t v) { store16(extend(2), v); }
  void put32(std::uint32_t v) { store32(extend(4), v); }
  void put64(std::uint64_t v) { store64(extend(8), v); }
  void put(Bytes b) {
    if (!b.empty()) std::memcpy(extend(b.size()), b.data(), b.size());
  }
  void put(std::string_view s) { put(proto::bytes_of(s)); }
  // The text and a NUL. REQUIRES: no NUL in it (frontend.hpp refuses that).
  void put_cstring(std::string_view s) {
    put(s);
    put8(0);
  }

  // Offsets count from the start of view(), and hold until the next consumed().
  [[nodiscard]] std::uint8_t* at(std::size_t offset) { return store_.get() + head_ + offset; }
  // Forgets what was appended since size() was `size`.
  void truncate(std::size_t size) { tail_ = head_ + size; }

 private:
  void grow(std::size_t n);
  void emptied();
  std::unique_ptr<std::uint8_t[]> store_;
  std::size_t capacity_ = 0;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
};

}  // namespace headgate::postgres::wire
