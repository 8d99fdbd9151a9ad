// The SQL prompt: lines until a semicolon, a history that stays in memory, transactions by `begin`,
// `commit` and `rollback`, and a few words of its own (\? lists them).
#include <editline/readline.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cli.hpp"
#include "json.hpp"
#include "output.hpp"
#include "proto/statements.hpp"

namespace headgate::cli {
namespace {

class Prompt {
 public:
  Prompt(Session& s, const SqlArgs& a) : session_(s), args_(a) {}

  int run() {
    std::fprintf(stderr,
                 "headgate: store %s at %s. Statements end with a semicolon; \\? helps, "
                 "Ctrl-D leaves.\n",
                 args_.store.c_str(), session_.client().address().c_str());
    while (read_line()) {
    }
    if (tx_ != 0) std::fputs("the open transaction was rolled back\n", stderr);
    return kOk;
  }

 private:
  // False: the end.
  bool read_line() {
    const std::string prompt =
        args_.store + (tx_ != 0 ? "*" : "") + (pending_.empty() ? "=> " : "-> ");
    char* raw = ::readline(prompt.c_str());
    if (raw == nullptr) {
      std::fputs("\n", stderr);
      return false;
    }
    const std::string line = raw;
    std::free(raw);
    if (!line.empty()) ::add_history(line.c_str());
    if (pending_.empty() && line.starts_with('\\')) return command(line);
    pending_ += line + "\n";
    proto::Cut parts = proto::cut(pending_);
    pending_ = parts.rest;
    for (const std::string& text : parts.statements) guarded([&] { statement(text); });
    return true;
  }

  void statement(const std::string& text) {
    const std::string word = proto::first_word(text);
    const auto nothing = pack(Doc());
    if (word == "BEGIN" || word == "START") {
      if (tx_ != 0) throw Usage("a transaction is open already");
      tx_ = session_.done(args_.store, "begin", nothing, session_.call_options(args_.words)).id;
    } else if (word == "COMMIT" || word == "END" || word == "ROLLBACK") {
      if (tx_ == 0) throw Usage("no transaction is open");
      const std::uint64_t tx = tx_;
      tx_ = 0;
      session_.done(args_.store, word == "ROLLBACK" ? "rollback" : "commit", nothing,
                    session_.call_options({}, tx));
    } else {
      run_text(session_, args_, text, tx_);
    }
  }

  bool command(const std::string& line) {
    const std::size_t space = line.find(' ');
    const std::string word = line.substr(0, space);
    const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    if (word == "\\q") return false;
    if (word == "\\d") {
      guarded([&] {
        const Doc body = argument.empty() ? Doc() : Doc("table", argument);
        print_reply(session_.done(args_.store, argument.empty() ? "tables" : "columns", pack(body),
                                  session_.call_options({}, tx_)),
                    session_.options().format);
      });
    } else {
      std::fputs(
          "\\d          tables\n\\d TABLE    columns of a table\n\\q          leave\n"
          "begin; commit; rollback;   a transaction (mind the store's idle limit)\n",
          stderr);
    }
    return true;
  }

  template <class F>
  void guarded(F&& f) {
    try {
      f();
    } catch (const Error& e) {
      std::fputs(explain(e.code(), e.meta(), session_.options().format).c_str(), stderr);
      if (e.code() == Code::transaction_expired || e.code() == Code::transaction_aborted) {
        if (e.code() == Code::transaction_expired) tx_ = 0;
      }
    } catch (const std::exception& e) {
      std::fprintf(stderr, "headgate: %s\n", e.what());
    }
    std::fflush(stdout);
  }

  Session& session_;
  const SqlArgs& args_;
  std::string pending_;
  std::uint64_t tx_ = 0;
};

}  // namespace

int run_prompt(Session& s, const SqlArgs& a) { return Prompt(s, a).run(); }

}  // namespace headgate::cli
