// The statements on headgate_kv_keys that several verbs share, so that `explain` shows the text
// that runs. Statements of one family of verbs stand in that family's file.
//
// Threads: constants only.
#pragma once
#include <string_view>

namespace headgate::sqlite::kv_sql {

inline constexpr std::string_view kFind =
    "SELECT type, version, expires, id, count FROM headgate_kv_keys WHERE key = ?1";
inline constexpr std::string_view kHold =
    "SELECT type, version, expires, id, count, value FROM headgate_kv_keys WHERE key = ?1";
inline constexpr std::string_view kLarge = "SELECT value FROM headgate_kv_large WHERE id = ?1";
inline constexpr std::string_view kPut =
    "INSERT INTO headgate_kv_keys(key, type, version, expires, id, count, value) "
    "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT(key) DO UPDATE SET type = excluded.type, "
    "version = excluded.version, expires = excluded.expires, id = excluded.id, "
    "count = excluded.count, value = excluded.value";
inline constexpr std::string_view kPutLarge =
    "INSERT INTO headgate_kv_large(id, value) VALUES(?1, ?2)";
inline constexpr std::string_view kUpdate =
    "UPDATE headgate_kv_keys SET version = ?2, count = ?3 WHERE key = ?1";
inline constexpr std::string_view kExpire =
    "UPDATE headgate_kv_keys SET expires = ?2 WHERE key = ?1";
inline constexpr std::string_view kErase = "DELETE FROM headgate_kv_keys WHERE key = ?1";
inline constexpr std::string_view kNext =
    "UPDATE headgate_kv_meta SET value = value + 1 WHERE name = 'sequence' RETURNING value";

}  // namespace headgate::sqlite::kv_sql
