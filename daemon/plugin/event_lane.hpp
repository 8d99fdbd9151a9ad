// EventLink drives one connection of an event lane: on the loop, by its descriptor and its timer.
//
// Owner:   the pool. Threads: the loop; conn_cancel alone runs on the cancel thread.
// Holds:   the plugin is never entered twice at a time: what it completes inside a call reaches the
//          pool after that call has returned. A connection that a cancel still runs on is closed
//          when the cancel is back.
#pragma once
#include <memory>
#include <vector>

#include "daemon/plugin/lane.hpp"

namespace headgate::plugin {

class EventLink final : public LaneLink, private Watcher {
 public:
  EventLink(std::shared_ptr<StoreCore> core, const OpenRequest& request, hg_conn_id id,
            hg_connection* connection);
  ~EventLink() override;

  // First call on the loop; the plugin may watch its descriptor from here on.
  void attach();

  void submit(std::span<Operation* const> operations) override;
  void reset(Operation& operation) override;
  void ping(Operation& operation) override;
  void close() override;

  // The plugin's, by way of the host's table.
  void watch_fd(int fd, std::uint32_t events);
  void set_timer(std::uint64_t at_us);
  void lost(const Fault& fault);

 private:
  struct Connection;  // closes it when link and cancels have let go
  // Tells the pool from the inbox that the connection has died or is closed.
  struct News final : Inbox::Node {
    void deliver() override;
    EventLink* link = nullptr;  // null: nothing is on its way
    bool lost = false;
    Fault fault;
  };
  template <class F>
  void enter_plugin(std::string_view function, F&& f);
  void single(Operation& operation, bool reset);
  void ready(std::uint32_t events) override;
  void on_timer();
  std::shared_ptr<CancelTarget> cancel_target() override;
  void moved(Slot& s) override;
  void give_up(bool all) override;
  void settled() override;
  void end_open(std::string_view why);

  const hg_conn_id id_;
  std::shared_ptr<Connection> connection_;  // null once closed
  std::vector<const hg_call*> calls_;
  int fd_ = -1;
  std::uint32_t events_wanted_ = 0;
  bool inside_ = false;  // a call of the plugin's is on the stack
  bool broken_ = false;  // it threw: nothing more is given to it
  TimerOf<EventLink> timer_;
  News news_;
};

}  // namespace headgate::plugin
