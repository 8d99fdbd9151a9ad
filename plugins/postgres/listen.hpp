// ListenConnection: NOTIFY for many subscribers on one session.
//
// A subscriber is a stream that does not end: {columns: channel, payload, pid; rows}. A channel is
// listened to once, however many subscribe to it. A notification is encoded once, and what one turn
// of the loop brought leaves as one part. While nothing comes the server is asked whether it is
// there, and an empty part every few seconds tells the caller that it is. What a subscriber without
// credit misses is kept, up to kBacklogBytesMax; one that is slower is ended with an error, never
// left with a gap.
//
// Owner:   the host. Threads: the loop's; cancel() from the cancel thread. mutex_ guards
// subscribers_.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "plugins/postgres/connection.hpp"

namespace headgate::postgres {

inline constexpr std::size_t kChannelsMax = 64;            // of one subscriber
inline constexpr std::size_t kBacklogBytesMax = 8u << 20;  // kept for one that is slow ...
inline constexpr std::size_t kNoteBytes = 64;              // ... what each costs beside its texts
inline constexpr std::uint64_t kKeepaliveUs = 4'000'000;

// The channels of a body, checked.
std::vector<std::string> read_channels(proto::Bytes body);

class ListenConnection final : public PgConnection {
 public:
  ListenConnection(PostgresDriver& driver, const hg_connect& connect, Session session);
  ~ListenConnection() override;

  void submit(const hg_call* const* calls, std::uint32_t n) override;
  void io(std::uint32_t events) override;
  void timer() override;
  void resume(hg_op op) override;
  void cancel(hg_op op) override;
  void reset(hg_op op) override;
  void ping(hg_op op) override;

 private:
  using Row = std::shared_ptr<const std::vector<std::uint8_t>>;  // [channel, payload, pid]
  struct Subscriber {
    std::set<std::string, std::less<>> channels;
    std::uint32_t unconfirmed = 0;  // LISTENs whose answer has not come
    bool waits = false;             // without credit
    std::deque<Row> backlog;
    std::size_t backlog_bytes = 0;
    std::uint64_t fetch = 0;  // rows a part
    std::uint64_t sent_us = 0;
  };
  // A command whose answer is awaited: LISTEN, UNLISTEN, a ping's Sync, or one of our own.
  struct Asked {
    hg_op op = 0;
    bool listens = false;
    bool pings = false;
  };

  void message(const wire::Message& m) override;
  void notification(const wire::Notification& n) override;
  void ended(const std::string& why) override;
  // Some operation will be told that the connection is gone; else the host is.
  [[nodiscard]] bool busy() const override { return pings_ > 0 || !subscribers_.empty(); }
  [[nodiscard]] std::uint64_t patience_us() const override { return 0; }  // timer() looks

  void subscribe(const hg_call& call);
  void ask(Asked a);
  void drop_channels();
  // Sends what is kept, in parts, while there is credit; at least one part, which may be empty.
  // The subscriber may be gone afterwards.
  void send(hg_op op, Subscriber& s);
  void end(hg_op op, const sdk::Error& e);
  void arm_keepalive();

  Ring<Asked> asked_;
  std::uint32_t pings_ = 0;       // among asked_
  std::uint64_t owed_since_ = 0;  // since when the server has not answered what is asked
  std::optional<sdk::Error> error_;
  std::recursive_mutex mutex_;  // recursive: a failing write ends the session
  std::map<hg_op, Subscriber> subscribers_;
  std::map<std::string, std::uint32_t, std::less<>> channels_;  // listened to, by how many
  std::vector<std::string> unused_;                             // to be unlistened, by the loop
  std::uint64_t keepalive_at_ = 0;
};

}  // namespace headgate::postgres
