// World is one random schedule: services that call, a store that serves, fails, hangs and heals,
// and between them the real pools, in virtual time.
//
// What it checks, while it runs and at its end:
//   leases    a connection never has two; nobody else's operation runs on a leased one, or before
//             it was reset; lanes' limits hold; submit never overlaps a reset, a check, a cancel
//   waiters   every call is answered, by its deadline
//   answers   no call is answered twice, nothing is sent for it afterwards
//   truth     the store's ledger agrees with every outcome; no write is sent again after `unknown`
//             without a key, a word that it is harmless, or a receipt that turns it into a question
//   drain     drain, end_leases and close come to their ends
//   counts    afterwards nothing is left: calls, operations, connections, leases, timers
//   stalls    nobody waits beside an idle connection, or for one that nobody makes
//   turns     no service is passed over for longer than its weight says
//
// Threads: one. Seed: everything follows from it, so a schedule is replayed by its seed.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <queue>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/pool/attempts.hpp"
#include "tests/simulator/virtual_loop.hpp"

namespace headgate::simulator {

using plugin::Operation;
using plugin::Purpose;

struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Dice final : public pool::Random {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override {  // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : next() % n; }
  std::int64_t between(std::int64_t a, std::int64_t b) {
    return a + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(b - a + 1)));
  }
  bool chance(double p) { return static_cast<double>(next() >> 11) * 0x1.0p-53 < p; }

 private:
  std::uint64_t state_;
};

class World;

enum class Verb : std::uint8_t {
  put,
  set,
  keyed,
  get,
  pop,
  stream,
  upload,
  begin,
  statement,
  commit,
  rollback,
  bad
};

// A transaction as the store sees it.
struct Transaction {
  bool committed = false;
  bool maybe = false;                // its commit was under way when it was last heard of
  std::vector<std::size_t> written;  // callers whose writes wait for it
};

// What the simulator knows of one call, by the index of its Call.
struct Caller {
  Call call;
  Verb verb = Verb::put;
  std::uint32_t peer = 0;
  bool started = false, answered = false, unknown_seen = false, placed = false;
  Answer answer;
  TimePoint answered_at{};
  std::uint32_t effects = 0;      // how often the store has done it
  std::int64_t transaction = -1;  // index
  std::uint64_t parts = 0, pieces = 0, piece_credit = 0;
  bool last_sent = false;
};

struct Peer {
  std::uint64_t id = 0;
  std::uint32_t service = 0;
  bool alive = true;
  std::uint64_t next_request = 1;
  std::int64_t begin = -1;  // caller that opened (or opens) its transaction
  std::uint32_t statements_left = 0;
};

struct SimLink;

struct SimOperation : Operation {
  bool live = false;  // begun and not ended
  bool submitted_once = false;
  bool done_once = false;
  SimLink* link = nullptr;
  std::size_t caller = SIZE_MAX;  // stays when `call` is taken away
  std::uint64_t lease = 0;
  bool opens_lease = false, alone = false, asks = false, hangs = false, stopped = false;
  bool withdrawn = false;  // given up before it began
  std::uint64_t serial = 0;
  std::uint64_t next_part = 1, parts_wanted = 0, credit = 0;
  bool upload_ended = false;
};

struct SimLink final : plugin::Link {
  SimLink(World& w, const plugin::OpenRequest& r, std::uint64_t n);
  ~SimLink() override;
  void submit(std::span<Operation* const> operations) override;
  void cancel(Operation& operation) override;
  void reset(Operation& operation) override;
  void ping(Operation& operation) override;
  bool abandon(Operation& operation) override;
  void credit(Operation& operation, std::uint64_t sequence) override;
  void upload(Operation& operation, std::vector<std::uint8_t> piece, bool last) override;
  void close() override;

  void take(SimOperation& op);  // checks what holds for every operation

  World& world;
  plugin::OpenRequest request;
  std::uint64_t number;
  std::vector<SimOperation*> open;
  std::uint32_t cancels = 0;
  bool own = false;   // a reset or check runs
  bool dead = false;  // the server is gone: nothing succeeds any more
  bool closing = false, closed = false;
  bool dirty = false;             // was leased, and not reset since
  std::int64_t transaction = -1;  // open on it
  std::uint64_t holder = 0;       // lease id of its calls, once one is known
  std::size_t opener = SIZE_MAX;  // caller that opened it
};

class World final : private Answers, private plugin::Store {
 public:
  World(std::uint64_t seed, bool trace);
  ~World() override;
  // Throws Violation.
  void run();

  struct Figures {
    std::uint64_t events = 0, calls = 0, ok = 0, services = 0;
    std::uint64_t outcomes[5] = {};
    pool::Counters counters;
  };
  [[nodiscard]] const Figures& figures() const { return figures_; }

 private:
  friend struct SimLink;

  enum class Kind : std::uint8_t {
    arrive,
    complete,
    opened,
    open_failed,
    closed,
    cancel_returned,
    wake,
    lost,
    part,
    piece_credit,
    piece,
    credit,
    give_up,
    peer_dies,
    weather,
    statement,
    drain,
    apply
  };
  struct Event {
    TimePoint at;
    std::uint64_t order;
    Kind kind;
    std::uint64_t a = 0, b = 0;
    bool operator<(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }
  };

  // Store
  const std::vector<plugin::LaneInfo>& lanes() const override { return lanes_; }
  Result<plugin::Route> route(const Call&, std::uint32_t hops, const Fault*) override;
  void open(const plugin::OpenRequest&) override;
  Operation* begin(Call*, Purpose, const plugin::Route&, std::uint32_t attempt, std::uint64_t lease,
                   std::string_view receipt) override;
  void end(Operation&) override;
  void set_events(plugin::LinkEvents* events) override { events_ = events; }
  // Answers
  void answer(Call&, Answer) override;
  void part(Call&, std::uint64_t sequence, ReplyBuffer) override;
  void upload_credit(Call&, std::uint64_t sequence) override;

  // Set-up (world.cpp)
  void build();
  void build_lane();
  void plan_weather();
  void deliver(const Event& e);
  void finish();
  void check_rows_are_zero();
  void check_nothing_stalls();
  void turn_over();

  // Callers (callers.cpp)
  void arrive(std::uint32_t peer, bool flood);
  Caller& new_caller(Peer& p, std::uint32_t peer, Verb verb);
  void start(Caller& c);
  void next_statement(std::uint32_t peer);
  void kill_peer(std::uint32_t peer);
  void send_piece(Caller& c);
  void check_answer(Caller& c);
  void check_truth();
  void check_overdue();
  void note_turn(Caller& c, const plugin::Route& r);
  void note_waiting(Caller& c);
  void forget_waiting(Caller& c);

  // What the store does (store.cpp)
  struct Server {
    bool up = true, hangs = false, refuses_login = false, wrong_role = false,
         broken_for_good = false;
    std::size_t room = SIZE_MAX;  // connections that it has room for; others hold the rest
  };
  [[nodiscard]] bool is_full(const Server& s, std::int32_t endpoint) const;
  void serve(SimLink& l, SimOperation& op);
  void execute(SimLink& l, SimOperation& op, plugin::Done& d);
  void execute_in_transaction(SimLink& l, SimOperation& op, plugin::Done& d);
  bool trouble(SimLink& l, SimOperation& op, plugin::Done& d);
  void lose(SimOperation& op, plugin::Done& d);
  void apply_effect(SimOperation& op);
  void complete(SimOperation& op);
  void complete_broken(SimLink& l);
  void settle_transaction(SimLink& l, bool commit);
  void finish_link(SimLink& l);

  void at(Micros after, Kind kind, std::uint64_t a = 0, std::uint64_t b = 0);
  [[noreturn]] void violated(const std::string& what);
  void say(const char* format, ...) __attribute__((format(printf, 2, 3)));
  [[nodiscard]] std::uint64_t index_of(const Call& c) const { return c.id - 1; }
  [[nodiscard]] Micros soon();

  const std::uint64_t seed_;
  const bool trace_;
  Dice dice_;
  Dice pool_dice_;
  VirtualLoop loop_;
  std::priority_queue<Event> events_due_;
  std::uint64_t order_ = 0;

  bool calm_ = false;  // no faults: then everybody must be served
  double fault_rate_ = 0;
  bool draining_ = false, over_ = false, failed_ = false, in_answer_ = false;
  std::uint32_t generation_ = 0;
  pool::Settings settings_;
  std::vector<plugin::LaneInfo> lanes_;
  std::vector<Server> servers_;
  std::vector<std::uint32_t> weights_;
  std::vector<Peer> peers_;
  std::vector<std::string> names_;
  std::deque<Caller> callers_;
  std::vector<std::size_t> unanswered_;
  std::vector<Transaction> transactions_;
  std::deque<SimOperation> operations_;
  std::vector<SimOperation*> free_operations_;
  std::uint32_t operations_live_ = 0, operations_max_ = 1000;
  std::uint64_t serial_ = 0;
  std::unordered_map<plugin::Ticket, std::string> addresses_;  // that it was made to
  std::unordered_map<std::uint64_t, SimLink*> links_;          // by number; null once destroyed
  std::map<std::uint64_t, std::uint64_t> link_of_ticket_;
  std::uint64_t links_made_ = 0;
  std::map<std::uint64_t, plugin::OpenRequest> opening_;

  struct Flow {
    std::uint32_t waiting = 0;
    double passed_over = 0;
  };
  std::map<std::uint64_t, std::vector<Flow>> turns_;  // by lane and access; then by service

  std::map<std::string, TimePoint> alone_since_;  // pools that wait and have no connection at all

  plugin::LinkEvents* events_ = nullptr;
  std::unique_ptr<pool::Attempts> pools_;
  Figures figures_;
};

}  // namespace headgate::simulator
