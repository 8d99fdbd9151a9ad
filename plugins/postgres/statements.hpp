// Statements: the texts that this store has seen, each read once.
//
// A Statement is what route() and every connection know of one text: how its places are numbered,
// which lane it may run on, and whether it has been slow. The table forgets the texts that were
// used longest ago; connections keep theirs alive.
//
// Owner:   the PostgresDriver. Threads: any; the table is locked, a Statement is constant but for
//          its atomics.
#pragma once
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plugins/postgres/text.hpp"

namespace headgate::postgres {

inline constexpr std::size_t kStatementsMax = 4096;  // texts remembered by a store
inline constexpr std::size_t kStatementBytesMax = 1u << 20;
inline constexpr std::uint32_t kStrikeRuns = 16;  // for so long a slow run is remembered

struct Statement {
  Statement(std::string_view sql, bool named, std::uint64_t key);

  std::string source;  // as the caller wrote it
  std::string text;    // with $1, $2, ...: what the server gets
  std::vector<std::string> names;
  std::uint32_t places = 0;
  bool named = false;
  bool plain = false;           // its text shows nothing of a session
  bool quiet = false;           // plain, and calls nothing that could reach into the session unseen
  bool returns_reads = false;   // begins with SELECT, VALUES or TABLE: no count of affected rows
  bool changes_schema = false;  // DDL and what may hide it: plans made before may be wrong
  std::uint64_t key = 0;        // what connections find it by
  std::uint64_t digest = 0;
  std::string refusal;          // why it is never sent; empty: it may be
  std::array<char, 20> name{};  // of the prepared statement on every connection

  [[nodiscard]] bool is_slow() const { return slow_.load(std::memory_order_relaxed); }
  void set_slow() const;
  // A run on a shared connection, that began and was noticed then, was slow. One such run is an
  // accident of the host as likely as not: only another one within kStrikeRuns runs moves the
  // statement, and only if it began after the first was noticed, since one stall of the host is
  // seen on every connection at once.
  void ran_slowly(std::uint64_t began_us, std::uint64_t noticed_us) const;
  void ran_quickly() const {
    if (strike_.load(std::memory_order_relaxed) != 0) cool();
  }
  // A run on a connection of its own took this long; some quick ones in a row bring it back.
  void ran(std::uint64_t us, std::uint64_t slow_us) const;

 private:
  void cool() const;
  mutable std::atomic<bool> slow_{false};
  mutable std::atomic<std::uint32_t> quick_{0};
  // The low byte: runs left in which another slow one counts. The rest: when one was noticed.
  mutable std::atomic<std::uint64_t> strike_{0};
};

using StatementPtr = std::shared_ptr<const Statement>;

class Statements {
 public:
  // The statement of this text. Throws Error (invalid) for what is never sent.
  StatementPtr find(std::string_view sql, bool named);

 private:
  struct Entry {
    StatementPtr statement;
    std::uint64_t used = 0;
  };
  void shrink();
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::uint64_t clock_ = 0;
};

}  // namespace headgate::postgres
