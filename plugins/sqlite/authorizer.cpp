// What callers may not compile; see authorizer.hpp.
#include "plugins/sqlite/authorizer.hpp"

#include <strings.h>

#include <algorithm>

namespace headgate::sqlite {
namespace {

constexpr std::string_view kOurs = "headgate_";
constexpr const char* kOneFile = "ATTACH, DETACH and VACUUM are not offered: a store is one file";

bool ours(const char* name) {
  return name != nullptr && strncasecmp(name, kOurs.data(), kOurs.size()) == 0;
}

bool in_a_name(char c) {
  return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' ||
         c == '$' || (c & 0x80) != 0;
}

// Where one of our names begins in a text, be it in quotes: too much rather than too little.
bool mentions_ours(std::string_view sql) {
  const auto same = [](char a, char b) { return (a | 0x20) == (b | 0x20) || a == b; };
  for (auto at = sql.begin();; ++at) {
    at = std::search(at, sql.end(), kOurs.begin(), kOurs.end(), same);
    if (at == sql.end()) return false;
    if (at == sql.begin() || !in_a_name(*(at - 1))) return true;
  }
}

bool is(const char* name, std::string_view what) {
  return name != nullptr && std::string_view(name).size() == what.size() &&
         strncasecmp(name, what.data(), what.size()) == 0;
}

}  // namespace

void Authorizer::install(sqlite3* db) {
  sqlite3_set_authorizer(
      db,
      [](void* self, int action, const char* a, const char* b, const char* name, const char*) {
        return static_cast<Authorizer*>(self)->ask(action, a, b, name);
      },
      this);
}

int Authorizer::deny(std::string why) {
  if (!refusal_) {
    refusal_.emplace(sdk::Code::denied, sdk::Outcome::rejected, std::move(why));
    refusal_->sqlstate = "42501";
    refusal_->vendor_code = SQLITE_AUTH;
  }
  return SQLITE_DENY;
}

void Authorizer::deny_vacuum() { deny(kOneFile); }

int Authorizer::deny_transaction(std::string_view what) {
  std::string verb(what);
  std::transform(verb.begin(), verb.end(), verb.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  if (!refusal_) {
    refusal_.emplace(sdk::Code::invalid, sdk::Outcome::rejected,
                     std::string(what) + " as text is refused: use the verb `" + verb + "`");
    refusal_->sqlstate = "0A000";
    refusal_->vendor_code = SQLITE_AUTH;
  }
  return SQLITE_DENY;
}

int Authorizer::ask(int action, const char* a, const char* b, const char* db) {
  if (trust == Trust::internal) return SQLITE_OK;
  switch (action) {
    case SQLITE_TRANSACTION:
      return deny_transaction(a);
    case SQLITE_ANALYZE:  // without a name they go through all tables, and ours too; no harm
    case SQLITE_REINDEX:
      return SQLITE_OK;
    case SQLITE_SAVEPOINT:
      return deny_transaction(is(a, "BEGIN")     ? "SAVEPOINT"
                              : is(a, "RELEASE") ? "RELEASE"
                                                 : "ROLLBACK_TO");
    case SQLITE_PRAGMA:
      // What ALTER TABLE, FTS5 and R-Tree ask while they run; each only reads.
      if (is(a, "quick_check") || (b == nullptr && (is(a, "data_version") || is(a, "page_size"))))
        return SQLITE_OK;
      return deny(
          "PRAGMA is not offered: the store's settings are the operator's, and the verbs "
          "tables, columns, keys and indexes describe its schema");
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
      return deny(kOneFile);
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_VIEW:
      return deny("temporary objects are not offered: the next call may run on another connection");
    case SQLITE_FUNCTION:  // b is the function's name
      if (is(b, "load_extension") || is(b, "fts3_tokenizer"))
        return deny(std::string("the function ") + b + " is not offered");
      return SQLITE_OK;
    case SQLITE_ALTER_TABLE:  // a: database, b: table; a new name is not told
      if (ours(b) || mentions_ours(sql_)) break;
      return SQLITE_OK;
    case SQLITE_CREATE_TABLE:  // what these name is not told, or only where they are used
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
      if (ours(a) || ours(b) || mentions_ours(sql_)) break;
      return SQLITE_OK;
    case SQLITE_READ:
      if (is(a, "sqlite_stmt"))  // the texts of other callers
        return deny("the table sqlite_stmt is not offered");
      if (ours(a)) break;
      return SQLITE_OK;
    case SQLITE_CREATE_VTABLE:
      if (is(b, "dbstat") || is(b, "sqlite_stmt") || is(b, "fts4aux"))
        return deny(std::string("the module ") + b + " is not offered");
      [[fallthrough]];
    default:
      // Index, trigger and view actions name the object in `a` and its table in `b`; table actions
      // name the table in `a` and, for an update, the column in `b`.
      if (ours(a) || (action != SQLITE_UPDATE && ours(b))) break;
      if (is(db, "temp") &&
          (action == SQLITE_INSERT || action == SQLITE_UPDATE || action == SQLITE_DELETE) &&
          !is(a, "sqlite_temp_master"))
        return deny("temporary objects are not offered");
      return SQLITE_OK;
  }
  return deny("names that begin with headgate_ belong to the gateway");
}

}  // namespace headgate::sqlite
