// Envelope reads and writes the frames of PROTOCOL.md, in place.
//
// A frame is one msgpack array: [version, type, id, ...]. Decoding allocates nothing and copies
// nothing: every view points into the frame, and lives as long as it does. The body of a request,
// a piece or an answer stays msgpack bytes, checked for shape (check() in cursor.hpp), not read.
//
// Threads:   none of its own; everything here is a function of its arguments.
// Invariant: what decode() returns keeps every limit it was given; what it refuses says whom to
//            tell (Refusal::cut).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <tl/expected.hpp>
#include <variant>

#include "proto/codes.hpp"
#include "proto/cursor.hpp"
#include "proto/limits.hpp"
#include "proto/writer.hpp"

namespace headgate::proto {

enum class FrameType : std::uint8_t {
  hello = 1,
  welcome = 2,
  request = 3,
  data = 4,
  part = 5,
  reply = 6,
  credit = 7,
  cancel = 8,
  ping = 9,
  pong = 10,
  goaway = 11,
};
std::string_view name(FrameType t);

// Who sent the frame: some types belong to one side only.
enum class From : std::uint8_t { client, daemon };

// The limits in force, as the welcome frame tells them.
struct Limits {
  std::uint64_t message_max = kMessageMax;
  std::uint64_t reply_max = kReplyMax;
  std::uint64_t part_max = kPartMax;
  std::uint64_t depth_max = kDepthMax;
  std::uint64_t elements_max = kElementsMax;
  std::uint64_t timeout_ms_max = kTimeoutMsMax;
  std::uint64_t credit_max = kCreditMax;
  std::uint64_t fetch_max = kFetchMax;
  std::uint64_t calls_per_peer_max = kCallsPerPeerMax;
};

// How a request wants to be served. A zero or empty field was not given.
struct Options {
  std::uint32_t timeout_ms = 0;  // 1 .. timeout_ms_max
  bool read_only = false;
  bool idempotent = false;
  std::string_view key;                   // idempotency key, 1 .. kKeyMax bytes
  std::uint64_t tx = 0;                   // the id of the caller's own begin
  std::uint32_t fetch = 0;                // rows a part; given: the reply streams
  std::uint32_t credit = kCreditDefault;  // highest part that may be sent before more credit comes
  std::string_view trace;                 // W3C traceparent, up to kTraceMax bytes
};

struct Hello {
  std::uint64_t id = 0;
  std::string_view name;     // of the client library
  std::string_view version;  // of the client library
  std::uint32_t proto_min = kVersion;
  std::uint32_t proto_max = kVersion;
  bool pongs = false;  // the client answers pings at any time
};

struct Welcome {
  std::uint64_t id = 0;
  std::uint32_t version = kVersion;
  Limits limits;
  std::uint32_t heartbeat_ms = kHeartbeatMs;
  Bytes stores;  // [[name, kind, [verb, ...]], ...]: StoreReader reads, encode_store() writes
};

struct Request {
  std::uint64_t id = 0;
  std::uint64_t sent_us = 0;  // the client's monotonic clock
  std::string_view store;
  std::string_view verb;
  Options options;
  Bytes body;  // a map
};

struct Data {
  std::uint64_t id = 0;
  std::uint64_t seq = 0;  // from 1
  bool last = false;
  Bytes body;
};

struct Part {
  std::uint64_t id = 0;
  std::uint64_t seq = 0;  // from 1
  Bytes body;
};

struct Reply {
  std::uint64_t id = 0;
  Code code = Code::ok;
  Bytes meta;  // a map: decode_meta()
  Bytes body;
};

struct Credit {
  std::uint64_t id = 0;
  std::uint64_t seq = 0;  // highest sequence number that the other side may send
};

struct Cancel {
  std::uint64_t id = 0;
};
struct Ping {
  std::uint64_t id = 0;
};
struct Pong {
  std::uint64_t id = 0;
};
struct Goaway {
  std::uint32_t drain_ms = 0;  // finish within this, then connect elsewhere
};

using Message =
    std::variant<Hello, Welcome, Request, Data, Part, Reply, Credit, Cancel, Ping, Pong, Goaway>;

// Why a frame was refused. With `cut` the sender broke the protocol and is cut off; without it,
// `id` was readable and is answered with `code` and the reason (a piece of an upload: its call).
struct Refusal {
  Code code = Code::invalid;
  bool cut = false;
  bool has_id = false;
  std::uint64_t id = 0;
  std::uint64_t type = 0;  // as sent; 0 when it was not readable
  std::array<char, 200> text{};

  // One sentence, UTF-8.
  [[nodiscard]] std::string_view reason() const { return text.data(); }
};

// Reads one frame that `from` has sent.
//
// A client's frame that cannot be read up to its id, or that belongs to no call of its own, cuts
// the peer; the rest is answered. Of a daemon's frames everything cuts but a type that this version
// does not know, which the client ignores (code `unsupported`).
[[nodiscard]] tl::expected<Message, Refusal> decode(Bytes frame, From from,
                                                    const Limits& limits = {});

// What a reply says besides code and body. Values that are absent or at their default are not
// written; a client ignores keys that it does not know.
struct Meta {
  Outcome outcome = Outcome::not_sent;  // always written
  std::uint32_t attempts = 0;           // always written
  bool retryable = false;
  std::uint32_t retry_after_ms = 0;
  std::string_view sqlstate;
  std::int32_t vendor_code = 0;
  std::string_view message;  // written up to kMessageTextMax bytes, cut between characters
  Bytes detail{};            // one msgpack value, or empty
  std::string_view store;
  std::optional<std::int64_t> rows_affected;
  std::optional<std::int64_t> last_id;
  Bytes warnings{};  // msgpack array of str, or empty
  bool replayed = false;
  bool replicated = true;  // false: the store warned that a standby may lack it
  std::uint64_t queue_us = 0;
  std::uint64_t store_us = 0;
  bool omitted = false;  // detail or warnings did not fit and were left out
};

// Reads the meta of a reply. Unknown keys are skipped; a known key of a wrong type is an error,
// named in the refusal's reason.
[[nodiscard]] tl::expected<Meta, Refusal> decode_meta(Bytes meta);

// Upper bounds of the heads below, for buffers on the stack and for headroom. encode_reply_head
// never writes more: `detail` and `warnings` that would not fit are left out, and `omitted` says
// so.
inline constexpr std::size_t kReplyHeadMax = 2048;
inline constexpr std::size_t kPartHeadMax = 32;
inline constexpr std::size_t kRequestHeadMax = 2048;

// Each writes one whole frame.
void encode(Writer& w, const Hello& f);
void encode(Writer& w, const Welcome& f);
void encode(Writer& w, const Request& f);
void encode(Writer& w, const Data& f);
void encode(Writer& w, const Part& f);
void encode(Writer& w, const Credit& f);
void encode(Writer& w, const Cancel& f);
void encode(Writer& w, const Ping& f);
void encode(Writer& w, const Pong& f);
void encode(Writer& w, const Goaway& f);

// Each writes everything in front of the body; the caller puts the body's bytes (one msgpack value,
// kNilBody when there is none) right behind.
void encode_request_head(Writer& w, const Request& f);
void encode_data_head(Writer& w, std::uint64_t id, std::uint64_t seq, bool last);
void encode_part_head(Writer& w, std::uint64_t id, std::uint64_t seq);
void encode_reply_head(Writer& w, std::uint64_t id, Code code, const Meta& meta);

inline constexpr std::array<std::uint8_t, 1> kNilBody = {0xc0};

// One store of a welcome: what the caller may use.
struct GrantedStore {
  std::string_view name;
  std::string_view kind;
  Bytes verbs;  // msgpack array of str
};
// Walks Welcome::stores (which decode() has checked).
class StoreReader {
 public:
  explicit StoreReader(Bytes stores);
  [[nodiscard]] std::uint32_t count() const { return count_; }
  bool next(GrantedStore* out);

 private:
  Cursor cursor_;
  std::uint32_t count_;
  std::uint32_t left_;
};
// Writes one element of Welcome::stores: the array's header is the caller's.
void encode_store(Writer& w, std::string_view name, std::string_view kind,
                  std::span<const std::string_view> verbs);

}  // namespace headgate::proto
