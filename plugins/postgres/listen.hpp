// ListenConnection: NOTIFY for many subscribers on one session.
//
// A subscriber is a stream that does not end: {columns: channel, payload, pid; rows}. A channel is
// listened to once, however many subscribe to it. While nothing comes an empty part leaves every
// few seconds, which shows the caller that the store is there. What a subscriber without credit
// misses is kept, up to kBacklogMax; one that is slower is ended with an error, never left with a
// gap.
//
// Owner:   the host. Threads: the loop's; cancel() from the cancel thread. mutex_ guards
// subscribers_.
#pragma once
#include <deque>
#include <map>
#include <mutex>
#include <set>

#include "plugins/postgres/connection.hpp"

namespace headgate::postgres {

inline constexpr std::size_t kChannelsMax = 64;   // of one subscriber
inline constexpr std::size_t kBacklogMax = 1024;  // notifications kept for one that is slow
inline constexpr std::uint64_t kKeepaliveUs = 4'000'000;

// The channels of a body, checked.
std::vector<std::string> read_channels(proto::Bytes body);

class ListenConnection final : public PgConnection {
 public:
  ListenConnection(PostgresDriver& driver, const hg_connect& connect, Session session);
  ~ListenConnection() override;

  void submit(const hg_call* const* calls, std::uint32_t n) override;
  void timer() override;
  void resume(hg_op op) override;
  void cancel(hg_op op) override;
  void reset(hg_op op) override;
  void ping(hg_op op) override;

 private:
  struct Note {
    std::string channel, payload;
    std::int32_t pid = 0;
  };
  struct Subscriber {
    std::set<std::string, std::less<>> channels;
    std::uint32_t unconfirmed = 0;  // LISTENs whose answer has not come
    bool waits = false;             // without credit
    std::deque<Note> backlog;
    std::uint64_t sent_us = 0;
  };
  // A command whose answer is awaited: LISTEN, UNLISTEN, or a ping's Sync.
  struct Asked {
    hg_op op = 0;
    bool listens = false;
    bool pings = false;
  };

  void message(const wire::Message& m) override;
  void notification(const wire::Notification& n) override;
  void ended(const std::string& why) override;
  [[nodiscard]] bool busy() const override { return !asked_.empty() || !subscribers_.empty(); }
  [[nodiscard]] std::uint64_t patience_us() const override { return 0; }

  void subscribe(const hg_call& call);
  void drop_channels();
  // Sends what is kept, as one part. False: the subscriber is gone.
  bool send(hg_op op, Subscriber& s);
  void end(hg_op op, const sdk::Error& e);
  void arm_keepalive();

  Ring<Asked> asked_;
  std::optional<sdk::Error> error_;
  std::recursive_mutex mutex_;  // recursive: a failing write ends the session
  std::map<hg_op, Subscriber> subscribers_;
  std::map<std::string, std::uint32_t, std::less<>> channels_;  // listened to, by how many
  std::vector<std::string> unused_;                             // to be unlistened, by the loop
  std::uint64_t keepalive_at_ = 0;
};

}  // namespace headgate::postgres
