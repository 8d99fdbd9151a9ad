// LaneLink is what event and blocking lanes share: the operations that are open on one connection,
// their way back to the pool, cancels, parts and uploads.
//
// Owner:   the pool, from LinkEvents::opened until after LinkEvents::closed. Threads: the loop.
// Holds:   LinkEvents are called from the inbox only, never inside a call of the pool's. For each
//          cancel() there is one cancel_returned(), after no more cancel of that operation can be
//          sent and the operation has been delivered. `closed` comes last.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "daemon/plugin/host.hpp"
#include "daemon/plugin/link.hpp"
#include "daemon/plugin/store_core.hpp"

namespace headgate::plugin {

// A Timer that calls a member function.
template <class T>
class TimerOf final : public Timer {
 public:
  TimerOf(T* owner, void (T::*fn)()) : owner_(owner), fn_(fn) {}
  void fire() override { (owner_->*fn_)(); }

 private:
  T* owner_;
  void (T::*fn_)();
};

// Who serves a cancel: something that outlives the link when the plugin's cancel hangs.
struct CancelTarget {
  virtual ~CancelTarget() = default;
  virtual hg_connection* connection() const = 0;
};

struct CancelJob;

class LaneLink : public Link {
 public:
  LaneLink(std::shared_ptr<StoreCore> core, const OpenRequest& request);
  ~LaneLink() override;

  void cancel(Operation& operation) final;
  bool abandon(Operation& operation) final;
  void credit(Operation& operation, std::uint64_t sequence) final;
  void upload(Operation& operation, std::vector<std::uint8_t> piece, bool last) final;

  // From the inbox: whatever is new about this slot.
  void deliver(Slot& s);
  // From the inbox: a conn_cancel has returned.
  void cancel_back(CancelJob& job);

  [[nodiscard]] const std::string& label() const { return label_; }  // "store/lane"

 protected:
  // Takes an operation in. REQUIRES: it is queued and on no link.
  void enter(Slot& s);
  // The connection for conn_cancel; null: there is none any more.
  virtual std::shared_ptr<CancelTarget> cancel_target() = 0;
  // Credit, a piece, the end of an upload, or abandonment: the lane wakes whoever waits for it.
  virtual void moved(Slot& s) = 0;
  // These operations did not end in time after their cancel (or all of them, after close).
  virtual void give_up(bool all) = 0;
  // Called after everything that may have been the last thing before `closed`.
  virtual void settled() = 0;

  // Starts the clock after which open operations are given up.
  void watch_close();
  [[nodiscard]] bool cancels_running() const;
  // Leaves running cancels to themselves; each keeps its CancelTarget until it is back.
  void drop_cancels();
  [[nodiscard]] bool overdue(const Slot& s) const;  // was cancelled longer ago than write_off_after

  Host& host() const { return core_->host; }
  LinkEvents* events() const { return core_->events; }

  std::shared_ptr<StoreCore> core_;
  const Ticket ticket_;
  const LaneInfo& lane_;
  const std::string label_;
  List<Slot, OpenTag> open_;  // submitted and not yet delivered as completed
  bool closing_ = false;
  bool closed_ = false;  // LinkEvents::closed was called

 private:
  void deliver_stream(Slot& s);
  void finish(Slot& s);
  void send_cancel(CancelJob& job);
  void settle_cancels();
  void check_time();

  std::vector<std::unique_ptr<CancelJob>> cancels_;
  TimePoint close_began_ = kNever;
  TimerOf<LaneLink> clock_;
};

// Marks it as wanted by nobody: its sink, flush_part and take answer stop from now on.
void stop_sinks(Slot& s);

}  // namespace headgate::plugin
