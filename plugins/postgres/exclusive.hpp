// ExclusiveConnection serves one caller at a time: transactions, streams, batches, bulk load, and
// every statement that may not share a session.
//
// A call becomes steps. A step is what ends with one ReadyForQuery: a command of ours, the
// preparation of a statement, the run of one or more items under one Sync. Steps whose course is
// certain leave in one write; where the next one depends on an answer, advance() decides when all
// that were sent have been answered.
//
// Owner:   the host. Threads: the loop's; cancel() from the cancel thread.
// Holds:   a cancel hits the call that it names or nothing: while it is under way no other begins.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "plugins/postgres/connection.hpp"
#include "plugins/postgres/items.hpp"
#include "plugins/postgres/rows.hpp"
#include "plugins/sdk/recorder.hpp"

namespace headgate::postgres {

class ExclusiveConnection final : public PgConnection {
 public:
  ExclusiveConnection(PostgresDriver& driver, const hg_connect& connect, Session session);
  ~ExclusiveConnection() override;

  void submit(const hg_call* const* calls, std::uint32_t n) override;
  void resume(hg_op op) override;
  void cancel(hg_op op) override;
  void reset(hg_op op) override;
  void ping(hg_op op) override;

 private:
  enum class Verb : std::uint8_t {
    none,
    ping,
    reset,
    single,
    many,
    batch,
    begin,
    commit,
    rollback,
    savepoint,
    copy_in,
    ask
  };
  enum class Kind : std::uint8_t {
    command,  // a simple query of our own text
    prepare,
    lookup,
    run,  // items [first, last) under one Sync
    own,  // a simple query of ours whose first row is kept as text, in own_results_
    sync,
    copy
  };
  struct Step {
    Kind kind = Kind::sync;
    bool effect = false;  // it may change the store
    bool ignore = false;  // its failure is nobody's
    wire::Where where = wire::Where::statement;
    std::uint32_t first = 0, last = 0;  // run: items; prepare, lookup: first is the item
    Prepared* prepared = nullptr;       // prepare, lookup
    std::uint64_t begins_at = 0;
  };
  // An item of the call, and how it went.
  struct Part {
    Item item;
    bool many = false;  // params is a list of sets
    bool is_ping = false;
    bool done = false;   // it has run to its end
    bool stale = false;  // its error: the plan was out of date
    bool again = false;  // ... and it has been prepared again
    std::uint32_t runs = 1;
    Prepared* prepared = nullptr;
    std::optional<sdk::Error> error;
    std::optional<std::int64_t> affected;
    std::size_t reply_at = 0, reply_size = 0;  // of a batch's item, in replies_
  };
  using OwnRow = std::vector<std::optional<std::string>>;  // empty: there was no row
  enum class Phase : std::uint8_t {
    open,      // what stands before the items has been answered
    prepare,   // statements are being prepared
    run,       // items are running
    sequence,  // items run one by one
    close,     // what stands behind the items
    finished
  };

  // exclusive.cpp: steps and messages
  void message(const wire::Message& m) override;
  void notice(const wire::Notice& n, wire::NoticeEffect effect) override;
  void ended(const std::string& why) override;
  [[nodiscard]] bool busy() const override { return op_ != 0; }
  [[nodiscard]] std::uint64_t patience_us() const override { return patience_us_; }
  bool feed() override;
  void run_message(Step& s, const wire::Message& m);
  void item_done(Step& s, proto::Bytes command);
  void row(Step& s, const wire::Message& m);
  void begin_rows();
  void own_message(const wire::Message& m);
  void prepare_answered(const Step& s, std::optional<sdk::Error>& error);
  [[nodiscard]] bool only_pings(std::uint32_t first, std::uint32_t last) const;
  void failed(const wire::Message& m);
  void ready(wire::TransactionStatus status);
  void push(Step s, std::uint64_t begins_at);
  void command(std::string_view sql, bool effect = false,
               wire::Where where = wire::Where::statement);
  void send_prepare(std::uint32_t part);
  void send_run(std::uint32_t first, std::uint32_t last);
  void own(std::string_view sql);
  Prepared& entry(const StatementPtr& statement);
  [[nodiscard]] wire::Situation situation(const Step& s, wire::Where where) const;

  // exclusive_calls.cpp: a call from its begin to its end
  bool begin_op(hg_op op, const hg_call* call, Verb verb);
  void start(const hg_call& call);
  void start_work(std::string_view verb, const hg_call& call);
  void read_many(proto::Bytes body, const hg_call& call);
  void set_timeout();
  void start_begin(const hg_call& call);
  void start_transaction_verb(std::string_view verb, proto::Bytes body);
  void advance();
  void next();
  void prepare_parts();
  void after_prepare();
  [[nodiscard]] bool held(const Part& p) const;
  void hold(bool own_transaction);
  void let_go(bool own_transaction);
  void undo_hold(bool own_transaction);
  void run_parts();
  void after_run();
  void roll_back_and_finish();
  bool prepare_again(Part& p);
  bool describe_again(const sdk::Error& e);
  void finish();
  void complete(const sdk::Error* error);
  bool write_body(sdk::Error* too_large);
  void touched(const Statement& s);
  void forget_plans();
  void clear_call();

  // exclusive_batch.cpp
  void read_batch(const hg_call& call);
  void run_batch();
  void after_batch();
  void begin_sequence();
  void send_item(std::uint32_t i);
  void run_item(Part& p);
  void renew(Part& p);
  bool run_stale_again();
  void run_next_item();
  void after_item();
  void end_sequence();
  void keep_reply(Part& p);
  void write_items();
  [[nodiscard]] std::optional<std::uint32_t> first_failed() const;

  // exclusive_keys.cpp: idempotency keys and receipts
  void open_key();
  void key_opened();
  void record_key();
  void explain_key_error();
  void start_commit();
  void commit_now();
  void start_ask();
  void after_ask();

  // exclusive_copy.cpp
  void start_copy();
  void copy_prepared();
  void begin_copy();
  void copy_rows(proto::Bytes piece);
  void stop_copy(sdk::Error e);

  // The session.
  wire::TransactionStatus status_ = wire::TransactionStatus::idle;
  std::uint64_t timeout_ms_ = 0;         // statement_timeout as it is; kUnknownTimeout: ask anew
  std::uint64_t timeout_before_ms_ = 0;  // ... as it was before the transaction
  int dirt_ = 0;  // 0: clean; 1: functions ran; 2: statements that change a session
  std::uint32_t keyed_calls_ = 0;

  // The call under way.
  std::mutex cancel_mutex_;  // held while a cancel is under way, and when a call begins
  std::atomic<hg_op> op_{0};
  std::atomic<bool> cancelled_{false};
  hg_op early_cancel_ = 0;  // under the mutex: a cancel that came before its call
  bool replayed_ = false;
  const hg_call* call_ = nullptr;
  Verb verb_ = Verb::none;
  Phase phase_ = Phase::finished;
  Ring<Step> steps_;
  std::vector<Part> parts_;
  std::uint32_t running_ = 0;    // the item whose messages come
  std::uint32_t runs_done_ = 0;  // of that item
  std::uint32_t next_item_ = 0;  // sequence: the one to run
  std::uint64_t patience_us_ = 0;
  std::uint64_t work_began_us_ = 0;
  const hg_host* sink_host_ = nullptr;  // where the call's reply is written
  Rows rows_;
  bool row_seen_ = false, completed_ = false, again_ = false, atomic_ = true, in_lease_ = false,
       keyed_ = false, savepoint_ = false, wrapped_ = false, stopped_ = false, sent_effect_ = false,
       not_replicated_ = false, aborted_commit_ = false, ended_by_server_ = false,
       give_receipt_ = false;
  std::optional<sdk::Error> error_;       // of the step being answered
  std::optional<sdk::Error> call_error_;  // of the call
  wire::Verdict verdict_;
  std::vector<std::string> warnings_;
  std::optional<std::int64_t> affected_;
  sdk::Recorder item_recorder_, reply_recorder_;
  std::vector<std::uint8_t> replies_;
  bool replies_full_ = false;
  std::vector<OwnRow> own_results_;
  OwnRow own_row_;
  std::vector<std::uint8_t> receipt_;
  // copy_in
  bool copying_ = false, copy_starved_ = false, copy_over_ = false;
  std::vector<wire::TypePtr> copy_types_;
  std::int64_t copied_ = 0;
  std::optional<sdk::Error> copy_error_;
};

}  // namespace headgate::postgres
