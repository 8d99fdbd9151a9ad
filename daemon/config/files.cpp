#include "daemon/config/files.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace headgate::config {

void Fd::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

tl::expected<Fd, std::string> open_file(const std::string& path, struct stat* s) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (fd.get() < 0) return tl::make_unexpected(path + " cannot be read: " + std::strerror(errno));
  if (::fstat(fd.get(), s) != 0) return tl::make_unexpected(path + ": " + std::strerror(errno));
  if (!S_ISREG(s->st_mode)) return tl::make_unexpected(path + " is not a file");
  return fd;
}

std::string check_as(const std::string& user) {
  return "where the gateway runs as " + user + ", check as it: sudo -u " + user +
         " headgate check-config";
}

std::string too_open(const std::string& path, const struct stat& s, unsigned others) {
  if (s.st_uid != 0 && s.st_uid != ::geteuid()) {
    std::string out = path + " belongs to uid " + std::to_string(s.st_uid) +
                      ": expected root or the gateway's own user (chown)";
    std::vector<char> memory(16u << 10);
    passwd entry{};
    passwd* found = nullptr;
    if (::geteuid() == 0) {
      ::getpwuid_r(s.st_uid, &entry, memory.data(), memory.size(), &found);
    }
    return found == nullptr ? out : out + "; " + check_as(found->pw_name);
  }
  if ((s.st_mode & others) == 0) return {};
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", s.st_mode & 07777u);
  return path + " has mode " + mode + ": others may read it; expected 0600 (chmod 600)";
}

}  // namespace headgate::config
