// The statements of the idempotency record.
#include "plugins/postgres/keys.hpp"

#include "plugins/postgres/items.hpp"

namespace headgate::postgres {
namespace {

constexpr int kPurgeStep = 64;

std::string hex(proto::Bytes b) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(b.size() * 2);
  for (const std::uint8_t c : b) {
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

std::string bytea(proto::Bytes b) { return "'\\x" + hex(b) + "'::bytea"; }

std::string row(const hg_call& call) {
  return "service = convert_from(" + bytea(sdk::bytes(call.service)) +
         ", 'UTF8') AND key = " + bytea(sdk::bytes(call.key));
}

}  // namespace

std::string keys_table(const Options& o) { return quoted(o.keys_schema) + ".headgate_idempotency"; }

std::string keys_table_ddl(const Options& o) {
  return "CREATE TABLE IF NOT EXISTS " + keys_table(o) +
         " (\n  service text NOT NULL,\n  key bytea NOT NULL,\n  request bytea NOT NULL,\n"
         "  expires timestamptz NOT NULL,\n  rows_affected bigint,\n  reply bytea,\n"
         "  PRIMARY KEY (service, key)\n);\n";
}

std::string keys_index_ddl(const Options& o) {
  return "CREATE INDEX IF NOT EXISTS headgate_idempotency_expires ON " + keys_table(o) +
         " (expires);\n";
}

std::string keys_ddl(const Options& o) { return keys_table_ddl(o) + keys_index_ddl(o); }

std::string request_hash(const hg_call& call) {
  std::string out;
  for (const std::uint64_t seed : {0x68656164ULL, 0x67617465ULL}) {
    const std::uint64_t verb = hash(sdk::text(call.verb), seed);
    const std::uint64_t h = hash(proto::text_of(sdk::bytes(call.body)), verb);
    std::uint8_t b[8];
    for (int i = 0; i < 8; ++i) b[i] = static_cast<std::uint8_t>(h >> (56 - 8 * i));
    out += hex(b);
  }
  return out;
}

std::string lock_sql(const hg_call& call) {
  const std::uint64_t service = hash(sdk::text(call.service), 0x6865616467617465ULL);
  const std::uint64_t h = hash(sdk::text(call.key), service);
  return "SELECT pg_catalog.pg_try_advisory_xact_lock(" +
         std::to_string(static_cast<std::int64_t>(h >> 1)) + ")";
}

std::string lookup_sql(const Options& o, const hg_call& call) {
  return "SELECT request, rows_affected, reply FROM " + keys_table(o) + " WHERE " + row(call) +
         " AND expires > pg_catalog.now()";
}

std::string expire_sql(const Options& o, const hg_call& call) {
  return "DELETE FROM " + keys_table(o) + " WHERE " + row(call) +
         " AND expires <= pg_catalog.now()";
}

std::string record_sql(const Options& o, const hg_call& call, proto::Bytes reply,
                       std::optional<std::int64_t> affected) {
  return "INSERT INTO " + keys_table(o) +
         " (service, key, request, expires, rows_affected, reply) VALUES (convert_from(" +
         bytea(sdk::bytes(call.service)) + ", 'UTF8'), " + bytea(sdk::bytes(call.key)) + ", '\\x" +
         request_hash(call) + "'::bytea, pg_catalog.now() + interval '" +
         std::to_string(o.keep_keys_ms) + " milliseconds', " +
         (affected ? std::to_string(*affected) : "NULL") + ", " +
         (reply.empty() || reply.size() > kRecordedReplyMax ? "NULL" : bytea(reply)) + ")";
}

std::string purge_sql(const Options& o) {
  return "DELETE FROM " + keys_table(o) + " WHERE ctid = ANY (ARRAY(SELECT ctid FROM " +
         keys_table(o) + " WHERE expires <= pg_catalog.now() LIMIT " + std::to_string(kPurgeStep) +
         " FOR UPDATE SKIP LOCKED))";
}

std::optional<std::vector<std::uint8_t>> read_hex(std::string_view text) {
  if (!text.starts_with("\\x") || text.size() % 2 != 0) return std::nullopt;
  std::vector<std::uint8_t> out;
  out.reserve(text.size() / 2);
  const auto digit = [](char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  for (std::size_t i = 2; i < text.size(); i += 2) {
    const int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<std::uint8_t>(high << 4 | low));
  }
  return out;
}

}  // namespace headgate::postgres
