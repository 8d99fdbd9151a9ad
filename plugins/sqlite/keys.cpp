// The four statements of the idempotency record.
#include "plugins/sqlite/keys.hpp"

#include <array>

namespace headgate::sqlite {
namespace {

constexpr int kPurgeStep = 64;

std::uint64_t fnv(std::uint64_t h, proto::Bytes b) {
  for (const std::uint8_t c : b) h = (h ^ c) * 0x100000001b3ULL;
  return h;
}

// Tells one request of a service from another under the same key. Nobody gains by a collision: it
// would return the service's own earlier reply.
std::array<std::uint8_t, 16> hash(const hg_call& call) {
  std::array<std::uint8_t, 16> out{};
  std::uint64_t a = 0xcbf29ce484222325ULL;
  std::uint64_t b = 0x9ae16a3b2f90404fULL;
  for (const hg_bytes part : {call.verb, call.body}) {
    a = fnv(a, sdk::bytes(part)) ^ part.size;
    b = fnv(b ^ part.size, sdk::bytes(part)) * 0x9ddfea08eb382d69ULL;
  }
  std::memcpy(out.data(), &a, 8);
  std::memcpy(out.data() + 8, &b, 8);
  return out;
}

}  // namespace

void prepare_keys(Database& db) {
  db.exec(
      "CREATE TABLE IF NOT EXISTS headgate_idempotency (\n"
      "  service TEXT NOT NULL, key BLOB NOT NULL, request BLOB NOT NULL, expires_ms INTEGER NOT "
      "NULL,\n"
      "  rows_affected INTEGER, last_id INTEGER, reply BLOB,\n"
      "  PRIMARY KEY (service, key)) STRICT, WITHOUT ROWID");
  db.exec(
      "CREATE INDEX IF NOT EXISTS headgate_idempotency_expires ON headgate_idempotency "
      "(expires_ms)");
}

bool replay(Database& db, const hg_call& call, std::int64_t now_ms, sdk::Sink& sink,
            sdk::Done& done) {
  Statement s = db.prepare(
      "SELECT request, rows_affected, last_id, reply FROM headgate_idempotency"
      " WHERE service = ? AND key = ? AND expires_ms > ?");
  s.bind(1, sdk::text(call.service)).bind(2, sdk::bytes(call.key)).bind(3, now_ms);
  if (!s.step()) return false;
  const auto ours = hash(call);
  const proto::Bytes theirs = s.blob(0);
  if (theirs.size() != ours.size() || std::memcmp(theirs.data(), ours.data(), ours.size()) != 0)
    throw sdk::Error(sdk::Code::conflict, sdk::Outcome::rejected,
                     "this idempotency key was used for another request");
  done.flags |= HG_DONE_REPLAYED;
  if (!s.is_null(1)) done.rows_affected = s.integer(1);
  if (!s.is_null(2)) done.last_id = s.integer(2);
  proto::Writer w(&sink);
  s.is_null(3) ? w.nil() : w.raw(s.blob(3));
  if (!w.ok())
    throw sdk::Error(sdk::Code::too_large, sdk::Outcome::applied,
                     "the recorded reply does not fit");
  return true;
}

void record(Database& db, const hg_call& call, std::int64_t expires_ms, proto::Bytes reply,
            const sdk::Done& done) {
  // REPLACE: an expired row that was not purged yet.
  Statement s = db.prepare(
      "INSERT OR REPLACE INTO headgate_idempotency"
      " (service, key, request, expires_ms, rows_affected, last_id, reply) VALUES (?, ?, ?, ?, ?, "
      "?, ?)");
  const auto request = hash(call);
  s.bind(1, sdk::text(call.service)).bind(2, sdk::bytes(call.key)).bind(3, proto::Bytes(request));
  s.bind(4, expires_ms);
  done.rows_affected ? s.bind(5, *done.rows_affected) : s.bind_null(5);
  done.last_id ? s.bind(6, *done.last_id) : s.bind_null(6);
  reply.size() <= kRecordedReplyMax && !reply.empty() ? s.bind(7, reply) : s.bind_null(7);
  s.run();
}

int purge_keys(Database& db, std::int64_t now_ms) {
  Statement s = db.prepare(
      "DELETE FROM headgate_idempotency WHERE (service, key) IN"
      " (SELECT service, key FROM headgate_idempotency WHERE expires_ms <= ? LIMIT ?)");
  s.bind(1, now_ms).bind(2, static_cast<std::int64_t>(kPurgeStep)).run();
  return static_cast<int>(db.changes());
}

}  // namespace headgate::sqlite
