// Session is one socket of this client, from its hello to its loss. It reconnects to nobody: what
// libzmq reports as a disconnect ends it, and the engine opens another (PROTOCOL.md, section 1).
//
// Owner: Engine. Threads: the engine's only.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "address.hpp"
#include "call.hpp"
#include "proto/envelope.hpp"

namespace headgate::detail {

class Session {
 public:
  enum class State : std::uint8_t { connecting, ready, draining };

  // Opens the socket and sends hello. On failure failed() says why.
  Session(void* context, const Address& address, std::size_t address_index, std::uint64_t hello_id,
          std::string_view name, std::uint64_t serial);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] const std::string& failed() const { return failure_; }
  void fail(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
  }

  // Gives a frame to the socket. False: it was not taken, and the session has failed.
  bool send(proto::Bytes frame);
  // One frame that has come. False: none is there.
  bool receive(std::vector<std::uint8_t>* frame);
  // Reads what the monitor has to say; the session fails when the connection is gone.
  void watch();

  [[nodiscard]] void* socket() const { return socket_; }
  [[nodiscard]] void* monitor() const { return monitor_; }
  [[nodiscard]] const Address& address() const { return address_; }
  [[nodiscard]] std::size_t address_index() const { return address_index_; }
  [[nodiscard]] std::uint64_t hello_id() const { return hello_id_; }

  State state = State::connecting;
  proto::Limits limits;
  std::chrono::milliseconds heartbeat{proto::kHeartbeatMs};
  Clock::time_point opened = Clock::now();
  Clock::time_point heard = Clock::now();                     // anything came
  Clock::time_point silence_ends = Clock::time_point::max();  // a ping is out: answered by then
  std::optional<Code> refused;                                // hello was answered with this
  bool monitor_speaks = true;
  std::size_t calls = 0;  // handed over and not answered

 private:
  void setup(void* context, std::string_view name, std::uint64_t serial);
  Address address_;
  std::size_t address_index_;
  std::uint64_t hello_id_;
  void* socket_ = nullptr;
  void* monitor_ = nullptr;
  std::string failure_;
};

}  // namespace headgate::detail
