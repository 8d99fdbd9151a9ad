// SqliteDriver is one store: its options, its kind, where its verbs go, and what its connections
// share.
//
// Owner:   the host. Threads: route() from any; the rest guarded or constant.
#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "plugins/sqlite/kind.hpp"
#include "plugins/sqlite/options.hpp"
#include "plugins/sqlite/quick_reads.hpp"

namespace headgate::sqlite {

class Checkpointer;

// Which transaction verbs a kind has: none, begin/commit/rollback, or savepoints too.
enum class Transactions { none, plain, savepoints };

class SqliteDriver : public sdk::Driver {
 public:
  SqliteDriver(const hg_host* host, const hg_driver_config& config, std::unique_ptr<Kind> kind,
               Transactions transactions = Transactions::savepoints);
  ~SqliteDriver() override;

  sdk::Route route(const hg_call& call, const sdk::Touches& touches) override;
  std::unique_ptr<sdk::Connection> open(const hg_connect& connect, std::int32_t* fd) override;
  std::string prepare_store(bool dry_run) override;

  [[nodiscard]] const hg_host* host() const { return host_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] Kind& kind() const { return *kind_; }
  [[nodiscard]] std::uint64_t reply_max() const { return reply_max_; }
  [[nodiscard]] std::uint64_t part_max() const { return part_max_; }
  [[nodiscard]] std::uint64_t now() const { return host_->now_us(host_); }
  void log(int level, std::string_view message) const;

  // Digests of calls that took too long for a batch. They run alone until they are quick again.
  [[nodiscard]] bool is_slow(std::uint64_t digest);
  void set_slow(std::uint64_t digest, bool slow);

  [[nodiscard]] QuickReads& quick_reads() { return quick_reads_; }

  // Keeps the log short; null until the first writer was opened.
  [[nodiscard]] Checkpointer* checkpointer() const { return checkpointer_.get(); }

  // Readers pass this gate before they begin; the writer closes it for a moment when readers that
  // overlap for ever would keep it from emptying the log.
  void pass_gate();
  void close_gate();
  void open_gate();
  // Streams and read transactions in progress: no use to wait for them.
  [[nodiscard]] bool has_long_readers() const { return long_readers_ > 0; }
  void count_long_reader(int change) { long_readers_ += change; }

 private:
  sdk::Route route_verb(std::string_view verb, proto::Bytes body, const hg_call& call,
                        const sdk::Touches& touches);
  sdk::Route route_batch(const hg_call& call, const sdk::Touches& touches);
  sdk::Route route_explain(const hg_call& call, const sdk::Touches& touches);
  void prepare_file(bool again);

  const hg_host* host_;
  Options options_;
  std::unique_ptr<Kind> kind_;
  Transactions transactions_;
  std::uint64_t driver_id_;
  std::uint64_t reply_max_;
  std::uint64_t part_max_;

  std::mutex prepare_mutex_;
  bool prepared_ = false;
  std::unique_ptr<Checkpointer> checkpointer_;

  std::mutex slow_mutex_;
  std::unordered_set<std::uint64_t> slow_;
  std::atomic<std::size_t> slow_count_{0};

  QuickReads quick_reads_;

  std::mutex gate_mutex_;
  std::condition_variable gate_;
  std::atomic<bool> gate_closed_{false};
  std::atomic<int> long_readers_{0};
};

}  // namespace headgate::sqlite
