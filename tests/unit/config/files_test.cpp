// Files on disk: tests/config/{valid,invalid}, what is shipped in etc/, and the table in the docs.
//
// An invalid file says in comments what must be found in it, and nothing else may be:
//   line # expect: message            on this line
//   # expect: LINE:COLUMN: message    exactly there
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>

#include "daemon/config/config.hpp"
#include "daemon/config/settings.hpp"
#include "daemon/pool/attempts.hpp"
#include "tests/unit/config/schema.hpp"

namespace headgate::config {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = HEADGATE_SOURCE_DIR;

std::string read(const fs::path& p) {
  std::ifstream in(p, std::ios::binary);
  EXPECT_TRUE(in) << p;
  return {std::istreambuf_iterator<char>(in), {}};
}

void write(const fs::path& p, const std::string& text) {
  fs::create_directories(p.parent_path());
  std::ofstream(p) << text;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// Makes messages short and the same everywhere: file names without directories.
class InDirectory {
 public:
  explicit InDirectory(const fs::path& p) : before_(fs::current_path()) { fs::current_path(p); }
  ~InDirectory() { fs::current_path(before_); }

 private:
  fs::path before_;
};

struct Expectation {
  std::string file;
  std::uint32_t line, column;  // column 0: any
  std::string what;
};

void expectations_of(const fs::path& file, std::vector<Expectation>& into) {
  static const std::regex kExact(R"(^(\d+):(\d+): (.*)$)");
  std::ifstream in(file);
  std::string line;
  for (std::uint32_t number = 1; std::getline(in, line); ++number) {
    constexpr std::string_view kMark = "# expect: ";
    const std::size_t at = line.find(kMark);
    if (at == std::string::npos) continue;
    const std::string text = line.substr(at + kMark.size());
    std::smatch m;
    if (std::regex_match(text, m, kExact)) {
      into.push_back({file.string(), static_cast<std::uint32_t>(std::stoul(m[1])),
                      static_cast<std::uint32_t>(std::stoul(m[2])), m[3]});
    } else {
      into.push_back({file.string(), number, 0, text});
    }
  }
}

void compare(const std::vector<ConfigFault>& faults, std::vector<Expectation> expected,
             const std::string& statements) {
  for (const ConfigFault& f : faults) {
    const std::string what = replaced(f.what, statements, "STATEMENTS");
    const auto it = std::find_if(expected.begin(), expected.end(), [&](const Expectation& e) {
      return e.file == f.place.file && e.line == f.place.line &&
             (e.column == 0 || e.column == f.place.column) && e.what == what;
    });
    if (it == expected.end()) {
      ADD_FAILURE() << "not expected: " << f.text();
    } else {
      EXPECT_GT(f.place.column, 0u) << f.text();
      expected.erase(it);
    }
  }
  for (const Expectation& e : expected) {
    ADD_FAILURE() << "not found: " << e.file << ":" << e.line << ": " << e.what;
  }
}

std::vector<std::string> entries(const fs::path& directory) {
  std::vector<std::string> out;
  for (const auto& e : fs::directory_iterator(directory)) out.push_back(e.path().filename());
  std::sort(out.begin(), out.end());
  return out;
}

TEST(Files, EveryValidFileIsTaken) {
  const fs::path directory = kSource / "tests/config/valid";
  const InDirectory here(directory);
  ASSERT_FALSE(entries(directory).empty());
  for (const std::string& file : entries(directory)) {
    const auto config = load(file, with_schema());
    ASSERT_TRUE(config) << config.error().front().text();
  }
}

TEST(Files, EveryFaultOfAnInvalidFileIsToldOnce) {
  const fs::path directory = kSource / "tests/config/invalid";
  std::size_t seen = 0;
  for (const std::string& name : entries(directory)) {
    SCOPED_TRACE(name);
    const bool folder = fs::is_directory(directory / name);
    const InDirectory here(folder ? directory / name : directory);
    std::vector<Expectation> expected;
    std::string file = name;
    if (folder) {
      file = "headgate.toml";
      expectations_of(file, expected);
      if (fs::exists("conf.d")) {
        for (const std::string& f : entries("conf.d")) {
          expectations_of(fs::path("conf.d") / f, expected);
        }
      }
    } else {
      expectations_of(file, expected);
    }
    const auto config = load(file, with_schema());
    ASSERT_FALSE(config);
    EXPECT_FALSE(config.error().empty());
    const fs::path statements = kSource / "etc/statements";
    if (fs::exists("expected.txt")) {
      std::string all;
      for (const ConfigFault& f : config.error()) {
        all += replaced(f.text(), (fs::current_path() / "statements").string() + "/", "") + "\n";
      }
      EXPECT_EQ(replaced(all, "'" + fs::current_path().string(), "'"), read("expected.txt"));
    } else {
      EXPECT_FALSE(expected.empty());
      compare(config.error(), expected, fs::canonical(statements).string());
    }
    ++seen;
  }
  EXPECT_GE(seen, 18u);
}

TEST(Files, FaultsComeInTheOrderOfTheFile) {
  const InDirectory here(kSource / "tests/config/invalid");
  const auto config = load("types.toml");
  ASSERT_FALSE(config);
  EXPECT_TRUE(std::is_sorted(
      config.error().begin(), config.error().end(),
      [](const ConfigFault& a, const ConfigFault& b) { return a.place.line < b.place.line; }));
}

TEST(Shipped, HeadgateTomlSaysEveryDefault) {
  const auto config = load(kSource / "etc/headgate.toml");
  ASSERT_TRUE(config) << config.error().front().text();
  std::size_t lines = 0;
  for (const ShownSetting& s : show(*config)) {
    EXPECT_EQ(s.value, s.fallback) << s.name;
    if (s.name == "daemon.server_key") continue;  // has no default, so it is shown in a comment
    EXPECT_NE(s.place, "default") << s.name << " is missing in etc/headgate.toml";
    ++lines;
  }
  EXPECT_EQ(lines + 1, daemon_settings().size() + pool_settings().size());
  const Difference d = diff(Config{}, *config);
  EXPECT_TRUE(d.changed.empty() && d.needs_restart.empty());
  for (const auto& s : daemon_settings()) {
    const std::string text = read(kSource / "etc/headgate.toml");
    EXPECT_NE(text.find("\n" + std::string(s.name == "server_key" ? "# " : "") +
                        std::string(s.name) + " = "),
              std::string::npos)
        << s.name;
  }
}

TEST(Shipped, TheCommentedExampleOfHeadgateTomlIsRight) {
  std::string text = read(kSource / "etc/headgate.toml");
  const std::size_t at = text.find("# [stores.orders]");
  ASSERT_NE(at, std::string::npos);
  std::string example = std::regex_replace(text.substr(at), std::regex("(^|\n)# ?"), "$1");
  example = replaced(example, "\"billing\", 1003", "1003");
  const fs::path directory = fs::path(testing::TempDir()) / "shipped_example";
  fs::remove_all(directory);
  write(directory / "headgate.toml",
        "[daemon]\nstatements_dir = \"" + (kSource / "etc/statements").string() + "\"\n" + example);
  const auto config = load(directory / "headgate.toml", with_schema());
  ASSERT_TRUE(config) << config.error().front().text();
  EXPECT_EQ(config->stores.size(), 2u);
  EXPECT_EQ(config->credentials.size(), 1u);
  EXPECT_EQ(config->services.size(), 1u);
  ASSERT_EQ(config->grants.size(), 2u);
  EXPECT_EQ(config->grants[0].limits.timeout_max, std::chrono::seconds(30));
  fs::remove_all(directory);
}

TEST(Shipped, QuickstartAndDropInsAreRight) {
  const fs::path directory = fs::path(testing::TempDir()) / "shipped";
  fs::remove_all(directory);
  fs::create_directories(directory / "conf.d");
  fs::copy_file(kSource / "etc/quickstart.toml", directory / "headgate.toml",
                fs::copy_options::overwrite_existing);
  fs::copy(kSource / "etc/statements", directory / "statements", fs::copy_options::recursive);
  auto config = load(directory / "headgate.toml", with_schema());
  ASSERT_TRUE(config) << config.error().front().text();
  EXPECT_EQ(config->daemon.listen_ipc, (directory / "headgate.sock").string());
  EXPECT_EQ(config->daemon.state_dir, (directory / "state").string());
  ASSERT_EQ(config->stores.size(), 3u);
  ASSERT_EQ(config->services.size(), 1u);
  EXPECT_EQ(config->services[0].uids, std::vector<std::uint32_t>{::geteuid()});
  EXPECT_EQ(config->grants.size(), 4u);
  EXPECT_EQ(config->statements.size(), 2u);

  // The examples of conf.d, each beside an empty main file.
  std::size_t examples = 0;
  for (const auto& e : fs::directory_iterator(kSource / "etc/conf.d")) {
    if (e.path().extension() != ".example") continue;
    fs::remove_all(directory / "conf.d");
    write(directory / "headgate.toml", "[daemon]\nstatements_dir = \"statements\"\n");
    write(directory / "conf.d" / e.path().stem(), read(e.path()));
    config = load(directory / "headgate.toml", with_schema());
    ASSERT_TRUE(config) << config.error().front().text();
    EXPECT_EQ(config->files.size(), 2u);
    EXPECT_FALSE(config->grants.empty());
    ++examples;
  }
  EXPECT_GE(examples, 2u);
  fs::remove_all(directory);
}

// HEADGATE_UPDATE=1 writes the table anew.
TEST(Docs, TheTableOfSettingsIsTheCodes) {
  const fs::path page = kSource / "docs/configuration.md";
  const std::string text = read(page);
  const std::string begin = "<!-- settings: begin -->\n";
  const std::string end = "<!-- settings: end -->";
  const std::size_t from = text.find(begin);
  const std::size_t to = text.find(end);
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos);
  const std::string fresh = text.substr(0, from) + begin + settings_table() + text.substr(to);
  if (std::getenv("HEADGATE_UPDATE") != nullptr && fresh != text) std::ofstream(page) << fresh;
  EXPECT_EQ(fresh, read(page)) << "run this test with HEADGATE_UPDATE=1";
}

// give_numbers() carries every number, and the defaults are the pool's own.
TEST(Pool, SettingsAreThePoolsOwn) {
  const pool::Settings theirs;
  pool::Settings ours;
  // Whatever give_numbers() leaves out keeps this pattern.
  const std::size_t from = offsetof(pool::Settings, connections_min);
  std::memset(reinterpret_cast<char*>(&ours) + from, 0x11, sizeof ours - from);
  give_numbers(Pool{}, ours);
  EXPECT_EQ(ours.connections_min, theirs.connections_min);
  EXPECT_EQ(ours.connections_max, theirs.connections_max);
  EXPECT_EQ(ours.idle_max, theirs.idle_max);
  EXPECT_EQ(ours.lifetime_max, theirs.lifetime_max);
  EXPECT_EQ(ours.check_after, theirs.check_after);
  EXPECT_EQ(ours.connect_timeout, theirs.connect_timeout);
  EXPECT_EQ(ours.connects_max, theirs.connects_max);
  EXPECT_EQ(ours.queue_calls_max, theirs.queue_calls_max);
  EXPECT_EQ(ours.queue_bytes_max, theirs.queue_bytes_max);
  EXPECT_EQ(ours.lease_idle, theirs.lease_idle);
  EXPECT_EQ(ours.lease_total, theirs.lease_total);
  EXPECT_EQ(ours.writer_lease_idle, theirs.writer_lease_idle);
  EXPECT_EQ(ours.writer_lease_total, theirs.writer_lease_total);
  EXPECT_EQ(ours.stall_store, theirs.stall_store);
  EXPECT_EQ(ours.stall_caller, theirs.stall_caller);
  EXPECT_EQ(ours.stream_max, theirs.stream_max);
  EXPECT_EQ(ours.attempts_max, theirs.attempts_max);
  EXPECT_EQ(ours.backoff_base, theirs.backoff_base);
  EXPECT_EQ(ours.backoff_cap, theirs.backoff_cap);
  EXPECT_EQ(ours.budget_service, theirs.budget_service);
  EXPECT_EQ(ours.budget_store, theirs.budget_store);
  EXPECT_EQ(ours.budget_floor, theirs.budget_floor);
  EXPECT_EQ(ours.breaker_ratio, theirs.breaker_ratio);
  EXPECT_EQ(ours.breaker_min_calls, theirs.breaker_min_calls);
  EXPECT_EQ(ours.breaker_window, theirs.breaker_window);
  EXPECT_EQ(ours.breaker_open_min, theirs.breaker_open_min);
  EXPECT_EQ(ours.breaker_open_max, theirs.breaker_open_max);
}

}  // namespace
}  // namespace headgate::config
