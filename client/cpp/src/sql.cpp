#include "headgate/sql.hpp"

#include "engine.hpp"

namespace headgate {

namespace detail {

Executed executed(const Reply& r) {
  return {r.meta.rows_affected.value_or(0), r.meta.last_id, r.meta.warnings, r.meta.replayed};
}

void read_columns(const msgpack::object& body, std::vector<Column>* out, bool* has_rows) {
  const msgpack::object* columns = field(body, "columns");
  *has_rows = columns != nullptr && columns->type != msgpack::type::NIL;
  if (*has_rows) *out = convert<std::vector<Column>>(*columns);
}

}  // namespace detail

Sql Sql::with(CallOptions o) const {
  o.tx = options_.tx;
  return {engine_, store_, std::move(o)};
}

Reply Sql::call(std::string_view verb, std::vector<std::uint8_t> body) const {
  CallOptions o = options_;
  o.fetch = 0;  // of streams alone
  return engine_->run(engine_->make(detail::Call::Kind::plain, store_, verb, std::move(body), o));
}

Stream Sql::stream_of(std::string_view verb, std::vector<std::uint8_t> body) const {
  auto call = engine_->make(detail::Call::Kind::stream, store_, verb, std::move(body), options_);
  engine_->submit(call);
  return Stream(std::move(call));
}

CopyIn Sql::copy_in(std::string_view table, const std::vector<std::string>& columns) const {
  Doc body("table", table);
  if (!columns.empty()) body.add("columns", columns);
  CallOptions o = options_;
  o.fetch = 0;
  auto call = engine_->make(detail::Call::Kind::upload, store_, "copy_in", pack(body), o);
  engine_->submit(call);
  return CopyIn(Upload(std::move(call)));
}

void CopyIn::flush() {
  Buffer piece;
  Packer(piece).pack_array(count_);
  const Bytes rows = buffer_.view();
  piece.write(reinterpret_cast<const char*>(rows.data()), rows.size());
  upload_.send(piece.view());
  buffer_.clear();
  count_ = 0;
}

Executed CopyIn::finish() {
  if (count_ > 0) flush();
  return detail::executed(upload_.finish());
}

Transaction Sql::transaction(const TransactionOptions& t) const {
  Doc body;
  if (!t.isolation.empty()) body.add("isolation", t.isolation);
  if (t.deferrable) body.add("deferrable", true);
  CallOptions o = options_;
  o.read_only = o.read_only || t.read_only;
  o.fetch = 0;
  const Reply r =
      engine_->run(engine_->make(detail::Call::Kind::plain, store_, "begin", pack(body), o));
  // The calls in it need not say read_only again, and a key would name each of them.
  o.read_only = false;
  o.key.clear();
  o.fetch = options_.fetch;
  return {engine_, store_, std::move(o), r.id};
}

Rows<Value> Sql::tables() const { return detail::rows_of<Value>(call("tables", pack(Doc()))); }
Rows<Value> Sql::columns(std::string_view table) const {
  return detail::rows_of<Value>(call("columns", pack(Doc("table", table))));
}
Rows<Value> Sql::keys(std::string_view table) const {
  return detail::rows_of<Value>(call("keys", pack(Doc("table", table))));
}
Rows<Value> Sql::indexes(std::string_view table) const {
  return detail::rows_of<Value>(call("indexes", pack(Doc("table", table))));
}

Transaction::Transaction(std::shared_ptr<detail::Engine> engine, std::string store,
                         CallOptions options, std::uint64_t id)
    : Sql(std::move(engine), std::move(store), std::move(options)) {
  options_.tx = id;
}

Transaction::Transaction(Transaction&& o) noexcept
    : Sql(std::move(o)), open_(std::exchange(o.open_, false)) {}

Transaction::~Transaction() {
  if (!open_) return;
  // Nobody waits for the answer: the gateway rolls back, now or when the connection is lost.
  try {
    engine_->submit(
        engine_->make(detail::Call::Kind::plain, store_, "rollback", pack(Doc()), options_));
  } catch (const std::exception&) {  // no memory: the lease's limits end it
  }
}

void Transaction::commit() {
  open_ = false;
  call("commit", pack(Doc()));
}
void Transaction::rollback() {
  open_ = false;
  call("rollback", pack(Doc()));
}
void Transaction::savepoint(std::string_view name) const {
  call("savepoint", pack(Doc("name", name)));
}
void Transaction::release(std::string_view name) const { call("release", pack(Doc("name", name))); }
void Transaction::rollback_to(std::string_view name) const {
  call("rollback_to", pack(Doc("name", name)));
}

}  // namespace headgate
