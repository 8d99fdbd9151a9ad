// ReplyBuffer collects a reply's body, with headroom in front where envelope and meta are written
// last, so that a reply leaves as one piece of memory and is never copied to be framed.
//
// Owner:   an Operation, then whoever sends it. Threads: one at a time (a worker, then the loop).
// Holds:   body_max bounds what may be reserved; memory comes from malloc in growing steps.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "proto/cursor.hpp"

namespace headgate {

class ReplyBuffer {
 public:
  // Bytes kept free in front: the longest reply head (proto::kReplyHeadMax) fits.
  static constexpr std::size_t kHeadroom = 2048;

  ReplyBuffer() = default;
  explicit ReplyBuffer(std::uint64_t body_max) : body_max_(body_max) {}
  ReplyBuffer(ReplyBuffer&& o) noexcept { swap(o); }
  ReplyBuffer& operator=(ReplyBuffer&& o) noexcept {
    swap(o);
    return *this;
  }
  ~ReplyBuffer() { std::free(data_); }

  // At least n writable bytes after the body so far; nullptr: the body would exceed its maximum, or
  // memory is out. room() says how many there are.
  std::uint8_t* reserve(std::uint64_t n) {
    if (n > body_max_ || size_ > body_max_ - n) return nullptr;
    const std::uint64_t need = kHeadroom + size_ + n;
    if (need > capacity_) {
      std::uint64_t grown = capacity_ == 0 ? 4096 : capacity_ * 2;
      if (grown < need) grown = need;
      void* p = std::realloc(data_, grown);
      if (p == nullptr) return nullptr;
      data_ = static_cast<std::uint8_t*>(p);
      capacity_ = grown;
    }
    return data_ + kHeadroom + size_;
  }
  [[nodiscard]] std::uint64_t room() const {
    const std::uint64_t held = capacity_ == 0 ? 0 : capacity_ - kHeadroom - size_;
    return std::min(held, body_max_ - size_);
  }
  void commit(std::uint64_t n) { size_ += n; }
  void clear() { size_ = 0; }
  void set_body_max(std::uint64_t n) { body_max_ = n; }

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::uint8_t* body() { return data_ == nullptr ? nullptr : data_ + kHeadroom; }
  [[nodiscard]] proto::Bytes view() const {
    return data_ == nullptr ? proto::Bytes{} : proto::Bytes{data_ + kHeadroom, size_};
  }
  // Gives the malloc'd block up: the caller frees it. Null when nothing was ever reserved.
  std::uint8_t* release() {
    size_ = capacity_ = 0;
    return std::exchange(data_, nullptr);
  }
  void swap(ReplyBuffer& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(capacity_, o.capacity_);
    std::swap(body_max_, o.body_max_);
  }

 private:
  std::uint8_t* data_ = nullptr;
  std::uint64_t size_ = 0;
  std::uint64_t capacity_ = 0;
  std::uint64_t body_max_ = 0;
};

}  // namespace headgate
