// Ring: a queue whose memory is reused, so that a connection at work allocates nothing.
//
// Owner: a connection. Threads: its own.
#pragma once
#include <cstddef>
#include <utility>
#include <vector>

namespace headgate::postgres {

template <class T>
class Ring {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  T& front() { return store_[head_]; }
  T& back() { return at(size_ - 1); }
  T& at(std::size_t i) { return store_[(head_ + i) & (store_.size() - 1)]; }
  void push(T value) {
    if (size_ == store_.size()) grow();
    ++size_;
    back() = std::move(value);
  }
  T pop() {
    T value = std::exchange(store_[head_], T{});
    head_ = (head_ + 1) & (store_.size() - 1);
    --size_;
    return value;
  }
  void pop_back() {
    back() = T{};
    --size_;
  }

 private:
  void grow() {
    std::vector<T> more(store_.empty() ? 16 : store_.size() * 2);
    for (std::size_t i = 0; i < size_; ++i) more[i] = std::move(at(i));
    store_ = std::move(more);
    head_ = 0;
  }
  std::vector<T> store_;
  std::size_t head_ = 0;
  std::size_t size_ = 0;
};

}  // namespace headgate::postgres
