// Reader: a server's bytes in, whole messages out, without a copy.
//
//   while (reader.next(&m)) ...            // everything that has arrived whole
//   auto room = reader.room();             // then read more: recv(fd, room.data(), room.size())
//   reader.received(n);
//
// Owner:     the connection. Threads: its own.
// Memory:    one buffer. It grows to one message of at most `hold_max` bytes, as its bytes come in
//            (an announced length costs nothing), and shrinks again when it is empty.
// Invariant: a message's payload is whole and lives until the next room(). A length below 4 or
// above
//            `message_max` is a fault before a byte of it is waited for. A DataRow or CopyData
//            above `hold_max` passes through without memory: it is yielded once, `oversize`, with
//            no payload, when its last byte has gone by; any other message of that size is a fault.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "plugins/postgres/wire/buffer.hpp"
#include "plugins/postgres/wire/fault.hpp"

namespace headgate::postgres::wire {

// The first byte of a server's message.
enum class Tag : std::uint8_t {
  authentication = 'R',
  backend_key_data = 'K',
  bind_complete = '2',
  close_complete = '3',
  command_complete = 'C',
  copy_both_response = 'W',
  copy_data = 'd',
  copy_done = 'c',
  copy_in_response = 'G',
  copy_out_response = 'H',
  data_row = 'D',
  empty_query_response = 'I',
  error_response = 'E',
  function_call_response = 'V',
  negotiate_protocol_version = 'v',
  no_data = 'n',
  notice_response = 'N',
  notification_response = 'A',
  parameter_description = 't',
  parameter_status = 'S',
  parse_complete = '1',
  portal_suspended = 's',
  ready_for_query = 'Z',
  row_description = 'T',
};

// Whether a byte is one of them.
inline constexpr std::array<bool, 256> kKnownTags = [] {
  std::array<bool, 256> known{};
  for (const char c : std::string_view("123ACDEGHIKNRSTVWZcdnstv"))
    known[static_cast<std::uint8_t>(c)] = true;
  return known;
}();

struct Message {
  Tag tag{};
  bool oversize = false;  // a DataRow or CopyData above hold_max: no payload
  Bytes payload{};
  std::uint64_t size = 0;  // of the payload as announced
};

class Reader {
 public:
  struct Limits {
    std::size_t buffer = 64u << 10;        // bytes asked of the socket at once; what is kept
    std::size_t hold_max = 16u << 20;      // bytes of one message that are kept in memory
    std::uint64_t message_max = 1u << 30;  // what any message may announce
  };
  Reader();
  explicit Reader(const Limits& limits);

  // Where the next bytes go; never empty. What next() yielded before is gone.
  std::span<std::uint8_t> room();
  // n bytes have been put at the start of the last room().
  void received(std::size_t n) { tail_ += n; }

  // The next whole message; false: more bytes are needed. Throws ProtocolFault (also: an unknown
  // tag), after which the reader must not be used.
  bool next(Message* out) {
    const std::size_t have = tail_ - head_;
    if (have < 5 || skip_ != 0) return slow(out);
    const std::uint8_t* p = store_.get() + head_;
    const std::uint32_t length = load32(p + 1);
    // A length below 4 wraps around to more than any limit.
    if (length - 4 > whole_max_ || length >= have || !kKnownTags[p[0]]) return slow(out);
    out->tag = static_cast<Tag>(p[0]);
    out->oversize = false;
    out->payload = {p + 5, length - 4};
    out->size = length - 4;
    head_ += length + std::size_t{1};
    return true;
  }

  // Bytes that have come and belong to no message yielded so far. 0 when all is in order at a
  // ReadyForQuery: anything else there means that the connection must not be reused.
  [[nodiscard]] std::size_t pending() const { return tail_ - head_; }
  // Inside a message that is passing through without memory.
  [[nodiscard]] bool skipping() const { return skip_ != 0; }
  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  bool slow(Message* out);
  bool pass(Message* out);
  void resize(std::size_t capacity);
  Limits limits_;
  std::uint32_t whole_max_;  // payload of a message that is yielded whole
  std::unique_ptr<std::uint8_t[]> store_;
  std::size_t capacity_ = 0;
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::size_t need_ = 0;      // bytes from head_ that the message under way takes
  std::uint64_t skip_ = 0;    // bytes still to pass through
  std::uint64_t passed_ = 0;  // size of the message that passes through
  Tag passing_{};
};

}  // namespace headgate::postgres::wire
