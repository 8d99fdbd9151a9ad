// keys: the record of idempotency keys, kept in the store and in the same transaction as the
// effect.
//
// Table headgate_idempotency, one row a (service, key): the hash of the request, and how it ended.
// A failed call leaves no row, so it may be repeated. Threads: the writer's worker.
#pragma once
#include "plugins/sqlite/database.hpp"

namespace headgate::sqlite {

inline constexpr std::size_t kRecordedReplyMax = 64u
                                                 << 10;  // larger replies: only that it was done

void prepare_keys(Database& db);

// Looks the call's key up. True: the call ran before; its reply is in the sink and in `done`.
// Throws `conflict` when the key was another request's.
bool replay(Database& db, const hg_call& call, std::int64_t now_ms, sdk::Sink& sink,
            sdk::Done& done);

// Records a call that has just run.
void record(Database& db, const hg_call& call, std::int64_t expires_ms, proto::Bytes reply,
            const sdk::Done& done);

// Removes at most a few expired rows; how many.
int purge_keys(Database& db, std::int64_t now_ms);

}  // namespace headgate::sqlite
