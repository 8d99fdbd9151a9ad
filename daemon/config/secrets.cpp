// Where secrets come from: systemd's credentials, a file, the environment, a program.
//
// Called at start and at a reload; read_secret() may block (files, a program for up to 10 s), so
// whoever reloads calls it outside the loop.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
extern "C" {
#include <sys/pidfd.h>  // glibc 2.36 forgot to say so itself
}

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "daemon/config/config.hpp"
#include "daemon/config/files.hpp"

extern char** environ;

namespace headgate::config {
namespace {

constexpr std::size_t kSecretMax = 64u << 10;
constexpr int kCommandMs = 10'000;

using Answer = tl::expected<Secret, std::string>;

tl::unexpected<std::string> no(std::string why) { return tl::make_unexpected(std::move(why)); }

// Bytes on their way into a Secret: fixed in place, wiped at the end.
struct Bytes {
  char data[kSecretMax + 1];
  std::size_t size = 0;
  ~Bytes() { wipe(data, sizeof data); }
  // One line end at the end belongs to the file, not to the secret.
  [[nodiscard]] Answer secret(const std::string& source) {
    if (size > 0 && data[size - 1] == '\n') --size;
    if (size > 0 && data[size - 1] == '\r') --size;
    if (size == 0) return no(source + " is empty");
    return Secret(std::string(data, size));
  }
};

Answer read_file(const std::string& path, bool check_owner) {
  struct stat s {};
  const auto fd = open_file(path, &s);
  if (!fd) return no(fd.error());
  if (check_owner) {
    if (std::string wrong = too_open(path, s, 077u); !wrong.empty()) return no(std::move(wrong));
  }
  Bytes bytes;
  while (bytes.size < sizeof bytes.data) {
    const ssize_t n = ::read(fd->get(), bytes.data + bytes.size, sizeof bytes.data - bytes.size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return no(path + ": " + std::strerror(errno));
    if (n == 0) return bytes.secret(path);
    bytes.size += static_cast<std::size_t>(n);
  }
  return no(path + " is larger than 64KiB");
}

Answer read_systemd(const std::string& name) {
  const char* directory = std::getenv("CREDENTIALS_DIRECTORY");
  if (directory == nullptr) {
    return no("credential '" + name + "' is not there: the unit needs LoadCredential=" + name +
              ":/path/to/the/secret");
  }
  // systemd made the directory for this process alone, with its own modes.
  return read_file(std::string(directory) + "/" + name, false);
}

using Time = std::chrono::steady_clock;

// False: the time is over.
bool wait_readable(int fd, Time::time_point end) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - Time::now()).count();
    if (left <= 0) return false;
    pollfd one{fd, POLLIN, 0};
    if (::poll(&one, 1, static_cast<int>(left)) > 0) return true;
  }
}

// Reads until the end, the limit or the time; what went wrong, or "".
std::string drain(int fd, Bytes& bytes, const std::string& program, Time::time_point end) {
  for (;;) {
    if (!wait_readable(fd, end)) return program + " gave no secret within 10s";
    if (bytes.size == sizeof bytes.data) return program + " gave more than 64KiB";
    const ssize_t n = ::read(fd, bytes.data + bytes.size, sizeof bytes.data - bytes.size);
    if (n == 0) return {};
    if (n > 0) bytes.size += static_cast<std::size_t>(n);
    if (n < 0 && errno != EINTR && errno != EAGAIN) return program + ": " + std::strerror(errno);
  }
}

Answer run_command(const std::vector<std::string>& command) {
  const std::string& program = command.front();
  int pipe_ends[2];
  if (::pipe2(pipe_ends, O_CLOEXEC) != 0) return no(program + ": " + std::strerror(errno));
  const Fd from(pipe_ends[0]);
  Fd to(pipe_ends[1]);
  std::vector<char*> arguments;
  for (const std::string& a : command) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, to.get(), 1);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  const int error =
      ::posix_spawn(&pid, program.c_str(), &actions, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return no(program + " cannot be started: " + std::strerror(error));
  to.close();

  Bytes bytes;
  const auto end = Time::now() + std::chrono::milliseconds(kCommandMs);
  std::string failed = drain(from.get(), bytes, program, end);
  const Fd ended(::pidfd_open(pid, 0));
  if (failed.empty() && !wait_readable(ended.get(), end)) {
    failed = program + " did not end within 10s";
  }
  if (!failed.empty()) ::kill(-pid, SIGKILL);  // its group: what it started goes with it
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!failed.empty()) return no(failed);
  if (!WIFEXITED(status)) return no(program + " was killed by a signal");
  if (WEXITSTATUS(status) != 0) {
    return no(program + " ended with status " + std::to_string(WEXITSTATUS(status)));
  }
  return bytes.secret(program);
}

}  // namespace

tl::expected<Secret, std::string> read_secret(const SecretSource& source) {
  switch (source.from) {
    case SecretSource::From::none:
      return no("no secret is configured");
    case SecretSource::From::systemd:
      return read_systemd(source.name);
    case SecretSource::From::file:
      return read_file(source.name, true);
    case SecretSource::From::env: {
      const char* value = std::getenv(source.name.c_str());
      if (value == nullptr || *value == '\0') {
        return no("environment variable " + source.name + " is not set");
      }
      return Secret(std::string(value));
    }
    case SecretSource::From::command:
      return run_command(source.command);
  }
  return no("no secret is configured");
}

bool in_a_unit() { return std::getenv("CREDENTIALS_DIRECTORY") != nullptr; }

bool is_journal(int fd) {
  const char* stream = std::getenv("JOURNAL_STREAM");
  if (stream == nullptr) return false;
  struct stat s {};
  if (::fstat(fd, &s) != 0) return false;
  unsigned long long device = 0;
  unsigned long long inode = 0;
  if (std::sscanf(stream, "%llu:%llu", &device, &inode) != 2) return false;
  return device == s.st_dev && inode == s.st_ino;
}

}  // namespace headgate::config
