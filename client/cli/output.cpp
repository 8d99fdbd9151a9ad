#include "output.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace headgate::cli {
namespace {

using msgpack::object;

bool is(const object* o, msgpack::type::object_type t) { return o != nullptr && o->type == t; }

bool utf8(std::string_view s) { return proto::valid_utf8(s); }

std::string_view text_of(const object& o) {
  if (o.type == msgpack::type::STR) return {o.via.str.ptr, o.via.str.size};
  return {o.via.bin.ptr, o.via.bin.size};
}

void line(const std::string& text) { std::printf("%s\n", text.c_str()); }

// A column's name: SQL gives [name, type, ...], `show` a text.
std::string column_name(const object& c) {
  if (c.type == msgpack::type::ARRAY && c.via.array.size > 0)
    return cell_of(c.via.array.ptr[0]).text;
  return cell_of(c).text;
}

Row row_of(const object& r) {
  Row out;
  if (r.type != msgpack::type::ARRAY) return {cell_of(r)};
  for (std::uint32_t i = 0; i < r.via.array.size; ++i) out.push_back(cell_of(r.via.array.ptr[i]));
  return out;
}

// All of it: a text may hold NUL.
void put(std::string_view s) { std::fwrite(s.data(), 1, s.size(), stdout); }

void print_row(Format format, const Row& row) {
  if (format == Format::csv) {
    put(csv_line(row));
    return;
  }
  std::string text;
  for (std::size_t i = 0; i < row.size(); ++i) text += (i == 0 ? "" : "\t") + visible(row[i].text);
  line(text);
}

// A list, an item a line; items that are lists themselves become tabbed.
void print_list(const object& list, Format format) {
  for (std::uint32_t i = 0; i < list.via.array.size; ++i) {
    print_row(format, row_of(list.via.array.ptr[i]));
  }
}

void print_documents(const object& list, Format) {
  for (std::uint32_t i = 0; i < list.via.array.size; ++i)
    line(dump(to_json(list.via.array.ptr[i])));
}

// A page of `scan`: a key a line, its value behind it when values were asked for. Where to go on is
// for the person, on stderr.
bool print_page(const object& body, Format format) {
  const object* keys = detail::field(body, "keys");
  const object* values = detail::field(body, "values");
  const object* cursor = detail::field(body, "cursor");
  if (!is(keys, msgpack::type::ARRAY)) return false;
  const bool both =
      is(values, msgpack::type::ARRAY) && values->via.array.size == keys->via.array.size;
  for (std::uint32_t i = 0; i < keys->via.array.size; ++i) {
    Row row = {cell_of(keys->via.array.ptr[i])};
    if (both) row.push_back(cell_of(values->via.array.ptr[i]));
    print_row(format, row);
  }
  if (cursor != nullptr &&
      (cursor->type == msgpack::type::BIN || cursor->type == msgpack::type::STR)) {
    std::fflush(stdout);
    std::fprintf(stderr, "(more: --cursor '%s' --base64, with the other words as base64 too)\n",
                 base64(text_of(*cursor)).c_str());
  }
  return true;
}

// {"value": x} and the like: the value alone.
void print_map(const object& map, Format format) {
  if (print_page(map, format)) return;
  const auto n = map.via.map.size;
  const auto only = [&](std::string_view key) {
    return n == 1 && text_of(map.via.map.ptr[0].key) == key;
  };
  if (n == 0) return;
  const object& first = map.via.map.ptr[0].val;
  if (n == 1 && first.type == msgpack::type::ARRAY) {
    return only("documents") || only("collections") || only("indexes")
               ? print_documents(first, format)
               : print_list(first, format);
  }
  if (n == 1) return print_row(format, {cell_of(first)});
  std::size_t width = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    width = std::max(width, display_width(cell_of(map.via.map.ptr[i].key).text));
  }
  for (std::uint32_t i = 0; i < n; ++i) {
    const Row row = {cell_of(map.via.map.ptr[i].key), cell_of(map.via.map.ptr[i].val)};
    if (format == Format::csv) {
      print_row(format, row);
      continue;
    }
    const std::string space(width - display_width(row[0].text) + 2, ' ');
    line(visible(row[0].text) + space + (row[1].null ? "(nil)" : visible(row[1].text)));
  }
}

// The value, and for keys its version on stderr's side: `get` prints what is stored, exactly.
bool print_stored(const object& body) {
  const object* value = detail::field(body, "value");
  const object* version = detail::field(body, "version");
  if (value == nullptr || version == nullptr || body.via.map.size != 2) return false;
  if (value->type == msgpack::type::NIL) {
    std::fputs("(nil)\n", stderr);
    return true;
  }
  if (value->type != msgpack::type::BIN && value->type != msgpack::type::STR) return false;
  const std::string_view bytes = text_of(*value);
  if (::isatty(1) != 0) {
    line(visible(bytes));
  } else {
    put(bytes);
  }
  return true;
}

}  // namespace

Cell cell_of(const object& o) {
  switch (o.type) {
    case msgpack::type::NIL:
      return {"", false, true};
    case msgpack::type::BOOLEAN:
      return {o.via.boolean ? "true" : "false", false, false};
    case msgpack::type::STR:
      return {std::string(text_of(o)), false, false};
    case msgpack::type::BIN: {
      const std::string_view bytes = text_of(o);
      if (utf8(bytes)) return {std::string(bytes), false, false};
      std::string hex = "\\x";
      char digits[4];
      for (const char c : bytes) {
        std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
        hex += digits;
      }
      return {hex, false, false};
    }
    case msgpack::type::EXT: {
      const Json v = to_json(o);
      // {"$date": "..."}: the text alone.
      if (v.size() == 1 && v.begin()->is_string()) {
        return {v.begin()->get<std::string>(), v.begin().key() == "$decimal", false};
      }
      return {dump(v), false, false};
    }
    case msgpack::type::ARRAY:
    case msgpack::type::MAP:
      return {dump(to_json(o)), false, false};
    default:
      return {dump(to_json(o)), true, false};
  }
}

void RowsWriter::begin(const object& columns) {
  begun_ = true;
  has_rows_ = true;
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < columns.via.array.size; ++i) {
    names.push_back(column_name(columns.via.array.ptr[i]));
  }
  if (format_ == Format::table) table_ = std::make_unique<Table>(names);
  if (format_ == Format::csv) put(csv_line(names));
  if (format_ == Format::json) std::printf("{\"columns\":%s,\"rows\":[", dump(Json(names)).c_str());
}

void RowsWriter::row(const object& r) {
  if (table_ != nullptr) table_->add(row_of(r));
  if (format_ == Format::csv) put(csv_line(row_of(r)));
  if (format_ == Format::json) {
    std::printf("%s\n%s", count_ == 0 ? "" : ",", dump(to_json(r)).c_str());
  }
  ++count_;
}

void RowsWriter::piece(Bytes body) {
  const msgpack::object_handle h = detail::parse(body);
  const object* columns = detail::field(h.get(), "columns");
  const object* rows = detail::field(h.get(), "rows");
  if (!begun_ && is(columns, msgpack::type::ARRAY)) begin(*columns);
  if (!begun_ || !is(rows, msgpack::type::ARRAY)) return;
  for (std::uint32_t i = 0; i < rows->via.array.size; ++i) row(rows->via.array.ptr[i]);
}

void RowsWriter::end(const ReplyMeta& meta) {
  if (format_ == Format::json) {
    if (!begun_)
      std::fputs("{\"columns\":null,\"rows\":null", stdout);
    else
      std::fputs(count_ == 0 ? "]" : "\n]", stdout);
    if (meta.rows_affected) {
      std::printf(",\"rows_affected\":%lld", static_cast<long long>(*meta.rows_affected));
    }
    if (meta.last_id) std::printf(",\"last_id\":%lld", static_cast<long long>(*meta.last_id));
    std::fputs("}\n", stdout);
  }
  if (table_ != nullptr) table_->end();
  if (format_ == Format::table) {
    std::fflush(stdout);
    if (has_rows_)
      std::fprintf(stderr, "(%zu row%s)\n", count_, count_ == 1 ? "" : "s");
    else if (meta.rows_affected) {
      std::fprintf(stderr, "(%lld row%s affected)\n", static_cast<long long>(*meta.rows_affected),
                   *meta.rows_affected == 1 ? "" : "s");
    } else {
      std::fputs("(ok)\n", stderr);
    }
  }
  print_warnings(meta);
}

void print_warnings(const ReplyMeta& meta) {
  for (const std::string& w : meta.warnings) {
    std::fprintf(stderr, "warning: %s\n", visible(w).c_str());
  }
  if (meta.replayed) std::fputs("(this key was used before: its recorded answer)\n", stderr);
  if (!meta.replicated) std::fputs("warning: applied, but a standby may lack it\n", stderr);
}

void print_piece(Bytes body, Format format) {
  const msgpack::object_handle h = detail::parse(body);
  const object& o = h.get();
  if (o.type == msgpack::type::NIL) return;
  if (format == Format::json) return line(dump(to_json(o)));
  if (o.type == msgpack::type::MAP) return print_map(o, format);
  print_row(format, {cell_of(o)});
}

void print_reply(const Reply& reply, Format format) {
  const msgpack::object_handle h = detail::parse(reply.body());
  const object& o = h.get();
  if (format == Format::json) {
    line(dump(to_json(o)));
  } else if (o.type == msgpack::type::MAP) {
    if (detail::field(o, "columns") != nullptr && detail::field(o, "rows") != nullptr) {
      RowsWriter rows(format);
      rows.piece(reply.body());
      return rows.end(reply.meta);
    }
    if (!print_stored(o)) print_map(o, format);
  } else if (o.type == msgpack::type::ARRAY) {
    print_list(o, format);
  } else if (o.type != msgpack::type::NIL) {
    print_row(format, {cell_of(o)});
  }
  print_warnings(reply.meta);
}

}  // namespace headgate::cli
