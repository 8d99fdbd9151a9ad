// The styles of parameters, and the mapping of values.
#include "plugins/sqlite/sql_bind.hpp"

#include <charconv>
#include <cmath>
#include <vector>

#include "proto/values.hpp"

namespace headgate::sqlite {
namespace {

sdk::Error refuse(std::string message, const char* sqlstate = "07001") {
  sdk::Error e(sdk::Code::invalid, sdk::Outcome::rejected, std::move(message));
  e.sqlstate = sqlstate;
  return e;
}

// 0: no number.
int number_of(const char* digits) {
  int n = 0;
  const std::string_view s(digits);
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  return error == std::errc() && end == s.data() + s.size() && n > 0 ? n : 0;
}

std::string plural(int n, const char* what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

}  // namespace

Binder::Binder(Statement& statement) : statement_(statement), stmt_(statement.raw()) {
  const int n = sqlite3_bind_parameter_count(stmt_);
  bool marks = false;
  bool names = false;
  int highest = 0;
  for (int i = 1; i <= n; ++i) {
    const char* name = sqlite3_bind_parameter_name(stmt_, i);
    if (name == nullptr || name[0] == '?') {
      marks = true;
    } else if (const int k = name[0] == '$' ? number_of(name + 1) : 0; k > 0) {
      dollars_ = true;
      highest = std::max(highest, k);
    } else {
      names = true;
    }
  }
  if (marks + names + (dollars_ ? 1 : 0) > 1)
    throw refuse("the statement mixes `?`, `$1` and named parameters: use one style", "42601");
  if (highest > 32766)
    throw refuse("$" + std::to_string(highest) + " is beyond the 32766 parameters of a statement");
  if (n > 0) style_ = names ? Style::named : Style::positional;
  count_ = dollars_ ? highest : n;
}

void Binder::bind(proto::Bytes params, const std::string& where) {
  texts_.clear();
  proto::Cursor c(params);
  if (params.empty() || params[0] == 0xc0) {
    if (count_ == 0) return;
    throw refuse(where + "the statement takes " + plural(count_, "parameter") +
                 " and none was given");
  }
  switch (c.peek()) {
    case proto::Type::array: {
      const std::uint32_t n = c.read_array();
      return bind_list(c, n, where);
    }
    case proto::Type::map: {
      const std::uint32_t n = c.read_map();
      return bind_map(c, n, where);
    }
    default:
      throw refuse(where + "parameters must be a list or a map");
  }
}

void Binder::bind_list(proto::Cursor& c, std::uint32_t n, const std::string& where) {
  if (style_ == Style::named)
    throw refuse(where + "the statement's parameters have names: give a map, not a list");
  if (n != static_cast<std::uint32_t>(count_))
    throw refuse(where + "the statement takes " + plural(count_, "parameter") + " and " +
                 std::to_string(n) + (n == 1 ? " was" : " were") + " given");
  if (!dollars_) return bind_row(c, count_, where);
  std::vector<proto::Cursor> values;
  for (std::uint32_t i = 0; i < n; ++i) values.emplace_back(c.skip());
  for (int i = 1; i <= sqlite3_bind_parameter_count(stmt_); ++i) {
    const int k = number_of(sqlite3_bind_parameter_name(stmt_, i) + 1);
    proto::Cursor v = values[static_cast<std::size_t>(k - 1)];
    value(i, v, where);
  }
}

void Binder::bind_row(proto::Cursor& c, int count, const std::string& where) {
  texts_.clear();
  for (int i = 1; i <= count; ++i) value(i, c, where);
}

void Binder::bind_map(proto::Cursor& c, std::uint32_t n, const std::string& where) {
  if (style_ == Style::positional)
    throw refuse(where + "the statement's parameters are positional: give a list, not a map");
  std::vector<bool> seen(static_cast<std::size_t>(count_) + 1);
  for (std::uint32_t i = 0; i < n; ++i) {
    if (c.peek() != proto::Type::str)
      throw refuse(where + "the names of parameters must be strings");
    const std::string_view name = c.read_str();
    int index = 0;
    if (name.find('\0') == std::string_view::npos && name.size() <= proto::kNameMax)
      for (const char* mark : {":", "@", "$"}) {
        index = sqlite3_bind_parameter_index(stmt_, (mark + std::string(name)).c_str());
        if (index > 0) break;
      }
    const std::string shown(name.substr(0, 64));
    if (index == 0) throw refuse(where + "the statement has no parameter `" + shown + "`");
    if (seen[static_cast<std::size_t>(index)])
      throw refuse(where + "parameter `" + shown + "` is given twice");
    seen[static_cast<std::size_t>(index)] = true;
    value(index, c, where);
  }
  for (int i = 1; i <= count_; ++i)
    if (!seen[static_cast<std::size_t>(i)])
      throw refuse(where + "parameter `" + (sqlite3_bind_parameter_name(stmt_, i) + 1) +
                   "` is missing");
}

void Binder::value(int index, proto::Cursor& c, const std::string& where) {
  const auto what = [&] {
    const char* name = sqlite3_bind_parameter_name(stmt_, index);
    return where + "parameter " +
           (name == nullptr || name[0] == '?' ? std::to_string(index)
                                              : "`" + std::string(name) + "`");
  };
  const proto::Item it = c.next();
  switch (it.type) {
    case proto::Type::nil:
      statement_.bind_null(index);
      return;
    case proto::Type::boolean:
      statement_.bind(index, static_cast<std::int64_t>(it.boolean ? 1 : 0));
      return;
    case proto::Type::uint:
      if (it.uint > static_cast<std::uint64_t>(INT64_MAX))
        throw refuse(what() + ": the integer does not fit in 64 bits with a sign", "22003");
      statement_.bind(index, static_cast<std::int64_t>(it.uint));
      return;
    case proto::Type::sint:
      statement_.bind(index, it.sint);
      return;
    case proto::Type::float32:
    case proto::Type::float64:
      if (std::isnan(it.real))
        throw refuse(what() + ": SQLite cannot hold NaN (it would store NULL)", "22003");
      statement_.bind(index, it.real);
      return;
    case proto::Type::str:
      statement_.bind(index, proto::text_of(it.bytes));
      return;
    case proto::Type::bin:
      statement_.bind(index, it.bytes);
      return;
    case proto::Type::ext:
      ext(index, it, what());
      return;
    case proto::Type::array:
      throw refuse(what() + ": a list cannot be a parameter", "42804");
    case proto::Type::map:
      throw refuse(what() + ": a map cannot be a parameter", "42804");
    case proto::Type::invalid:
      throw refuse(where + "the parameters are cut short");
  }
}

namespace {

template <class T>
std::optional<std::string> text_of_ext(const proto::Item& it) {
  T v;
  if (!proto::read(it, &v)) return std::nullopt;
  return proto::to_text(v);
}

}  // namespace

void Binder::ext(int index, const proto::Item& it, const std::string& what) {
  std::optional<std::string> text;
  switch (static_cast<proto::Ext>(it.ext)) {
    case proto::Ext::timestamp:
      text = text_of_ext<proto::Timestamp>(it);
      if (text && text->ends_with("infinity")) *text += 'Z';  // as every one with a zone
      break;
    case proto::Ext::decimal:
      text = text_of_ext<proto::Decimal>(it);
      break;
    case proto::Ext::date:
      text = text_of_ext<proto::Date>(it);
      break;
    case proto::Ext::time:
      text = text_of_ext<proto::TimeOfDay>(it);
      break;
    case proto::Ext::local_timestamp:
      text = text_of_ext<proto::LocalTimestamp>(it);
      break;
    case proto::Ext::interval:
      text = text_of_ext<proto::Interval>(it);
      break;
    case proto::Ext::uuid:
      text = text_of_ext<proto::Uuid>(it);
      break;
    case proto::Ext::json: {
      proto::Json j;
      if (!proto::read(it, &j)) break;
      statement_.bind(index, j.text);
      return;
    }
    case proto::Ext::big_integer:
      throw refuse(what + ": the integer does not fit in 64 bits with a sign", "22003");
    default:
      throw refuse(what + ": SQLite has no form for ext type " + std::to_string(it.ext), "42804");
  }
  if (!text)
    throw refuse(what + ": the ext value of type " + std::to_string(it.ext) + " is malformed",
                 "22P02");
  texts_.push_back(std::move(*text));
  statement_.bind(index, std::string_view(texts_.back()));
}

}  // namespace headgate::sqlite
