// Rows writes one statement's result into a reply: {columns, rows}, or a stream of parts.
//
// A result that finds no room, or holds a value that cannot be carried, is read to its end all the
// same; error() then says what the caller gets.
//
// Owner: a connection. Threads: the loop's. Allocation: none for a row.
#pragma once
#include <optional>

#include "plugins/postgres/prepared.hpp"
#include "plugins/sdk/driver.hpp"

namespace headgate::postgres {

class Rows {
 public:
  enum class Flow : std::uint8_t { go, wait, stop };

  // `fetch`: rows a part; 0: no stream.
  void begin(const hg_host* host, hg_op op, const Prepared& p, std::uint64_t fetch,
             std::uint64_t part_max);
  // One DataRow. wait: stop reading until the caller has credit again. stop: nobody takes the rest.
  Flow row(proto::Bytes data_row);
  // A row passed by that was larger than any reply may be.
  void too_large();
  // The result is complete.
  void end();
  void clear();

  [[nodiscard]] bool failed() const { return error_.has_value(); }
  // What the caller gets instead of the rows. Its outcome is the statement's, as the caller of Rows
  // knows it.
  [[nodiscard]] sdk::Error& error() { return *error_; }
  [[nodiscard]] bool stale() const { return stale_; }
  // Nobody takes the rest: the caller is gone or its time is over.
  [[nodiscard]] bool stopped() const { return stopped_; }
  [[nodiscard]] std::uint64_t count() const { return all_; }

 private:
  void header();
  Flow end_part();
  bool check();
  const Prepared* prepared_ = nullptr;
  std::optional<sdk::Sink> sink_;
  std::optional<sdk::Error> error_;
  std::uint64_t fetch_ = 0, part_max_ = 0;
  std::uint64_t rows_at_ = 0, bytes_ = 0, all_ = 0;
  std::uint32_t rows_ = 0;
  bool begun_ = false, stale_ = false, stopped_ = false, first_part_ = true;
};

// Writes {columns: nil, rows: nil}.
void write_no_result(proto::Writer& w);

}  // namespace headgate::postgres
