// keys: the record of idempotency keys, in the store and in the transaction of the effect.
//
// Table headgate_idempotency, one row a (service, key): the hash of the request, and how it ended.
// A call that failed leaves no row, so it may be repeated. Everything of a caller's enters these
// texts as hexadecimal digits, so that nothing of it can be read as SQL. Threads: pure functions.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "plugins/postgres/options.hpp"

namespace headgate::postgres {

inline constexpr std::size_t kRecordedReplyMax = 64u << 10;  // larger: only that it was done

// The table's name with its schema, as SQL has it.
std::string keys_table(const Options& options);
// What `headgate store init` shows, and its two parts.
std::string keys_ddl(const Options& options);
std::string keys_table_ddl(const Options& options);
std::string keys_index_ddl(const Options& options);
// The columns by name, as the server tells them.
inline constexpr std::string_view kKeysColumns =
    "expires timestamp with time zone, key bytea, reply bytea, request bytea, rows_affected "
    "bigint, "
    "service text";

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
