// Sql is a store of kind `sql`: statements with parameters, rows into your own types.
//
// A row is whatever msgpack-cxx reads from an array: a std::tuple, a MSGPACK_DEFINE struct, or
// headgate::Value. A column that may be null is a std::optional. Parameters stand apart from the
// text: positional (`?` or `$1`) as arguments, or named (`:name`) as one headgate::Doc.
//
// Threads: an Sql is a name and options; copy it freely. A Transaction may be used from several
// threads too: its calls are sent one after the other, as the gateway wants them.
#pragma once
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "headgate/connection.hpp"
#include "headgate/listen.hpp"
#include "headgate/value.hpp"

namespace headgate {

struct Column {
  std::string name;
  std::optional<std::string> type;
  std::optional<bool> nullable;
  std::optional<std::int64_t> precision;
  std::optional<std::int64_t> scale;
  MSGPACK_DEFINE(name, type, nullable, precision, scale)
};

// What a statement gave. `has_rows` is false when it gives no result set at all.
template <class Row>
struct Rows {
  std::vector<Column> columns;
  std::vector<Row> rows;
  bool has_rows = false;

  [[nodiscard]] auto begin() { return rows.begin(); }
  [[nodiscard]] auto end() { return rows.end(); }
  [[nodiscard]] auto begin() const { return rows.begin(); }
  [[nodiscard]] auto end() const { return rows.end(); }
  [[nodiscard]] std::size_t size() const { return rows.size(); }
  [[nodiscard]] bool empty() const { return rows.empty(); }
  Row& operator[](std::size_t i) { return rows[i]; }
  const Row& operator[](std::size_t i) const { return rows[i]; }
};

struct Executed {
  std::int64_t rows_affected = 0;
  std::optional<std::int64_t> last_id;
  std::vector<std::string> warnings;
  bool replayed = false;
};

namespace detail {

Executed executed(const Reply& r);
void read_columns(const msgpack::object& body, std::vector<Column>* out, bool* has_rows);

template <class Row>
void read_rows(const msgpack::object& body, std::vector<Row>* out) {
  const msgpack::object* rows = field(body, "rows");
  if (rows == nullptr || rows->type == msgpack::type::NIL) return;
  if (rows->type != msgpack::type::ARRAY) no_form(*rows, "rows");
  out->reserve(out->size() + rows->via.array.size);
  for (std::uint32_t i = 0; i < rows->via.array.size; ++i)
    out->push_back(convert<Row>(rows->via.array.ptr[i]));
}

template <class Row>
Rows<Row> rows_of(const Reply& r) {
  const msgpack::object_handle h = parse(r.body());
  Rows<Row> out;
  read_columns(h.get(), &out.columns, &out.has_rows);
  read_rows(h.get(), &out.rows);
  return out;
}

// {name: what, params: [...]}; one Doc among the arguments, alone, gives named parameters.
template <class... Args>
std::vector<std::uint8_t> statement(std::string_view field, std::string_view text,
                                    const Args&... args) {
  Buffer b;
  Packer p(b);
  p.pack_map(sizeof...(Args) == 0 ? 1 : 2);
  p.pack(field);
  p.pack(text);
  if constexpr (sizeof...(Args) > 0) {
    p.pack(std::string_view("params"));
    if constexpr (sizeof...(Args) == 1 && (std::is_same_v<Args, Doc> && ...)) {
      (p.pack(args), ...);
    } else {
      p.pack_array(sizeof...(Args));
      (p.pack(args), ...);
    }
  }
  return b.take();
}

}  // namespace detail

// A result that is read as it comes: memory stays flat however long it is. An input range.
// Dropped before its end it is cancelled; in a transaction, which that would roll back, the rest is
// read and thrown away before the transaction's next call.
template <class Row>
class RowStream {
 public:
  explicit RowStream(Stream s) : stream_(std::move(s)) {}

  class Iterator {
   public:
    using value_type = Row;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    Iterator() = default;
    explicit Iterator(RowStream* s) : stream_(s) { ++*this; }
    Row& operator*() const { return *row_; }
    Row* operator->() const { return row_; }
    Iterator& operator++() {
      row_ = stream_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const { return row_ == nullptr; }

   private:
    RowStream* stream_ = nullptr;
    Row* row_ = nullptr;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() { return {}; }

  // The next row, valid until the call after; nullptr at the end. Throws Error.
  Row* next() {
    while (at_ == rows_.size()) {
      const std::optional<Bytes> piece = stream_.next();
      if (!piece.has_value()) return nullptr;
      rows_.clear();
      at_ = 0;
      const msgpack::object_handle h = detail::parse(*piece);
      if (columns_.empty()) detail::read_columns(h.get(), &columns_, &has_rows_);
      detail::read_rows(h.get(), &rows_);
    }
    return &rows_[at_++];
  }
  // Known once the first row has been asked for.
  [[nodiscard]] const std::vector<Column>& columns() const { return columns_; }
  void cancel() { stream_.cancel(); }
  [[nodiscard]] const Reply& reply() const { return stream_.reply(); }

 private:
  Stream stream_;
  std::vector<Column> columns_;
  std::vector<Row> rows_;
  std::size_t at_ = 0;
  bool has_rows_ = false;
};

// Rows on their way into a table, in pieces. All or nothing: without finish() nothing is applied.
class CopyIn {
 public:
  explicit CopyIn(Upload u) : upload_(std::move(u)) {}

  template <class Row>
  void row(const Row& r) {
    Packer(buffer_).pack(r);
    ++count_;
    if (count_ >= kRowsMax || buffer_.view().size() >= kBytesMax) flush();
  }
  // Throws Error unless every row is in the table.
  Executed finish();
  void cancel() { upload_.cancel(); }

 private:
  static constexpr std::uint32_t kRowsMax = 10'000;
  static constexpr std::size_t kBytesMax = 256u << 10;
  void flush();
  Upload upload_;
  Buffer buffer_;
  std::uint32_t count_ = 0;
};

struct TransactionOptions {
  std::string isolation;  // read_committed, repeatable_read, serializable; empty: the store's
  bool deferrable = false;
  bool read_only = false;
};

class Transaction;

class Sql {
 public:
  Sql(std::shared_ptr<detail::Engine> engine, std::string store, CallOptions options = {})
      : engine_(std::move(engine)), store_(std::move(store)), options_(std::move(options)) {}

  // The same store with other options: db.with({.timeout = 30s, .read_only = true}).query(...)
  [[nodiscard]] Sql with(CallOptions o) const;

  template <class Row = Value, class... Args>
  Rows<Row> query(std::string_view sql, const Args&... args) const {
    return detail::rows_of<Row>(call("query", detail::statement("sql", sql, args...)));
  }
  // The first row; empty when there is none.
  template <class Row = Value, class... Args>
  std::optional<Row> query_one(std::string_view sql, const Args&... args) const {
    Rows<Row> r = query<Row>(sql, args...);
    if (r.empty()) return std::nullopt;
    return std::move(r.rows.front());
  }
  // Row by row; CallOptions::fetch rows a part (1000 when 0).
  template <class Row = Value, class... Args>
  RowStream<Row> stream(std::string_view sql, const Args&... args) const {
    return RowStream<Row>(stream_of("query", detail::statement("sql", sql, args...)));
  }
  template <class... Args>
  Executed execute(std::string_view sql, const Args&... args) const {
    return detail::executed(call("execute", detail::statement("sql", sql, args...)));
  }
  // With RETURNING.
  template <class Row, class... Args>
  Rows<Row> execute_returning(std::string_view sql, const Args&... args) const {
    return detail::rows_of<Row>(call("execute", detail::statement("sql", sql, args...)));
  }
  // One statement, many parameter sets (tuples, MSGPACK_DEFINE structs, vectors): all or none.
  template <class Sets>
  Executed execute_many(std::string_view sql, const Sets& sets) const {
    Buffer b;
    Packer p(b);
    p.pack_map(2);
    p.pack(std::string_view("sql"));
    p.pack(sql);
    p.pack(std::string_view("params"));
    p.pack_array(static_cast<std::uint32_t>(std::size(sets)));
    for (const auto& s : sets) p.pack(s);
    return detail::executed(call("execute_many", b.take()));
  }
  // A named statement of the catalogue.
  template <class Row = Value, class... Args>
  Rows<Row> run(std::string_view name, const Args&... args) const {
    return detail::rows_of<Row>(call("run", detail::statement("name", name, args...)));
  }

  [[nodiscard]] Transaction transaction(const TransactionOptions& o = {}) const;
  [[nodiscard]] CopyIn copy_in(std::string_view table,
                               const std::vector<std::string>& columns = {}) const;
  template <class Row = Value>
  RowStream<Row> copy_out(std::string_view table) const {
    return RowStream<Row>(stream_of("copy_out", pack(Doc("table", table))));
  }

  // Listens to up to 64 channels, each as it is spelt. Waits until the store does, as long as
  // CallOptions::timeout; then what is notified is heard. Not part of a transaction.
  [[nodiscard]] Listener listen(const std::vector<std::string>& channels) const;
  // PostgreSQL's pg_notify; in a transaction it is sent when that commits.
  void notify(std::string_view channel, std::string_view payload = {}) const;

  [[nodiscard]] Rows<Value> tables() const;
  [[nodiscard]] Rows<Value> columns(std::string_view table) const;
  [[nodiscard]] Rows<Value> keys(std::string_view table) const;
  [[nodiscard]] Rows<Value> indexes(std::string_view table) const;

  [[nodiscard]] const std::string& store() const { return store_; }
  [[nodiscard]] const CallOptions& options() const { return options_; }
  Reply call(std::string_view verb, std::vector<std::uint8_t> body) const;

 protected:
  [[nodiscard]] Stream stream_of(std::string_view verb, std::vector<std::uint8_t> body) const;
  std::shared_ptr<detail::Engine> engine_;
  std::string store_;
  CallOptions options_;
};

// A transaction: an Sql whose calls run in it. Rolled back when it is destroyed, unless committed;
// by the gateway too, when this program dies or the connection is lost.
class Transaction : public Sql {
 public:
  Transaction(std::shared_ptr<detail::Engine> engine, std::string store, CallOptions options,
              std::uint64_t id);
  Transaction(Transaction&& o) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // Throws Error; with the outcome `unknown` it may have been committed.
  void commit();
  void rollback();
  void savepoint(std::string_view name) const;
  void release(std::string_view name) const;
  void rollback_to(std::string_view name) const;
  [[nodiscard]] std::uint64_t id() const { return options_.tx; }
  [[nodiscard]] bool open() const { return open_; }

 private:
  bool open_ = true;
};

}  // namespace headgate
