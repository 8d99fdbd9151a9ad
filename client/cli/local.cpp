// Commands that need no gateway: keygen, check-config, completion.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>

#include "cli.hpp"
#include "verbs.hpp"

namespace headgate::cli {
namespace {

void wipe(void* p, std::size_t n) {
  volatile auto* b = static_cast<volatile unsigned char*>(p);
  for (std::size_t i = 0; i < n; ++i) b[i] = 0;
}

// A new file of our own that nobody else can read. An old one is never overwritten: it may be the
// only copy of a key in use.
void write_key_file(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0 && errno == EEXIST) {
    throw Usage(path + " is there already; a key is never overwritten (remove the file first)");
  }
  if (fd < 0) throw Usage(path + " cannot be written: " + std::strerror(errno));
  const bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                    ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  if (good) return;
  ::unlink(path.c_str());
  throw Usage(path + " cannot be written: " + std::strerror(error));
}

std::string find_daemon() {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (error) return "headgated";
  for (const char* place : {"headgated", "../sbin/headgated"}) {
    const fs::path candidate = (self.parent_path() / place).lexically_normal();
    if (::access(candidate.c_str(), X_OK) == 0) return candidate.string();
  }
  return "headgated";
}

}  // namespace

int run_keygen(const KeygenArgs& a) {
  if (a.out.empty()) throw Usage("keygen needs --out FILE for the secret key");
  if (a.server && !a.service.empty()) throw Usage("expected --server or --service, not both");
  char pub[41] = {};
  char secret[41] = {};
  if (::zmq_curve_keypair(pub, secret) != 0) throw Usage("this libzmq was built without CURVE");
  std::string text;
  text.reserve(512);
  if (a.server) {
    text = std::string(secret) + "\n";
  } else {
    text = "# Key of a Headgate client" + (a.service.empty() ? "" : ", service " + a.service) +
           ". Keep it secret; name it with HEADGATE_KEY_FILE.\n";
    text += "public = \"" + std::string(pub) + "\"\n";
    text += "secret = \"" + std::string(secret) + "\"\n";
  }
  wipe(secret, sizeof secret);
  try {
    write_key_file(a.out, text);
  } catch (...) {
    wipe(text.data(), text.capacity());
    throw;
  }
  wipe(text.data(), text.capacity());
  if (a.server) {
    std::printf(
        "# %s holds the gateway's secret key. In headgate.toml:\n"
        "#   [daemon]\n"
        "#   listen_tcp = \"tcp://0.0.0.0:7733\"\n"
        "#   server_key = { file = \"%s\" }\n"
        "# Services connect to tcp://HOST:7733?server_key=KEY with this public key as it is:\n"
        "%s\n",
        a.out.c_str(), std::filesystem::absolute(a.out).c_str(), pub);
  } else {
    std::printf("# %s holds both keys. In headgate.toml:\n[services.%s]\ncurve_keys = [\"%s\"]\n",
                a.out.c_str(), a.service.empty() ? "NAME" : a.service.c_str(), pub);
  }
  return kOk;
}

namespace {

// Becomes the daemon's own program, which knows plugins and configuration.
int become_daemon(const LocalArgs& a, std::vector<std::string> more) {
  const std::string daemon = find_daemon();
  std::vector<std::string> words = {daemon, "--config", a.file};
  if (!a.plugin_dir.empty()) {
    words.emplace_back("--plugin-dir");
    words.push_back(a.plugin_dir);
  }
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> argv;
  for (std::string& w : words) argv.push_back(w.data());
  argv.push_back(nullptr);
  std::fflush(nullptr);
  ::execvp(daemon.c_str(), argv.data());
  std::fprintf(stderr, "headgate: %s cannot be started: %s\n", daemon.c_str(),
               std::strerror(errno));
  return kUnavailable;
}

}  // namespace

int run_check_config(const LocalArgs& a) {
  std::vector<std::string> more = {"--check"};
  if (a.connect) more.emplace_back("--connect");
  return become_daemon(a, std::move(more));
}

int run_store_init(const LocalArgs& a) {
  std::vector<std::string> more = {"--store-init", a.store};
  if (a.run) more.emplace_back("--run");
  if (!a.account.empty()) more.insert(more.end(), {"--account", a.account});
  if (!a.password_file.empty()) more.insert(more.end(), {"--password-file", a.password_file});
  return become_daemon(a, std::move(more));
}

namespace {

constexpr std::string_view kCommands =
    "ping sql listen doc kv request show reload drain kill can check-config store keygen backup "
    "completion";
constexpr std::string_view kShown =
    "stores pools services calls leases plugins config version peers limits";

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& n : names) out += (out.empty() ? "" : " ") + n;
  return out;
}

// Stores are asked of the gateway itself, quickly and silently.
constexpr std::string_view kStores =
    "headgate --timeout 500ms --csv show stores 2>/dev/null | tail -n +2 | cut -d, -f1 | tr -d "
    "'\\r'";

// Options with a value: it is no command and no STORE, wherever the two stand.
constexpr std::string_view kValued =
    "--url|--key-file|--timeout|--key|--fetch|--params|-p|--file|-f|--run|--import|--into|"
    "--columns|--null|--delimiter|--count|--within|--config|--account|--password-file|"
    "--plugin-dir|--out|--service";

// The words of a shell's case that says what may come: `give` offers words, `files` files.
std::string cases(const std::function<std::string(const std::string&)>& give,
                  const std::string& files) {
  const auto line = [](std::string_view when, const std::string& then) {
    return "    " + std::string(when) + ") " + then + " ;;\n";
  };
  const std::string stores = "$(" + std::string(kStores) + ")";
  return "  case $n:$command in\n" +
         line("0:*", give(std::string(kCommands) + " --url --timeout --json --csv --help")) +
         line("1:show", give(std::string(kShown))) + line("1:completion", give("bash zsh fish")) +
         line("1:store", give("init")) +
         line("1:ping|1:sql|1:listen|1:doc|1:kv|1:request|1:backup|2:can|2:store", give(stores)) +
         line("2:doc", give(joined(verb_names("document")))) +
         line("2:kv", give(joined(verb_names("key_value")))) + line("*", files) + "  esac\n";
}

// What is typed is read from COMP_LINE: COMP_WORDS takes a URL apart at its colons.
std::string bash() {
  const auto give = [](const std::string& words) {
    return "COMPREPLY=($(compgen -W \"" + words + "\" -- \"$cur\"))";
  };
  const std::string files = "COMPREPLY=($(compgen -f -- \"$cur\"))";
  return "# headgate completion bash > /etc/bash_completion.d/headgate\n"
         "_headgate() {\n"
         "  local line=${COMP_LINE:0:COMP_POINT} cur= w= value= all words=() n command\n"
         "  COMPREPLY=()\n"
         "  read -ra all <<< \"$line\"\n"
         "  case $line in *[[:space:]]) ;; *) cur=${all[-1]}; unset 'all[-1]' ;; esac\n"
         "  for w in \"${all[@]:1}\"; do\n"
         "    if [ -n \"$value\" ]; then value=; continue; fi\n"
         "    case $w in\n"
         "      " +
         std::string(kValued) +
         ") value=$w ;;\n"
         "      -*) ;;\n"
         "      *) words+=(\"$w\") ;;\n"
         "    esac\n"
         "  done\n"
         "  if [ -n \"$value\" ]; then " +
         files +
         "; return; fi\n"
         "  n=${#words[@]}; command=${words[0]}\n" +
         cases(give, files) +
         "}\n"
         "complete -F _headgate headgate\n";
}

std::string zsh() {
  return "#compdef headgate\n"
         "# headgate completion zsh > ~/.zfunc/_headgate\n"
         "_headgate() {\n"
         "  local w value; local -a plain\n"
         "  for w in ${words[2,CURRENT-1]}; do\n"
         "    if [[ -n $value ]]; then value=; continue; fi\n"
         "    case $w in\n"
         "      " +
         std::string(kValued) +
         ") value=$w ;;\n"
         "      -*) ;;\n"
         "      *) plain+=($w) ;;\n"
         "    esac\n"
         "  done\n"
         "  if [[ -n $value ]]; then _files; return; fi\n"
         "  local n=${#plain} command=${plain[1]}\n" +
         cases([](const std::string& words) { return "compadd -- " + words; }, "_files") +
         "}\n"
         "_headgate \"$@\"\n";
}

std::string fish() {
  const std::string of = "complete -c headgate -n '__fish_seen_subcommand_from ";
  const std::string none = "complete -c headgate -n 'not __fish_seen_subcommand_from " +
                           std::string(kCommands) + "' -xa '" + std::string(kCommands) + "'\n";
  return "# headgate completion fish > ~/.config/fish/completions/headgate.fish\n" + none + of +
         "show' -xa '" + std::string(kShown) + "'\n" + of + "completion' -xa 'bash zsh fish'\n" +
         of + "store; and not __fish_seen_subcommand_from init' -xa init\n" + of +
         "ping sql listen doc kv request backup init' -xa \"(" + std::string(kStores) + ")\"\n" +
         of + "doc' -a '" + joined(verb_names("document")) + "'\n" + of + "kv' -a '" +
         joined(verb_names("key_value")) + "'\n" +
         "complete -c headgate -l url -x\ncomplete -c headgate -l timeout -x\n";
}

}  // namespace

int run_completion(const std::string& shell) {
  const std::string script = shell == "bash" ? bash() : shell == "zsh" ? zsh() : fish();
  std::fputs(script.c_str(), stdout);
  return kOk;
}

}  // namespace headgate::cli
