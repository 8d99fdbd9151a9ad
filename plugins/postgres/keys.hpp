// keys: the record of idempotency keys, in the store and in the transaction of the effect.
//
// Table headgate_idempotency, one row a (service, key): the hash of the request, and how it ended.
// A call that failed leaves no row, so it may be repeated. Everything of a caller's enters these
// texts as hexadecimal digits, so that nothing of it can be read as SQL. Threads: pure functions.
#pragma once
#include <optional>
#include <string>

#include "plugins/postgres/options.hpp"

namespace headgate::postgres {

inline constexpr std::size_t kRecordedReplyMax = 64u << 10;  // larger: only that it was done

// What `headgate store init` shows.
std::string keys_ddl(const Options& options);

// The hash that tells one request from another under the same key, as hexadecimal digits.
std::string request_hash(const hg_call& call);

std::string lock_sql(const hg_call& call);
std::string lookup_sql(const Options& options, const hg_call& call);
std::string expire_sql(const Options& options, const hg_call& call);
std::string record_sql(const Options& options, const hg_call& call, proto::Bytes reply,
                       std::optional<std::int64_t> affected);
// A few expired rows.
std::string purge_sql(const Options& options);

// What the server writes for a bytea: `\x00ff`. Empty when it is none.
std::optional<std::vector<std::uint8_t>> read_hex(std::string_view text);

}  // namespace headgate::postgres
