// List is an intrusive doubly linked list: a state is the list that an object is in.
//
// An object derives from Hook<Tag> once for each list it can be in at a time. The list does not
// own.
#pragma once
#include <cassert>
#include <cstddef>

namespace headgate {

struct DefaultTag;

template <class Tag = DefaultTag>
class Hook {
 public:
  Hook() = default;
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;
  ~Hook() { assert(!linked()); }
  [[nodiscard]] bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (!linked()) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
    if (size_ != nullptr) --*size_;
    size_ = nullptr;
  }

 private:
  template <class, class>
  friend class List;
  Hook* prev_ = nullptr;
  Hook* next_ = nullptr;
  std::size_t* size_ = nullptr;
};

template <class T, class Tag = DefaultTag>
class List {
  using H = Hook<Tag>;

 public:
  List() { head_.prev_ = head_.next_ = &head_; }
  ~List() {
    clear();
    head_.prev_ = head_.next_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  [[nodiscard]] T* back() { return empty() ? nullptr : static_cast<T*>(head_.prev_); }
  void push_back(T& t) { insert(&head_, t); }
  void push_front(T& t) { insert(head_.next_, t); }
  T* pop_front() {
    T* t = front();
    if (t != nullptr) static_cast<H*>(t)->unlink();
    return t;
  }
  void clear() {
    while (pop_front() != nullptr) {
    }
  }
  // Visits every element; f may unlink the one it is given, no other.
  template <class F>
  void each(F&& f) {
    for (H* h = head_.next_; h != &head_;) {
      H* next = h->next_;
      f(*static_cast<T*>(h));
      h = next;
    }
  }

 private:
  void insert(H* before, T& t) {
    H* h = &t;
    assert(!h->linked());
    h->next_ = before;
    h->prev_ = before->prev_;
    before->prev_->next_ = h;
    before->prev_ = h;
    h->size_ = &size_;
    ++size_;
  }
  H head_;
  std::size_t size_ = 0;
};

}  // namespace headgate
