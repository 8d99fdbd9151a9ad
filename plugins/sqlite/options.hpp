// Options is a SQLite store's configuration, read once from what describe() declares.
//
// Owner:   the SqliteDriver; constant after driver_open, so any thread may read it.
#pragma once
#include <cstdint>
#include <string>

#include "plugins/sdk/driver.hpp"

namespace headgate::sqlite {

struct Options {
  std::string path;                            // absolute
  bool synchronous_full = true;                // fsync at each commit (group commit: once a batch)
  std::int64_t readers = 4;                    // connections of the read lane
  std::int64_t batch_max = 512;                // calls in one commit
  std::int64_t batch_ms = 5;                   // a batch is cut after this, at a call's border
  std::int64_t statement_max_ms = 1000;        // a call in a batch with others; alone: its deadline
  std::int64_t wal_truncate_bytes = 64 << 20;  // the log is emptied above this
  std::int64_t cache_bytes = 8 << 20;          // page cache of a connection
  std::int64_t mmap_bytes = 0;
  std::int64_t busy_timeout_ms = 2000;             // waiting for another process's lock
  std::int64_t statements_max = 256;               // prepared statements kept by a connection
  std::int64_t value_max_bytes = 32 << 20;         // one text or blob, one row
  std::int64_t keep_keys_ms = 24LL * 3600 * 1000;  // how long an idempotency key is remembered
};

// Reads hg_driver_config.options. Throws Error (invalid) that names the option.
Options read_options(const hg_driver_config& config);
// The options' entry of describe: a map name -> {type, required, default, secret, min, max, help}.
void describe_options(proto::Writer& w);

}  // namespace headgate::sqlite
