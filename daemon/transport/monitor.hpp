// Monitor hears from libzmq which connections come and go, by descriptor: what counts them before
// they have said anything, and the first sign that a peer is gone.
//
// Owner:   Frontend. Threads: the loop's. With one I/O thread, events come in the order they
// happened.
#pragma once
#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "daemon/core/loop.hpp"

namespace headgate {

class MonitorEvents {
 public:
  virtual ~MonitorEvents() = default;
  virtual void on_connected(int fd) = 0;
  virtual void on_disconnected(int fd) = 0;
  virtual void on_handshake_failed(std::uint64_t reason) = 0;
};

class Monitor : public Watcher {
 public:
  Monitor(Loop& loop, MonitorEvents& events) : loop_(loop), events_(events) {}
  ~Monitor() override { close(); }
  tl::expected<void, std::string> open(void* context, void* socket);
  void close();
  void ready(std::uint32_t events) override;

 private:
  bool one();
  Loop& loop_;
  MonitorEvents& events_;
  void* socket_ = nullptr;
  void* pair_ = nullptr;
};

}  // namespace headgate
