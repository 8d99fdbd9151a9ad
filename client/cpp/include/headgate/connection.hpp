// Client is one program's way to the gateway: calls over one multiplexed connection.
//
// One background thread owns the socket. Every function here may be called from any thread at any
// time; none blocks longer than its call's timeout and half a second, whatever the daemon does.
// Nothing survives fork(): make the Client after it.
//
// What the library promises (PROTOCOL.md, "Who is still there"): a call that was handed to a
// connection which is then lost fails with the outcome `unknown` and is never sent again; one that
// certainly was not handed over goes to the next address while its timeout lasts.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "headgate/error.hpp"

namespace headgate {

namespace detail {
class Engine;
struct Call;
}  // namespace detail

class Sql;
class Documents;
class KeyValue;

using Millis = std::chrono::milliseconds;

// Where callbacks run.
enum class Deliver : std::uint8_t {
  thread,   // on the client's background thread: be short, never wait for another call there
  process,  // inside Client::process(), which your own loop calls when event_fd() is readable
};

struct ConnectOptions {
  // `ipc:///path` or `tcp://host:port?server_key=Z85`, several separated by commas, tried in order.
  // Empty: HEADGATE_URL, else ipc:///run/headgate/headgate.sock.
  std::string url;
  // The client's key file (`headgate keygen`). Empty: HEADGATE_KEY_FILE. Only for tcp with a
  // server_key.
  std::string key_file;
  std::string name = "libheadgate";  // in the daemon's logs and `show peers`
  Millis timeout{5'000};             // of calls that give none
  Millis connect_timeout{3'000};     // of one address, hello and welcome included
  Deliver deliver = Deliver::thread;
};

struct CallOptions {
  std::optional<Millis> timeout;  // covers everything; none: ConnectOptions::timeout
  bool read_only = false;         // the store itself refuses writes
  bool idempotent = false;        // your word that repeating is harmless
  std::string key;                // idempotency key, up to 255 bytes
  std::uint64_t tx = 0;           // id of the `begin`; Transaction sets it
  std::uint32_t fetch = 0;        // rows a part (stream() sets 1000 when it is 0)
  std::uint32_t credit = 0;       // parts the gateway may send ahead; 0: 4
  std::string trace;              // W3C traceparent
};

// The one answer of a call. Owns its bytes.
class Reply {
 public:
  Reply() = default;
  Reply(Code c, ReplyMeta m) : code(c), meta(std::move(m)) {}

  Code code = Code::internal;
  ReplyMeta meta;
  std::uint64_t id = 0;  // of the request; names the transaction when it was a `begin`

  [[nodiscard]] bool ok() const { return code == Code::ok; }
  [[nodiscard]] Bytes body() const { return Bytes(frame_).subspan(body_at_); }  // one msgpack value
  void throw_unless_ok() const;
  // For the library: the frame whose tail is the body.
  void adopt(std::vector<std::uint8_t> frame, std::size_t body_at) {
    frame_ = std::move(frame);
    body_at_ = body_at;
  }

 private:
  std::vector<std::uint8_t> frame_ = {0xc0};
  std::size_t body_at_ = 0;
};

using Callback = std::function<void(Reply)>;

// A call on its way. Dropping it does not cancel it.
class Pending {
 public:
  Pending() = default;
  explicit Pending(std::shared_ptr<detail::Call> call) : call_(std::move(call)) {}

  // Waits for the answer; never throws for a code (Reply::throw_unless_ok does). Once only.
  Reply wait();
  // Whether the answer is there within that time.
  [[nodiscard]] bool wait_for(Millis time) const;
  // Asks the gateway to end the call in the store. It is still answered: `cancelled`, or as if
  // nothing had been asked when it was too late.
  void cancel();
  [[nodiscard]] std::uint64_t id() const;

 private:
  std::shared_ptr<detail::Call> call_;
};

// A streamed result, piece by piece, under credit: the gateway never holds or sends more than
// `credit` pieces ahead of the reader. Destroying it before its end cancels the call, or, in a
// transaction, reads the rest and throws it away.
class Stream {
 public:
  explicit Stream(std::shared_ptr<detail::Call> call) : call_(std::move(call)) {}
  Stream(Stream&&) noexcept = default;
  Stream& operator=(Stream&& o) noexcept;
  ~Stream();

  // The next piece: the body of a part, at last the body of the reply unless it is nil. The bytes
  // stay valid until the next call. Empty: the end. Throws Error when the call failed.
  std::optional<Bytes> next();
  // The same without waiting longer than that; *end says which of the two an empty answer means.
  std::optional<Bytes> next_within(Millis time, bool* end);
  // REQUIRES: next() has said that the end was reached.
  [[nodiscard]] const Reply& reply() const;
  void cancel();
  [[nodiscard]] std::uint64_t id() const;

 private:
  std::shared_ptr<detail::Call> call_;
  std::vector<std::uint8_t> piece_;
  bool ended_ = false;
};

// An upload, piece by piece, under the gateway's credit. All or nothing: destroying it before
// finish() cancels it, and nothing is applied.
class Upload {
 public:
  explicit Upload(std::shared_ptr<detail::Call> call) : call_(std::move(call)) {}
  Upload(Upload&&) noexcept = default;
  Upload& operator=(Upload&& o) noexcept;
  ~Upload();

  // Sends one piece (an array of rows); waits for credit. Throws Error when the call has ended.
  void send(Bytes piece);
  // Says that this was all, and waits for the answer. Throws Error unless ok.
  Reply finish();
  void cancel();
  [[nodiscard]] std::uint64_t id() const;

 private:
  std::shared_ptr<detail::Call> call_;
};

struct StoreInfo {
  std::string name;
  std::string kind;  // sql, document, key_value, admin
  std::vector<std::string> verbs;
};

// Limits that the gateway announced (PROTOCOL.md, "Hello and welcome").
struct GatewayLimits {
  std::uint64_t message_max, reply_max, part_max, depth_max, elements_max, timeout_ms_max;
  std::uint64_t credit_max, fetch_max, calls_per_peer_max;
};

class Client {
 public:
  // Connects, says hello and waits for the welcome. Throws Error: `unavailable` when no address
  // answers, `unauthenticated` when the gateway does not know this caller, `invalid` for a bad URL
  // or key file.
  explicit Client(ConnectOptions options = {});
  explicit Client(std::string_view url);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();  // calls in flight fail: `unavailable`, with the outcome that is known

  // One call, answered. `body` is a msgpack map. Throws Error unless ok.
  Reply call(std::string_view store, std::string_view verb, Bytes body,
             const CallOptions& options = {});
  // The same as a future, which holds the Error.
  std::future<Reply> call_async(std::string_view store, std::string_view verb, Bytes body,
                                const CallOptions& options = {});
  // The same with a callback (see Deliver), which gets every reply, whatever its code.
  Pending call_async(std::string_view store, std::string_view verb, Bytes body,
                     const CallOptions& options, Callback callback);
  // The same as something to wait for and to cancel.
  Pending start(std::string_view store, std::string_view verb, Bytes body,
                const CallOptions& options = {});
  Stream stream(std::string_view store, std::string_view verb, Bytes body,
                const CallOptions& options = {});
  Upload upload(std::string_view store, std::string_view verb, Bytes body,
                const CallOptions& options = {});

  [[nodiscard]] Sql sql(std::string_view store);
  [[nodiscard]] Documents documents(std::string_view store);
  [[nodiscard]] KeyValue key_value(std::string_view store);

  // What the gateway's last welcome said: a help for tools, not a promise.
  [[nodiscard]] std::vector<StoreInfo> stores() const;
  [[nodiscard]] GatewayLimits limits() const;
  // The address in use; empty while there is none.
  [[nodiscard]] std::string address() const;

  // For a loop of your own. REQUIRES: Deliver::process. The descriptor is readable while process()
  // has something to do; process() runs the callbacks that are due and says how many.
  [[nodiscard]] int event_fd() const;
  std::size_t process();

  [[nodiscard]] const std::shared_ptr<detail::Engine>& engine() const { return engine_; }

 private:
  std::shared_ptr<detail::Engine> engine_;
};

}  // namespace headgate
