// Slab keeps objects of one type in chunks and hands them out again, so that the steady state
// allocates nothing.
//
// Owner: whoever has the objects. Threads: one. Addresses stay valid while the Slab lives; an
// object that is taken looks as its last user left it, so T has a clear().
#pragma once
#include <cassert>
#include <cstddef>
#include <memory>
#include <vector>

namespace headgate::pool {

template <class T>
class Slab {
 public:
  T& take() {
    if (free_.empty()) grow();
    T* t = free_.back();
    free_.pop_back();
    ++used_;
    return *t;
  }
  void give(T& t) {
    assert(used_ > 0);
    t.clear();
    --used_;
    free_.push_back(&t);
  }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
  static constexpr std::size_t kChunk = 64;
  void grow() {
    chunks_.push_back(std::make_unique<T[]>(kChunk));
    free_.reserve(chunks_.size() * kChunk);
    for (std::size_t i = kChunk; i-- > 0;) free_.push_back(&chunks_.back()[i]);
  }
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<T*> free_;
  std::size_t used_ = 0;
};

}  // namespace headgate::pool
