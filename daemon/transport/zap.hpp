// Zap answers libzmq's question "may this connection in?" (RFC 27): the one place where an identity
// is decided. It names the peer by what cannot be claimed: its CURVE key, or the Unix user that the
// kernel vouches for.
//
// Owner:     Frontend. Threads: the loop's; the answer is a look-up in memory.
// Invariant: bound before any socket of the context listens; a peer that no service knows is
//            refused here, and so is the overflow uid (an unmapped user namespace).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "daemon/core/log.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/transport/admission.hpp"

namespace headgate {

class Zap : public Watcher {
 public:
  Zap(Loop& loop, Log& log, const Admission& admission)
      : loop_(loop), log_(log), admission_(admission) {}
  ~Zap() override { close(); }
  tl::expected<void, std::string> open(void* context);
  void close();
  void ready(std::uint32_t events) override;

  // Plain TCP peers on loopback come in as "plain:", to be named by the frontend.
  void allow_plain_tcp(bool allowed) { plain_tcp_ = allowed; }
  // Start-up's self-check: refuse this process (on plain TCP, where no pid is told, everybody), to
  // prove that we are asked at all. Clients that come meanwhile are served.
  void check_self(bool on) { checking_self_ = on; }

  struct Counts {
    std::uint64_t admitted = 0;
    std::uint64_t refused = 0;
  };
  [[nodiscard]] Counts counts() const { return counts_; }
  [[nodiscard]] void* socket() const { return socket_; }

 private:
  bool one();
  // The user that the frames describe; empty: refused, and `why` says why.
  std::string name_of(std::string_view mechanism, std::string_view address,
                      std::string_view credentials, std::string_view* why) const;
  void log_refusal(std::string_view who, std::string_view why);

  Loop& loop_;
  Log& log_;
  const Admission& admission_;
  void* socket_ = nullptr;
  bool plain_tcp_ = false;
  static bool may_be_self(std::string_view address);
  bool checking_self_ = false;
  Counts counts_;
  TimePoint log_window_{};
  std::uint32_t logged_ = 0;  // refusals logged in this window
};

}  // namespace headgate
