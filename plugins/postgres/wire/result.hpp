// result: a server's rows into msgpack, straight from the receive buffer.
//
// A ResultPlan is made once for a prepared statement, from its RowDescription; it knows for each
// column which format to ask for in Bind (binary wherever we read it, text for the rest) and how to
// write its values. The forms are PROTOCOL.md's, section "Values"; what it has no form for:
//
//   array            list; of several dimensions: lists of lists
//   range            {lower, upper, bounds}: bounds one of "[)" "[]" "()" "(]" "empty"; nil:
//   unbounded multirange       list of ranges composite        map of its columns' names; an
//   anonymous record: its text enum, inet, cidr, macaddr, bit, varbit, xml, money, and all types
//   not named here: text as the
//                    server writes it
//
// A value that cannot be carried unchanged is refused (Unrepresentable): text that is not UTF-8, an
// array whose lower bounds are not 1, an infinite interval, a timestamp without zone after 294246.
// A value that is no value of its type is a ProtocolFault.
//
// Threads: a plan never changes; any. Allocation: none for a row, whatever is in it.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plugins/postgres/wire/catalog.hpp"
#include "plugins/sdk/driver.hpp"
#include "proto/writer.hpp"

namespace headgate::postgres::wire {

// A value that msgpack and our ext types cannot carry: store_error 22000 or the nearest SQLSTATE,
// with column and reason. The statement itself went well: the caller of the plan says the outcome,
// and reads the rest of the result to its end.
struct Unrepresentable : sdk::Error {
  using sdk::Error::Error;
};
// A composite or array that is not what the catalogue says: DDL has changed it. Forget what was
// learned (TypeCatalog::forget_learned) and prepare again.
struct StaleType : Unrepresentable {
  using Unrepresentable::Unrepresentable;
};

// Writes one value that is not NULL in binary (format 1). Throws Unrepresentable without a column.
void write_binary(proto::Writer& w, const Type& type, Bytes value);
// The same of text (format 0): the server's own text, JSON and text types as what they are.
void write_text(proto::Writer& w, const Type& type, Bytes value);

class ResultPlan {
 public:
  // The header of no result: NoData.
  ResultPlan() = default;
  // `row_description`: the payload. `format`: -1 the best for each column; 0 or 1 when the format
  // is given already (a portal that was described after Bind: pass -2 to take each column's own).
  ResultPlan(Bytes row_description, TypeCatalog& catalog, int format = kBest);
  static constexpr int kBest = -1;
  static constexpr int kAsDescribed = -2;

  // The types in a RowDescription, for TypeCatalog::unknown().
  static std::vector<Oid> types_in(Bytes row_description);

  [[nodiscard]] bool has_rows() const { return has_rows_; }  // false: NoData
  [[nodiscard]] std::size_t columns() const { return columns_.size(); }
  // For Bind: empty, one for all, or one a column.
  [[nodiscard]] std::span<const std::int16_t> formats() const { return formats_; }
  // The msgpack of `columns`: [[name, type, nullable, precision, scale], ...].
  [[nodiscard]] Bytes header() const { return header_; }

  // One DataRow's payload as one msgpack array. On a throw the writer holds half a row.
  void write_row(proto::Writer& w, Bytes data_row) const {
    const std::uint8_t* p = data_row.data();
    const std::uint8_t* end = p + data_row.size();
    const std::size_t n = columns_.size();
    if (data_row.size() < 2 || load16(p) != n) wrong_count(data_row);
    p += 2;
    w.array(static_cast<std::uint32_t>(n));
    for (const Column& c : columns_) {
      if (end - p < 4) cut_short();
      const std::uint32_t length = load32(p);
      p += 4;
      if (length == 0xffffffff) {
        w.nil();
        continue;
      }
      if (length > static_cast<std::size_t>(end - p)) cut_short();
      c.write(w, *this, c, {p, length});
      p += length;
    }
    if (p != end) left_over();
  }

 private:
  struct Column {
    void (*write)(proto::Writer&, const ResultPlan&, const Column&, Bytes);
    TypePtr type;
    std::string name;
  };
  template <Codec C>
  static void write_fast(proto::Writer& w, const ResultPlan& p, const Column& c, Bytes value);
  static void write_any(proto::Writer& w, const ResultPlan& p, const Column& c, Bytes value);
  static void write_as_text(proto::Writer& w, const ResultPlan& p, const Column& c, Bytes value);
  static decltype(Column::write) writer_for(const Type& type, std::int16_t format);
  void name(const Column& c, Unrepresentable& e) const;  // begins its message with the column
  [[noreturn]] void wrong_count(Bytes data_row) const;
  [[noreturn]] static void cut_short();
  [[noreturn]] static void left_over();
  std::vector<Column> columns_;
  std::vector<std::int16_t> formats_;
  std::vector<std::uint8_t> header_;
  bool has_rows_ = false;
};

}  // namespace headgate::postgres::wire
