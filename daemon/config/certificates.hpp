// Certificates is what a store's [tls] says, with the files it names as they were read, checked and
// found to fit together. A driver gets a copy in memory (a sealed memfd), so that a file which is
// half-written, or a key that comes a moment after its certificate, can break no login.
//
// Owner:   shared by whoever logs in with it. Threads: any; constant once made.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "daemon/config/config.hpp"
#include "daemon/config/files.hpp"

namespace headgate::config {

class Certificates {
 public:
  // May block. The error is a sentence that names the file, and never what is in it.
  static tl::expected<std::shared_ptr<const Certificates>, std::string> read(const Tls& tls);
  // The files as they are, unread: their faults are told by whoever logs in.
  static std::shared_ptr<const Certificates> unread(const Tls& tls);

  Certificates(const Certificates&) = delete;
  Certificates& operator=(const Certificates&) = delete;

  // As hg_connect.tls has it. The paths in it are good as long as this lives.
  [[nodiscard]] const std::vector<std::uint8_t>& packed() const { return packed_; }
  // Whether the same bytes were read.
  [[nodiscard]] bool same_as(const Certificates& o) const { return digest_ == o.digest_; }

 private:
  Certificates() = default;
  std::vector<std::uint8_t> packed_;
  std::string digest_;
  std::vector<Fd> files_;  // what the paths lead to
};

// One fault of one file: "ca_file", "cert_file" or "key_file", and a sentence.
using TlsFault = std::pair<std::string_view, std::string>;
// What is wrong with the files; `overdue`: what is no longer valid, or not yet.
std::vector<TlsFault> faults_of(const Tls& tls, std::vector<TlsFault>* overdue);

// Changes when a file does, or what its path leads to: which file it is, its size, its times, its
// owner and mode.
std::string file_stamp(const std::string& path);
// The same of where a secret is; empty where that is no file.
std::string source_stamp(const SecretSource& source);
std::string tls_stamp(const Tls& tls);

}  // namespace headgate::config
