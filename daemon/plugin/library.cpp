// Verifies who may have written a plugin's file before its code runs in our process.
#include "daemon/plugin/library.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace headgate::plugin {
namespace {

tl::unexpected<Fault> refuse(const std::string& path, const std::string& why) {
  return fault(Code::internal, "plugin " + path + ": " + why);
}

std::string errno_text() { return std::strerror(errno); }

// Empty: nobody but root and ourselves can have put code there.
std::string distrust(const struct stat& st, std::string_view what) {
  const std::string it(what);
  if (st.st_uid != 0 && st.st_uid != ::geteuid())
    return it + " belongs to user " + std::to_string(st.st_uid) +
           "; it must belong to root or to user " + std::to_string(::geteuid());
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    return it + " may be written by its group or by others (chmod go-w)";
  return "";
}

std::string verify_file(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return errno_text();
  if (!S_ISREG(st.st_mode)) return "is no regular file";
  if (std::string why = distrust(st, "the file"); !why.empty()) return why;
  const std::string directory = path.substr(0, path.rfind('/'));
  if (::stat(directory.empty() ? "/" : directory.c_str(), &st) != 0) return errno_text();
  return distrust(st, "its directory " + directory);
}

// Names what such a file does export, when it was built for another version of the ABI.
std::string missing_entry(void* handle) {
  for (int v = 1; v < 10; ++v) {
    const std::string other = "hg_plugin_v" + std::to_string(v);
    if (::dlsym(handle, other.c_str()) != nullptr)
      return "it is built for plugin ABI " + std::to_string(v) + " (it exports " + other +
             "), and this daemon loads plugin ABI " + std::to_string(HG_ABI_VERSION) +
             " (it looks for " HG_PLUGIN_ENTRY ")";
  }
  return "it does not export the symbol " HG_PLUGIN_ENTRY ", which a plugin of ABI " +
         std::to_string(HG_ABI_VERSION) + " must";
}

// Code that a table points to must be in some loaded object: a table that is shorter than it claims
// is caught here rather than in the middle of a call.
bool is_code(const void* p) {
  Dl_info info{};
  return ::dladdr(p, &info) != 0;
}

struct Function {
  const char* name;
  std::size_t offset;
  bool required;
};
#define FUNCTION(name, required) \
  Function { #name, offsetof(hg_plugin, name), required }
constexpr Function kFunctions[] = {
    FUNCTION(describe, true),     FUNCTION(driver_open, true),
    FUNCTION(driver_close, true), FUNCTION(driver_prepare_store, false),
    FUNCTION(driver_route, true), FUNCTION(conn_open, true),
    FUNCTION(conn_attach, false), FUNCTION(conn_submit, true),
    FUNCTION(conn_io, false),     FUNCTION(conn_timer, false),
    FUNCTION(conn_resume, false), FUNCTION(conn_cancel, false),
    FUNCTION(conn_reset, false),  FUNCTION(conn_ping, false),
    FUNCTION(conn_close, true),   FUNCTION(driver_init_store, false)};
#undef FUNCTION
constexpr std::uint32_t kTableMin = offsetof(hg_plugin, conn_close) + sizeof(void*);
constexpr std::uint32_t kTableMax = 64 * 1024;

std::string verify_table(const hg_plugin& p) {
  for (const Function& f : kFunctions) {
    const void* pointer = nullptr;
    std::memcpy(&pointer, reinterpret_cast<const char*>(&p) + f.offset, sizeof pointer);
    if (pointer == nullptr && f.required)
      return std::string("its table lacks the required function ") + f.name;
    if (pointer != nullptr && !is_code(pointer))
      return std::string("its table's ") + f.name +
             " points to no code: the table is shorter than its size says";
  }
  if (p.name == nullptr || p.version == nullptr) return "its table has no name or no version";
  return "";
}

}  // namespace

Result<std::string> sha256_of(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fault(Code::internal, path + ": " + errno_text());
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool good = context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1;
  std::array<unsigned char, 65536> block{};
  ssize_t n = 0;
  while (good && (n = ::read(fd, block.data(), block.size())) > 0)
    good = EVP_DigestUpdate(context, block.data(), static_cast<std::size_t>(n)) == 1;
  std::array<unsigned char, 32> digest{};
  good = good && n == 0 && EVP_DigestFinal_ex(context, digest.data(), nullptr) == 1;
  EVP_MD_CTX_free(context);
  ::close(fd);
  if (!good) return fault(Code::internal, path + ": its SHA-256 could not be computed");
  std::string hex;
  for (const unsigned char b : digest) {
    hex += "0123456789abcdef"[b >> 4];
    hex += "0123456789abcdef"[b & 15];
  }
  return hex;
}

Result<std::shared_ptr<const Library>> Libraries::load(const LoadRequest& request) {
  const bool word = !request.name.empty() && request.name.size() <= 64 &&
                    std::all_of(request.name.begin(), request.name.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '_' || c == '-';
                    });
  if (!word)
    return refuse("\"" + request.name + "\"", "a plugin's name has only letters, digits, _ and -");
  const std::string wanted = request.directory + "/" + request.name + ".so";
  if (request.directory.empty() || request.directory.front() != '/')
    return refuse(wanted, "the plugin directory must be an absolute path");
  char real[PATH_MAX];
  if (::realpath(wanted.c_str(), real) == nullptr) return refuse(wanted, errno_text());
  const std::string path(real);
  if (std::string why = verify_file(path); !why.empty()) return refuse(path, why);
  if (!request.sha256.empty()) {
    const Result<std::string> found = sha256_of(path);
    if (!found) return tl::make_unexpected(found.error());
    std::string want = request.sha256;
    std::transform(want.begin(), want.end(), want.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    if (*found != want)
      return refuse(path, "its SHA-256 is " + *found + ", and the configuration says " + want);
  }
  if (const auto it = loaded_.find(path); it != loaded_.end()) return it->second;
  Result<std::shared_ptr<Library>> library = open(path);
  if (!library) return tl::make_unexpected(library.error());
  loaded_[path] = *library;
  return *library;
}

Result<std::shared_ptr<Library>> Libraries::open(const std::string& path) {
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return refuse(path, ::dlerror());
  const auto entry = reinterpret_cast<hg_plugin_entry>(::dlsym(handle, HG_PLUGIN_ENTRY));
  if (entry == nullptr) return refuse(path, missing_entry(handle));
  hg_error error{};
  error.size = sizeof error;
  const hg_plugin* theirs = nullptr;
  try {
    theirs = entry(host_, &error);
  } catch (...) {
    return refuse(path, HG_PLUGIN_ENTRY " threw an exception");
  }
  if (theirs == nullptr) {
    error.message[sizeof error.message - 1] = '\0';
    return refuse(path, std::string("it refuses: ") +
                            (error.message[0] != '\0' ? error.message : "(no reason given)"));
  }
  if (theirs->abi_version != HG_ABI_VERSION)
    return refuse(path, "it is built for plugin ABI " + std::to_string(theirs->abi_version) +
                            ", and this daemon loads plugin ABI " + std::to_string(HG_ABI_VERSION));
  if (theirs->size < kTableMin || theirs->size > kTableMax)
    return refuse(path, "its table says " + std::to_string(theirs->size) +
                            " bytes; plugin ABI 0 has at least " + std::to_string(kTableMin));
  auto library = std::make_shared<Library>();
  library->path_ = path;
  std::memcpy(&library->plugin_, theirs, std::min<std::size_t>(theirs->size, sizeof(hg_plugin)));
  if (std::string why = verify_table(library->plugin_); !why.empty()) return refuse(path, why);
  hg_bytes map{};
  try {
    map = library->plugin_.describe();
  } catch (...) {
    return refuse(path, "describe threw an exception");
  }
  Result<Description> d =
      read_description({map.data, static_cast<std::size_t>(map.size)}, library->plugin_);
  if (!d) return refuse(path, d.error().message);
  library->description_ = std::move(*d);
  return library;
}

}  // namespace headgate::plugin
