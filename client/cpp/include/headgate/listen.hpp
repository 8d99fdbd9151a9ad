// Listener is a subscription to channels of a SQL store: what PostgreSQL calls LISTEN and NOTIFY.
//
//   headgate::Listener prices = gateway.sql("shop").listen({"prices"});
//   for (const headgate::Notification& n : prices) cache.erase(n.payload);
//
// What is lost: from the moment it has been made until it throws, no notification is left out,
// doubled or out of order. When it throws the subscription is over, and what is notified until the
// next one is gone: the server keeps nothing for those who are not there. So listen again first,
// and then look at the tables themselves. Every further call throws the same.
//
// Errors: `unavailable`: the server, the gateway or a connection to one of them went away.
// `draining`: the gateway is being stopped. `overloaded`: this program was so far behind that
// notifications would have been lost. `cancelled`: it took nothing for too long, or the operator
// ended it. `deadline`: the gateway's configuration or passwords were changed stream_max ago.
//
// Threads: one reads; close() may be called from any. Destroying it ends the subscription.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "headgate/connection.hpp"
#include "headgate/value.hpp"

namespace headgate {

struct Notification {
  std::string channel;
  std::string payload;
  std::int32_t pid = 0;  // the process of the server that sent it
  MSGPACK_DEFINE(channel, payload, pid)
};

class Listener {
 public:
  // For Sql::listen: waits until the channels are listened to. Throws Error.
  explicit Listener(std::shared_ptr<detail::Call> call);
  Listener(Listener&&) noexcept = default;
  Listener& operator=(Listener&&) noexcept = default;

  // The next notification. Empty: close() was called. Throws Error.
  std::optional<Notification> next();
  // The same without waiting longer than that; empty, too, when none came in time.
  std::optional<Notification> next_within(Millis time);
  // Calls `f` with each, in this thread, until close(). Throws Error, and what `f` throws.
  void run(const std::function<void(const Notification&)>& f);

  // Ends the subscription; whoever waits in next() is woken.
  void close();
  [[nodiscard]] bool closed() const;

  class Iterator {
   public:
    using value_type = Notification;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    Iterator() = default;
    explicit Iterator(Listener* l) : listener_(l) { ++*this; }
    const Notification& operator*() const { return *note_; }
    const Notification* operator->() const { return &*note_; }
    Iterator& operator++() {
      note_ = listener_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return !note_.has_value(); }

   private:
    Listener* listener_ = nullptr;
    std::optional<Notification> note_;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() { return {}; }

 private:
  // Takes in the next part; false: none came in time, or the end.
  bool take(Millis time);

  std::shared_ptr<detail::Call> call_;
  Stream stream_;
  std::vector<Notification> notes_;
  std::size_t at_ = 0;
};

}  // namespace headgate
