// SharedConnection: independent statements of many callers, pipelined on one session.
//
// Each statement has a Sync of its own, so it is a transaction of its own and its failure touches
// nobody else. All calls of a loop turn leave in one write. Replies come in the order of the
// questions; one that does not fit what was asked ends the session.
//
// A statement that hits the session's own short timeout was rolled back: it is rerouted to a
// connection of its own, and its text is remembered as slow. A result that finds no room is read to
// its end and dropped. There is no cancel here: it could only hit whatever runs at that moment.
//
// A run is slow when a timer rings in time while it is still unanswered. Times taken when answers
// come would count it against the statement when the loop was late to read them.
//
// Owner: the host. Threads: the loop's.
#pragma once
#include <optional>

#include "plugins/postgres/connection.hpp"
#include "plugins/postgres/rows.hpp"

namespace headgate::postgres {

class SharedConnection final : public PgConnection {
 public:
  SharedConnection(PostgresDriver& driver, const hg_connect& connect, Session session);
  ~SharedConnection() override;

  void submit(const hg_call* const* calls, std::uint32_t n) override;
  void reset(hg_op op) override;
  void ping(hg_op op) override;

 private:
  enum class Kind : std::uint8_t { ping, run, prepare, lookup };
  // One Sync that has been sent, or waits to be.
  struct Asked {
    Kind kind = Kind::ping;
    bool again = false;             // prepared anew once already
    const hg_call* call = nullptr;  // run, prepare, lookup; lent until its completion
    hg_op op = 0;
    Prepared* prepared = nullptr;
    std::uint32_t generation = 0;
    std::uint64_t begins_at = 0;
  };
  // Calls whose statement is being prepared by an earlier one.
  struct Waiting {
    const hg_call* call = nullptr;
    Prepared* prepared = nullptr;
    bool again = false;
  };

  void message(const wire::Message& m) override;
  void notice(const wire::Notice& n, wire::NoticeEffect effect) override;
  void ended(const std::string& why) override;
  [[nodiscard]] bool busy() const override { return !asked_.empty(); }
  [[nodiscard]] std::uint64_t patience_us() const override { return patience_us_; }
  [[nodiscard]] std::uint64_t look_at() const override { return look_at_us_; }
  void look() override;

  void start(const hg_call& call);
  void run(const hg_call& call, Prepared& p, bool again);
  void send(const hg_call& call, Prepared& p, proto::Bytes params, bool again);
  void prepare(const hg_call& call, Prepared& p, bool again);
  void ask(Asked a);
  void new_front(std::uint64_t since_us) {
    front_since_us_ = since_us;
    look_at_us_ = since_us + slow_us_;
    front_slow_ = false;
  }
  void ready(wire::TransactionStatus status);
  void finish_run(Asked a);
  void finish_prepare(const Asked& a);
  void prepared(const Asked& a);
  void failed(const wire::Message& m);
  void give_up(const Asked& a, const sdk::Error& e);
  void run_waiting(Prepared& p, const sdk::Error* error);
  void complete(hg_op op, const sdk::Done& done, const sdk::Error* error = nullptr,
                bool broken = false);

  const std::uint64_t patience_us_;
  const std::uint64_t slow_us_;
  Ring<Asked> asked_;
  std::vector<Waiting> waiting_;

  // Of the front of asked_, which is being answered.
  Rows rows_;
  std::optional<sdk::Error> error_;
  wire::Verdict verdict_;
  std::optional<std::int64_t> affected_;
  std::vector<std::uint8_t> warnings_;  // the strings; the array header is made at the end
  std::uint32_t warning_count_ = 0;
  hg_op answering_ = 0;               // whose answer is being completed
  std::uint64_t front_since_us_ = 0;  // when the server could begin with it
  std::uint64_t look_at_us_ = 0;
  bool front_slow_ = false;
  bool row_seen_ = false, completed_ = false, not_replicated_ = false;
  bool ended_by_server_ = false;  // the front has been answered by the error that ended the session
};

}  // namespace headgate::postgres
