// Engine is the client's one background thread: it owns the sockets and every call in flight.
//
// Owner:   Client and the faces made from it (shared); its thread ends with the Client.
// Threads: the public functions are anybody's; they hand commands over under one short lock, and
//          write a wake-up only when the thread sleeps. Everything marked (thread) is its own.
// Invariant: a call is handed to at most one socket, and answered exactly once; a call that was
//          handed to a socket which is lost is never sent again.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "address.hpp"
#include "call.hpp"
#include "proto/envelope.hpp"
#include "session.hpp"

namespace headgate::detail {

void signal_fd(int fd);  // makes an eventfd readable

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  Engine(ConnectOptions options, std::vector<Address> addresses);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Ends the thread; what is in flight fails, and so does what comes later. Not from a callback.
  void close();
  // Waits for the first welcome. Throws Error.
  void connect();

  // A call that is ready to be submitted. Throws Error(invalid) for options that no daemon takes.
  CallPtr make(Call::Kind kind, std::string_view store, std::string_view verb,
               std::vector<std::uint8_t> body, const CallOptions& options);
  void submit(CallPtr call);
  void cancel(CallPtr call);
  void forget(CallPtr call);  // cancel, and nobody reads its parts any more
  void credit(CallPtr call, std::uint64_t seq);
  void data(CallPtr call, std::uint64_t seq, bool last, std::vector<std::uint8_t> piece);
  // Submits and waits. Throws Error unless ok.
  Reply run(CallPtr call);

  [[nodiscard]] std::vector<StoreInfo> stores() const;
  [[nodiscard]] proto::Limits limits() const;
  [[nodiscard]] std::string address() const;
  [[nodiscard]] int event_fd() const;
  std::size_t process();

 private:
  struct Command {
    enum class Do : std::uint8_t { submit, cancel, forget, credit, data };
    Do what;
    CallPtr call;
    std::uint64_t seq = 0;
    bool last = false;
    std::vector<std::uint8_t> piece;
  };
  // One transaction of ours: pinned to the session of its begin; one call at a time.
  struct Tx {
    Session* session = nullptr;
    bool busy = true;
    std::deque<CallPtr> waiting;
  };
  struct Failure {
    Code code = Code::unavailable;
    std::string text;
  };

  void post(Command c);

  // (thread) The loop.
  void loop();
  bool take_commands();
  void sleep();
  [[nodiscard]] Clock::time_point next_time() const;
  void on_time(Clock::time_point now);
  void end_all();

  // (thread) Calls.
  void admit(const CallPtr& call);
  void route(const CallPtr& call);
  void hand(const CallPtr& call, Session* session);
  void expire(const CallPtr& call, Clock::time_point now);
  void expire_at(const CallPtr& call, Clock::time_point when);
  void stop(const CallPtr& call);  // what cancel() asks for
  void drop(const CallPtr& call);  // what forget() asks for
  void read_on(const CallPtr& call);
  void upload_piece(const Command& c);
  void complete(const CallPtr& call, Reply reply);
  void fail(const CallPtr& call, Code code, Outcome outcome, std::string text);
  void deliver(const CallPtr& call, Reply reply);
  void release_tx(const Call& call, Code code);
  void drop_tx(std::uint64_t id);
  bool move_on(const CallPtr& call, const Reply& reply);
  bool alive(const CallPtr& call) const;

  // (thread) Sessions.
  void ensure_session(Clock::time_point now);
  void read(Session* s);
  void lost(Session* s);
  void give_up_waiting();
  void retire(Session* s);  // no new work for it
  void end_listening(Session* s);
  void reap();  // drained sessions, lost ones
  void send(Session* s, const std::function<void(proto::Writer&)>& write);

  // (thread) Frames.
  void on_frame(Session* s, std::vector<std::uint8_t> frame);
  void on_welcome(Session* s, const proto::Welcome& w);
  void on_part(Session* s, const proto::Part& p, std::vector<std::uint8_t>& frame);
  void on_reply(Session* s, const proto::Reply& r, std::vector<std::uint8_t>& frame);
  void on_credit(const proto::Credit& c);

  const ConnectOptions options_;
  const std::vector<Address> addresses_;
  void* context_ = nullptr;
  int wake_fd_ = -1;
  int due_fd_ = -1;

  // Shared, under the mutex.
  mutable std::mutex mutex_;
  std::condition_variable settled_;
  std::vector<Command> commands_;
  std::uint64_t last_id_ = 0;
  bool sleeping_ = false;
  bool stopping_ = false;
  bool welcomed_ = false;
  std::optional<Failure> refused_;  // why the last round over all addresses failed
  std::vector<StoreInfo> stores_;
  proto::Limits limits_;
  std::string address_;
  std::deque<std::pair<Callback, Reply>> due_;

  // The thread's own.
  std::unordered_map<std::uint64_t, CallPtr> calls_;
  std::deque<CallPtr> waiting_;  // for a session
  std::set<std::pair<Clock::time_point, std::uint64_t>> expiries_;
  std::unordered_map<std::uint64_t, Tx> txs_;
  std::vector<std::unique_ptr<Session>> sessions_;
  Session* current_ = nullptr;  // takes new work, or is being opened for it
  bool wanted_ = true;          // a session is to be opened though no call waits (the first one)
  std::size_t next_address_ = 0;
  std::size_t tried_ = 0;           // addresses that failed in this round
  Failure failure_;                 // of the last one
  Clock::time_point not_before_{};  // of the next round
  std::chrono::milliseconds pause_{50};
  std::uint64_t serial_ = 0;
  std::thread thread_;
};

}  // namespace headgate::detail
