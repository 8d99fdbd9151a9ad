// Files with secrets in them: opened without hanging on what is no file, and looked at for who else
// may read them.
//
// Threads: any; all may block.
#pragma once
#include <sys/stat.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace headgate::config {

// An open descriptor, or none (-1).
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { close(); }
  Fd(Fd&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  void close();
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// An ordinary file, for reading; `s`: what fstat(2) says of it. The error is a sentence with the
// path.
tl::expected<Fd, std::string> open_file(const std::string& path, struct stat* s);

// What a check that root runs lacks, as the end of a sentence: root is not the gateway's user.
std::string check_as(const std::string& user);
// Why a file is not for root and the gateway's own user alone, or "". `others`: the bits of its
// mode that must not be set.
std::string too_open(const std::string& path, const struct stat& s, unsigned others);

}  // namespace headgate::config
