// StorePools is all of one configured store's pools: it implements Attempts towards dispatch and
// LinkEvents towards the plugin side.
//
// Owner:   Gateway. Threads: the loop's.
// Turn:    what arrives (start, completed, ...) changes states and marks pools; at the end of the
//          turn flush() gives waiting calls to connections and hands over each connection's batch
//          in one submit.
// Answers: the last thing a function does with a Work, since Answers may call back (give_up,
//          peer_gone). The call is never touched after it.
// Files:   store_pools (calls in, give_up, drain), placement (queue to connection), completions (an
//          attempt's end), deadlines (whatever time does to a call), connections (states, close),
//          connects (new ones), ceiling (how many a full store leaves), endpoints (where to),
//          leases, snapshots.
#pragma once
#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/core/log.hpp"
#include "daemon/policy/mutation.hpp"
#include "daemon/policy/retry.hpp"
#include "daemon/pool/attempts.hpp"
#include "daemon/pool/connection.hpp"
#include "daemon/pool/lease.hpp"
#include "daemon/pool/pool.hpp"
#include "daemon/pool/slab.hpp"
#include "daemon/pool/work.hpp"

namespace headgate::pool {

inline Fault fault_of(Code code, std::string message, Outcome outcome = Outcome::not_sent) {
  return std::move(fault(code, std::move(message), outcome).value());
}

class StorePools final : public Attempts, private plugin::LinkEvents {
 public:
  StorePools(Loop& loop, Random& random, plugin::Store& store, Answers& answers, Settings settings,
             Log* log);
  ~StorePools() override;

  // Attempts (store_pools.cpp, leases.cpp, snapshots.cpp)
  void start(Call& call) override;
  void give_up(Call& call, Code why, std::string_view message) override;
  void credit(Call& call, std::uint64_t sequence) override;
  void upload(Call& call, std::vector<std::uint8_t> piece, bool last) override;
  void peer_gone(std::uint64_t peer) override;
  [[nodiscard]] bool has_leases(std::uint64_t peer) const override;
  void drain() override;
  void end_leases() override;
  [[nodiscard]] bool drained() const override;
  void warm() override;
  void apply(const Settings& settings, std::uint32_t generation) override;
  void close() override;
  [[nodiscard]] bool closed() const override;
  [[nodiscard]] std::vector<PoolRow> rows() const override;
  [[nodiscard]] std::vector<LeaseRow> leases() const override;
  [[nodiscard]] Counters counters() const override;
  [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> closes() const override;

 private:
  friend struct DeadlineTimer;
  friend struct PauseTimer;
  friend struct ConnectionTimer;
  friend struct PoolTimer;
  friend struct LeaseTimer;

  struct FlushTask final : Task {
    void run() override { owner->flush(); }
    StorePools* owner = nullptr;
  };
  struct SweepTimer final : Timer {
    void fire() override { owner->sweep(); }
    StorePools* owner = nullptr;
  };

  // LinkEvents
  void opened(plugin::Ticket ticket, std::unique_ptr<plugin::Link> link) override;
  void open_failed(plugin::Ticket ticket, const Fault& fault) override;
  void completed(plugin::Operation& op) override;
  void part(plugin::Operation& op, std::uint64_t sequence, ReplyBuffer body) override;
  void upload_credit(plugin::Operation& op, std::uint64_t sequence) override;
  void cancel_returned(plugin::Ticket ticket) override;
  void lost(plugin::Ticket ticket, const Fault& fault) override;
  void closed(plugin::Ticket ticket) override;
  void wake(std::uint64_t wait_token) override;

  // Calls in (store_pools.cpp)
  void start_in_lease(Call& call);
  Work& work_for(Call& call, Pool& pool, const plugin::Route& route);
  void refuse(Call& call, Fault fault, bool retryable, std::uint32_t retry_after_ms = 0);
  [[nodiscard]] bool admit(Call& call, Pool& pool, const plugin::Route& route);
  // How many calls like this one a connection serves at a time.
  [[nodiscard]] static std::size_t places_on_one(const Pool& p, const plugin::Route& route) {
    return route.alone || route.lease ? 1 : p.lane->max_inflight;
  }
  Pool& pool_for(const plugin::Route& route, const Call& call);
  Pool& pool_for(const plugin::Route& route, Access access, std::uint32_t credential);
  Service& service(const Call& call);
  [[nodiscard]] static std::uint64_t bytes_of(const Call& call);
  // Whether another call could be served at all; if not, answers `unavailable` with the reason.
  [[nodiscard]] bool refused_as_unavailable(Call& call, Pool& pool);

  // Work: the one function that moves it between states (placement.cpp)
  void move(Work& w, WorkState to);
  void enqueue(Work& w);
  // Ends a Work and answers its call: the last use of both.
  void answer(Work& w, Answer a);
  void answer_fault(Work& w, Fault fault, Outcome outcome, bool retryable, std::uint32_t after_ms);

  // Placement
  void mark(Pool& p);
  void mark_waiting_pools();
  void schedule();
  void flush();
  void pump(Pool& p);
  [[nodiscard]] Connection* choose(Pool& p, const Work& w);
  // False: no operation is free.
  [[nodiscard]] bool place(Work& w, Connection& c);
  void submit(Connection& c);
  void end_operation(plugin::Operation& op);
  void unstage(Work& w);
  void unstage_all(Connection& c);
  [[nodiscard]] bool usable(const Connection& c) const;

  // An attempt's end (completions.cpp)
  void own_completed(Connection& c, plugin::Operation& op);
  void note_health(Connection& c, const plugin::Done& done);
  [[nodiscard]] bool after_lease(Connection& c, Work* w, const plugin::Done& done);
  void succeed(Work& w, plugin::Done& done, ReplyBuffer body, bool lease_open);
  void fail(Work& w, plugin::Done& done, ReplyBuffer body);
  void again(Work& w, const policy::Decision& d);
  void reroute(Work& w);
  void wait(Work& w, Micros pause);
  void note_role_change(Connection& c);
  [[nodiscard]] policy::Situation situation(const Work& w, const Fault& f);

  // Time (deadlines.cpp)
  void expire(Work& w);
  void resume(Work& w);
  void stop_running(Work& w, Code why, std::string_view message);
  [[nodiscard]] bool orphan(Work& w);
  void clock_stream(Work& w);
  void clock_upload(Work& w);
  [[nodiscard]] bool sole_writer(const Pool& p) const;

  // Connections
  void move(Connection& c, State to);
  void settle(Connection& c);
  void count_made(const Connection& c, std::uint32_t by);
  void close(Connection& c, Reason why);
  void own_operation(Connection& c, plugin::Purpose purpose);
  void overdue(Connection& c);
  void sweep();
  [[nodiscard]] Connection* find(plugin::Ticket ticket);
  void reclaim();

  // New ones (connects.cpp)
  void grow(Pool& p);
  [[nodiscard]] bool room_for_one(Pool& p);
  [[nodiscard]] bool too_many(const Pool& p) const;
  [[nodiscard]] std::size_t cap(const Pool& p) const;
  [[nodiscard]] std::size_t total() const;
  void make_room(Pool& p, bool of_its_credential = false);
  [[nodiscard]] std::int32_t pick_endpoint(Pool& p);
  // When pick_endpoint may say something else; now: it would find one.
  [[nodiscard]] TimePoint connect_at(const Pool& p) const;
  // As lagging: beside what serves, so nobody counts on it.
  void connect(Pool& p, std::uint32_t endpoint, State as = State::connecting);
  void connect_failed(Connection& c, const Fault& fault);
  void fail_waiting(Pool& p);
  [[nodiscard]] bool hopeless(const Pool& p) const;
  [[nodiscard]] bool any_usable(const Pool& p) const;
  [[nodiscard]] std::uint32_t endpoints_of(const Pool& p) const;
  [[nodiscard]] bool is_last(std::uint32_t endpoint) const;
  void report(std::uint32_t endpoint, bool failed);
  void breaker_opened(std::uint32_t endpoint);
  void look_again(Pool& p, TimePoint at);
  [[nodiscard]] Login& login(const Pool& p) { return logins_[p.credential]; }
  [[nodiscard]] const Login& login(const Pool& p) const { return logins_[p.credential]; }
  [[nodiscard]] std::uint32_t generation_of(std::uint32_t credential) const;
  void renew_generations();

  // What a full store leaves a credential (ceiling.cpp)
  [[nodiscard]] Room& room(const Pool& p);
  [[nodiscard]] const Room& room(const Pool& p) const;
  [[nodiscard]] bool at_ceiling(const Pool& p) const;
  [[nodiscard]] std::size_t owed_to_others(const Pool& p, const Room* r) const;
  [[nodiscard]] std::size_t live_in(const Room& r) const;
  void set_ceiling(std::uint32_t credential, Room& r, std::size_t to, std::string_view why);
  [[nodiscard]] bool met_full(Pool& p, Endpoint& e, const Fault& fault);
  void opened_one(const Pool& p);
  void raise_ceilings();

  // Which endpoints a pool may use (endpoints.cpp)
  void take_endpoints(const policy::BreakerLimits& limits);
  void forget_endpoints();
  [[nodiscard]] bool named(std::uint32_t endpoint) const { return endpoint < settings_.endpoints; }
  [[nodiscard]] std::uint32_t primaries() const;
  [[nodiscard]] bool has_read_endpoints(const Pool& p) const;
  [[nodiscard]] std::uint32_t candidate(const Pool& p, std::uint32_t i) const;
  [[nodiscard]] std::uint32_t endpoint_after(std::uint32_t endpoint) const;
  [[nodiscard]] bool well(std::uint32_t endpoint) const;
  [[nodiscard]] bool falls_back(const Pool& p) const;
  [[nodiscard]] bool left_alone(const Pool& p, std::uint32_t endpoint) const;
  [[nodiscard]] bool primary_serves(Pool& p) const;
  void look_for_read_endpoints(Pool& p);
  void leave_primary(Pool& p);

  // Leases
  Lease& open_lease(Work& w, Connection& c);
  void end_lease(Lease& l, bool by_caller, Outcome outcome);
  void lease_overdue(Lease& l);
  void arm_lease(Lease& l);

  [[nodiscard]] TimePoint now() const { return loop_.now(); }

  Loop& loop_;
  Random& random_;
  plugin::Store& store_;
  Answers& answers_;
  Log* log_;
  Settings settings_;
  policy::RetryLimits retry_;
  std::uint32_t generation_ = 0;
  bool draining_ = false;
  bool closing_ = false;

  Slab<Work> works_;
  List<Work, WorkTag> paused_, staged_, running_;
  static constexpr std::size_t kTokens = 64;
  std::array<List<Work, WorkTag>, kTokens> waiting_;  // by wait token
  std::uint64_t wakes_ = 0;
  std::array<std::uint64_t, kTokens> woken_at_{};  // wakes_ when such a token was last woken
  bool out_of_operations_ = false;                 // a call waits for one to end

  std::vector<std::unique_ptr<Pool>> pools_;        // few; looked up by lane, access, endpoint
  std::vector<std::unique_ptr<Connection>> slots_;  // by the low half of the ticket
  std::vector<std::uint32_t> free_slots_;
  std::uint64_t next_generation_ = 1;
  List<Connection, SubmitTag> to_submit_;
  List<Pool, PoolTag> marked_;
  std::vector<Connection*> gone_;

  Leases leases_;
  std::vector<Endpoint> endpoints_;  // behind the named ones, those that connections still leave
  std::vector<Login> logins_;        // by credential
  std::vector<Service> services_;    // by the service's index
  policy::Budget budget_;

  FlushTask flush_task_;
  SweepTimer sweep_timer_;
  Counters counters_;
  std::array<std::uint64_t, kReasons> closes_{};
};

}  // namespace headgate::pool
