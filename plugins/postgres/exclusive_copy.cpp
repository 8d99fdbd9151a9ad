// copy_in: rows of an upload into COPY ... FROM STDIN in binary, as fast as both sides take them.
//
// The types come from the table's own columns. What the server has not taken yet is bounded: no
// piece is taken from the caller while more than kAheadMax bytes wait to be sent.
#include "plugins/postgres/driver.hpp"
#include "plugins/postgres/exclusive.hpp"
#include "plugins/postgres/wire/parameter.hpp"

namespace headgate::postgres {
namespace {

constexpr std::size_t kAheadMax = 256u << 10;

std::string column_list(const sdk::Fields& f) {
  if (f.raw("columns").empty()) return {};
  std::string out;
  proto::Cursor c = f.at("columns");
  const std::uint32_t n = c.read_array();
  for (std::uint32_t i = 0; i < n && c.ok(); ++i) out += (i > 0 ? ", " : "") + quoted(c.read_str());
  if (!c.ok() || n == 0) throw f.wrong("columns", "a list of names");
  return out;
}

}  // namespace

// First what the columns are; the statement is never run.
void ExclusiveConnection::start_copy() {
  verb_ = Verb::copy_in;
  const sdk::Fields f("copy_in", sdk::bytes(call_->body), {"table", "columns"});
  const std::string columns = column_list(f);
  Part& p = parts_.emplace_back();
  p.item.statement = driver_.statements().find(
      "SELECT " + (columns.empty() ? "*" : columns) + " FROM " + quoted_table(f.str("table")),
      false);
  set_timeout();
  copied_ = 0;
  phase_ = Phase::prepare;
  p.prepared = &entry(p.item.statement);
  ++p.prepared->users;
  if (p.prepared->state == Prepared::State::fresh) return send_prepare(0);
  copy_prepared();
}

void ExclusiveConnection::copy_prepared() {
  if (parts_[0].error && !call_error_) call_error_ = parts_[0].error;
  if (call_error_) return finish();
  const sdk::Fields f("copy_in", sdk::bytes(call_->body), {"table", "columns"});
  const std::string columns = column_list(f);
  phase_ = Phase::close;
  copy_types_ = parts_[0].prepared->row_types;
  const std::uint64_t at = queued();
  wire::query(out_, "COPY " + quoted_table(f.str("table")) +
                        (columns.empty() ? "" : " (" + columns + ")") +
                        " FROM STDIN (FORMAT binary)");
  push({.kind = Kind::copy, .effect = true}, at);
}

// The server is ready to take rows.
void ExclusiveConnection::begin_copy() {
  copying_ = true;
  copy_starved_ = copy_over_ = false;
  wire::CopyDataWriter data(out_);
  wire::copy_binary_header(out_);
  data.finish();
}

bool ExclusiveConnection::feed() {
  if (!copying_ || copy_starved_ || copy_over_) return false;
  const std::size_t before = out_.size();
  while (!copy_starved_ && !copy_over_ && out_.size() < kAheadMax) {
    hg_bytes piece{};
    switch (host_->take(host_, op_, &piece)) {
      case HG_TAKE_DATA:
        try {
          copy_rows(sdk::bytes(piece));
        } catch (const sdk::Error& e) {
          stop_copy(e);
        }
        break;
      case HG_TAKE_NOTHING:
        copy_starved_ = true;
        break;
      case HG_TAKE_END: {
        wire::CopyDataWriter data(out_);
        wire::copy_binary_trailer(out_);
        data.finish();
        wire::copy_done(out_);
        copy_over_ = true;
        break;
      }
      default:
        stop_copy({sdk::Code::cancelled, sdk::Outcome::rolled_back, "the upload was given up"});
    }
  }
  return out_.size() > before;
}

void ExclusiveConnection::copy_rows(proto::Bytes piece) {
  proto::Cursor c(piece);
  if (c.peek() == proto::Type::nil) return;
  const std::uint32_t n = c.read_array();
  if (!c.ok()) throw sdk::invalid("copy_in: a piece must be a list of rows");
  const auto width = static_cast<std::uint16_t>(copy_types_.size());
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::string where = "row " + std::to_string(copied_ + 1);
    const std::uint32_t fields = c.peek() == proto::Type::array ? c.read_array() : width + 1u;
    if (fields != width)
      throw sdk::invalid(where + " must be a list of " + std::to_string(width) + " values");
    wire::CopyDataWriter data(out_);
    wire::copy_binary_row(out_, width);
    for (std::uint16_t k = 0; k < width; ++k)
      wire::encode_value(out_, *copy_types_[k], c, where, wire::Form::binary);
    data.finish();
    ++copied_;
  }
}

// The server undoes what it has got, and says so.
void ExclusiveConnection::stop_copy(sdk::Error e) {
  e.outcome = sdk::Outcome::rolled_back;
  copy_error_ = std::move(e);
  copy_over_ = true;
  wire::copy_fail(out_, "given up");
}

}  // namespace headgate::postgres
