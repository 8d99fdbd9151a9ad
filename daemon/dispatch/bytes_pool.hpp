// BytesPool lends the objects that hold a request's bytes, and counts the bytes that are held.
//
// Owner:   Dispatcher. Threads: the loop's.
// Holds:   objects are made in blocks and used again, so that a steady load allocates nothing; they
//          never move, so views into a frame stay valid.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/core/call.hpp"

namespace headgate {

class BytesPool {
 public:
  BytesPool() = default;
  BytesPool(const BytesPool&) = delete;
  BytesPool& operator=(const BytesPool&) = delete;

  // Takes the frame over, with one holder.
  RequestBytes* take(Frame frame);
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint32_t held() const { return held_; }

 private:
  struct Lent : RequestBytes {
    BytesPool* pool = nullptr;
    Lent* next = nullptr;
  };
  static constexpr std::size_t kBlock = 128;
  static void give_back(RequestBytes* b);

  std::vector<std::unique_ptr<Lent[]>> blocks_;
  Lent* free_ = nullptr;
  std::uint64_t bytes_ = 0;
  std::uint32_t held_ = 0;
};

}  // namespace headgate
