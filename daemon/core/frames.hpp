// Frames is what dispatch sees of the transport: send to a peer, or cut it off.
//
// Threads: the loop's. Implemented by transport/frontend; by a recorder in tests.
#pragma once
#include <cstdint>
#include <string_view>

#include "daemon/core/reply_buffer.hpp"
#include "proto/cursor.hpp"

namespace headgate {

using PeerId = std::uint64_t;  // slot and generation

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

}  // namespace headgate
