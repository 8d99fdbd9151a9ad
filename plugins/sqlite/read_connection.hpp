// ReadConnection reads: the file is opened read-only, so nothing that it is given can write.
//
// Each call runs in a read transaction of its own, hence sees one state of the store; a caller's
// read-only transaction keeps one for all of its calls. A statement that writes is sent to the
// writer (reroute), unless the call may only read: then it is denied. Calls that have been quick
// come one after another without a pause; all others come alone.
//
// Owner: the host. Threads: its worker's; cancel() from another.
#pragma once
#include "plugins/sqlite/driver.hpp"

namespace headgate::sqlite {

class ReadConnection : public sdk::Connection {
 public:
  ReadConnection(SqliteDriver& driver, bool read_access);
  ~ReadConnection() override { set_leased(false); }

  void submit(const hg_call* const* calls, std::uint32_t n) override;
  void cancel(hg_op op) override { db_.cancel(op); }
  void reset(hg_op op) override;
  void ping(hg_op op) override;

 private:
  void serve(const hg_call& call);
  void transact(const hg_call& call, std::uint64_t until, sdk::Sink& sink, sdk::Done& done);
  void run(const hg_call& call, sdk::Sink& sink, sdk::Done& done);
  void begin();
  void end();
  void set_leased(bool leased);
  SqliteDriver& driver_;
  Database db_;
  bool read_access_;
  bool leased_ = false;
};

}  // namespace headgate::sqlite
