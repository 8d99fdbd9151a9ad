// Frame owns the bytes of one message that came in, whoever allocated them.
//
// Move-only. The storage is big enough for a zmq_msg_t, so the transport hands its own message over
// without a copy or an allocation. Threads: one at a time; it may be released on any.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "proto/cursor.hpp"

namespace headgate {

class Frame {
 public:
  struct Ops {
    void (*move)(void* from, void* to);  // leaves `from` empty, to be released no more
    void (*release)(void* storage);
  };
  static constexpr std::size_t kStorage = 64;

  Frame() = default;
  // The owner fills storage() before it gives ops and bytes.
  void adopt(const Ops* ops, proto::Bytes bytes) {
    ops_ = ops;
    bytes_ = bytes;
  }
  Frame(Frame&& o) noexcept { take(o); }
  Frame& operator=(Frame&& o) noexcept {
    if (this != &o) {
      release();
      take(o);
    }
    return *this;
  }
  ~Frame() { release(); }

  [[nodiscard]] void* storage() { return storage_; }
  // Views into bytes() stay valid when the Frame moves, except where the bytes live inside the
  // storage itself (small messages): so move it to its place first, and decode it there.
  [[nodiscard]] proto::Bytes bytes() const { return bytes_; }
  void release() {
    if (ops_ != nullptr) ops_->release(storage_);
    ops_ = nullptr;
    bytes_ = {};
  }

 private:
  void take(Frame& o) {
    if (o.ops_ != nullptr) o.ops_->move(o.storage_, storage_);
    ops_ = std::exchange(o.ops_, nullptr);
    bytes_ = std::exchange(o.bytes_, {});
    const auto offset = reinterpret_cast<std::uintptr_t>(bytes_.data()) -
                        reinterpret_cast<std::uintptr_t>(o.storage_);
    if (offset < kStorage) bytes_ = {storage_ + offset, bytes_.size()};
  }
  alignas(16) unsigned char storage_[kStorage];
  const Ops* ops_ = nullptr;
  proto::Bytes bytes_{};
};

}  // namespace headgate
