// WriteConnection is the one writer of a store. Calls that arrive together share one commit.
//
// Group commit: BEGIN IMMEDIATE; each call inside a savepoint; COMMIT; then all answers. What must
// hold is design, and each point has a test in tests/unit/sqlite/group_*:
//   - a call that fails is undone alone; it is answered after the commit, like the others, since
//     what it saw may still be undone;
//   - when a call takes the whole transaction with it (INSERT OR ROLLBACK, an interrupt, a full
//     disk) nobody has been answered: the others run again, that call runs alone, or ends at once
//     when it was stopped by its own caller or deadline;
//   - a call is stopped when another's time in its batch is over, and runs again alone: who waits
//     behind it is told that nothing was done, and not too late;
//   - when it is an item of a batch that does so, that batch says of its items what became of them;
//   - a deferred foreign key that would fail the COMMIT fails its own call;
//   - calls known to be slow, streams and uploads run alone; a batch ends after batch_ms;
//   - when COMMIT fails, everybody's call is rolled back and tried again alone.
// A transaction of a caller (`begin`) owns the connection until its end.
//
// Owner: the host. Threads: its worker's; cancel() from another.
#pragma once
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "plugins/sqlite/driver.hpp"

namespace headgate::sqlite {

class WriteConnection : public sdk::Connection {
 public:
  explicit WriteConnection(SqliteDriver& driver);
  ~WriteConnection() override;

  void submit(const hg_call* const* calls, std::uint32_t n) override;
  void cancel(hg_op op) override;
  void reset(hg_op op) override;
  void ping(hg_op op) override;

 private:
  struct Member {
    Member(const hg_host* host, const hg_call* c) : call(c), sink(host, c->op) {}
    const hg_call* call;
    sdk::Sink sink;
    sdk::Done done{};
    std::optional<sdk::Error> error{};
    bool partial = false;
  };
  using Members = std::vector<Member*>;
  enum class Transaction { none, open, failed };

  // The batch.
  void run_group(Members& pending, Members& alone);
  std::uint64_t drop_expired(Members& pending);
  void run_alone(Member& m);
  void drop_lost(Members& pending, std::size_t ran, Members& alone);
  // False: the whole transaction is gone, or is to go. others_until: the earliest work_until of its
  // batch; 0: none.
  bool run(Member& m, bool shared, std::uint64_t others_until = 0);
  void execute(Member& m, bool leased);
  bool undo_call(Member& m);
  [[nodiscard]] bool is_over(const Member& m) const;  // its work_until has passed
  bool expired(Member& m);  // is over, or cancelled, before its turn: gives it that error
  std::optional<sdk::Error> begin(hg_op op, std::uint64_t until);
  std::optional<sdk::Error> commit();
  void rollback();
  void forget(Member& m);
  void finish(Member& m);
  void tell(const Member& m);
  void measure(const Member& m, std::uint64_t started, bool shared);

  // A caller's transaction.
  void begin_transaction(Member& m);
  void in_transaction(Member& m);
  void end_transaction(Member& m, bool keep);
  void savepoint(Member& m, std::string_view verb);

  void after_commit();
  void trim_log();
  void purge();
  [[nodiscard]] std::int64_t wall_ms() const;

  SqliteDriver& driver_;
  Database db_;
  Transaction transaction_ = Transaction::none;
  bool committing_ = false;  // only then the commit hook lets a commit pass
  bool broken_ = false;
  std::uint64_t page_bytes_ = 4096;
  std::uint64_t wal_bytes_ = 0;
  std::uint64_t trim_after_ = 0;  // host clock: no attempt to empty the log before
  std::uint64_t purge_after_ = 0;

  std::mutex cancel_mutex_;
  std::vector<hg_op> waiting_;    // submitted, not begun
  std::vector<hg_op> cancelled_;  // of these
};

}  // namespace headgate::sqlite
