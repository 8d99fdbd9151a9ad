// The short commands: ping, show, reload, drain, kill, can, request, doc, kv, backup.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "cli.hpp"
#include "json.hpp"
#include "output.hpp"
#include "verbs.hpp"

namespace headgate::cli {
namespace {

constexpr std::string_view kGateway = "headgate";  // the built-in store

std::vector<std::uint8_t> body(const Json& v) { return pack_json(v); }

// A reply that is not ok: told on stderr. The exit code.
int told(const Reply& r, Format format) {
  if (r.ok()) return kOk;
  std::fputs(explain(r.code, r.meta, format).c_str(), stderr);
  return exit_code(r.code, r.meta.outcome);
}

int print(const Reply& r, Format format) {
  // Some verbs give a body with an error, as insert_many does.
  if (r.ok() || (!r.body().empty() && r.body()[0] != 0xc0)) print_reply(r, format);
  std::fflush(stdout);
  return told(r, format);
}

void print_names(const Json& list, const char* what) {
  for (const Json& name : list) std::printf("%s %s\n", what, name.get<std::string>().c_str());
}

}  // namespace

int run_ping(Session& s, const PingArgs& a) {
  for (std::uint32_t i = 0; i < a.count && !s.interrupt().happened(); ++i) {
    s.client();  // so that the first round trip is one
    const auto start = std::chrono::steady_clock::now();
    const Reply r = s.done(a.store, "ping", body(Json::object()), s.call_options());
    const auto us = std::chrono::duration_cast<std::chrono::microseconds>(
                        std::chrono::steady_clock::now() - start)
                        .count();
    if (s.options().format == Format::json) {
      std::printf(
          "%s\n",
          dump(Json{{"store", a.store}, {"us", us}, {"address", s.client().address()}}).c_str());
    } else {
      std::printf("%s answers in %.2f ms (%s)\n", a.store.c_str(), static_cast<double>(us) / 1000.0,
                  s.client().address().c_str());
    }
  }
  return s.interrupt().happened() ? kInterrupted : kOk;
}

int run_show(Session& s, const std::string& what) {
  return print(s.call(kGateway, "show", body({{"what", what}}), s.call_options()),
               s.options().format);
}

int run_reload(Session& s) {
  const Reply r = s.call(kGateway, "reload", body(Json::object()), s.call_options());
  if (!r.ok()) return told(r, s.options().format);
  const Json v = to_json(r.body());
  if (s.options().format != Format::table) {
    std::printf("%s\n", dump(v).c_str());
    return kOk;
  }
  print_names(v.value("changed", Json::array()), "changed");
  print_names(v.value("needs_restart", Json::array()), "needs a restart:");
  if (v.value("changed", Json::array()).empty() &&
      v.value("needs_restart", Json::array()).empty()) {
    std::puts("nothing changed");
  }
  return kOk;
}

int run_drain(Session& s, const std::string& timeout) {
  Json v = Json::object();
  if (!timeout.empty()) v["timeout_ms"] = parse_timeout(timeout, "--within").count();
  return print(s.call(kGateway, "drain", body(v), s.call_options()), s.options().format);
}

int run_kill(Session& s, std::uint64_t call) {
  const Reply r = s.call(kGateway, "kill", body({{"call", call}}), s.call_options());
  if (!r.ok()) return told(r, s.options().format);
  const Json v = to_json(r.body());
  const bool killed = v.value("killed", false);
  if (s.options().format != Format::table)
    std::printf("%s\n", dump(v).c_str());
  else
    std::puts(killed ? "killed" : "there is no such call");
  return killed ? kOk : kRefused;
}

int run_can(Session& s, const std::string& service, const std::string& store,
            const std::string& verb) {
  const Json ask = {{"service", service}, {"store", store}, {"verb", verb}};
  const Reply r = s.call(kGateway, "can", body(ask), s.call_options());
  if (!r.ok()) return told(r, s.options().format);
  const Json v = to_json(r.body());
  const bool allowed = v.value("allowed", false);
  if (s.options().format != Format::table) {
    std::printf("%s\n", dump(v).c_str());
  } else {
    std::printf("%s: %s\n", allowed ? "allowed" : "denied",
                visible(v.value("why", std::string())).c_str());
  }
  return allowed ? kOk : kRefused;
}

int run_request(Session& s, const RequestArgs& a) {
  const auto packed = body(parse_json(a.body, "the body"));
  const CallOptions o = s.call_options(a.words);
  const Format format = s.options().format;
  if (a.words.fetch == 0) return print(s.call(a.store, a.verb, packed, o), format);
  RowsWriter rows(format);
  bool table = false;
  const Reply r = s.stream(a.store, a.verb, packed, o, [&](Bytes piece) {
    const msgpack::object_handle h = detail::parse(piece);
    table = table || detail::field(h.get(), "columns") != nullptr;
    if (table)
      rows.piece(piece);
    else
      print_piece(piece, format);
  });
  if (table) rows.end(r.meta);
  return kOk;
}

int run_verb(Session& s, const VerbArgs& a) {
  const VerbShape shape = verb_shape(a.kind, a.verb);
  const auto packed = body_of(shape, a.rest, a.base64);
  const CallOptions o = s.call_options(a.words);
  if (a.words.fetch == 0) return print(s.call(a.store, a.verb, packed, o), s.options().format);
  s.stream(a.store, a.verb, packed, o,
           [&](Bytes piece) { print_piece(piece, s.options().format); });
  return kOk;
}

namespace {

// FILE.tmp while it grows; FILE, whole and on the disk, at the end; nothing when it fails.
class SafeFile {
 public:
  explicit SafeFile(std::string path) : path_(std::move(path)), temporary_(path_ + ".tmp") {
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd_ < 0) fail("cannot be written");
  }
  SafeFile(const SafeFile&) = delete;
  SafeFile& operator=(const SafeFile&) = delete;
  ~SafeFile() {
    if (fd_ < 0) return;
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("cannot be written");
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  void keep() {
    if (::fsync(fd_) != 0) fail("cannot be written to the disk");
    ::close(fd_);
    fd_ = -1;
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be renamed");
    std::string parent = std::filesystem::path(path_).parent_path().string();
    if (parent.empty()) parent = ".";
    const int directory = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;
    ::fsync(directory);
    ::close(directory);
  }

 private:
  [[noreturn]] void fail(const std::string& what) {
    throw Usage(temporary_ + " " + what + ": " + std::strerror(errno));
  }
  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

}  // namespace

int run_backup(Session& s, const std::string& store, const std::string& file) {
  CallOptions o = s.call_options();
  o.fetch = 1;
  std::uint64_t bytes = 0;
  const bool bar = ::isatty(2) != 0 && file != "-";
  std::optional<SafeFile> out;
  if (file != "-") out.emplace(file);
  s.stream(store, "backup", body(Json::object()), o, [&](Bytes piece) {
    const msgpack::object_handle h = detail::parse(piece);
    if (h.get().type != msgpack::type::BIN) return;
    const std::string_view data(h.get().via.bin.ptr, h.get().via.bin.size);
    if (out)
      out->write(data);
    else if (std::fwrite(data.data(), 1, data.size(), stdout) != data.size()) {
      throw Usage(std::string("stdout cannot be written: ") + std::strerror(errno));
    }
    bytes += data.size();
    if (bar) std::fprintf(stderr, "\r%.1f MiB", static_cast<double>(bytes) / (1 << 20));
  });
  if (bar) std::fputs("\r\x1b[K", stderr);
  if (bytes == 0) throw Usage("the store gave nothing");
  if (out) {
    out->keep();
    std::fprintf(stderr, "%s: %llu bytes\n", file.c_str(), static_cast<unsigned long long>(bytes));
  }
  return kOk;
}

}  // namespace headgate::cli
