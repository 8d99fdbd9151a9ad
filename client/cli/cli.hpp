// What the commands of `headgate` share: the options that stand before any of them, exit codes, and
// the connection with its Ctrl-C.
//
// Threads: main's, but for the one that waits for SIGINT (interrupt.cpp).
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "headgate/client.hpp"

namespace headgate::cli {

// Exit codes: docs/cli.md. Scripts rely on them.
enum Exit : int {
  kOk = 0,
  kRefused = 1,      // the gateway or the store said no, and nothing was applied
  kUsage = 2,        // the command line, or a file that it names, is wrong
  kUnavailable = 3,  // no gateway, no connection to the store, overloaded, draining: try later
  kDeadline = 4,     // not answered in time; nothing was applied
  kUnknown = 5,      // it may have been applied, or not
  kInterrupted = 130,
};
Exit exit_code(Code code, Outcome outcome);

// Something wrong with what the user typed; a sentence.
class Usage : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class Format : std::uint8_t { table, json, csv };

// The options of every command.
struct Options {
  std::string url;
  std::string key_file;
  std::optional<Millis> timeout;
  Format format = Format::table;
};

// The options of a call that are words of their own.
struct CallWords {
  bool read_only = false;
  bool idempotent = false;
  std::string key;
  std::uint32_t fetch = 0;
};

// "5s", "250ms", "1.5s", "2m", or seconds. Throws Usage, naming the option.
Millis parse_timeout(const std::string& text, const std::string& option = "--timeout");

// Ctrl-C. The first one runs what is set (which asks the gateway to end the call), or, when nothing
// is, ends the program; the second one ends it at once.
// REQUIRES: made before any other thread, so that all of them leave SIGINT to this one.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  // While it lives, Ctrl-C runs `cancel`.
  class During {
   public:
    During(Interrupt& i, std::function<void()> cancel);
    ~During();
    During(const During&) = delete;
    During& operator=(const During&) = delete;

   private:
    Interrupt& interrupt_;
  };
  [[nodiscard]] bool happened() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One run of the program against one gateway; connects when it is first needed.
class Session {
 public:
  Session(Options options, Interrupt& interrupt)
      : options_(std::move(options)), interrupt_(interrupt) {}

  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] Interrupt& interrupt() { return interrupt_; }
  Client& client();
  [[nodiscard]] CallOptions call_options(const CallWords& words = {}, std::uint64_t tx = 0) const;

  // The answer, whatever its code: check ok(), or let done() do it. Ctrl-C cancels the call.
  Reply call(std::string_view store, std::string_view verb, Bytes body, const CallOptions& o);
  // The same; throws Error unless it is ok.
  Reply done(std::string_view store, std::string_view verb, Bytes body, const CallOptions& o);
  // Hands every piece of a stream to `piece`; the last one, and the reply, with it. Throws Error.
  Reply stream(std::string_view store, std::string_view verb, Bytes body, CallOptions o,
               const std::function<void(Bytes)>& piece);

 private:
  Options options_;
  Interrupt& interrupt_;
  std::unique_ptr<Client> client_;
};

// What to tell a person who got this error: code, outcome, message, and what to do.
std::string explain(Code code, const ReplyMeta& meta, Format format);

// commands_*.cpp: each runs one command and returns its exit code.
struct PingArgs {
  std::string store = "headgate";
  std::uint32_t count = 1;
};
int run_ping(Session& s, const PingArgs& a);
int run_show(Session& s, const std::string& what);
int run_reload(Session& s);
int run_drain(Session& s, const std::string& timeout);
int run_kill(Session& s, std::uint64_t call);
int run_can(Session& s, const std::string& service, const std::string& store,
            const std::string& verb);

struct RequestArgs {
  std::string store, verb, body = "{}";
  CallWords words;
};
int run_request(Session& s, const RequestArgs& a);

// doc and kv: positional arguments as verbs.hpp says.
struct VerbArgs {
  std::string kind;  // document, key_value
  std::string store, verb;
  std::vector<std::string> rest;
  CallWords words;
  bool base64 = false;
};
int run_verb(Session& s, const VerbArgs& a);

struct SqlArgs {
  std::string store;
  std::string text;
  std::string params;  // JSON
  std::string file;
  std::string run;  // a named statement
  bool transaction = false;
  std::string import, into, columns, null;
  bool no_header = false;
  char delimiter = ',';
  CallWords words;
};
int run_sql(Session& s, const SqlArgs& a);
int run_import(Session& s, const SqlArgs& a);
int run_prompt(Session& s, const SqlArgs& a);
int run_text(Session& s, const SqlArgs& a, const std::string& text, std::uint64_t tx);

struct ListenArgs {
  std::string store;
  std::vector<std::string> channels;
  std::uint64_t count = 0;  // then it ends; 0: never
};
int run_listen(Session& s, const ListenArgs& a);

int run_backup(Session& s, const std::string& store, const std::string& file);

struct KeygenArgs {
  std::string service;
  std::string out;
  bool server = false;
};
int run_keygen(const KeygenArgs& a);
// Commands that read the gateway's configuration, by way of headgated.
struct LocalArgs {
  std::string file = "/etc/headgate/headgate.toml";
  std::string plugin_dir;
  bool connect = false;  // check-config: logs in to the stores, too
  std::string store;     // store init
  bool run = false;
  std::string account, password_file;
};
int run_check_config(const LocalArgs& a);
int run_store_init(const LocalArgs& a);
int run_completion(const std::string& shell);

}  // namespace headgate::cli
