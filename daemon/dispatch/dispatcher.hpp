// Dispatcher brings each frame to where it belongs: a hello to its welcome, a request past grant,
// limits and deadline to its store's pools, an answer back to the peer that waits.
//
// Owner:     Gateway. Threads: the loop's.
// Invariant: a request is answered exactly once or its peer is gone; what is refused has touched
//            nothing. Nothing here reads a body, but for the `wait_ms` of verbs that wait.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/access/policy.hpp"
#include "daemon/core/call.hpp"
#include "daemon/core/frames.hpp"
#include "daemon/core/log.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/dispatch/bytes_pool.hpp"
#include "daemon/dispatch/inflight.hpp"
#include "daemon/dispatch/store_entry.hpp"
#include "proto/envelope.hpp"

namespace headgate {

struct DispatchSettings {
  proto::Limits limits;  // as welcome tells them
  Micros default_timeout = std::chrono::seconds(5);
  std::uint32_t calls_max = 65'536;
  std::uint64_t request_bytes_max = 512u << 20;  // of requests in flight, all peers
};

struct DispatchCounts {
  std::uint64_t requests = 0;
  std::uint64_t refused_frames = 0;
  std::array<std::uint64_t, proto::kCodes> replies{};  // by code
};

// Rows of `show`.
struct PeerRow {
  PeerId id;
  std::string service, user, where, client;
  std::uint32_t pid;
  std::uint64_t calls, requests;
  std::int64_t age_us;
};
struct CallRow {
  std::uint64_t id;
  PeerId peer;
  std::string service, store, verb;
  std::int64_t age_us, left_us;
  std::uint32_t attempts;
};
struct ServiceRow {
  std::string service;
  std::uint32_t weight;
  std::uint64_t peers, calls, requests, errors;
};

class Dispatcher final : public Receiver, public Answers {
 public:
  Dispatcher(Loop& loop, Log& log, DispatchSettings settings);
  ~Dispatcher() override;
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Before the first frame. Entries are lent, by index.
  void set_frames(Frames* frames) { frames_ = frames; }
  void set_stores(std::vector<StoreEntry*> stores);
  // Also after a reload; calls in flight keep the one they were admitted by.
  void set_policy(std::shared_ptr<const access::Policy> policy);
  void apply(DispatchSettings settings);
  [[nodiscard]] const access::Policy& policy() const { return *policy_; }

  bool on_peer(PeerId peer, const PeerInfo& info) override;
  void on_frame(PeerId peer, Frame frame) override;
  void on_gone(PeerId peer) override;

  void answer(Call& call, Answer answer) override;
  void part(Call& call, std::uint64_t sequence, ReplyBuffer body) override;
  void upload_credit(Call& call, std::uint64_t sequence) override;

  // No new work from here on; tells every peer to finish within this time.
  void drain(Micros within);
  [[nodiscard]] bool draining() const { return draining_; }
  // Ends a call by the id that `show calls` gives. False: there is none (any more).
  bool kill(std::uint64_t call_id);
  // The same at the drain deadline: the caller is told that the gateway goes away.
  void give_up_for_drain(std::uint64_t call_id);

  [[nodiscard]] std::uint32_t inflight() const { return inflight_.size(); }
  [[nodiscard]] std::uint64_t request_bytes() const { return bytes_.bytes(); }
  [[nodiscard]] const DispatchCounts& counts() const { return counts_; }
  [[nodiscard]] std::vector<PeerRow> peer_rows() const;
  [[nodiscard]] std::vector<CallRow> call_rows() const;
  [[nodiscard]] std::vector<ServiceRow> service_rows() const;

 private:
  struct PeerState {
    PeerId id = 0;  // 0: nobody
    bool greeted = false;
    bool pongs = false;
    bool own = false;             // our own Unix user
    std::uint8_t unanswered = 0;  // pings
    std::uint32_t service = 0;
    std::uint32_t pid = 0;
    std::string user, where, client;
    List<Call, PeerTag> calls;
    std::uint64_t requests = 0;
    TimePoint since{};
    // Smallest (arrival - sent), of this window and the one before: see age_of().
    std::int64_t offset = INT64_MAX, offset_before = INT64_MAX;
    TimePoint window{};
  };
  struct ServiceCounts {
    std::uint64_t calls = 0, requests = 0, errors = 0;
  };
  struct LivenessTimer : Timer {
    Dispatcher* d = nullptr;
    void fire() override { d->look_for_life(); }
  };
  struct Refused {
    Code code;
    std::string_view message;
    std::uint32_t retry_after_ms = 0;
  };

  [[nodiscard]] PeerState* state(PeerId peer);
  void refuse_frame(PeerState& p, const proto::Refusal& r);
  void reply(PeerId peer, std::uint64_t id, const Refused& why);

  void on_hello(PeerState& p, const proto::Hello& f);
  void on_request(PeerState& p, const proto::Request& f, RequestBytes*& bytes);
  void on_data(PeerState& p, const proto::Data& f);
  void on_credit(PeerState& p, const proto::Credit& f);
  void on_cancel(PeerState& p, const proto::Cancel& f);

  // requests.cpp
  [[nodiscard]] Micros age_of(PeerState& p, std::uint64_t sent_us);
  [[nodiscard]] Micros timeout_of(const proto::Request& f, const access::Verb& verb,
                                  const access::Limits& limits) const;
  bool within(const access::Rule& rule, access::Usage& usage, Refused* why);
  void start(InflightCall& c);

  // answers.cpp
  void finish(InflightCall& c, const Answer& a, ReplyBuffer body, proto::Bytes fixed);
  void end(InflightCall& c, Code code);

  void look_for_life();
  void give_up(InflightCall& c, Code why, std::string_view message);
  ServiceCounts& service(std::uint32_t index);

  Loop& loop_;
  Log& log_;
  DispatchSettings settings_;
  Frames* frames_ = nullptr;
  std::vector<StoreEntry*> stores_;
  access::NameTable store_names_;
  std::shared_ptr<const access::Policy> policy_;
  std::vector<std::unique_ptr<PeerState>> peers_;  // by slot
  std::vector<ServiceCounts> services_;            // by index
  BytesPool bytes_;
  Inflight inflight_;
  DispatchCounts counts_;
  LivenessTimer liveness_;
  bool draining_ = false;
  Micros drain_within_{0};
};

}  // namespace headgate
