// Library is one plugin file: found, verified, loaded, and asked what it offers.
//
// Owner:   Libraries (one a process); stores share them. Threads: load() at start or reload, from
//          one thread; what it returns is constant.
// Holds:   a file is opened only if it and its directory belong to root or to our own user and
//          nobody else may write them. What was loaded is never unloaded: a plugin's threads and
//          atexit functions may outlive any store. plugin() is a copy in our own struct's size: a
//          function that an older plugin does not know is NULL.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "daemon/plugin/description.hpp"

namespace headgate::plugin {

struct LoadRequest {
  std::string directory;  // absolute
  std::string name;       // NAME.so in it: letters, digits, _ and -
  std::string sha256;     // of the file, 64 hex digits; empty: not compared
};

class Library {
 public:
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const hg_plugin& plugin() const { return plugin_; }
  [[nodiscard]] const Description& description() const { return description_; }

 private:
  friend class Libraries;
  std::string path_;
  hg_plugin plugin_{};
  Description description_;
};

class Libraries {
 public:
  // `host`: the table that plugins are given; it must outlive the process's last plugin call.
  explicit Libraries(const hg_host* host) : host_(host) {}

  // The fault's message is a sentence for the operator that names the file.
  Result<std::shared_ptr<const Library>> load(const LoadRequest& request);

 private:
  Result<std::shared_ptr<Library>> open(const std::string& path);
  const hg_host* host_;
  std::map<std::string, std::shared_ptr<Library>> loaded_;  // by real path
};

// SHA-256 of a file as 64 lower-case hex digits.
Result<std::string> sha256_of(const std::string& path);

}  // namespace headgate::plugin
