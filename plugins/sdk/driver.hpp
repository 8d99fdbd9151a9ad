// driver.hpp is the C++ face of plugin.h for authors: exceptions inside, C outside.
//
// Derive a Driver and a Connection, throw Error when something is wrong, and export the plugin with
// HEADGATE_PLUGIN. Every function that the host calls catches what you throw; an exception that is
// no Error becomes `internal`. In submit() the operations that you had not completed end as
// `internal, unknown` on a broken connection; in attach(), io() and timer() the connection is lost.
//
// Owner:   the plugin owns its drivers and connections; memory in a hg_call is lent.
// Threads: a Driver is called from any thread; a Connection by one at a time, cancel() excepted.
#pragma once
#include <array>
#include <cstdio>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/sdk/plugin.h"
#include "proto/codes.hpp"
#include "proto/cursor.hpp"
#include "proto/writer.hpp"

namespace headgate::sdk {

using proto::Bytes;
using proto::Code;
using proto::Outcome;

inline Bytes bytes(hg_bytes b) { return {b.data, static_cast<std::size_t>(b.size)}; }
inline std::string_view text(hg_bytes b) { return proto::text_of(bytes(b)); }
inline hg_bytes lend(Bytes b) { return {b.data(), b.size()}; }
inline hg_bytes lend(std::string_view s) { return lend(proto::bytes_of(s)); }

// What went wrong, for throwing and for completing. `message` never holds a parameter's value.
struct Error : std::exception {
  Error(Code c, Outcome o, std::string m) : code(c), outcome(o), message(std::move(m)) {}
  const char* what() const noexcept override { return message.c_str(); }

  Code code;
  Outcome outcome;
  std::string message;
  int retry = HG_RETRY_NEVER;
  std::uint32_t retry_after_ms = 0;
  std::int32_t vendor_code = 0;
  std::string sqlstate;
  bool breaker = false;
  bool full = false;  // of open(): the store has no room for another connection
  std::uint64_t wait_token = 0;
  std::vector<std::uint8_t> detail;  // one msgpack value, or empty

  // Writes into the host's struct; the text and detail stay lent by this Error.
  void fill(hg_error* e) const {
    e->size = sizeof *e;
    e->code = static_cast<int>(code);
    e->outcome = static_cast<int>(outcome);
    e->retry = retry;
    e->retry_after_ms = retry_after_ms;
    e->vendor_code = vendor_code;
    e->breaker = breaker ? 1 : 0;
    std::snprintf(e->sqlstate, sizeof e->sqlstate, "%s", sqlstate.c_str());
    std::snprintf(e->message, sizeof e->message, "%s", message.c_str());
    // A text cut in the middle of a character would not be UTF-8.
    for (std::size_t n = std::strlen(e->message); n > 0 && !proto::valid_utf8(e->message);)
      e->message[--n] = '\0';
    e->detail = lend(Bytes(detail));
    e->wait_token = wait_token;
    e->full = full ? 1 : 0;
  }
};

inline Error invalid(std::string m) { return {Code::invalid, Outcome::not_sent, std::move(m)}; }
inline Error unsupported(std::string m) {
  return {Code::unsupported, Outcome::not_sent, std::move(m)};
}

// Fields reads a body that must be a map with known string keys. Unknown, doubled and wrongly typed
// fields throw `invalid` with the field's name. Views live as long as the body.
class Fields {
 public:
  Fields(std::string_view verb, Bytes body, std::initializer_list<std::string_view> known);

  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }
  // The field's raw msgpack; empty when absent or nil.
  [[nodiscard]] Bytes raw(std::string_view name) const;
  [[nodiscard]] std::string_view str(std::string_view name) const;  // required
  [[nodiscard]] std::optional<std::string_view> opt_str(std::string_view name) const;
  [[nodiscard]] Bytes key(std::string_view name) const;  // required; str or bin
  [[nodiscard]] std::int64_t integer(std::string_view name) const;
  [[nodiscard]] std::optional<std::int64_t> opt_integer(std::string_view name) const;
  [[nodiscard]] std::optional<double> opt_number(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name, bool otherwise = false) const;
  // A cursor at the field's value; throws when absent.
  [[nodiscard]] proto::Cursor at(std::string_view name) const;
  [[nodiscard]] Error wrong(std::string_view name, std::string_view expected) const;

 private:
  struct Entry {
    std::string_view name;
    Bytes value;
  };
  [[nodiscard]] const Entry* find(std::string_view name) const;
  std::string_view verb_;
  std::array<Entry, 24> entries_{};
  std::size_t count_ = 0;
};

// Sink is the reply of one operation, written with a proto::Writer. Call commit() before
// flush_part(), offset(), patch() and complete().
class Sink : public proto::Out {
 public:
  Sink(const hg_host* host, hg_op op) : host_(host), op_(op) {
    grow = [](proto::Out* out, std::size_t n) { return static_cast<Sink*>(out)->more(n); };
  }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  void commit() {
    if (pos != begin_) host_->commit(host_, op_, static_cast<std::uint64_t>(pos - begin_));
    begin_ = pos;
  }
  // Where the next byte goes, counted from the start or the last flush_part.
  std::uint64_t offset() {
    commit();
    return host_->written(host_, op_);
  }
  // Patches the count of an array32 that was written at `at`.
  void patch_array32(std::uint64_t at, std::uint32_t n) {
    commit();
    std::uint8_t header[5] = {0xdd};
    proto::patch_array32(header, n);
    host_->patch(host_, op_, at, header, sizeof header);
  }
  void rewind() {
    pos = end = begin_ = nullptr;
    why_ = HG_GO;
    host_->rewind(host_, op_);
  }
  // HG_GO, HG_WAIT or HG_STOP.
  int flush_part() {
    commit();
    pos = end = begin_ = nullptr;
    return host_->flush_part(host_, op_);
  }
  // Why the last write failed: HG_FULL or HG_STOP; HG_GO when none did.
  [[nodiscard]] int why() const { return why_; }

 private:
  bool more(std::size_t n) {
    commit();
    std::uint8_t* p = nullptr;
    std::uint64_t room = 0;
    why_ = host_->reserve(host_, op_, n, &p, &room);
    if (why_ != HG_GO) return false;
    pos = begin_ = p;
    end = p + room;
    return true;
  }
  const hg_host* host_;
  hg_op op_;
  std::uint8_t* begin_ = nullptr;
  int why_ = HG_GO;
};

// How an operation ended; complete() hands it to the host.
struct Done {
  int connection = HG_CONN_CLEAN;
  int lease = HG_LEASE_NONE;
  std::uint32_t flags = 0;
  std::optional<std::int64_t> rows_affected;
  std::optional<std::int64_t> last_id;
  Bytes warnings{};
  Bytes receipt{};
};
void complete(const hg_host* host, hg_op op, const Done& done, const Error* error = nullptr);

struct Route {
  std::uint32_t lane = 0;
  bool lease = false;
  bool idempotent = false;
  bool alone = false;
  bool subscription = false;
  std::uint64_t digest = 0;
  std::uint64_t tag = 0;
  int endpoint = -1;
};

// What a body uses, told to the core in route(). False: denied; the call will be refused.
class Touches {
 public:
  Touches(const hg_host* host, hg_touches* t) : host_(host), touches_(t) {}
  bool touch(std::string_view verb, int kind, Bytes name) const {
    if (touches_ == nullptr) return true;
    return host_->touch(host_, touches_, lend(verb), static_cast<std::uint32_t>(kind),
                        lend(name)) != 0;
  }

 private:
  const hg_host* host_;
  hg_touches* touches_;
};

class Connection {
 public:
  virtual ~Connection() = default;  // conn_close: complete what is open first
  virtual void attach() {}
  virtual void submit(const hg_call* const* calls, std::uint32_t n) = 0;
  virtual void io(std::uint32_t /*events*/) {}
  virtual void timer() {}
  virtual void resume(hg_op) {}
  virtual void cancel(hg_op) {}
  virtual void reset(hg_op) = 0;
  virtual void ping(hg_op) = 0;
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual Route route(const hg_call& call, const Touches& touches) = 0;
  virtual std::unique_ptr<Connection> open(const hg_connect& connect, std::int32_t* fd) = 0;
  // One str of DDL when dry_run; empty when nothing is needed.
  virtual std::string prepare_store(bool /*dry_run*/) { return {}; }
  // Makes it, where it is missing, over a login of its own. What was done, a line each, for people.
  virtual std::string init_store(const hg_connect& /*connect*/) { return prepare_store(false); }
};

// What HEADGATE_PLUGIN needs of a plugin. `describe` is one msgpack map, built once.
struct Plugin {
  const char* name;
  const char* version;
  hg_bytes (*describe)();
  std::unique_ptr<Driver> (*open)(const hg_host* host, const hg_driver_config& config);
};

// Fills the C table. Called by HEADGATE_PLUGIN; the table lives for ever.
const hg_plugin* export_plugin(const Plugin& plugin, const hg_host* host, hg_error* error);

}  // namespace headgate::sdk

// At file scope, once: HEADGATE_PLUGIN(a constant of type headgate::sdk::Plugin)
#define HEADGATE_PLUGIN(plugin)                                                            \
  extern "C" HG_EXPORT const hg_plugin* hg_plugin_v0(const hg_host* host, hg_error* err) { \
    return headgate::sdk::export_plugin(plugin, host, err);                                \
  }
