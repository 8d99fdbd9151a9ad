// A VFS over the default one. Only files named *-wal are watched.
#include "tests/unit/sqlite/bare_vfs.hpp"

#include <sqlite3.h>
#include <unistd.h>

#include <cstring>
#include <string_view>

namespace headgate::sqlite::test {
namespace {

sqlite3_vfs* g_real = nullptr;

struct File {
  sqlite3_file base;
  bool wal;
  [[nodiscard]] sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
File* as(sqlite3_file* f) { return reinterpret_cast<File*>(f); }

bool should_fail(std::atomic<int>& left) {
  int n = left.load();
  while (n != 0) {
    if (n < 0) return true;
    if (left.compare_exchange_weak(n, n - 1)) return true;
  }
  return false;
}

template <auto Method, class... Args>
int forward(sqlite3_file* f, Args... args) {
  sqlite3_file* real = as(f)->real();
  return (real->pMethods->*Method)(real, args...);
}

int write(sqlite3_file* f, const void* p, int n, sqlite3_int64 at) {
  BareVfs& v = BareVfs::the();
  if (as(f)->wal && should_fail(v.fail_writes)) return v.write_code;
  return forward<&sqlite3_io_methods::xWrite>(f, p, n, at);
}

int sync(sqlite3_file* f, int flags) {
  BareVfs& v = BareVfs::the();
  if (as(f)->wal) {
    ++v.wal_syncs;
    if (should_fail(v.fail_syncs)) return SQLITE_IOERR_FSYNC;
    if (v.sync_delay_us > 0) ::usleep(static_cast<useconds_t>(v.sync_delay_us));
  }
  return forward<&sqlite3_io_methods::xSync>(f, flags);
}

void shm_barrier(sqlite3_file* f) { as(f)->real()->pMethods->xShmBarrier(as(f)->real()); }

const sqlite3_io_methods kMethods = {
    3,
    forward<&sqlite3_io_methods::xClose>,
    forward<&sqlite3_io_methods::xRead, void*, int, sqlite3_int64>,
    write,
    forward<&sqlite3_io_methods::xTruncate, sqlite3_int64>,
    sync,
    forward<&sqlite3_io_methods::xFileSize, sqlite3_int64*>,
    forward<&sqlite3_io_methods::xLock, int>,
    forward<&sqlite3_io_methods::xUnlock, int>,
    forward<&sqlite3_io_methods::xCheckReservedLock, int*>,
    forward<&sqlite3_io_methods::xFileControl, int, void*>,
    forward<&sqlite3_io_methods::xSectorSize>,
    forward<&sqlite3_io_methods::xDeviceCharacteristics>,
    forward<&sqlite3_io_methods::xShmMap, int, int, int, void volatile**>,
    forward<&sqlite3_io_methods::xShmLock, int, int, int>,
    shm_barrier,
    forward<&sqlite3_io_methods::xShmUnmap, int>,
    forward<&sqlite3_io_methods::xFetch, sqlite3_int64, int, void**>,
    forward<&sqlite3_io_methods::xUnfetch, sqlite3_int64, void*>,
};

int open(sqlite3_vfs*, const char* name, sqlite3_file* f, int flags, int* out) {
  File* file = as(f);
  std::memset(f, 0, sizeof(File));
  file->wal = name != nullptr && std::string_view(name).ends_with("-wal");
  const int rc = g_real->xOpen(g_real, name, file->real(), flags, out);
  // A file that did not open has no methods, and SQLite does not close it.
  file->base.pMethods = file->real()->pMethods != nullptr ? &kMethods : nullptr;
  return rc;
}

}  // namespace

BareVfs& BareVfs::the() {
  static BareVfs vfs;
  return vfs;
}

BareVfs::BareVfs() {
  g_real = sqlite3_vfs_find(nullptr);
  static sqlite3_vfs mine = *g_real;
  mine.zName = "bare";
  mine.szOsFile = static_cast<int>(sizeof(File)) + g_real->szOsFile;
  mine.xOpen = open;
  mine.pNext = nullptr;
  sqlite3_vfs_register(&mine, 1);
}

}  // namespace headgate::sqlite::test
