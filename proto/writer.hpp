// Writer produces msgpack in the shortest form, into memory that somebody else lends it.
//
// An Out is a window [pos, end) and a function that gets more room. So one writer serves a vector
// (VectorOut below), the host's sink in a plugin (plugins/sdk/driver.hpp) and a fixed buffer.
// A refused grow fails the writer: later writes do nothing, and the caller asks ok() once.
//
// Threads: one at a time.
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "proto/cursor.hpp"

namespace headgate::proto {

struct Out {
  std::uint8_t* pos = nullptr;
  std::uint8_t* end = nullptr;
  // Makes end - pos >= n, keeping what was written before pos. False: no more room.
  bool (*grow)(Out*, std::size_t n) = nullptr;
};

class Writer {
 public:
  explicit Writer(Out* out) : out_(out) {}
  [[nodiscard]] bool ok() const { return ok_; }

  void nil() { byte(0xc0); }
  void boolean(bool b) { byte(b ? 0xc3 : 0xc2); }
  void uint(std::uint64_t v) {
    if (v <= 0x7f)
      byte(static_cast<std::uint8_t>(v));
    else if (v <= 0xff)
      tagged<std::uint8_t>(0xcc, v);
    else if (v <= 0xffff)
      tagged<std::uint16_t>(0xcd, v);
    else if (v <= 0xffffffff)
      tagged<std::uint32_t>(0xce, v);
    else
      tagged<std::uint64_t>(0xcf, v);
  }
  void sint(std::int64_t v) {
    if (v >= 0)
      uint(static_cast<std::uint64_t>(v));
    else if (v >= -32)
      byte(static_cast<std::uint8_t>(v));
    else if (v >= INT8_MIN)
      tagged<std::uint8_t>(0xd0, static_cast<std::uint64_t>(v));
    else if (v >= INT16_MIN)
      tagged<std::uint16_t>(0xd1, static_cast<std::uint64_t>(v));
    else if (v >= INT32_MIN)
      tagged<std::uint32_t>(0xd2, static_cast<std::uint64_t>(v));
    else
      tagged<std::uint64_t>(0xd3, static_cast<std::uint64_t>(v));
  }
  void real(double v) { tagged<std::uint64_t>(0xcb, std::bit_cast<std::uint64_t>(v)); }
  void str(std::string_view s) {
    if (s.size() <= 31)
      byte(static_cast<std::uint8_t>(0xa0 | s.size()));
    else if (s.size() <= 0xff)
      tagged<std::uint8_t>(0xd9, s.size());
    else if (s.size() <= 0xffff)
      tagged<std::uint16_t>(0xda, s.size());
    else
      tagged<std::uint32_t>(0xdb, s.size());
    raw(bytes_of(s));
  }
  void bin(Bytes b) {
    if (b.size() <= 0xff)
      tagged<std::uint8_t>(0xc4, b.size());
    else if (b.size() <= 0xffff)
      tagged<std::uint16_t>(0xc5, b.size());
    else
      tagged<std::uint32_t>(0xc6, b.size());
    raw(b);
  }
  void array(std::uint32_t n) {
    if (n <= 15)
      byte(static_cast<std::uint8_t>(0x90 | n));
    else if (n <= 0xffff)
      tagged<std::uint16_t>(0xdc, n);
    else
      tagged<std::uint32_t>(0xdd, n);
  }
  void map(std::uint32_t n) {
    if (n <= 15)
      byte(static_cast<std::uint8_t>(0x80 | n));
    else if (n <= 0xffff)
      tagged<std::uint16_t>(0xde, n);
    else
      tagged<std::uint32_t>(0xdf, n);
  }
  void ext(std::int8_t type, Bytes b) {
    ext_header(type, static_cast<std::uint32_t>(b.size()));
    raw(b);
  }
  // The header alone; the caller writes exactly n payload bytes with raw().
  void ext_header(std::int8_t type, std::uint32_t n) {
    switch (n) {
      case 1:
        byte(0xd4);
        break;
      case 2:
        byte(0xd5);
        break;
      case 4:
        byte(0xd6);
        break;
      case 8:
        byte(0xd7);
        break;
      case 16:
        byte(0xd8);
        break;
      default:
        if (n <= 0xff)
          tagged<std::uint8_t>(0xc7, n);
        else if (n <= 0xffff)
          tagged<std::uint16_t>(0xc8, n);
        else
          tagged<std::uint32_t>(0xc9, n);
    }
    byte(static_cast<std::uint8_t>(type));
  }
  // An array header of five bytes whose count is patched when it is known: see patch_array32.
  void array32(std::uint32_t n) { tagged<std::uint32_t>(0xdd, n); }

  // Bytes that are msgpack already.
  void raw(Bytes b) {
    if (b.empty() || !room(b.size())) return;
    std::memcpy(out_->pos, b.data(), b.size());
    out_->pos += b.size();
  }

 private:
  bool room(std::size_t n) {
    if (!ok_) return false;
    if (static_cast<std::size_t>(out_->end - out_->pos) >= n) return true;
    ok_ = out_->grow != nullptr && out_->grow(out_, n);
    return ok_;
  }
  void byte(std::uint8_t b) {
    if (room(1)) *out_->pos++ = b;
  }
  template <class T>
  void tagged(std::uint8_t tag, std::uint64_t v) {
    if (!room(1 + sizeof(T))) return;
    *out_->pos++ = tag;
    for (int shift = static_cast<int>(sizeof(T)) * 8 - 8; shift >= 0; shift -= 8)
      *out_->pos++ = static_cast<std::uint8_t>(v >> shift);
  }

  Out* out_;
  bool ok_ = true;
};

// The four bytes of an array32 count, for a patch after the rows have been written.
inline void patch_array32(std::uint8_t* header, std::uint32_t n) {
  header[1] = static_cast<std::uint8_t>(n >> 24);
  header[2] = static_cast<std::uint8_t>(n >> 16);
  header[3] = static_cast<std::uint8_t>(n >> 8);
  header[4] = static_cast<std::uint8_t>(n);
}

// An Out over memory of a fixed size; a write beyond it fails the writer.
class FixedOut : public Out {
 public:
  explicit FixedOut(std::span<std::uint8_t> memory) : begin_(memory.data()) {
    pos = begin_;
    end = begin_ + memory.size();
  }
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(pos - begin_); }
  [[nodiscard]] Bytes view() const { return {begin_, size()}; }

 private:
  std::uint8_t* begin_;
};

// An Out over a vector that grows. view() is what has been written.
class VectorOut : public Out {
 public:
  explicit VectorOut(std::size_t reserve = 256) : store_(reserve) {
    pos = store_.data();
    end = pos + store_.size();
    grow = [](Out* out, std::size_t n) {
      auto* self = static_cast<VectorOut*>(out);
      const std::size_t used = self->size();
      self->store_.resize(std::max(self->store_.size() * 2, used + n));
      self->pos = self->store_.data() + used;
      self->end = self->store_.data() + self->store_.size();
      return true;
    };
  }
  VectorOut(const VectorOut&) = delete;
  VectorOut& operator=(const VectorOut&) = delete;
  [[nodiscard]] std::size_t size() const { return static_cast<std::size_t>(pos - store_.data()); }
  [[nodiscard]] Bytes view() const { return {store_.data(), size()}; }
  [[nodiscard]] std::uint8_t* at(std::size_t offset) { return store_.data() + offset; }
  void clear() { pos = store_.data(); }

 private:
  std::vector<std::uint8_t> store_;
};

}  // namespace headgate::proto
