// KeyValueKind is what a SQLite store does with the verbs of kind key_value; see KEY_VALUE.md.
//
// Owner:   the SqliteDriver. Threads: route from any, execute from several workers at once; its
//          members are constant, atomic or guarded.
#pragma once
#include <atomic>
#include <functional>

#include "plugins/sqlite/kind.hpp"
#include "plugins/sqlite/kv_wait.hpp"

namespace headgate::sqlite {

class KeyValueKind : public Kind {
 public:
  // Milliseconds since 1970.
  using WallClock = std::function<std::int64_t()>;

  KeyValueKind(const hg_host* host, const hg_driver_config& config, WallClock wall_clock);

  void prepare(Database& db) override;
  sdk::Route route(std::string_view verb, proto::Bytes body, const hg_call& call,
                   const sdk::Touches& touches) override;
  void execute(std::string_view verb, proto::Bytes body, const hg_call& call, Database& db,
               sdk::Sink& sink, sdk::Done& done) override;
  void explain(std::string_view verb, proto::Bytes body, Database& db, sdk::Sink& sink) override;
  void committed(std::string_view verb, proto::Bytes body) override;

 private:
  const hg_host* host_;
  WallClock wall_clock_;
  std::size_t value_max_;
  std::uint64_t part_max_;
  Waiters waiters_;
  // Rows that writers still owe to the purge: each row written pays for two that are removed, so
  // what is dead never outgrows what is written, and no single call pays for more than a step.
  std::atomic<std::int64_t> purge_due_{0};
  std::atomic<std::uint64_t> purge_after_us_{0};  // host clock
};

}  // namespace headgate::sqlite
