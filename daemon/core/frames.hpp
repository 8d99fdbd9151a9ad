// Frames is what dispatch sees of the transport: send to a peer, or cut it off. Receiver is what
// the transport sees of dispatch.
//
// Threads: the loop's. Frames is implemented by transport/frontend, by a recorder in tests;
// Receiver by dispatch/dispatcher.
#pragma once
#include <cstdint>
#include <string_view>

#include "daemon/core/frame.hpp"
#include "daemon/core/reply_buffer.hpp"
#include "proto/cursor.hpp"

namespace headgate {

using PeerId = std::uint64_t;  // slot (low 32 bits) and generation

inline constexpr std::uint32_t slot_of(PeerId id) { return static_cast<std::uint32_t>(id); }

enum class Sent : std::uint8_t {
  sent,
  parked,  // the peer reads slowly: kept, and sent when it can take more
  gone,    // no such peer any more, or it was cut for what it left unread
};

class Frames {
 public:
  virtual ~Frames() = default;
  // One frame: the head, then the body (empty head: the body alone). Small ones are copied.
  virtual Sent send(PeerId peer, proto::Bytes head, proto::Bytes body) = 0;
  // Takes the buffer's memory: the head is written into its headroom, nothing is copied when large.
  virtual Sent send(PeerId peer, proto::Bytes head, ReplyBuffer body) = 0;
  // Ends the peer's connection; on_gone(peer) follows. The reason is logged.
  virtual void cut(PeerId peer, std::string_view reason) = 0;
};

// Who is at the other end, as the transport knows it: never from what the peer says.
struct PeerInfo {
  std::string_view user;   // "uid:1000" (vouched for by the kernel) or "curve:<Z85 public key>"
  std::uint32_t pid = 0;   // ipc; 0 where unknown
  std::string_view where;  // "ipc", or "address:port"
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  // A peer's first frame is about to come. False: nobody knows it (any more), it is cut.
  virtual bool on_peer(PeerId peer, const PeerInfo& info) = 0;
  virtual void on_frame(PeerId peer, Frame frame) = 0;
  // Once for each peer that on_peer() accepted, never from within a send or a cut.
  virtual void on_gone(PeerId peer) = 0;
};

}  // namespace headgate
