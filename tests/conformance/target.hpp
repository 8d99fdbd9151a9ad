// Target is what a conformance case runs against: a plugin on the bare ABI, or a store behind a
// running gateway. A case sees verbs, bodies and truthful replies, and cannot tell the two apart.
//
// Owner:   the runner. Threads: a Target makes callers from any thread; a Caller is one caller's
// and
//          is used by one thread, except where a case says otherwise (Running::cancel).
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "proto/codes.hpp"
#include "proto/cursor.hpp"

namespace headgate::conformance {

// Bodies and replies. Bytes are Json::binary, ext values Json::binary with a subtype; objects keep
// their order, as documents must.
using Json = nlohmann::ordered_json;
using proto::Code;
using proto::Outcome;

Json bin(std::string_view bytes);
std::vector<std::uint8_t> to_bytes(const Json& value);  // as msgpack
Json from_bytes(proto::Bytes msgpack);                  // throws std::runtime_error

struct Options {
  std::uint32_t timeout_ms = 10'000;
  bool read_only = false;
  bool idempotent = false;
  std::string key;
  std::uint64_t tx = 0;
  std::uint64_t fetch = 0;
};

struct Reply {
  std::uint64_t id = 0;  // of the request: what `tx` names after a begin
  Code code = Code::ok;
  Outcome outcome = Outcome::applied;
  bool retryable = false;
  std::string message;
  std::string sqlstate;
  std::int32_t vendor_code = 0;
  std::optional<std::int64_t> rows_affected;
  std::optional<std::int64_t> last_id;
  bool replayed = false;
  Json body;
  std::vector<Json> parts;  // of a stream, without the reply's own body

  [[nodiscard]] bool ok() const { return code == Code::ok; }
};

// A request under way.
class Running {
 public:
  virtual ~Running() = default;  // cancels what has not ended
  // The next part of a stream; empty: the reply is there.
  virtual std::optional<Json> part() = 0;
  virtual void cancel() = 0;  // any thread
  virtual Reply wait() = 0;   // the rest of the parts, then the reply
};

class Caller {
 public:
  virtual ~Caller() = default;  // a caller that dies: its transactions roll back
  virtual std::unique_ptr<Running> start(const std::string& verb, const Json& body,
                                         const Options& options) = 0;
  // A request whose verb takes data, with its pieces; `abort` ends it without `last`.
  virtual Reply upload(const std::string& verb, const Json& body, const std::vector<Json>& pieces,
                       const Options& options, bool abort = false) = 0;
  Reply call(const std::string& verb, const Json& body, const Options& options = {}) {
    return start(verb, body, options)->wait();
  }
  // Sends a body that need not be msgpack of a known shape.
  virtual Reply raw(const std::string& verb, proto::Bytes body, const Options& options = {}) = 0;
};

class Target {
 public:
  virtual ~Target() = default;
  virtual std::unique_ptr<Caller> caller() = 0;
  // {kind, verbs: {name: {access, streams, uploads, waits}}, capabilities: [..], limits: {..}}
  [[nodiscard]] virtual const Json& describe() const = 0;
  [[nodiscard]] virtual bool bare() const = 0;
};

struct BareOptions {
  std::string plugin;  // path of the .so
  std::string kind;
  Json options;     // the store's options
  Json statements;  // the catalogue of named statements
  std::string state_dir;
  std::string endpoint;
  std::string account, password;
  bool prepare_store = false;  // run the DDL that the plugin asks for, through `execute`
  std::uint64_t reply_max = 8u << 20;
};
std::unique_ptr<Target> make_bare_target(const BareOptions& options);
std::unique_ptr<Target> make_gateway_target(const std::string& url, const std::string& store);

}  // namespace headgate::conformance
