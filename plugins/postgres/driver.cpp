// Routing: which lane a call takes, told from its body alone.
#include "plugins/postgres/driver.hpp"

#include "plugins/postgres/exclusive.hpp"
#include "plugins/postgres/init.hpp"
#include "plugins/postgres/keys.hpp"
#include "plugins/postgres/listen.hpp"
#include "plugins/postgres/shared.hpp"
#include "plugins/sdk/sql.hpp"

namespace headgate::postgres {
namespace {

constexpr std::uint32_t kSavepointBytesMax = 63;  // the server cuts longer names

void check_transaction_verb(std::string_view verb, proto::Bytes body, const hg_call& call) {
  if (verb == "begin") {
    const sdk::Fields f(verb, body, {"isolation", "deferrable"});
    if (call.lease != 0) throw sdk::invalid("begin: there is a transaction already");
    static_cast<void>(f.flag("deferrable"));
    if (const auto level = f.opt_str("isolation"); level && isolation_sql(*level).empty())
      throw f.wrong("isolation", "read_committed, repeatable_read or serializable");
    return;
  }
  if (verb == "commit" && call.receipt.size != 0) return;  // it only asks
  if (call.lease == 0)
    throw sdk::invalid(std::string(verb) + " needs a transaction: give the option `tx`");
  if (verb == "commit" || verb == "rollback") {
    const sdk::Fields f(verb, body, {});
    return;
  }
  const sdk::Fields f(verb, body, {"name"});
  const std::string_view name = f.str("name");
  if (name.empty() || name.size() > kSavepointBytesMax ||
      name.find('\0') != std::string_view::npos || name.starts_with("headgate_"))
    throw f.wrong("name", "1 to 63 bytes, not beginning with headgate_");
}

}  // namespace

bool is_transaction_verb(std::string_view verb) {
  return verb == "begin" || verb == "commit" || verb == "rollback" || verb == "savepoint" ||
         verb == "release" || verb == "rollback_to";
}

PostgresDriver::PostgresDriver(const hg_host* host, const hg_driver_config& config)
    : host_(host),
      options_(read_options(config)),
      catalogue_(sdk::bytes(config.statements)),
      driver_id_(config.driver_id),
      reply_max_(config.reply_max),
      part_max_(config.part_max) {}

void PostgresDriver::log(int level, std::string_view message) const {
  host_->log(host_, driver_id_, level, sdk::lend(message));
}

bool PostgresDriver::shares(const Item& item, const hg_call& call) const {
  if (options_.sharing == Sharing::off || call.lease != 0 || call.key.size != 0 ||
      call.receipt.size != 0 || (call.flags & (HG_CALL_STREAM | HG_CALL_UPLOAD)) != 0)
    return false;
  if (call.previous != nullptr && call.previous->retry == HG_RETRY_REROUTE) return false;
  if (options_.sharing == Sharing::declared && !item.declared_shared) return false;
  // A statement that says it only reads is held to it by a transaction of its own.
  if (item.declared_read && call.access != HG_ACCESS_READ) return false;
  return item.statement->plain && !item.statement->is_slow() && !item.plan;
}

sdk::Route PostgresDriver::route_single(std::string_view verb, proto::Bytes body,
                                        const hg_call& call, const sdk::Touches& touches) {
  if (verb == "copy_out" && (call.flags & HG_CALL_STREAM) == 0)
    throw sdk::invalid("copy_out is streamed: give `fetch`");
  const Item item = read_item(*this, verb, body, call, &touches);
  sdk::Route r;
  r.lane = shares(item, call) ? kSharedLane : kExclusiveLane;
  r.idempotent = item.idempotent;
  r.digest = item.statement->digest;
  r.tag = item.statement->key;
  return r;
}

sdk::Route PostgresDriver::route(const hg_call& call, const sdk::Touches& touches) {
  const std::string_view verb = sdk::text(call.verb);
  const proto::Bytes body = sdk::bytes(call.body);
  const bool streams = (call.flags & HG_CALL_STREAM) != 0;
  const bool uploads = (call.flags & HG_CALL_UPLOAD) != 0;
  sdk::Route r{.lane = kExclusiveLane};
  if (verb == "ping") {
    const sdk::Fields f(verb, body, {});
    r.lane = options_.sharing == Sharing::off || call.lease != 0 ? kExclusiveLane : kSharedLane;
    r.idempotent = true;
  } else if (is_transaction_verb(verb)) {
    check_transaction_verb(verb, body, call);
    r.lease = call.receipt.size == 0;
  } else if (verb == "batch") {
    r = route_batch(call, touches);
  } else if (verb == "execute_many") {
    const sdk::Fields f(verb, body, {"sql", "params"});
    proto::Cursor c = f.at("params");
    const std::uint32_t n = c.read_array();
    if (!c.ok()) throw f.wrong("params", "a list of parameter sets");
    const bool named = n > 0 && c.peek() == proto::Type::map;
    r.digest = statements_.find(f.str("sql"), named)->digest ^ 1;
  } else if (verb == "listen") {
    read_channels(body);
    if (!streams) throw sdk::invalid("listen is streamed: give `fetch`");
    if (call.lease != 0) throw sdk::invalid("listen is no part of a transaction");
    return {.lane = kListenLane, .subscription = true, .digest = sdk::sql_digest(verb)};
  } else if (verb == "copy_in") {
    const sdk::Fields f(verb, body, {"table", "columns"});
    touches.touch(verb, HG_TOUCH_TABLE, proto::bytes_of(f.str("table")));
    if (!uploads) throw sdk::invalid("copy_in takes its rows as an upload");
    r.digest = sdk::sql_digest(f.str("table"));
  } else {
    r = route_single(verb, body, call, touches);
  }
  if (call.key.size != 0) {
    if (streams || uploads)
      throw sdk::invalid("a call with an idempotency key neither streams nor uploads");
    if (r.lane == kSharedLane) r.lane = kExclusiveLane;
  }
  if (streams || uploads) r.lease = r.alone = true;
  return r;
}

sdk::Route PostgresDriver::route_batch(const hg_call& call, const sdk::Touches& touches) {
  const sdk::Fields fields("batch", sdk::bytes(call.body), {"atomic", "items"});
  static_cast<void>(fields.flag("atomic", true));
  proto::Cursor items = fields.at("items");
  const std::uint32_t n = items.read_array();
  if (!items.ok()) throw fields.wrong("items", "a list of [verb, body]");
  if (n > proto::kBatchItemsMax)
    throw sdk::Error(sdk::Code::too_large, sdk::Outcome::not_sent,
                     "a batch has at most 10000 items");
  if ((call.flags & HG_CALL_STREAM) != 0) throw sdk::invalid("a batch does not stream");
  sdk::Route all{.lane = kExclusiveLane, .idempotent = true, .digest = 0x62617463680000ULL};
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint32_t two = items.read_array();
    const std::string_view verb = items.read_str();
    const proto::Bytes body = items.skip();
    const std::string where = "batch item " + std::to_string(i) + ": ";
    if (!items.ok() || two != 2) throw sdk::invalid(where + "expected [verb, body]");
    if (is_transaction_verb(verb) || verb == "batch" || verb == "explain" || verb == "copy_in" ||
        verb == "copy_out" || verb == "listen")
      throw sdk::invalid(where + std::string(verb) + " cannot be an item");
    touches.touch(verb, HG_TOUCH_VERB, proto::bytes_of(verb));
    try {
      if (verb == "ping") {
        const sdk::Fields f(verb, body, {});
        continue;
      }
      hg_call inner = call;
      inner.verb = sdk::lend(verb);
      inner.body = sdk::lend(body);
      const sdk::Route r =
          verb == "execute_many" ? route(inner, touches) : route_single(verb, body, inner, touches);
      all.idempotent = all.idempotent && r.idempotent;
      all.digest = (all.digest ^ r.digest) * 0x100000001b3ULL;
    } catch (sdk::Error& e) {
      e.message = where + e.message;
      throw;
    }
  }
  return all;
}

std::unique_ptr<sdk::Connection> PostgresDriver::open(const hg_connect& connect, std::int32_t* fd) {
  *fd = -1;
  LoginSettings settings;
  if (connect.lane == kSharedLane) {
    settings.statement_timeout_ms = options_.shared_timeout_ms;
    // A lock that somebody holds keeps everybody behind it waiting: that goes elsewhere sooner.
    settings.lock_timeout_ms = std::max<std::int64_t>(1, options_.shared_timeout_ms / 5);
  }
  settings.ask_system = options_.ask_lost_commit && connect.lane == kExclusiveLane;
  Session session = log_in(host_, connect, options_, settings);
  if (!session.warning.empty()) log(HG_LOG_WARN, session.warning);
  if (connect.lane == kSharedLane)
    return std::make_unique<SharedConnection>(*this, connect, std::move(session));
  if (connect.lane == kListenLane)
    return std::make_unique<ListenConnection>(*this, connect, std::move(session));
  return std::make_unique<ExclusiveConnection>(*this, connect, std::move(session));
}

std::string PostgresDriver::prepare_store(bool dry_run) {
  if (!dry_run) throw sdk::unsupported("it takes a login: driver_init_store");
  return keys_ddl(options_);
}

std::string PostgresDriver::init_store(const hg_connect& connect) {
  return init_database(host_, connect, options_);
}

}  // namespace headgate::postgres
