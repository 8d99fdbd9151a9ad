// Request is one key-value verb being routed or executed, and Verb is a line of the table of verbs.
//
// A verb is one function. It first reads its whole body through the Request, which checks every
// field and, while routing, names the keys to the core; then it returns if it is only being routed.
// So a body is read by the same lines both times, and what route accepts execute accepts:
//
//   void get(Request& q) {
//     const Fields f = q.fields({"key"});
//     const Bytes key = q.key(f, "key");
//     if (q.routing()) return;
//     ...q.keys().hold(key)... q.out()...
//   }
//
// Owner:   one route() or execute(). Threads: the caller's.
// Holds:   reading a body allocates nothing that grows with it.
#pragma once
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/sqlite/kind.hpp"
#include "plugins/sqlite/kv_store.hpp"
#include "plugins/sqlite/kv_wait.hpp"

namespace headgate::sqlite {

using proto::Bytes;
using sdk::Fields;

// Limits of this kind; describe names them.
inline constexpr std::size_t kKvKeyMax = 64u << 10;  // bytes of a key, field, member, lock name
inline constexpr std::size_t kKvValueMax = (8u << 20) - (64u << 10);  // fits a reply of reply_max
inline constexpr std::size_t kKvGlobMax = 1024;                       // bytes of a pattern
inline constexpr std::int64_t kKvScanMax = 10'000;                    // keys a page of scan
inline constexpr std::size_t kKvWaitKeysMax = 1024;                   // keys of one blpop or brpop
inline constexpr std::int64_t kKvTtlMax = 100LL * 366 * 24 * 3600 * 1000;  // ms: a hundred years
inline constexpr std::int64_t kKvWaitMax = proto::kTimeoutMsMax;           // ms
inline constexpr std::uint64_t kKvWaitMarginUs = 20'000;  // left of a call when a wait must end

// Elements of a list field, checked when it was read.
struct Pair {
  Bytes first;
  Bytes second;
};
struct Scored {
  double score = 0;
  Bytes member;
};
Bytes read_bytes(proto::Cursor& c);  // str or bin
inline void read(proto::Cursor& c, Bytes& out) { out = read_bytes(c); }
void read(proto::Cursor& c, Pair& out);
void read(proto::Cursor& c, Scored& out);

template <class T>
class Items {
 public:
  Items() = default;
  Items(proto::Cursor at, std::uint32_t n) : at_(at), n_(n) {}
  [[nodiscard]] std::uint32_t size() const { return n_; }
  template <class F>
  void each(F&& f) const {
    proto::Cursor c = at_;
    for (std::uint32_t i = 0; i < n_; ++i) {
      T item{};
      read(c, item);
      f(item);
    }
  }

 private:
  proto::Cursor at_;  // behind the array's header
  std::uint32_t n_ = 0;
};

// An int or a float, as `by` may be.
struct Number {
  bool is_float = false;
  std::int64_t integer = 0;
  double real = 0;
};

// What if_version asks for: that the key is absent, or has this version.
struct Expected {
  bool absent = false;
  std::int64_t version = 0;
};

enum class End { left, right };

// Where execute() works.
struct Work {
  Keyspace& keys;
  sdk::Sink& sink;
  proto::Writer& out;
  const hg_host* host;
  Waiters& waiters;
  std::uint64_t part_max;
};

class Request {
 public:
  // For routing; route's lane and idempotent are set to the verb's own.
  Request(std::string_view verb, Bytes body, const hg_call& call, std::size_t value_max,
          const sdk::Touches& touches, sdk::Route& route)
      : verb_(verb),
        body_(body),
        call_(call),
        value_max_(value_max),
        touches_(&touches),
        route_(&route) {}
  // For executing.
  Request(std::string_view verb, Bytes body, const hg_call& call, std::size_t value_max, Work& work)
      : verb_(verb), body_(body), call_(call), value_max_(value_max), work_(&work) {}

  [[nodiscard]] bool routing() const { return route_ != nullptr; }
  [[nodiscard]] std::string_view verb() const { return verb_; }
  [[nodiscard]] const hg_call& call() const { return call_; }
  [[nodiscard]] bool streaming() const {
    return (call_.flags & HG_CALL_STREAM) != 0 && call_.fetch > 0 && !in_batch();
  }
  // An item of a `batch`, or inside a transaction: it neither waits nor streams. A batch's items
  // are executed under the batch's own tag, which is no verb's digest.
  [[nodiscard]] bool in_batch() const {
    return call_.lease != 0 ||
           (routing() ? sdk::text(call_.verb) != verb_ : call_.tag != digest_of(verb_));
  }
  // What routing gives as digest and tag.
  static std::uint64_t digest_of(std::string_view verb);

  // Reading the body. All throw Error (invalid, or too_large) that names the field.
  [[nodiscard]] Fields fields(std::initializer_list<std::string_view> known) const {
    return {verb_, body_, known};
  }
  Bytes key(const Fields& f, std::string_view field) const;  // not empty; touched
  Items<Bytes> key_list(const Fields& f, std::string_view field) const;
  Items<Pair> key_values(const Fields& f, std::string_view field) const;  // keys and values
  [[nodiscard]] Bytes value(const Fields& f, std::string_view field) const;
  [[nodiscard]] std::optional<Bytes> opt_value(const Fields& f, std::string_view field) const;
  [[nodiscard]] Items<Bytes> values(const Fields& f, std::string_view field) const;
  [[nodiscard]] Bytes member(const Fields& f, std::string_view field) const;  // may be empty
  [[nodiscard]] Items<Bytes> members(const Fields& f, std::string_view field) const;
  [[nodiscard]] Items<Pair> field_values(const Fields& f, std::string_view field) const;
  [[nodiscard]] Items<Scored> scored(const Fields& f, std::string_view field) const;
  [[nodiscard]] Number by(const Fields& f) const;  // default 1
  [[nodiscard]] std::optional<std::int64_t> opt_ttl(const Fields& f) const;
  [[nodiscard]] std::int64_t ttl(const Fields& f) const;
  [[nodiscard]] std::optional<Expected> if_version(const Fields& f) const;
  // A whole number >= least; empty when absent.
  [[nodiscard]] std::optional<std::int64_t> opt_count(const Fields& f, std::string_view field,
                                                      std::int64_t least = 0) const;
  [[nodiscard]] End end(const Fields& f, std::string_view field) const;
  [[nodiscard]] sdk::Error invalid(const std::string& why) const {
    return sdk::invalid(std::string(verb_) + ": " + why);
  }
  void check_name(Bytes name, std::string_view what) const;  // length
  void check_value(std::size_t size) const;                  // length

  // While routing; nothing otherwise.
  void touch_key(Bytes key) const;
  void touch_prefix(Bytes prefix) const;
  void harmless(bool yes) const {  // repeating it is harmless by the verb's nature
    if (route_ != nullptr) route_->idempotent = yes;
  }
  void alone() const {
    if (route_ != nullptr) route_->alone = true;
  }
  void lease() const {
    if (route_ != nullptr) route_->lease = true;
  }

  // Executing.
  [[nodiscard]] Keyspace& keys() const { return work_->keys; }
  [[nodiscard]] Database& db() const { return work_->keys.db(); }
  [[nodiscard]] proto::Writer& out() const { return work_->out; }
  [[nodiscard]] sdk::Sink& sink() const { return work_->sink; }
  [[nodiscard]] const Work& work() const { return *work_; }
  // What the store says no to: outcome rejected.
  [[nodiscard]] sdk::Error refused(sdk::Code code, const std::string& why) const {
    return {code, sdk::Outcome::rejected, std::string(verb_) + ": " + why};
  }
  // Throws when the reply has no room or nobody waits for it any more. Every so many rows.
  void check_room() const;

  // Whether what is there is this call's: nobody who has waited longer still waits for it. One that
  // does not wait takes what it finds.
  [[nodiscard]] bool is_first(std::uint64_t hash, std::int64_t wait_ms) const;
  // The call waits no more: it was served, or in vain.
  void leave(const std::vector<std::uint64_t>& hashes) const {
    work_->waiters.leave(hashes, call_.received_us);
  }
  // Nothing is there. Throws HG_RETRY_WAIT while the wait lasts, to be asked again when one of
  // `hashes` (Waiters::hash) is woken or after a pause of at most `poll_ms`. Returns when the wait
  // is over: received + wait_ms, or what is left of the call, or at once in a batch. In line: it
  // keeps its place for is_first(), until leave().
  void wait(const std::vector<std::uint64_t>& hashes, std::int64_t wait_ms, bool in_line,
            std::uint32_t poll_ms = Waiters::kPollMs) const;

 private:
  template <class T, class Check>
  Items<T> items(const Fields& f, std::string_view field, std::string_view what,
                 Check&& check) const;

  std::string_view verb_;
  Bytes body_;
  const hg_call& call_;
  std::size_t value_max_;
  const sdk::Touches* touches_ = nullptr;
  sdk::Route* route_ = nullptr;
  Work* work_ = nullptr;
};

// What explain tells of a verb: its statements, and for a scan the range of keys it reads.
struct Explanation {
  std::vector<std::string_view> sql;
  std::optional<std::string> from;
  std::optional<std::string> to;  // absent: to the last key
};

enum class VerbAccess : std::uint8_t { read, write };

struct Verb {
  std::string_view name;
  VerbAccess access;
  void (*run)(Request&);
  std::string_view sql[3] = {};                       // the main statements, for explain
  void (*explain)(Request&, Explanation&) = nullptr;  // instead of sql
  bool waits = false;
  bool streams = false;
};

// Each file of verbs gives its part of the table.
std::span<const Verb> kv_string_verbs();
std::span<const Verb> kv_scan_verbs();
std::span<const Verb> kv_hash_verbs();
std::span<const Verb> kv_list_verbs();
std::span<const Verb> kv_set_verbs();
std::span<const Verb> kv_zset_verbs();
std::span<const Verb> kv_lock_verbs();

// `text` (a key's or field's value) + by, and the reply {value}. Throws Error (invalid).
std::string add_number(const Request& q, std::string_view text, const Number& by);

// Replies that many verbs share: a map of one field.
void reply_int(const Request& q, std::string_view field, std::int64_t v);
void reply_flag(const Request& q, std::string_view field, bool v);
void reply_value(const Request& q, std::string_view field, const std::optional<Bytes>& v);

// A verb that takes from the collection at `key` the members that the body's `field` lists: `sql`
// deletes one of them (?1 the collection's id, ?2 the member). Replies {`counted`: how many were
// there}.
void remove_members(Request& q, ValueType type, std::string_view field, std::string_view sql,
                    std::string_view counted);

}  // namespace headgate::sqlite
