// headgate: the command line. Reads its words, runs one command, and says by its exit code how it
// went (docs/cli.md).
#include <CLI/CLI.hpp>
#include <algorithm>
#include <clocale>
#include <cstdio>

#include "cli.hpp"

namespace headgate::cli {
namespace {

struct Words {
  Options options;
  std::string timeout;
  bool json = false;
  bool csv = false;
  std::function<int(Session&)> run;

  PingArgs ping;
  std::string what;
  std::string drain_timeout;
  std::uint64_t call = 0;
  std::string service, store, verb;
  RequestArgs request;
  VerbArgs verb_args;
  SqlArgs sql;
  ListenArgs listen;
  std::string file;
  LocalArgs local;
  KeygenArgs keygen;
  std::string shell;
};

void add_call_words(CLI::App* c, CallWords& w, bool fetch) {
  c->add_flag("--read-only", w.read_only, "the store itself refuses writes");
  c->add_flag("--idempotent", w.idempotent, "your word that repeating the call is harmless");
  c->add_option("--key", w.key, "idempotency key: the same call with the same key runs once");
  if (!fetch) return;
  c->add_option("--fetch", w.fetch, "rows a part: the result comes as a stream")
      ->check(CLI::PositiveNumber);
}

void add_sql(CLI::App& app, Words& w) {
  CLI::App* c = app.add_subcommand("sql", "Run SQL; without TEXT, on a terminal: a prompt");
  c->add_option("STORE", w.sql.store)->required();
  const auto* text = c->add_option("TEXT", w.sql.text, "one statement");
  c->add_option("-p,--params", w.sql.params, "JSON: an array for ? and $1, an object for :name");
  c->add_option("--file,-f", w.sql.file, "statements from a file, one after the other (-: stdin)");
  c->add_flag("--tx", w.sql.transaction, "with --file: all of them or none");
  c->add_option("--run", w.sql.run, "a named statement of the gateway's catalogue");
  c->add_option("--import", w.sql.import, "a CSV file to upload, all rows or none (-: stdin)");
  c->add_option("--into", w.sql.into, "the table that --import fills");
  c->add_option("--columns", w.sql.columns, "names with commas; else those of the first line");
  c->add_flag("--no-header", w.sql.no_header, "the first line is a row");
  c->add_option("--null", w.sql.null, "the unquoted text that stands for NULL; else: nothing");
  c->add_option_function<std::string>(
      "--delimiter",
      [&w](const std::string& given) {
        if (given.size() != 1 || given == "\"" || given == "\n" || given == "\r")
          throw Usage("--delimiter: expected one byte that is no quote and no line end");
        w.sql.delimiter = given[0];
      },
      "between fields; else a comma");
  add_call_words(c, w.sql.words, true);
  c->callback([&w, text] {
    if (text->count() > 0 && w.sql.text.empty()) throw Usage("the statement is empty");
    w.run = [&w](Session& s) { return run_sql(s, w.sql); };
  });
}

void add_listen(CLI::App& app, Words& w) {
  CLI::App* c = app.add_subcommand("listen", "Notifications of a store, a line each, until Ctrl-C");
  c->add_option("STORE", w.listen.store)->required();
  c->add_option("CHANNEL", w.listen.channels, "as it is spelt; up to 64")->required();
  c->add_option("--count", w.listen.count, "end after so many")->check(CLI::PositiveNumber);
  c->callback([&w] { w.run = [&w](Session& s) { return run_listen(s, w.listen); }; });
}

void add_verb_command(CLI::App& app, Words& w, const char* name, const char* kind,
                      const char* help) {
  CLI::App* c = app.add_subcommand(name, help);
  c->add_option("STORE", w.verb_args.store)->required();
  c->add_option("VERB", w.verb_args.verb)->required();
  if (std::string_view(kind) == "key_value") {
    c->add_flag("--base64", w.verb_args.base64, "words that stand for bytes are base64");
  }
  add_call_words(c, w.verb_args.words, true);
  c->callback([&w, kind] {
    w.verb_args.kind = kind;
    w.run = [&w](Session& s) { return run_verb(s, w.verb_args); };
  });
}

void add_operator_commands(CLI::App& app, Words& w) {
  CLI::App* c = app.add_subcommand("ping", "A round trip to a store, or to the gateway alone");
  c->add_option("STORE", w.ping.store)->capture_default_str();
  c->add_option("--count", w.ping.count)->check(CLI::Range(1, 1'000'000));
  c->callback([&w] { w.run = [&w](Session& s) { return run_ping(s, w.ping); }; });

  c = app.add_subcommand("show",
                         "stores, pools, services, calls, leases, plugins, config, "
                         "version, peers or limits");
  c->add_option("WHAT", w.what)->required();
  c->callback([&w] { w.run = [&w](Session& s) { return run_show(s, w.what); }; });

  c = app.add_subcommand("reload", "Take the configuration over; says what changed");
  c->callback([&w] { w.run = [](Session& s) { return run_reload(s); }; });

  c = app.add_subcommand("drain", "Take no new work, finish what is in flight, end");
  c->add_option("--within", w.drain_timeout, "then roll back what is left; else drain_timeout");
  c->callback([&w] { w.run = [&w](Session& s) { return run_drain(s, w.drain_timeout); }; });

  c = app.add_subcommand("kill", "End a call; `headgate show calls` numbers them");
  c->add_option("CALL", w.call)->required();
  c->callback([&w] { w.run = [&w](Session& s) { return run_kill(s, w.call); }; });

  c = app.add_subcommand("can", "May this service do that, and which line says so?");
  c->add_option("SERVICE", w.service)->required();
  c->add_option("STORE", w.store)->required();
  c->add_option("VERB", w.verb)->required();
  c->callback(
      [&w] { w.run = [&w](Session& s) { return run_can(s, w.service, w.store, w.verb); }; });

  c = app.add_subcommand("backup", "A consistent copy of an embedded store into a file");
  c->add_option("STORE", w.store)->required();
  c->add_option("FILE", w.file, "written beside it as FILE.tmp first (-: stdout)")->required();
  c->callback([&w] { w.run = [&w](Session& s) { return run_backup(s, w.store, w.file); }; });
}

void add_request(CLI::App& app, Words& w) {
  CLI::App* c = app.add_subcommand("request", "Any verb of any store with a JSON body");
  c->add_option("STORE", w.request.store)->required();
  c->add_option("VERB", w.request.verb)->required();
  c->add_option("BODY", w.request.body, "a JSON object")->capture_default_str();
  add_call_words(c, w.request.words, true);
  c->callback([&w] { w.run = [&w](Session& s) { return run_request(s, w.request); }; });
}

void add_local(CLI::App& app, Words& w, int& exit) {
  CLI::App* c = app.add_subcommand("check-config", "Every fault of the configuration");
  const auto of_daemon = [&w](CLI::App* to) {
    to->add_option("--plugin-dir", w.local.plugin_dir, "where plugins are, in place of the file's");
  };
  c->add_option("FILE", w.local.file)->capture_default_str();
  of_daemon(c);
  c->add_flag("--connect", w.local.connect, "log in once with every account, everywhere, too");
  c->callback([&w, &exit] { exit = run_check_config(w.local); });

  c = app.add_subcommand("store", "What Headgate needs inside a store")->require_subcommand(1);
  c = c->add_subcommand("init", "Print the statements that make it, or (--run) make it");
  c->add_option("STORE", w.local.store)->required();
  auto* run = c->add_flag("--run", w.local.run, "make what is missing, and say what was done");
  auto* account = c->add_option("--account", w.local.account,
                                "who may make tables, in place of the store's own account")
                      ->needs(run);
  c->add_option("--password-file", w.local.password_file, "the password of --account, mode 0600")
      ->needs(account);
  c->add_option("--config", w.local.file, "the gateway's configuration")->capture_default_str();
  of_daemon(c);
  c->callback([&w, &exit] { exit = run_store_init(w.local); });

  c = app.add_subcommand("keygen", "A CURVE key pair, for a service or (--server) the gateway");
  c->add_option("--out", w.keygen.out, "the new file for the secret key, mode 0600")->required();
  c->add_option("--service", w.keygen.service, "its name, for the lines that are printed");
  c->add_flag("--server", w.keygen.server, "the gateway's own key");
  c->callback([&w, &exit] { exit = run_keygen(w.keygen); });

  c = app.add_subcommand("completion", "The script for a shell");
  c->add_option("SHELL", w.shell)->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  c->callback([&w, &exit] { exit = run_completion(w.shell); });
}

int run(Words& w) {
  if (!w.timeout.empty()) w.options.timeout = parse_timeout(w.timeout);
  w.options.format = w.json ? Format::json : w.csv ? Format::csv : Format::table;
  Interrupt interrupt;
  Session session(w.options, interrupt);
  try {
    const int code = w.run(session);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw Usage("stdout cannot be written");
    return code;
  } catch (const Error& e) {
    std::fflush(stdout);
    std::fputs(explain(e.code(), e.meta(), w.options.format).c_str(), stderr);
    return interrupt.happened() ? static_cast<int>(kInterrupted) : exit_code(e.code(), e.outcome());
  }
}

// Of `doc` and `kv`, everything after STORE and VERB that is no option of ours belongs to the verb:
// negative numbers, --limit 5, words that look like commands. So it is taken out before CLI11
// looks.
std::vector<std::string> take_verb_words(std::vector<std::string>& words) {
  const auto is_one_of = [](const std::string& w, std::initializer_list<std::string_view> list) {
    return std::any_of(list.begin(), list.end(), [&](std::string_view o) { return o == w; });
  };
  const auto with_value = [&](const std::string& w) {
    return is_one_of(w, {"--url", "--key-file", "--timeout", "--key", "--fetch"});
  };
  const auto alone = [&](const std::string& w) {
    return is_one_of(
        w, {"--json", "--csv", "--read-only", "--idempotent", "--base64", "--help", "-h"});
  };
  std::size_t at = 0;
  while (at < words.size() && words[at].starts_with("-")) at += with_value(words[at]) ? 2 : 1;
  if (at >= words.size() || !is_one_of(words[at], {"doc", "kv"})) return {};
  std::vector<std::string> ours(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(at + 1));
  std::vector<std::string> rest;
  int named = 0;  // STORE and VERB
  for (std::size_t i = at + 1; i < words.size(); ++i) {
    const std::string& w = words[i];
    if (w == "--") {
      rest.insert(rest.end(), words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
      break;
    }
    const std::string name = w.substr(0, w.find('='));
    if (alone(w) || (with_value(name) && name != w)) {
      ours.push_back(w);
    } else if (with_value(w)) {
      ours.push_back(w);
      if (i + 1 < words.size()) ours.push_back(words[++i]);
    } else if (!w.starts_with("--") && named < 2) {
      ours.push_back(w);
      ++named;
    } else {
      rest.push_back(w);
    }
  }
  words = std::move(ours);
  return rest;
}

int main_with(int argc, char** argv) {
  std::setlocale(LC_CTYPE, "C.UTF-8");
  CLI::App app{"headgate: the command line of the gateway between services and their stores",
               "headgate"};
  Words w;
  int exit = kOk;
  app.add_option("--url", w.options.url,
                 "ipc:///path or tcp://host:port?server_key=KEY; else HEADGATE_URL, else "
                 "ipc:///run/headgate/headgate.sock");
  app.add_option("--key-file", w.options.key_file, "key for tcp; else HEADGATE_KEY_FILE");
  app.add_option("--timeout", w.timeout, "for each call: 5s, 250ms, 2m; else 5s");
  CLI::Option* json = app.add_flag("--json", w.json, "answers, and errors, as JSON");
  app.add_flag("--csv", w.csv, "tables as CSV")->excludes(json);
  app.set_version_flag("--version", std::string("headgate ") + HEADGATE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  add_sql(app, w);
  add_listen(app, w);
  add_verb_command(app, w, "doc", "document",
                   "A verb of a document store: doc STORE VERB COLLECTION JSON...");
  add_verb_command(app, w, "kv", "key_value", "A verb of a key-value store: kv STORE VERB KEY ...");
  add_request(app, w);
  add_operator_commands(app, w);
  add_local(app, w, exit);
  app.footer(
      "Exit codes: 0 ok, 1 refused, 2 usage, 3 unavailable, 4 deadline, 5 unknown outcome, "
      "130 Ctrl-C.");
  try {
    std::vector<std::string> words(argv + 1, argv + argc);
    w.verb_args.rest = take_verb_words(words);
    std::reverse(words.begin(), words.end());  // as CLI11 wants it
    app.parse(std::move(words));
    return w.run ? run(w) : exit;
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kOk : kUsage;
  } catch (const Usage& e) {
    std::fflush(stdout);
    std::fprintf(stderr, "headgate: %s\n", e.what());
  } catch (const std::exception& e) {  // ValueError, a file that is a directory
    std::fprintf(stderr, "headgate: %s\n", e.what());
  }
  return kUsage;
}

}  // namespace
}  // namespace headgate::cli

int main(int argc, char** argv) { return headgate::cli::main_with(argc, argv); }
