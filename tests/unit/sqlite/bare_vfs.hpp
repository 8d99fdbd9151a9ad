// BareVfs stands between SQLite and the disk, for tests: it counts syncs of the write-ahead log and
// fails writes and syncs on demand. Installed as the default VFS of the process on first use.
#pragma once
#include <atomic>

namespace headgate::sqlite::test {

struct BareVfs {
  static BareVfs& the();
  std::atomic<int> wal_syncs{0};
  // How many of the next calls on a log fail, and with which result code; -1: all of them.
  std::atomic<int> fail_writes{0};
  std::atomic<int> write_code{0};
  std::atomic<int> fail_syncs{0};
  std::atomic<int> sync_delay_us{0};  // a disk that is slow
  void calm() { fail_writes = fail_syncs = sync_delay_us = 0; }

 private:
  BareVfs();
};

}  // namespace headgate::sqlite::test
