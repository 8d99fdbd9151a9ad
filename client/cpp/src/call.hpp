// Call is one call of this program: what its caller waits on, and what the engine knows of it.
//
// Owner:   shared by the caller's handle and, until it is answered, the engine.
// Threads: the members under `mutex` are anybody's; the rest belongs to the engine's thread once
//          the call has been submitted.
// Invariant: it is answered exactly once (`done`).
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "headgate/connection.hpp"

namespace headgate::detail {

using Clock = std::chrono::steady_clock;

class Session;

struct Call {
  enum class Kind : std::uint8_t { plain, stream, upload };

  // Set before it is submitted, then unchanged.
  Engine* engine = nullptr;
  std::uint64_t id = 0;
  Kind kind = Kind::plain;
  std::string store;
  std::string verb;
  CallOptions options;
  std::vector<std::uint8_t> body;
  std::uint32_t timeout_ms = 0;
  std::uint32_t wait_ms = 0;  // the verb's own wait
  std::uint32_t window = 0;   // parts ahead

  // The engine's.
  Session* session = nullptr;  // where it was sent; null: nowhere yet
  Clock::time_point submitted{};
  Clock::time_point expires = Clock::time_point::max();  // this side's deadline
  bool handed = false;                                   // the frame was given to the socket
  bool turn = false;                                     // of its transaction
  std::uint32_t moved = 0;                               // how often it went to another address
  std::uint64_t parts_seen = 0;                          // stream: highest part that came
  bool unread = false;                                   // stream: nobody reads its parts
  bool last_sent = false;                                // upload
  Callback callback;
  std::optional<std::promise<Reply>> promise;

  // Anybody's, under the mutex.
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  bool abandoned = false;  // stream: its reader wants no more and must not wait
  Reply reply;
  struct Piece {
    std::vector<std::uint8_t> frame;
    std::size_t body_at = 0;
  };
  std::deque<Piece> pieces;         // stream: parts that have come
  std::uint64_t taken = 0;          // stream: parts that the reader has taken
  std::uint64_t granted = 0;        // stream: credit given so far
  std::uint64_t upload_credit = 0;  // upload: highest piece that may be sent
  std::uint64_t upload_sent = 0;    // upload: pieces given to the engine
};

using CallPtr = std::shared_ptr<Call>;

}  // namespace headgate::detail
