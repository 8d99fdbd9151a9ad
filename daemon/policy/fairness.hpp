// FairQueue holds what waits for one kind of connection: one flow for each service, weighted fair
// between flows, oldest first within one.
//
// Start-time fair queueing: a flow's next call has a start tag; the smallest goes first and moves
// its flow's tag on by 1/weight. A flow that was empty begins at the queue's virtual time, so that
// it can neither save up turns nor be kept waiting for those it did not use. No flow with a call
// waits for ever: while it waits its tag stands still and everybody else's grows.
//
// Owner:   a pool. Intrusive: T derives from FairHook<T>, nothing is allocated for a call.
// Threads: the loop's. Pure: age comes in with the call.
#pragma once
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "daemon/policy/mutation.hpp"

namespace headgate::policy {

template <class T>
class FairQueue;

template <class T>
class FairHook {
 public:
  [[nodiscard]] bool in_fair_queue() const { return in_; }

 private:
  friend class FairQueue<T>;
  T* fair_prev_ = nullptr;
  T* fair_next_ = nullptr;
  std::int64_t age_ = 0;
  std::uint32_t flow_ = 0;
  bool in_ = false;
};

template <class T>
class FairQueue {
 public:
  // `since`: when the call arrived; an older one that comes back (a repeat) goes before younger
  // ones of its service.
  void push(T& t, std::uint32_t service, std::uint32_t weight, std::int64_t since) {
    FairHook<T>& h = t;
    assert(!h.in_);
    if (service >= flows_.size()) flows_.resize(service + 1);
    Flow& f = flows_[service];
    if (f.size == 0) {
      f.weight = std::max<std::uint32_t>(weight, 1);
      weights_ += f.weight;
    }
    h.in_ = true;
    h.age_ = since;
    h.flow_ = service;
    T* after = f.tail;
    while (after != nullptr && hook(after).age_ > since) after = hook(after).fair_prev_;
    link(f, t, after);
    ++f.size;
    ++size_;
    if (!f.ranked) {
      f.start = std::max(f.start, virtual_);
      f.ranked = true;
      heap_.push_back(service);
      std::push_heap(heap_.begin(), heap_.end(), Later{&flows_});
    }
  }

  // Whose turn it is; null when empty.
  [[nodiscard]] T* front() {
    drop_empty_flows();
    return heap_.empty() ? nullptr : flows_[heap_.front()].head;
  }
  T* pop() {
    T* t = front();
    if (t == nullptr) return nullptr;
    const std::uint32_t service = heap_.front();
    Flow& f = flows_[service];
    virtual_ = std::max(virtual_, f.start);
    std::pop_heap(heap_.begin(), heap_.end(), Later{&flows_});
    heap_.pop_back();
    if (!mutated(Mutation::starved_service)) f.start += 1.0 / f.weight;
    f.ranked = false;
    unlink(f, *t);
    if (f.size > 0) {
      f.ranked = true;
      heap_.push_back(service);
      std::push_heap(heap_.begin(), heap_.end(), Later{&flows_});
    }
    return t;
  }
  // Takes out one that need not be in front (given up, or expired). It costs its service no turn.
  void remove(T& t) { unlink(flows_[hook(&t).flow_], t); }

  // The first, service by service, that `wanted` says yes to; null: none.
  template <class F>
  [[nodiscard]] T* find(F&& wanted) {
    for (Flow& f : flows_) {
      for (T* t = f.head; t != nullptr; t = hook(t).fair_next_) {
        if (wanted(*t)) return t;
      }
    }
    return nullptr;
  }

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t size(std::uint32_t service) const {
    return service < flows_.size() ? flows_[service].size : 0;
  }
  // Sum of the weights of the services that wait.
  [[nodiscard]] std::uint64_t weights() const { return weights_; }
  // The one that arrived first, of all services.
  [[nodiscard]] const T* oldest() const {
    const T* found = nullptr;
    for (const Flow& f : flows_) {
      if (f.head != nullptr && (found == nullptr || hook(f.head).age_ < hook(found).age_)) {
        found = f.head;
      }
    }
    return found;
  }

 private:
  struct Flow {
    T* head = nullptr;
    T* tail = nullptr;
    std::size_t size = 0;
    double start = 0;
    std::uint32_t weight = 1;
    bool ranked = false;  // in heap_
  };
  struct Later {
    const std::vector<Flow>* flows;
    bool operator()(std::uint32_t a, std::uint32_t b) const {
      const Flow& x = (*flows)[a];
      const Flow& y = (*flows)[b];
      return x.start != y.start ? x.start > y.start : a > b;
    }
  };
  static FairHook<T>& hook(T* t) { return *t; }
  static const FairHook<T>& hook(const T* t) { return *t; }

  static void link(Flow& f, T& t, T* after) {
    FairHook<T>& h = t;
    h.fair_prev_ = after;
    h.fair_next_ = after == nullptr ? f.head : hook(after).fair_next_;
    (h.fair_next_ == nullptr ? f.tail : hook(h.fair_next_).fair_prev_) = &t;
    (after == nullptr ? f.head : hook(after).fair_next_) = &t;
  }
  void unlink(Flow& f, T& t) {
    FairHook<T>& h = t;
    assert(h.in_);
    (h.fair_prev_ == nullptr ? f.head : hook(h.fair_prev_).fair_next_) = h.fair_next_;
    (h.fair_next_ == nullptr ? f.tail : hook(h.fair_next_).fair_prev_) = h.fair_prev_;
    h.fair_prev_ = h.fair_next_ = nullptr;
    h.in_ = false;
    --f.size;
    --size_;
    if (f.size == 0) weights_ -= f.weight;
  }
  void drop_empty_flows() {
    while (!heap_.empty() && flows_[heap_.front()].size == 0) {
      flows_[heap_.front()].ranked = false;
      std::pop_heap(heap_.begin(), heap_.end(), Later{&flows_});
      heap_.pop_back();
    }
  }

  std::vector<Flow> flows_;          // by service
  std::vector<std::uint32_t> heap_;  // services with a start tag, the earliest in front
  double virtual_ = 0;
  std::size_t size_ = 0;
  std::uint64_t weights_ = 0;
};

}  // namespace headgate::policy
