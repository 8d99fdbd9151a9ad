// From the receive buffer into the frame that leaves.
#include "plugins/postgres/rows.hpp"

namespace headgate::postgres {

void write_no_result(proto::Writer& w) {
  w.map(2);
  w.str("columns");
  w.nil();
  w.str("rows");
  w.nil();
}

void Rows::begin(const hg_host* host, hg_op op, const Prepared& p, std::uint64_t fetch,
                 std::uint64_t part_max) {
  clear();
  prepared_ = &p;
  sink_.emplace(host, op);
  fetch_ = fetch;
  part_max_ = part_max;
}

void Rows::clear() {
  prepared_ = nullptr;
  sink_.reset();
  error_.reset();
  rows_at_ = bytes_ = all_ = 0;
  rows_ = 0;
  begun_ = stale_ = stopped_ = false;
  first_part_ = true;
}

void Rows::header() {
  begun_ = true;
  proto::Writer w(&*sink_);
  w.map(first_part_ ? 2 : 1);
  if (first_part_) {
    w.str("columns");
    w.raw(prepared_->plan.header());
  }
  w.str("rows");
  rows_at_ = sink_->offset();
  w.array32(0);
  first_part_ = false;
}

void Rows::too_large() {
  if (!failed())
    error_.emplace(sdk::Code::too_large, sdk::Outcome::applied,
                   "the result is larger than reply_max: ask for it in parts, with `fetch`");
}

bool Rows::check() {
  if (sink_->why() == HG_GO) return true;
  if (sink_->why() == HG_FULL) {
    too_large();
  } else {
    error_.emplace(sdk::Code::cancelled, sdk::Outcome::applied, "nobody waits for the result");
    stopped_ = true;
  }
  return false;
}

Rows::Flow Rows::row(proto::Bytes data_row) {
  if (failed()) return Flow::go;
  if (!begun_) header();
  proto::Writer w(&*sink_);
  try {
    prepared_->plan.write_row(w, data_row);
  } catch (const wire::StaleType& e) {
    error_.emplace(e);
    stale_ = true;
    return Flow::go;
  } catch (const wire::Unrepresentable& e) {
    error_.emplace(e);
    return Flow::go;
  }
  if (!w.ok()) {
    check();
    return stopped_ ? Flow::stop : Flow::go;
  }
  ++rows_;
  ++all_;
  if (fetch_ == 0) return Flow::go;
  bytes_ += data_row.size();
  return rows_ >= fetch_ || bytes_ >= part_max_ ? end_part() : Flow::go;
}

Rows::Flow Rows::end_part() {
  sink_->patch_array32(rows_at_, rows_);
  rows_ = 0;
  bytes_ = 0;
  begun_ = false;
  const int flow = sink_->flush_part();
  if (flow == HG_GO) return Flow::go;
  if (flow == HG_WAIT) return Flow::wait;
  error_.emplace(sdk::Code::cancelled, sdk::Outcome::applied, "the stream was given up");
  stopped_ = true;
  return Flow::stop;
}

void Rows::end() {
  if (failed()) return;
  if (prepared_->plan.has_rows()) {
    if (!begun_) header();
    if (!check()) return;
    sink_->patch_array32(rows_at_, rows_);
    sink_->commit();
    return;
  }
  proto::Writer w(&*sink_);
  write_no_result(w);
  sink_->commit();
  check();
}

}  // namespace headgate::postgres
