// Verbs on sorted sets: members ordered by score, then by their bytes.
//
// A rank is counted through the index (id, score, member), so zrank and a zrange that begins far
// from its end cost as many index steps as members are passed over.
//
// Threads: pure functions of a Request.
#include <algorithm>
#include <cmath>
#include <limits>

#include "plugins/sqlite/kv_request.hpp"
#include "plugins/sqlite/kv_sql.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::string_view kScore =
    "SELECT score FROM headgate_kv_zset WHERE id = ?1 AND member = ?2";
constexpr std::string_view kInsert =
    "INSERT INTO headgate_kv_zset(id, member, score) VALUES(?1, ?2, ?3)";
constexpr std::string_view kUpdate =
    "UPDATE headgate_kv_zset SET score = ?3 WHERE id = ?1 AND member = ?2";
constexpr std::string_view kDelete = "DELETE FROM headgate_kv_zset WHERE id = ?1 AND member = ?2";
constexpr std::string_view kLower =
    "SELECT count(*) FROM headgate_kv_zset WHERE id = ?1 AND score < ?2";
constexpr std::string_view kEqualBefore =
    "SELECT count(*) FROM headgate_kv_zset WHERE id = ?1 AND score = ?2 AND member < ?3";
constexpr std::string_view kCount =
    "SELECT count(*) FROM headgate_kv_zset WHERE id = ?1 AND score >= ?2 AND score <= ?3";
constexpr std::string_view kByRank =
    "SELECT member, score FROM headgate_kv_zset WHERE id = ?1 ORDER BY score, member "
    "LIMIT ?2 OFFSET ?3";
constexpr std::string_view kByRankDown =
    "SELECT member, score FROM headgate_kv_zset WHERE id = ?1 ORDER BY score DESC, member DESC "
    "LIMIT ?2 OFFSET ?3";
constexpr std::string_view kByScore =
    "SELECT member, score FROM headgate_kv_zset WHERE id = ?1 AND score >= ?4 AND score <= ?5 "
    "ORDER BY score, member LIMIT ?2 OFFSET ?3";
constexpr std::string_view kByScoreDown =
    "SELECT member, score FROM headgate_kv_zset WHERE id = ?1 AND score >= ?4 AND score <= ?5 "
    "ORDER BY score DESC, member DESC LIMIT ?2 OFFSET ?3";

std::optional<double> score_of(Request& q, std::int64_t id, Bytes member) {
  Statement s = q.db().prepare(kScore);
  s.bind(1, id).bind(2, solid(member));
  if (!s.step()) return std::nullopt;
  return s.real(0);
}

// True when the member is new.
bool put_member(Request& q, Collection& c, Bytes member, double score, bool there) {
  Statement s = q.db().prepare(there ? kUpdate : kInsert);
  s.bind(1, c.row.id).bind(2, solid(member)).bind(3, score).run();
  if (!there) ++c.row.count;
  return !there;
}

double bound(const Request& q, const Fields& f, std::string_view field, double otherwise) {
  const double v = f.opt_number(field).value_or(otherwise);
  if (std::isnan(v)) throw q.invalid("field `" + std::string(field) + "` must not be NaN");
  return v;
}

void zadd(Request& q) {
  const Fields f = q.fields({"key", "members", "nx", "xx"});
  const Bytes key = q.key(f, "key");
  const Items<Scored> members = q.scored(f, "members");
  const bool nx = f.flag("nx"), xx = f.flag("xx");
  if (nx && xx) throw q.invalid("at most one of `nx` and `xx`");
  if (q.routing()) return;
  std::optional<Collection> c = members.size() == 0 || xx
                                    ? q.keys().open_existing(key, ValueType::zset)
                                    : q.keys().open(key, ValueType::zset);
  std::int64_t added = 0;
  bool changed = false;
  if (c)
    members.each([&](const Scored& m) {
      const std::optional<double> held = score_of(q, c->row.id, m.member);
      if (held ? nx || *held == m.score : xx) return;
      added += put_member(q, *c, m.member, m.score, held.has_value()) ? 1 : 0;
      changed = true;
    });
  if (changed) q.keys().close(*c);
  reply_int(q, "added", added);
}

void zincrby(Request& q) {
  const Fields f = q.fields({"key", "member", "by"});
  const Bytes key = q.key(f, "key");
  const Bytes member = q.member(f, "member");
  static_cast<void>(f.at("by"));  // missing is told as missing
  const double by = bound(q, f, "by", 0);
  if (q.routing()) return;
  Collection c = q.keys().open(key, ValueType::zset);
  const std::optional<double> held = score_of(q, c.row.id, member);
  double sum = held.value_or(0) + by;
  if (std::isnan(sum))
    throw q.refused(sdk::Code::invalid, "the sum of both infinities is no score");
  if (sum == 0) sum = 0;  // -0 and 0 are one score
  put_member(q, c, member, sum, held.has_value());
  q.keys().close(c);
  q.out().map(1);
  q.out().str("score");
  q.out().real(sum);
}

void zrem(Request& q) { remove_members(q, ValueType::zset, "members", kDelete, "removed"); }

void zscore(Request& q) {
  const Fields f = q.fields({"key", "member"});
  const Bytes key = q.key(f, "key");
  const Bytes member = q.member(f, "member");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::zset);
  const std::optional<double> score = row ? score_of(q, row->id, member) : std::nullopt;
  q.out().map(1);
  q.out().str("score");
  if (score)
    q.out().real(*score);
  else
    q.out().nil();
}

void zrank(Request& q) {
  const Fields f = q.fields({"key", "member", "reverse"});
  const Bytes key = q.key(f, "key");
  const Bytes member = q.member(f, "member");
  const bool reverse = f.flag("reverse");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::zset);
  const std::optional<double> score = row ? score_of(q, row->id, member) : std::nullopt;
  q.out().map(1);
  q.out().str("rank");
  if (!score) return q.out().nil();
  std::int64_t before = 0;
  {
    Statement s = q.db().prepare(kLower);
    if (s.bind(1, row->id).bind(2, *score).step()) before += s.integer(0);
  }
  {
    Statement s = q.db().prepare(kEqualBefore);
    if (s.bind(1, row->id).bind(2, *score).bind(3, solid(member)).step()) before += s.integer(0);
  }
  q.out().sint(reverse ? row->count - 1 - before : before);
}

void zcard(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::zset);
  reply_int(q, "length", row ? row->count : 0);
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

void zcount(Request& q) {
  const Fields f = q.fields({"key", "min", "max"});
  const Bytes key = q.key(f, "key");
  const double min = bound(q, f, "min", -kInfinity), max = bound(q, f, "max", kInfinity);
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::zset);
  std::int64_t n = 0;
  if (row) {
    Statement s = q.db().prepare(kCount);
    if (s.bind(1, row->id).bind(2, min).bind(3, max).step()) n = s.integer(0);
  }
  reply_int(q, "count", n);
}

// Writes {members: [[member, score]]} of a statement's rows.
void write_members(Request& q, Statement* s) {
  q.out().map(1);
  q.out().str("members");
  const std::uint64_t at = q.sink().offset();
  q.out().array32(0);
  std::uint32_t n = 0;
  while (s != nullptr && s->step()) {
    q.out().array(2);
    q.out().bin(s->blob(0));
    q.out().real(s->real(1));
    q.check_room();
    ++n;
  }
  q.check_room();
  q.sink().patch_array32(at, n);
}

void zrange(Request& q) {
  const Fields f = q.fields({"key", "start", "stop", "reverse"});
  const Bytes key = q.key(f, "key");
  std::int64_t start = f.integer("start"), stop = f.integer("stop");
  const bool reverse = f.flag("reverse");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::zset);
  const std::int64_t count = row ? row->count : 0;
  // As Redis: counted from the end when negative, then clipped.
  if (start < 0) start = start < -count ? 0 : start + count;
  if (stop < 0) stop = stop < -count ? -1 : stop + count;
  stop = std::min(stop, count - 1);
  if (start > stop) return write_members(q, nullptr);
  Statement s = q.db().prepare(reverse ? kByRankDown : kByRank);
  s.bind(1, row->id).bind(2, stop - start + 1).bind(3, start);
  write_members(q, &s);
}

void zrangebyscore(Request& q) {
  const Fields f = q.fields({"key", "min", "max", "offset", "count", "reverse"});
  const Bytes key = q.key(f, "key");
  const double min = bound(q, f, "min", -kInfinity), max = bound(q, f, "max", kInfinity);
  const std::int64_t offset = q.opt_count(f, "offset").value_or(0);
  const std::int64_t count = q.opt_count(f, "count").value_or(INT64_MAX);
  const bool reverse = f.flag("reverse");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::zset);
  if (!row) return write_members(q, nullptr);
  Statement s = q.db().prepare(reverse ? kByScoreDown : kByScore);
  // The sum of limit and offset must not overflow inside SQLite.
  s.bind(1, row->id).bind(2, std::min(count, row->count)).bind(3, std::min(offset, row->count));
  s.bind(4, min).bind(5, max);
  write_members(q, &s);
}

void zpop(Request& q, bool highest) {
  const Fields f = q.fields({"key", "count"});
  const Bytes key = q.key(f, "key");
  const std::int64_t count = q.opt_count(f, "count").value_or(1);
  if (q.routing()) return;
  std::optional<Collection> c = q.keys().open_existing(key, ValueType::zset);
  const std::int64_t n = c ? std::min(count, c->row.count) : 0;
  std::vector<std::string> taken;
  q.out().map(1);
  q.out().str("members");
  q.out().array(static_cast<std::uint32_t>(n));
  if (n == 0) return;
  {
    Statement s = q.db().prepare(highest ? kByRankDown : kByRank);
    s.bind(1, c->row.id).bind(2, n).bind(3, std::int64_t{0});
    while (s.step()) {
      q.out().array(2);
      q.out().bin(s.blob(0));
      q.out().real(s.real(1));
      q.check_room();
      taken.emplace_back(proto::text_of(s.blob(0)));
    }
  }
  for (const std::string& m : taken) {
    Statement s = q.db().prepare(kDelete);
    s.bind(1, c->row.id).bind(2, solid(proto::bytes_of(m))).run();
  }
  c->row.count -= n;
  q.keys().close(*c);
}

void zpopmin(Request& q) { zpop(q, false); }
void zpopmax(Request& q) { zpop(q, true); }

constexpr Verb kVerbs[] = {
    {"zadd", VerbAccess::write, zadd, {kv_sql::kFind, kScore, kInsert}},
    {"zincrby", VerbAccess::write, zincrby, {kv_sql::kFind, kScore, kUpdate}},
    {"zrem", VerbAccess::write, zrem, {kv_sql::kFind, kDelete}},
    {"zscore", VerbAccess::read, zscore, {kv_sql::kFind, kScore}},
    {"zrank", VerbAccess::read, zrank, {kScore, kLower, kEqualBefore}},
    {"zcard", VerbAccess::read, zcard, {kv_sql::kFind}},
    {"zcount", VerbAccess::read, zcount, {kv_sql::kFind, kCount}},
    {"zrange", VerbAccess::read, zrange, {kv_sql::kFind, kByRank, kByRankDown}},
    {"zrangebyscore", VerbAccess::read, zrangebyscore, {kv_sql::kFind, kByScore, kByScoreDown}},
    {"zpopmin", VerbAccess::write, zpopmin, {kv_sql::kFind, kByRank, kDelete}},
    {"zpopmax", VerbAccess::write, zpopmax, {kv_sql::kFind, kByRankDown, kDelete}},
};

}  // namespace

std::span<const Verb> kv_zset_verbs() { return kVerbs; }

}  // namespace headgate::sqlite
