// One table of options feeds describe(), reading and the README.
#include "plugins/sqlite/options.hpp"

#include "plugins/sdk/describe.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::string_view kSynchronous[] = {"full", "normal"};
constexpr std::int64_t kMiB = 1 << 20;
constexpr sdk::IntOption<Options> kInts[] = {
    {"readers", "int", &Options::readers, 1, 64, "connections that read, each with a thread"},
    {"batch_max", "int", &Options::batch_max, 1, 512, "calls that share one commit"},
    {"batch_ms", "duration_ms", &Options::batch_ms, 1, 1000,
     "a batch that has worked this long commits, at the border of a call"},
    {"statement_max_ms", "duration_ms", &Options::statement_max_ms, 10, 60'000,
     "what one call may take in a batch with others; a longer one runs again alone"},
    {"wal_truncate_bytes", "bytes", &Options::wal_truncate_bytes, kMiB, 1 << 30,
     "the write-ahead log is emptied when it is larger than this"},
    {"cache_bytes", "bytes", &Options::cache_bytes, 64 << 10, 1 << 30,
     "page cache of a connection"},
    {"mmap_bytes", "bytes", &Options::mmap_bytes, 0, 1LL << 40,
     "how much of the file is mapped; an I/O error in a mapped file kills the process"},
    {"busy_timeout_ms", "duration_ms", &Options::busy_timeout_ms, 0, 60'000,
     "how long a call waits for a lock of another process"},
    {"statements_max", "int", &Options::statements_max, 0, 10'000,
     "prepared statements that a connection keeps"},
    {"value_max_bytes", "bytes", &Options::value_max_bytes, 1024, 512 * kMiB,
     "largest text, blob or row"},
    {"keep_keys_ms", "duration_ms", &Options::keep_keys_ms, 1000, 30LL * 24 * 3600 * 1000,
     "how long an idempotency key is remembered"},
};

}  // namespace

Options read_options(const hg_driver_config& config) {
  Options out;
  proto::Cursor c(sdk::bytes(config.options));
  const std::uint32_t n = c.at_end() ? 0 : c.read_map();
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::string_view name = c.read_str();
    const proto::Bytes raw = c.skip();
    if (!c.ok()) throw sdk::invalid("the store's options are no map of names");
    proto::Cursor value(raw);
    if (value.peek() == proto::Type::nil) continue;
    if (name == "path") {
      out.path = value.read_str();
      if (!value.ok()) throw sdk::invalid("option `path` must be a string");
    } else if (name == "synchronous") {
      const std::string_view v = value.read_str();
      if (!value.ok() || (v != "full" && v != "normal"))
        throw sdk::invalid("option `synchronous` must be \"full\" or \"normal\"");
      out.synchronous_full = v == "full";
    } else if (!sdk::read_int_option<Options>(kInts, out, name, value)) {
      throw sdk::invalid("unknown option `" + std::string(name) + "`");
    }
  }
  if (out.path.empty()) throw sdk::invalid("option `path` is missing: the file of this store");
  if (out.path.find('\0') != std::string::npos) throw sdk::invalid("option `path` holds a NUL");
  if (out.path.front() != '/') {
    const std::string_view dir = sdk::text(config.state_dir);
    if (dir.empty() || dir.front() != '/')
      throw sdk::invalid("option `path` is relative and there is no absolute state directory");
    out.path = std::string(dir) + (dir.back() == '/' ? "" : "/") + out.path;
  }
  return out;
}

void describe_options(proto::Writer& w) {
  w.map(2 + static_cast<std::uint32_t>(std::size(kInts)));
  sdk::describe_option(w, "path", "str", true,
                       "the file; relative paths are under the state directory", {});
  sdk::describe_option(
      w, "synchronous", "str", false,
      "full: what is acknowledged survives a power cut; normal: it may be lost, never torn", "full",
      kSynchronous);
  sdk::describe_int_options<Options>(w, kInts);
}

}  // namespace headgate::sqlite
