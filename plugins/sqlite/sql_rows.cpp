// Columns, rows and parts.
#include "plugins/sqlite/sql_rows.hpp"

#include <charconv>
#include <cmath>

#include "plugins/sqlite/errors.hpp"
#include "proto/values.hpp"

namespace headgate::sqlite {
namespace {

struct TypeName {
  std::string_view name;
  Declared kind;
};
constexpr TypeName kTypes[] = {
    {"BOOLEAN", Declared::boolean},     {"BOOL", Declared::boolean},
    {"DECIMAL", Declared::decimal},     {"NUMERIC", Declared::decimal},
    {"DATE", Declared::date},           {"TIME", Declared::time},
    {"TIMESTAMP", Declared::timestamp}, {"TIMESTAMPTZ", Declared::timestamp},
    {"DATETIME", Declared::timestamp},  {"UUID", Declared::uuid},
    {"JSON", Declared::json},           {"INTERVAL", Declared::interval},
};

void header_column(proto::Writer& w, Database& db, sqlite3_stmt* stmt, int i,
                   const DeclaredType& t) {
  w.array(5);
  const char* name = sqlite3_column_name(stmt, i);
  w.str(name != nullptr && proto::valid_utf8(name) ? name : "?");
  const char* type = sqlite3_column_decltype(stmt, i);
  type != nullptr&& proto::valid_utf8(type) ? w.str(type) : w.nil();
  const char* table = sqlite3_column_table_name(stmt, i);
  const char* origin = sqlite3_column_origin_name(stmt, i);
  int not_null = 0;
  int primary = 0;
  if (table != nullptr && origin != nullptr &&
      sqlite3_table_column_metadata(db.raw(), "main", table, origin, nullptr, nullptr, &not_null,
                                    &primary, nullptr) == SQLITE_OK) {
    const bool row_id = primary != 0 && type != nullptr && sqlite3_stricmp(type, "INTEGER") == 0;
    w.boolean(not_null == 0 && !row_id);
  } else {
    w.nil();
  }
  t.precision >= 0 ? w.sint(t.precision) : w.nil();
  t.scale >= 0 ? w.sint(t.scale) : w.nil();
}

}  // namespace

DeclaredType read_declared(const char* type) {
  DeclaredType out;
  if (type == nullptr) return out;
  std::string name;
  const char* p = type;
  for (; *p != '\0' && *p != '(' && *p != ' ' && name.size() < 16; ++p)
    name += *p >= 'a' && *p <= 'z' ? static_cast<char>(*p - 32) : *p;
  // DECIMAL_TEXT and its like have SQLite's TEXT affinity, which changes no digit.
  if (name.size() > 5 && name.ends_with("_TEXT")) name.resize(name.size() - 5);
  for (const TypeName& t : kTypes)
    if (name == t.name) out.kind = t.kind;
  if (out.kind != Declared::decimal) return out;
  while (*p == ' ') ++p;
  if (*p != '(') return out;
  const std::string_view rest(p + 1);
  const auto [comma, error] =
      std::from_chars(rest.data(), rest.data() + rest.size(), out.precision);
  if (error != std::errc()) return out;
  out.scale = 0;
  const char* q = comma;
  while (*q == ' ') ++q;
  if (*q != ',') return out;
  ++q;
  while (*q == ' ') ++q;
  std::from_chars(q, rest.data() + rest.size(), out.scale);
  return out;
}

void write_no_result(proto::Writer& w) {
  w.map(2);
  w.str("columns");
  w.nil();
  w.str("rows");
  w.nil();
}

void need_room(const proto::Writer& w, const sdk::Sink& sink) {
  if (w.ok()) return;
  if (sink.why() == HG_STOP)
    throw sdk::Error(sdk::Code::cancelled, sdk::Outcome::rejected,
                     "nobody waits for the reply any more");
  throw sdk::Error(sdk::Code::too_large, sdk::Outcome::rejected,
                   "the result is larger than reply_max: use `fetch` to stream it");
}

RowWriter::RowWriter(Database& db, Statement& statement, sdk::Sink& sink, Limits limits)
    : db_(db),
      statement_(statement),
      stmt_(statement.raw()),
      sink_(sink),
      w_(&sink),
      limits_(limits) {}

void RowWriter::check() { need_room(w_, sink_); }

// REQUIRES: the first step has been made, since that may compile the statement again.
const ResultShape& RowWriter::shape() {
  std::shared_ptr<void>* note = statement_.note();
  const int now = sqlite3_stmt_status(stmt_, SQLITE_STMTSTATUS_REPREPARE, 0);
  if (note != nullptr && *note != nullptr) {
    auto kept = std::static_pointer_cast<ResultShape>(*note);
    if (kept->reprepares == now) {
      own_ = std::move(kept);
      return *own_;
    }
  }
  own_ = std::make_shared<ResultShape>();
  own_->reprepares = now;
  const int n = sqlite3_column_count(stmt_);
  proto::VectorOut out;
  proto::Writer w(&out);
  w.array(static_cast<std::uint32_t>(n));
  for (int i = 0; i < n; ++i) {
    own_->types.push_back(read_declared(sqlite3_column_decltype(stmt_, i)));
    header_column(w, db_, stmt_, i, own_->types.back());
  }
  own_->header.assign(out.view().begin(), out.view().end());
  if (note != nullptr) *note = own_;
  return *own_;
}

void RowWriter::begin_part(bool first) {
  w_.map(first ? 2 : 1);
  if (first) {
    w_.str("columns");
    w_.raw(own_->header);
  }
  w_.str("rows");
  check();
  rows_at_ = sink_.offset();
  w_.array32(0);
  rows_ = 0;
  bytes_ = 0;
}

void RowWriter::end_part() {
  check();
  sink_.patch_array32(rows_at_, rows_);
}

void RowWriter::run() {
  bool more = statement_.step();
  if (sqlite3_column_count(stmt_) == 0) {
    while (more) more = statement_.step();
    write_no_result(w_);
    return check();
  }
  shape();
  begin_part(true);
  for (; more; more = statement_.step()) {
    if (limits_.fetch != 0 &&
        (rows_ >= limits_.fetch || (bytes_ >= limits_.part_max && rows_ > 0))) {
      end_part();
      if (sink_.flush_part() != HG_GO)
        throw sdk::Error(sdk::Code::cancelled, sdk::Outcome::rejected,
                         "nobody takes the stream any more");
      begin_part(false);
    }
    row();
    if (!w_.ok()) check();
  }
  end_part();
}

void RowWriter::row() {
  const auto n = static_cast<int>(own_->types.size());
  w_.array(static_cast<std::uint32_t>(n));
  for (int i = 0; i < n; ++i) value(i, own_->types[static_cast<std::size_t>(i)]);
  bytes_ += static_cast<std::uint64_t>(n) * 5 + 1;
  ++rows_;
  ++all_rows_;
}

void RowWriter::value(int c, const DeclaredType& type) {
  switch (sqlite3_column_type(stmt_, c)) {
    case SQLITE_INTEGER: {
      const std::int64_t v = sqlite3_column_int64(stmt_, c);
      if (type.kind == Declared::boolean && (v == 0 || v == 1))
        w_.boolean(v == 1);
      else if (type.kind == Declared::decimal)
        decimal(c, type, std::to_string(v));
      else
        w_.sint(v);
      return;
    }
    case SQLITE_FLOAT: {
      const double v = sqlite3_column_double(stmt_, c);
      if (type.kind != Declared::decimal || !std::isfinite(v)) return w_.real(v);
      // Affinity has made a float of a decimal's text: its shortest form is that text again.
      char buffer[64];
      const auto end = std::to_chars(buffer, buffer + sizeof buffer, v).ptr;
      return decimal(c, type, {buffer, static_cast<std::size_t>(end - buffer)});
    }
    case SQLITE_TEXT:
      return text(c, type);
    case SQLITE_BLOB: {
      const proto::Bytes b = statement_.blob(c);
      bytes_ += b.size();
      return w_.bin(b);
    }
    default:
      w_.nil();
  }
}

void RowWriter::decimal(int c, const DeclaredType& type, std::string_view digits) {
  std::string store;
  std::optional<proto::Decimal> d = proto::parse_decimal(digits, &store);
  if (!d) {
    if (sqlite3_column_type(stmt_, c) == SQLITE_TEXT)
      w_.str(digits);
    else
      w_.real(sqlite3_column_double(stmt_, c));
    return;
  }
  // DECIMAL(10,2) has two places, also where a float had dropped the zeros.
  if (type.scale > d->scale && sqlite3_column_type(stmt_, c) != SQLITE_TEXT) {
    std::string padded(d->digits);
    if (padded != "0") padded.append(static_cast<std::size_t>(type.scale - d->scale), '0');
    proto::write(w_, proto::Decimal{d->negative, static_cast<std::int16_t>(type.scale), padded});
    return;
  }
  proto::write(w_, *d);
}

namespace {

template <class T>
bool write_if(proto::Writer& w, const std::optional<T>& v) {
  if (v) proto::write(w, *v);
  return v.has_value();
}

bool is_json(Database& db, std::string_view s) {
  Statement valid = db.prepare("SELECT json_valid(?)");
  valid.bind(1, s);
  return valid.step() && valid.integer(0) == 1;
}

bool write_typed(proto::Writer& w, Declared kind, std::string_view s) {
  switch (kind) {
    case Declared::date:
      return write_if(w, proto::parse_date(s));
    case Declared::time:
      return write_if(w, proto::parse_time(s));
    case Declared::timestamp:
      // Only a Z, or an offset, makes an instant of it: of an infinity too.
      return write_if(w, proto::parse_local_timestamp(s)) ||
             write_if(w, proto::parse_timestamp(s.ends_with("infinityZ") ? s.substr(0, s.size() - 1)
                                                                         : s));
    case Declared::uuid:
      return write_if(w, proto::parse_uuid(s));
    case Declared::interval:
      return write_if(w, proto::parse_interval(s));
    default:
      return false;
  }
}

}  // namespace

void RowWriter::text(int c, const DeclaredType& type) {
  const std::string_view s = statement_.text(c);
  bytes_ += s.size();
  if (!proto::valid_utf8(s)) {
    sdk::Error e(sdk::Code::store_error, sdk::Outcome::rejected,
                 "column " + std::to_string(c + 1) + " of row " + std::to_string(all_rows_ + 1) +
                     " holds text that is not UTF-8: read it as bytes with CAST(... AS BLOB)");
    e.sqlstate = "22021";
    throw e;
  }
  switch (type.kind) {
    case Declared::plain:
    case Declared::boolean:
      return w_.str(s);
    case Declared::decimal:
      return decimal(c, type, s);
    case Declared::json:
      if (is_json(db_, s)) return proto::write(w_, proto::Json{s});
      return w_.str(s);
    default:
      if (!write_typed(w_, type.kind, s)) w_.str(s);
  }
}

}  // namespace headgate::sqlite
