// Credentials are what the pools of one store log in with: accounts, and passwords from where the
// operator says that they are.
//
// Owner:   Gateway, one a store; shared with connections in the making. Threads: any. Reading a
//          source may take seconds (a file system, a program); who wants the same credential then
//          waits for the one that reads.
// Holds:   a credential keeps its index as long as the process lives, by its name. A password is
//          kept in memory as a Secret, goes out as a copy that its taker wipes, and stands in no
//          message.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/core/secret.hpp"

namespace headgate::access {

struct CredentialInput {
  std::string name;     // "orders", "orders/billing:read"
  std::string account;  // "": the store has no account for whoever gets here
  std::string source;   // where the password is, as the configuration has it; "": logs in without
  std::function<tl::expected<Secret, std::string>()> read;  // may block
  // Another one when the source may have changed; may block. Empty: nothing tells from outside.
  std::function<std::string()> stamp{};
};

// When something was read that others may write, told by stamps of it.
struct Reading {
  std::string stamp;  // as it was read; "": not yet
  std::string seen;   // at the latest look

  void taken(std::string now) { stamp = seen = std::move(now); }
  // Whether it is to be read again: it is another one than was read, and the same as at the look
  // before. `unsettled` becomes true where it has changed in this moment.
  bool settled(std::string now, bool* unsettled);
};

class Credentials {
 public:
  // Takes one over, new or instead of the one of that name; its index. `changed`: logins with it
  // are other ones now.
  std::uint32_t put(CredentialInput input, bool* changed);

  struct Login {
    std::string name, account;
    Secret password;
  };
  // `fresh`: the server refused the password that is known, so the source is read again. The error
  // is a sentence that names credential and source.
  tl::expected<Login, std::string> login(std::uint32_t index, bool fresh);

  struct Renewed {
    std::vector<std::uint32_t> changed;  // whose password is another one now
    std::vector<std::string> unreadable;
    bool unsettled = false;  // something has only just changed: look again soon
  };
  // Reads every source.
  Renewed renew();
  // Reads those alone whose stamp is another one than when they were read, and the same as at the
  // look before: a file that is being written is left until it is not.
  Renewed look();

  [[nodiscard]] std::string name(std::uint32_t index) const;
  [[nodiscard]] std::uint32_t size() const;

 private:
  struct One {
    std::mutex mutex;
    CredentialInput input;
    Secret password;
    bool known = false;
    bool failed = false;  // the latest reading did
    Reading reading;
  };
  [[nodiscard]] One* at(std::uint32_t index) const;
  static std::string read(One& one, bool* changed);

  mutable std::mutex mutex_;  // of the list; each entry has its own
  std::vector<std::unique_ptr<One>> all_;
};

}  // namespace headgate::access
