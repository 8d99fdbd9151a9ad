// PgConnection: one session with a server, driven by the loop: bytes out, messages in.
//
// It owns what every lane needs: the socket, both buffers, the prepared statements, the clock of a
// silent server, and the one way in which a connection dies. A lane derives from it and takes the
// messages.
//
// Owner:     the host. Threads: the loop's; cancel() alone comes from the cancel thread.
// Invariant: a connection about whose unread replies there is any doubt is dead: nothing more is
//            sent or read, everything open has been completed, and the host is told.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "plugins/postgres/login.hpp"
#include "plugins/postgres/prepared.hpp"
#include "plugins/postgres/ring.hpp"
#include "plugins/postgres/transport.hpp"
#include "plugins/postgres/wire/backend.hpp"
#include "plugins/postgres/wire/errors.hpp"

namespace headgate::postgres {

class PostgresDriver;

class PgConnection : public sdk::Connection {
 public:
  PgConnection(PostgresDriver& driver, const hg_connect& connect, Session session);
  ~PgConnection() override;

  void attach() override;
  void io(std::uint32_t events) override;
  void timer() override;

 protected:
  // A whole message that is not the base's own affair (notices, parameters, notifications are).
  virtual void message(const wire::Message& m) = 0;
  virtual void notice(const wire::Notice&, wire::NoticeEffect) {}
  virtual void notification(const wire::Notification&) {}
  // The session ends: completes everything that is open. `why` is for people.
  virtual void ended(const std::string& why) = 0;
  // Something is asked that has not been answered.
  [[nodiscard]] virtual bool busy() const = 0;
  // There is room for more bytes to send. True: something was appended.
  virtual bool feed() { return false; }
  // How long the server may be silent while busy (host clock); 0: for ever.
  [[nodiscard]] virtual std::uint64_t patience_us() const = 0;
  // While busy: when look() shall be called (host clock); 0: never.
  [[nodiscard]] virtual std::uint64_t look_at() const { return 0; }
  // The time has come.
  virtual void look() {}

  // Hands the kernel what it takes, then watches for what is left.
  void pump();
  // Ends the session, once.
  void die(const std::string& why);
  // Back-pressure: nothing is read, and what has been read is not looked at, until go_on().
  void pause() { paused_ = true; }
  void go_on();
  // From now on the server owes something. For the moment when busy() has become true, and what
  // look_at() says is up to date.
  void expect();

  [[nodiscard]] bool dead() const { return dead_; }
  [[nodiscard]] const std::string& why_dead() const { return why_; }
  [[nodiscard]] std::uint64_t now() const;
  // When the loop last woke this connection: a clock that costs nothing.
  [[nodiscard]] std::uint64_t tick() const { return tick_us_; }
  // Where the next byte will stand in the stream of all bytes ever queued.
  [[nodiscard]] std::uint64_t queued() const { return sent_ + out_.size(); }
  // No byte from `begins_at` on has been handed over.
  [[nodiscard]] bool unsent(std::uint64_t begins_at) const { return begins_at >= handed_; }
  [[nodiscard]] sdk::Error lost(wire::Where where, bool in_transaction = false) const;

  PostgresDriver& driver_;
  const hg_host* host_;
  const hg_conn_id id_;
  const bool read_only_;  // of a read pool: the session is held read-only
  Session session_;
  wire::OutBuffer out_;
  wire::Reader in_;
  wire::TypeCatalog types_;
  PreparedCache prepared_;

 private:
  void read_all();
  // Messages that have come whole; false: stop reading.
  bool drain();
  void own_message(const wire::Message& m);
  void watch();
  void arm();

  Transport transport_;
  std::uint64_t sent_ = 0;    // bytes that left out_
  std::uint64_t handed_ = 0;  // ... or that a TLS record may have taken already
  std::uint64_t heard_us_ = 0, tick_us_ = 0, armed_ = 0;
  std::uint32_t watched_ = 0;
  bool paused_ = false;
  bool dead_ = false;
  bool draining_ = false;
  std::string why_;
};

}  // namespace headgate::postgres
