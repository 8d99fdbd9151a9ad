// One table of options feeds describe(), reading and the README.
#include "plugins/postgres/options.hpp"

#include <algorithm>

#include "plugins/sdk/describe.hpp"

namespace headgate::postgres {
namespace {

constexpr sdk::IntOption<Options> kInts[] = {
    {"shared_connections", "int", &Options::shared_connections, 1, 16,
     "connections that independent statements of many callers share, for each pool"},
    {"connections", "int", &Options::connections, 1, 1000,
     "connections that serve one caller at a time, for each pool"},
    {"shared_timeout_ms", "duration_ms", &Options::shared_timeout_ms, 10, 60'000,
     "statement_timeout of shared connections; what hits it runs again on one of its own"},
    {"slow_ms", "duration_ms", &Options::slow_ms, 1, 60'000,
     "a statement that takes longer twice in 16 runs leaves the shared connections for a while"},
    {"statements_max", "int", &Options::statements_max, 8, 10'000,
     "prepared statements that a connection keeps"},
    {"stall_ms", "duration_ms", &Options::stall_ms, 100, 600'000,
     "a server that says nothing for so long past a statement's time is given up"},
    {"keep_keys_ms", "duration_ms", &Options::keep_keys_ms, 1000, 30LL * 24 * 3600 * 1000,
     "how long an idempotency key is remembered"},
};

struct TextOption {
  std::string_view name;
  bool required;
  std::string_view otherwise;
  std::string_view help;
  std::span<const std::string_view> values = {};  // empty: any
};
constexpr std::string_view kShared[] = {"auto", "declared", "off"};
constexpr std::string_view kIsolation[] = {"read_committed", "repeatable_read", "serializable"};
constexpr std::string_view kLostCommit[] = {"unknown", "ask"};
constexpr TextOption kTexts[] = {
    {"database", true, "", "the database that connections log in to"},
    {"shared", false, "auto",
     "auto: statements whose text is independent of a session share connections; declared: only "
     "named statements marked `-- shared`; off: none",
     kShared},
    {"isolation", false, "",
     "isolation of transactions that name none: read_committed, repeatable_read, serializable",
     kIsolation},
    {"lost_commit", false, "unknown",
     "unknown: a COMMIT whose answer was lost is answered `unknown`; ask: the server is asked",
     kLostCommit},
    {"keys_schema", false, "public", "the schema that has the table headgate_idempotency"},
};

void read_init(Options& out, proto::Cursor value) {
  const std::uint32_t n = value.read_array();
  for (std::uint32_t i = 0; i < n && value.ok(); ++i) out.init.emplace_back(value.read_str());
  if (!value.ok()) throw sdk::invalid("option `init` must be a list of statements");
}

std::string text_of(std::string_view name, proto::Cursor value) {
  const std::string_view v = value.read_str();
  if (!value.ok() || v.find('\0') != std::string_view::npos)
    throw sdk::invalid("option `" + std::string(name) + "` must be a string");
  return std::string(v);
}

void read_text(Options& out, const TextOption& option, proto::Cursor value) {
  const std::string_view name = option.name;
  const std::string v = text_of(name, value);
  if (!option.values.empty() && std::ranges::find(option.values, v) == option.values.end()) {
    std::string list;
    for (const std::string_view w : option.values)
      list += (list.empty() ? "\"" : ", \"") + std::string(w) + "\"";
    throw sdk::invalid("option `" + std::string(name) + "` must be one of " + list);
  }
  if (name == "database") {
    out.database = v;
  } else if (name == "keys_schema") {
    if (v.empty()) throw sdk::invalid("option `keys_schema` must name a schema");
    out.keys_schema = v;
  } else if (name == "isolation") {
    out.isolation = v;
  } else if (name == "lost_commit") {
    out.ask_lost_commit = v == "ask";
  } else {
    out.sharing = v == "auto"       ? Sharing::automatic
                  : v == "declared" ? Sharing::declared
                                    : Sharing::off;
  }
}

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
    const auto* text = std::ranges::find(kTexts, name, &TextOption::name);
    if (sdk::read_int_option<Options>(kInts, out, name, value)) continue;
    if (name == "init")
      read_init(out, value);
    else if (text != std::end(kTexts))
      read_text(out, *text, value);
    else
      throw sdk::invalid("unknown option `" + std::string(name) + "`");
  }
  if (out.database.empty()) throw sdk::invalid("option `database` is missing");
  return out;
}

void describe_options(proto::Writer& w) {
  w.map(static_cast<std::uint32_t>(1 + std::size(kTexts) + std::size(kInts)));
  for (const TextOption& t : kTexts)
    sdk::describe_option(w, t.name, "str", t.required, t.help, t.otherwise, t.values);
  sdk::describe_option(w, "init", "list", false,
                       "statements for each new session, and again after a reset", {});
  sdk::describe_int_options<Options>(w, kInts);
}

std::string_view isolation_sql(std::string_view level) {
  if (level == "read_committed") return "READ COMMITTED";
  if (level == "repeatable_read") return "REPEATABLE READ";
  if (level == "serializable") return "SERIALIZABLE";
  return {};
}

}  // namespace headgate::postgres
