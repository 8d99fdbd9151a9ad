// Routing, and what the connections of a store share.
#include "plugins/sqlite/driver.hpp"

#include <unistd.h>

#include <chrono>

#include "plugins/sqlite/checkpointer.hpp"
#include "plugins/sqlite/keys.hpp"
#include "plugins/sqlite/read_connection.hpp"
#include "plugins/sqlite/write_connection.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::size_t kSlowMax = 1024;  // digests remembered; past it all are forgotten
constexpr auto kGateMax = std::chrono::milliseconds(2500);

bool is_transaction_verb(std::string_view verb) {
  return verb == "begin" || verb == "commit" || verb == "rollback" || verb == "savepoint" ||
         verb == "release" || verb == "rollback_to";
}

bool reads_only(const hg_call& call) {
  return call.access == HG_ACCESS_READ || (call.flags & HG_CALL_READ_ONLY) != 0;
}

}  // namespace

SqliteDriver::SqliteDriver(const hg_host* host, const hg_driver_config& config,
                           std::unique_ptr<Kind> kind, Transactions transactions)
    : host_(host),
      options_(read_options(config)),
      kind_(std::move(kind)),
      transactions_(transactions),
      driver_id_(config.driver_id),
      reply_max_(config.reply_max),
      part_max_(config.part_max) {}

SqliteDriver::~SqliteDriver() = default;

void SqliteDriver::log(int level, std::string_view message) const {
  host_->log(host_, driver_id_, level, sdk::lend(message));
}

sdk::Route SqliteDriver::route(const hg_call& call, const sdk::Touches& touches) {
  const std::string_view verb = sdk::text(call.verb);
  const bool streams = (call.flags & HG_CALL_STREAM) != 0;
  sdk::Route r;
  if (verb == "batch")
    r = route_batch(call, touches);
  else if (verb == "explain")
    r = route_explain(call, touches);
  else
    r = route_verb(verb, sdk::bytes(call.body), call, touches);
  if (r.tag == 0) r.tag = r.digest;

  const bool again = call.previous != nullptr && call.previous->retry == HG_RETRY_REROUTE;
  if (again && std::string_view(call.previous->sqlstate) == kWritesSqlstate) r.lane = kWriteLane;
  if (r.lane == kWriteLane && reads_only(call)) {
    sdk::Error e(sdk::Code::denied, sdk::Outcome::not_sent,
                 std::string(verb) + " writes, and this call may only read");
    e.sqlstate = kWritesSqlstate;
    throw e;
  }
  if (call.key.size != 0) {
    if (streams) throw sdk::invalid("a call with an idempotency key does not stream");
    if (!reads_only(call) && verb != "begin") r.lane = kWriteLane;
  }
  if (streams || (call.flags & HG_CALL_UPLOAD) != 0) r.lease = r.alone = true;
  if (r.lane == kWriteLane && is_slow(r.tag)) r.alone = true;
  if (r.lane == kReadLane && (again || !quick_reads_.contains(r.tag))) r.alone = true;
  return r;
}

sdk::Route SqliteDriver::route_verb(std::string_view verb, proto::Bytes body, const hg_call& call,
                                    const sdk::Touches& touches) {
  if (verb == "ping") {
    sdk::Fields fields(verb, body, {});
    return {.lane = kReadLane, .idempotent = true};
  }
  if (verb == "backup") {
    sdk::Fields fields(verb, body, {});
    if ((call.flags & HG_CALL_STREAM) == 0) throw sdk::invalid("backup is streamed: give `fetch`");
    return {.lane = kReadLane, .idempotent = true};
  }
  if (!is_transaction_verb(verb)) return kind_->route(verb, body, call, touches);

  const bool plain = verb == "begin" || verb == "commit" || verb == "rollback";
  if (transactions_ == Transactions::none || (transactions_ == Transactions::plain && !plain))
    throw sdk::unsupported("this store has no verb `" + std::string(verb) + "`");
  if (verb == "begin") {
    sdk::Fields fields(verb, body, {"isolation", "deferrable"});
    if (call.lease != 0) throw sdk::invalid("begin: there is a transaction already");
    static_cast<void>(fields.flag("deferrable"));  // a type check: no reader here ever blocks
    const std::string_view level = fields.opt_str("isolation").value_or("serializable");
    if (level != "read_committed" && level != "repeatable_read" && level != "serializable")
      throw fields.wrong("isolation", "read_committed, repeatable_read or serializable");
    return {.lane = reads_only(call) ? kReadLane : kWriteLane, .lease = true};
  }
  if (call.lease == 0)
    throw sdk::invalid(std::string(verb) + " needs a transaction: give the option `tx`");
  if (plain) {
    sdk::Fields fields(verb, body, {});
  } else {
    sdk::Fields fields(verb, body, {"name"});
    if (fields.str("name").empty() || fields.str("name").size() > proto::kNameMax)
      throw fields.wrong("name", "1 to 255 bytes");
  }
  return {.lane = reads_only(call) ? kReadLane : kWriteLane, .lease = true};
}

sdk::Route SqliteDriver::route_batch(const hg_call& call, const sdk::Touches& touches) {
  sdk::Fields fields("batch", sdk::bytes(call.body), {"atomic", "items"});
  static_cast<void>(fields.flag("atomic", true));
  proto::Cursor items = fields.at("items");
  const std::uint32_t n = items.read_array();
  if (!items.ok()) throw fields.wrong("items", "a list of [verb, body]");
  if (n > proto::kBatchItemsMax)
    throw sdk::invalid("batch: " + std::to_string(n) + " items, and at most " +
                       std::to_string(proto::kBatchItemsMax) + " are taken");
  if ((call.flags & HG_CALL_STREAM) != 0) throw sdk::invalid("a batch does not stream");
  sdk::Route all{.lane = kReadLane, .idempotent = true, .digest = 0x62617463680000ULL};
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint32_t two = items.read_array();
    const std::string_view verb = items.read_str();
    const proto::Bytes body = items.skip();
    const std::string where = "batch item " + std::to_string(i) + ": ";
    if (!items.ok() || two != 2) throw sdk::invalid(where + "expected [verb, body]");
    if (is_transaction_verb(verb) || verb == "batch" || verb == "explain" || verb == "backup" ||
        verb == "copy_in" || verb == "copy_out")
      throw sdk::invalid(where + std::string(verb) + " cannot be an item");
    touches.touch(verb, HG_TOUCH_VERB, proto::bytes_of(verb));
    sdk::Route r;
    try {
      r = route_verb(verb, body, call, touches);
    } catch (sdk::Error& e) {
      e.message = where + e.message;
      throw;
    }
    if (r.lane == kWriteLane) all.lane = kWriteLane;
    all.idempotent = all.idempotent && r.idempotent;
    all.alone = all.alone || r.alone;
    all.digest = (all.digest ^ r.digest) * 0x100000001b3ULL;
  }
  return all;
}

sdk::Route SqliteDriver::route_explain(const hg_call& call, const sdk::Touches& touches) {
  sdk::Fields fields("explain", sdk::bytes(call.body), {"verb", "body"});
  const std::string_view verb = fields.str("verb");
  if (is_transaction_verb(verb) || verb == "batch" || verb == "explain" || verb == "backup" ||
      verb == "ping")
    throw sdk::unsupported("explain: " + std::string(verb) + " has no plan");
  if (fields.raw("body").empty()) throw fields.wrong("body", "the verb's body");
  touches.touch(verb, HG_TOUCH_VERB, proto::bytes_of(verb));
  hg_call inner = call;  // a plan is no stream and no upload, whatever its verb needs
  inner.verb = sdk::lend(verb);
  inner.body = sdk::lend(fields.raw("body"));
  inner.flags |= HG_CALL_STREAM | HG_CALL_UPLOAD;
  const sdk::Route r = kind_->route(verb, fields.raw("body"), inner, touches);
  return {.lane = kReadLane, .idempotent = true, .digest = r.digest ^ 0x6578706cULL};
}

void SqliteDriver::prepare_file(bool again) {
  const std::lock_guard lock(prepare_mutex_);
  if (prepared_ && !again) return;
  Database db(host_, options_.path, Database::Mode::write, options_);
  db.exec("BEGIN IMMEDIATE");
  try {
    prepare_keys(db);
    kind_->prepare(db);
    db.exec("COMMIT");
  } catch (...) {
    if (db.in_transaction()) sqlite3_exec(db.raw(), "ROLLBACK", nullptr, nullptr, nullptr);
    throw;
  }
  if (checkpointer_ == nullptr) checkpointer_ = std::make_unique<Checkpointer>(*this);
  prepared_ = true;
}

std::unique_ptr<sdk::Connection> SqliteDriver::open(const hg_connect& connect, std::int32_t* fd) {
  *fd = -1;
  if (connect.lane == kWriteLane) {
    if (connect.access == HG_ACCESS_READ)
      throw sdk::Error(sdk::Code::denied, sdk::Outcome::not_sent, "read access has no writer");
    // Each time: the file may have been removed while no connection was open.
    prepare_file(true);
    return std::make_unique<WriteConnection>(*this);
  }
  try {
    prepare_file(false);
  } catch (const sdk::Error& e) {
    // A file that this process cannot write can still be read.
    if (::access(options_.path.c_str(), R_OK) != 0) throw;
    log(HG_LOG_WARN, "opened for reading only: " + e.message);
  }
  return std::make_unique<ReadConnection>(*this, connect.access == HG_ACCESS_READ);
}

std::string SqliteDriver::prepare_store(bool dry_run) {
  if (!dry_run) {
    prepare_file(true);
    return "the file " + options_.path + " has all that is needed\n";
  }
  Database db(host_, ":memory:", Database::Mode::write, options_);
  prepare_keys(db);
  kind_->prepare(db);
  std::string ddl;
  Statement s = db.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid");
  while (s.step()) ddl += std::string(s.text(0)) + ";\n";
  return ddl;
}

bool SqliteDriver::is_slow(std::uint64_t digest) {
  if (digest == 0 || slow_count_.load(std::memory_order_relaxed) == 0) return false;
  const std::lock_guard lock(slow_mutex_);
  return slow_.contains(digest);
}

void SqliteDriver::set_slow(std::uint64_t digest, bool slow) {
  if (digest == 0) return;
  const std::lock_guard lock(slow_mutex_);
  if (slow && slow_.size() >= kSlowMax) slow_.clear();
  if (slow)
    slow_.insert(digest);
  else
    slow_.erase(digest);
  slow_count_ = slow_.size();
}

void SqliteDriver::pass_gate() {
  if (!gate_closed_.load(std::memory_order_acquire)) return;
  std::unique_lock lock(gate_mutex_);
  gate_.wait_for(lock, kGateMax, [this] { return !gate_closed_; });
}

void SqliteDriver::close_gate() { gate_closed_.store(true, std::memory_order_release); }

void SqliteDriver::open_gate() {
  {
    const std::lock_guard lock(gate_mutex_);
    gate_closed_ = false;
  }
  gate_.notify_all();
}

}  // namespace headgate::sqlite
