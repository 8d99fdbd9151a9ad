#include "daemon/transport/listen.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace headgate {
namespace {

tl::unexpected<std::string> failed(const std::string& what) {
  return tl::make_unexpected(what + ": " + std::strerror(errno));
}

// A directory in which nobody but root and us can put something in our socket's place.
tl::expected<void, std::string> private_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "."
                                : slash == 0               ? "/"
                                                           : path.substr(0, slash);
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return failed("cannot make the directory " + directory);
  }
  struct stat s {};
  if (::stat(directory.c_str(), &s) != 0) return failed(directory);
  if (!S_ISDIR(s.st_mode)) return tl::make_unexpected(directory + " is not a directory");
  if (s.st_uid != 0 && s.st_uid != ::geteuid()) {
    return tl::make_unexpected(directory + " belongs to another user (uid " +
                               std::to_string(s.st_uid) + "), who could replace the socket");
  }
  if ((s.st_mode & 022) != 0 && (s.st_mode & S_ISVTX) == 0) {
    return tl::make_unexpected(directory +
                               " can be written by others, who could replace the socket "
                               "(chmod go-w, or choose another directory)");
  }
  return {};
}

bool somebody_answers(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  const int rc = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool answered = rc == 0 || errno == EAGAIN || errno == EACCES;
  ::close(fd);
  return answered;
}

}  // namespace

IpcListener::IpcListener(IpcListener&& o) noexcept { *this = std::move(o); }

IpcListener& IpcListener::operator=(IpcListener&& o) noexcept {
  std::swap(path_, o.path_);
  std::swap(fd_, o.fd_);
  std::swap(lock_, o.lock_);
  return *this;
}

IpcListener::~IpcListener() {
  hide();
  if (fd_ >= 0) ::close(fd_);
  if (lock_ >= 0) ::close(lock_);
}

void IpcListener::hide() {
  if (!path_.empty()) ::unlink(path_.c_str());
  path_.clear();
}

int IpcListener::release_descriptor() { return std::exchange(fd_, -1); }

tl::expected<IpcListener, std::string> IpcListener::open(const std::string& path,
                                                         std::uint32_t mode) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return tl::make_unexpected("the socket path " + path + " is longer than " +
                               std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  path.copy(address.sun_path, path.size());
  if (auto checked = private_directory(path); !checked) {
    return tl::make_unexpected(checked.error());
  }
  IpcListener made;
  const std::string lock = path + ".lock";
  made.lock_ = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (made.lock_ < 0) return failed("cannot open the lock file " + lock);
  if (::flock(made.lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failed("cannot lock " + lock);
    return tl::make_unexpected("another headgated serves " + path + " (it holds " + lock + ")");
  }
  struct stat s {};
  if (::lstat(path.c_str(), &s) == 0) {
    if (!S_ISSOCK(s.st_mode)) return tl::make_unexpected(path + " exists and is not a socket");
    if (somebody_answers(address)) {
      return tl::make_unexpected("another program listens on " + path);
    }
    if (::unlink(path.c_str()) != 0) return failed("cannot remove the stale socket " + path);
  }
  made.fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made.fd_ < 0) return failed("socket");
  const mode_t before = ::umask(0777);  // nobody connects before the mode is right
  const int bound = ::bind(made.fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);
  ::umask(before);
  if (bound != 0) return failed("cannot listen on " + path);
  made.path_ = path;
  if (::chmod(path.c_str(), mode) != 0) return failed("cannot set the mode of " + path);
  if (::listen(made.fd_, kBacklog) != 0) return failed("cannot listen on " + path);
  return made;
}

bool is_loopback(const std::string& endpoint) {
  const std::string prefix = "tcp://";
  if (endpoint.rfind(prefix, 0) != 0) return false;
  const std::string rest = endpoint.substr(prefix.size());
  const std::string host = rest.substr(0, rest.rfind(':'));
  return host == "localhost" || host == "[::1]" ||
         (host.rfind("127.", 0) == 0 && host.find_first_not_of("0123456789.") == std::string::npos);
}

}  // namespace headgate
