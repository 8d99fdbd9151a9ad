// Frontend is the daemon's one ROUTER: frames in, frames out, and the peers at the other end.
//
// It listens on an ipc path (identity: the Unix user) and on TCP (identity: the CURVE key). A peer
// that breaks the protocol is cut: its connection is shut down, and what it had sent is dropped.
//
// Owner:     Gateway. Threads: the loop's; libzmq has one I/O thread of its own.
// Invariant: a frame is given to the receiver under the peer whose connection brought it, as the
//            ZAP handler named it; a PeerId that is gone is never sent to again.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/core/frames.hpp"
#include "daemon/core/log.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/core/secret.hpp"

namespace headgate {

class Admission;

struct FrontendSettings {
  std::string ipc_path;  // empty: none
  std::uint32_t ipc_mode = 0660;
  std::string tcp;         // "tcp://address:port", empty: none
  bool plain_tcp = false;  // no CURVE; REQUIRES: a loopback address
  Secret server_key;       // CURVE secret key, Z85
  std::uint64_t message_max = 20u << 20;
  std::uint64_t parked_max = 4u << 20;
  std::uint32_t clients_max = 16'384;
  std::uint32_t descriptors_reserved = 256;  // kept for stores and ourselves
};

// What `show limits` and the logs say about the transport.
struct FrontendCounts {
  std::uint64_t frames_in = 0, frames_out = 0, parked = 0, cuts = 0;
  std::uint64_t refused_logins = 0, admitted_logins = 0, refused_connections = 0;
  std::uint64_t connections = 0, peers = 0, parked_bytes = 0, clients_max = 0;
};

// The part that the loop asks for new work: see daemon/loop's Intake, which gateway adapts to it.
class Frontend : public Frames {
 public:
  // REQUIRES: loop, log, admission and receiver outlive it.
  static tl::expected<std::unique_ptr<Frontend>, std::string> open(Loop& loop, Log& log,
                                                                   const Admission& admission,
                                                                   Receiver& receiver,
                                                                   FrontendSettings settings);

  // Takes in what peers have sent, up to a bound; see Intake.
  virtual void take_in() = 0;
  [[nodiscard]] virtual bool restless() const = 0;

  // No new connections from here on; those that are there stay.
  virtual void stop_listening() = 0;
  // After a reload: cuts every peer that the admission no longer knows.
  virtual void revoke() = 0;
  virtual void set_parked_max(std::uint64_t bytes) = 0;
  [[nodiscard]] virtual FrontendCounts counts() const = 0;
  // Public key of the CURVE server (Z85), empty without one.
  [[nodiscard]] virtual std::string server_public_key() const = 0;
  // The address that TCP really listens on ("tcp://127.0.0.1:7171"), empty without.
  [[nodiscard]] virtual std::string tcp_address() const = 0;
};

}  // namespace headgate
