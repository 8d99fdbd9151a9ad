// template is a whole plugin in one page: a key-value store in one file. Copy it, rename it, and
// put your product in the place of FileStore. The README beside plugin.h walks through it.
//
// Its model: one blocking lane, one connection a pool. All calls that wait when the connection
// becomes free come in one submit(): they are applied in memory, the file is written once, and then
// all are answered. So 64 callers share the price of one fsync.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>

#include "plugins/sdk/driver.hpp"

namespace {

using namespace headgate::sdk;
using headgate::proto::Cursor;
using headgate::proto::VectorOut;
using headgate::proto::Writer;

constexpr std::size_t kKeyMax = 1024;

// ---- the product
// ---------------------------------------------------------------------------------

// All keys of one file. Shared by the connections of a store, hence the mutex.
class FileStore {
 public:
  explicit FileStore(std::string path) : path_(std::move(path)) { load(); }

  using Map = std::map<std::string, std::string, std::less<>>;
  std::mutex mutex;
  Map entries;

  // Makes `entries` durable. Throws with what that did to the file: nothing, or nobody knows.
  void save() {
    VectorOut out(1 << 16);
    Writer w(&out);
    w.map(static_cast<std::uint32_t>(entries.size()));
    for (const auto& [key, value] : entries) {
      w.bin(headgate::proto::bytes_of(key));
      w.bin(headgate::proto::bytes_of(value));
    }
    const std::string fresh = path_ + ".new";
    const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0;
    for (Bytes rest = out.view(); good && !rest.empty();) {
      const ssize_t n = ::write(fd, rest.data(), rest.size());
      if (n > 0)
        rest = rest.subspan(static_cast<std::size_t>(n));
      else
        good = n < 0 && errno == EINTR;
    }
    good = good && ::fsync(fd) == 0;
    if (fd >= 0) good = ::close(fd) == 0 && good;
    if (!good || ::rename(fresh.c_str(), path_.c_str()) != 0) throw failed(Outcome::rolled_back);
    const std::string directory = path_.substr(0, path_.rfind('/') + 1);
    const int dir = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = dir >= 0 && ::fsync(dir) == 0;
    if (dir >= 0) ::close(dir);
    if (!synced) throw failed(Outcome::unknown);  // renamed, but perhaps not for ever
  }

 private:
  Error failed(Outcome outcome) const {
    Error e(Code::store_error, outcome, path_ + ": " + std::strerror(errno));
    e.vendor_code = errno;
    e.breaker = true;
    return e;
  }
  void load() {
    const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
      return save();  // a new store; also finds out whether we may write
    if (fd < 0) throw failed(Outcome::not_sent);
    std::vector<std::uint8_t> bytes;
    std::uint8_t block[65536];
    for (ssize_t n; (n = ::read(fd, block, sizeof block)) > 0;)
      bytes.insert(bytes.end(), block, block + n);
    ::close(fd);
    Cursor c((Bytes(bytes)));
    for (std::uint32_t n = c.read_map(); n > 0 && c.ok(); --n) {
      std::string key(headgate::proto::text_of(c.read_bin()));
      entries[std::move(key)] = headgate::proto::text_of(c.read_bin());
    }
    if (!c.ok() || !c.at_end())
      throw Error(Code::store_error, Outcome::not_sent, path_ + " is not a file of this plugin");
  }
  std::string path_;
};

// ---- what the daemon sees
// ------------------------------------------------------------------------

const hg_host* g_host = nullptr;

hg_bytes describe() {
  static const std::vector<std::uint8_t> map = [] {
    VectorOut out;
    Writer w(&out);
    w.map(6);
    w.str("name");
    w.str("template");
    w.str("version");
    w.str("1.0");
    w.str("product");
    w.str("one file");
    w.str("kinds");
    w.array(1);
    w.map(3);
    w.str("kind");
    w.str("key_value");
    w.str("verbs");
    w.map(5);
    for (const char* read : {"ping", "describe", "get"}) {
      w.str(read);
      w.map(1);
      w.str("access");
      w.str("read");
    }
    for (const char* write : {"set", "delete"}) {
      w.str(write);
      w.map(1);
      w.str("access");
      w.str("write");
    }
    w.str("limits");
    w.map(1);
    w.str("key_bytes");
    w.uint(kKeyMax);
    w.str("lanes");
    w.array(1);
    w.map(6);
    w.str("name");
    w.str("file");
    w.str("model");
    w.str("blocking");
    w.str("connections");
    w.uint(1);
    w.str("per");
    w.str("pool");
    w.str("max_inflight");
    w.uint(64);
    w.str("max_batch");
    w.uint(64);
    w.str("options");
    w.map(1);
    w.str("path");
    w.map(5);
    w.str("type");
    w.str("str");
    w.str("required");
    w.boolean(true);
    w.str("min");
    w.uint(1);
    w.str("max");
    w.uint(4096);
    w.str("help");
    w.str("the file; relative to state_dir");
    const Bytes b = out.view();
    return std::vector<std::uint8_t>(b.begin(), b.end());
  }();
  return lend(Bytes(map));
}

// Reads a body and refuses what is wrong with it. route() calls it to check, submit() to act.
struct Request {
  explicit Request(const hg_call& call) : verb(text(call.verb)) {
    if (verb == "ping") {
      Fields fields(verb, bytes(call.body), {});
    } else if (verb == "get" || verb == "delete") {
      Fields fields(verb, bytes(call.body), {"key"});
      key = headgate::proto::text_of(fields.key("key"));
    } else if (verb == "set") {
      Fields fields(verb, bytes(call.body), {"key", "value", "nx", "xx"});
      key = headgate::proto::text_of(fields.key("key"));
      value = headgate::proto::text_of(fields.key("value"));
      nx = fields.flag("nx");
      xx = fields.flag("xx");
      if (nx && xx) throw invalid("set: nx and xx exclude each other");
    } else {
      throw unsupported("this store has no verb `" + std::string(verb.substr(0, 64)) + "`");
    }
    if (verb != "ping" && key.empty())
      throw invalid(std::string(verb) + ": the key must not be empty");
    if (key.size() > kKeyMax)
      throw Error(Code::too_large, Outcome::not_sent,
                  std::string(verb) + ": a key has at most 1024 bytes");
  }
  [[nodiscard]] bool writes() const { return verb == "set" || verb == "delete"; }
  std::string_view verb, key, value;
  bool nx = false, xx = false;
};

class FileConnection final : public Connection {
 public:
  FileConnection(FileStore& store, bool read_only) : store_(store), read_only_(read_only) {}

  void submit(const hg_call* const* calls, std::uint32_t n) override {
    std::lock_guard lock(store_.mutex);
    std::vector<std::optional<Error>> errors(n);
    FileStore::Map before;
    bool changed = false;
    for (std::uint32_t i = 0; i < n; ++i) {
      try {
        const Request r(*calls[i]);
        if (r.writes() && read_only_)
          throw Error(Code::denied, Outcome::rejected, "this connection is read-only");
        if (r.writes() && !changed) {
          before = store_.entries;
          changed = true;
        }
        Sink sink(g_host, calls[i]->op);
        answer(r, sink);
        sink.commit();
        if (sink.why() == HG_FULL)
          throw Error(Code::too_large, r.writes() ? Outcome::applied : Outcome::rejected,
                      "the reply is larger than reply_max");
      } catch (const Error& e) {
        errors[i] = e;
      }
    }
    if (changed) {
      try {
        store_.save();
      } catch (const Error& e) {
        // All writes of this batch shared one file: they failed together.
        if (e.outcome == Outcome::rolled_back) store_.entries = std::move(before);
        for (std::uint32_t i = 0; i < n; ++i)
          if (!errors[i] && Request(*calls[i]).writes()) errors[i] = e;
      }
    }
    for (std::uint32_t i = 0; i < n; ++i) {
      Done done;
      if (i + 1 < n) done.flags = HG_DONE_MORE;  // one wake of the loop for the whole batch
      complete(g_host, calls[i]->op, done, errors[i] ? &*errors[i] : nullptr);
    }
  }
  void reset(hg_op op) override { complete(g_host, op, {}); }
  void ping(hg_op op) override { complete(g_host, op, {}); }

 private:
  void answer(const Request& r, Sink& sink) {
    Writer w(&sink);
    const auto it = store_.entries.find(r.key);
    const bool there = it != store_.entries.end();
    if (r.verb == "ping") {
      w.map(0);
    } else if (r.verb == "get") {
      w.map(2);
      w.str("value");
      there ? w.bin(headgate::proto::bytes_of(it->second)) : w.nil();
      w.str("version");
      w.nil();
    } else if (r.verb == "set") {
      const bool set = !(r.nx && there) && !(r.xx && !there);
      if (set) store_.entries.insert_or_assign(std::string(r.key), std::string(r.value));
      w.map(3);
      w.str("set");
      w.boolean(set);
      w.str("version");
      w.nil();
      w.str("old");
      w.nil();
    } else {
      if (there) store_.entries.erase(it);
      w.map(1);
      w.str("deleted");
      w.uint(there ? 1 : 0);
    }
  }
  FileStore& store_;
  const bool read_only_;
};

class FileDriver final : public Driver {
 public:
  explicit FileDriver(std::string path) : store_(std::move(path)) {}

  // Any thread, no I/O: checks the body, names what it touches, says how it may be repeated.
  Route route(const hg_call& call, const Touches& touches) override {
    const Request r(call);
    if (!r.key.empty()) touches.touch(r.verb, HG_TOUCH_KEY, headgate::proto::bytes_of(r.key));
    Route route;
    route.idempotent = !r.writes() || r.verb == "delete" || !(r.nx || r.xx);
    return route;
  }
  std::unique_ptr<Connection> open(const hg_connect& connect, std::int32_t*) override {
    return std::make_unique<FileConnection>(store_, connect.access == HG_ACCESS_READ);
  }

 private:
  FileStore store_;
};

std::unique_ptr<Driver> open_driver(const hg_host* host, const hg_driver_config& config) {
  g_host = host;
  const Fields options("options", bytes(config.options), {"path"});
  std::string path(options.str("path"));
  if (path.front() != '/') path = std::string(text(config.state_dir)) + "/" + path;
  return std::make_unique<FileDriver>(std::move(path));
}

constexpr Plugin kPlugin{"template", "1.0", describe, open_driver};

}  // namespace

HEADGATE_PLUGIN(kPlugin)
