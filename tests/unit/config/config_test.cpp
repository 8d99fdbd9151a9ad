// Config's own questions: units, overrides, drop-ins, options as msgpack, show and diff.
#include "daemon/config/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <set>

#include "daemon/config/reader.hpp"
#include "daemon/config/settings.hpp"
#include "daemon/config/statements.hpp"
#include "daemon/config/units.hpp"
#include "tests/unit/config/schema.hpp"

namespace headgate::config {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Units, DurationsGoBothWays) {
  EXPECT_EQ(parse_duration("250ms"), Micros(250'000));
  EXPECT_EQ(parse_duration("0s"), Micros(0));
  EXPECT_EQ(parse_duration("1h"), Micros(3'600'000'000));
  for (const char* bad : {"", "5", "s", "5 s", "-5s", "+5s", "5S", "5.5s", "5ss", "5s ", " 5s",
                          "1h30m", "99999999999999999999s", "9223372036854775807s"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
  for (const std::int64_t us :
       {std::int64_t{0}, std::int64_t{1}, std::int64_t{999}, std::int64_t{1000},
        std::int64_t{90'000'000}, std::int64_t{86'400'000'000},
        std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_EQ(parse_duration(format_duration(Micros(us))), Micros(us));
  }
  EXPECT_EQ(format_duration(Micros(90'000'000)), "90s");
}

TEST(Units, SizesGoBothWays) {
  EXPECT_EQ(parse_size("64MiB"), 64u << 20);
  EXPECT_EQ(parse_size("7B"), 7u);
  for (const char* bad : {"", "64", "64MB", "64mib", "1.5GiB", "9000000000GiB", "-1B"}) {
    EXPECT_FALSE(parse_size(bad)) << bad;
  }
  EXPECT_EQ(format_size(3u << 19), "1536KiB");
}

TEST(Units, NearestIsNoGuess) {
  const std::vector<std::string> known = {"lease_idle", "lease_total", "ro"};
  EXPECT_EQ(nearest("lease_idel", known), "lease_idle");
  EXPECT_EQ(nearest("laese_idle", known), "lease_idle");
  EXPECT_EQ(nearest("frobnicate", known), "");
  EXPECT_EQ(nearest("xx", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest(std::string(100'000, 'a'), known), "");
}

TEST(Addresses, OnlyNumbers) {
  EXPECT_TRUE(parse_tcp("tcp://127.9.9.9:1")->loopback);
  EXPECT_TRUE(parse_tcp("tcp://[::1]:65535")->loopback);
  EXPECT_FALSE(parse_tcp("tcp://0.0.0.0:7733")->loopback);
  EXPECT_FALSE(parse_tcp("tcp://[::ffff:127.0.0.1]:1")->loopback);
  for (const char* bad : {"tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://127.0.0.1:65536",
                          "tcp://localhost:1", "ipc:///x", "tcp://*:1", "tcp://::1:1",
                          "tcp://127.0.0.1:1x", "tcp://127.1:1", "tcp://[]:1", "tcp://:1"}) {
    EXPECT_FALSE(parse_tcp(bad)) << bad;
  }
}

TEST(Keys, Z85) {
  EXPECT_TRUE(is_z85_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"));
  EXPECT_FALSE(is_z85_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf"));
  EXPECT_FALSE(is_z85_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\""));
  // "#####" is 85^5-1, above 32 bits; "%nSc0" is exactly 2^32-1.
  EXPECT_FALSE(is_z85_key("#####M>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf"));
  EXPECT_TRUE(is_z85_key("%nSc0" + std::string(35, '0')));
  EXPECT_FALSE(is_z85_key("%nSc1" + std::string(35, '0')));
}

class Loading : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "headgate_config_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::string file(const std::string& name, const std::string& text) {
    const fs::path p = directory_ / name;
    fs::create_directories(p.parent_path());
    std::ofstream(p, std::ios::binary) << text;
    return p.string();
  }
  static std::string faults(const tl::expected<Config, std::vector<ConfigFault>>& config) {
    std::string all;
    if (!config) {
      for (const ConfigFault& f : config.error()) all += f.text() + "\n";
    }
    return all;
  }
  Config good(const std::string& text, std::vector<std::string> overrides = {}) {
    LoadOptions options = with_schema();
    options.overrides = std::move(overrides);
    auto config = load(file("headgate.toml", text), options);
    EXPECT_EQ(faults(config), "");
    return config ? std::move(*config) : Config{};
  }
  fs::path directory_;
};

constexpr const char* kStore = R"(
[stores.a]
plugin = "sqlite"
kind = "sql"
options = { path = "a.db" }
[services.x]
unix_users = [1]
[[grants]]
service = "x"
store = "a"
access = "read"
)";

TEST_F(Loading, OptionsArriveAsMsgpackInThePluginsUnits) {
  const Config c = good(R"(
[stores.a]
plugin = "sqlite"
kind = "sql"
[stores.a.options]
path = "a.db"
busy_timeout = "2s"
cache = "1KiB"
strict = true
pragmas = ["a", "b"]
)");
  const std::string expected = std::string(
                                   "\x85\xa4path\xa4"
                                   "a.db\xac"
                                   "busy_timeout\xcd\x07\xd0\xa5"
                                   "cache\xcd\x04\x00",
                                   36) +
                               "\xa6strict\xc3\xa7pragmas\x92\xa1"
                               "a\xa1"
                               "b";
  const auto& o = c.stores.at(0).options;
  EXPECT_EQ(std::string(o.begin(), o.end()), expected);
}

constexpr const char* kServer = R"(
[stores.orders]
plugin = "postgres"
kind = "sql"
endpoints = ["db:5432"]
account = "orders"
options.database = "o"
[services.billing]
unix_users = [1]
[services.audit]
unix_users = [2]
)";

TEST_F(Loading, TheMostParticularCredentialIsTaken) {
  const Config c = good(std::string(kServer) + R"(
[[credentials]]
store = "orders"
access = "read"
account = "ro"
[[credentials]]
store = "orders"
service = "billing"
account = "billing"
[[credentials]]
store = "orders"
service = "billing"
access = "write"
account = "billing_rw"
)");
  const Store& s = *c.store("orders");
  const auto all = accounts(c, s);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].name, "orders");
  EXPECT_EQ(all[1].name, "orders:read");
  EXPECT_EQ(all[2].name, "orders/billing");
  EXPECT_EQ(all[3].name, "orders/billing:write");
  const auto who = [&](std::string_view service, Access a) {
    return all[account_of(c, s, service, a)].account;
  };
  EXPECT_EQ(who("audit", Access::write), "orders");
  EXPECT_EQ(who("audit", Access::read), "ro");
  EXPECT_EQ(who("billing", Access::read), "billing") << "its own comes before one for an access";
  EXPECT_EQ(who("billing", Access::write), "billing_rw");
}

TEST_F(Loading, AStoresPasswordThatCannotBeReadIsAFaultWhenAsked) {
  const std::string text = std::string(kServer) + R"(
[[credentials]]
store = "orders"
service = "audit"
account = "audit"
password = { file = "audit.pw" }
)";
  (void)good(text);  // a start: one store less is no reason to serve nobody
  LoadOptions asked = with_schema();
  asked.read_passwords = true;
  const std::string f = file("headgate.toml", text);
  const std::string path = (directory_ / "audit.pw").string();
  EXPECT_EQ(faults(load(f, asked)), f + ":17:21: credentials.password: " + path +
                                        " cannot be read: No such file or directory\n");
  file("audit.pw", "canary\n");
  ::chmod(path.c_str(), 0644);
  EXPECT_EQ(faults(load(f, asked)),
            f + ":17:21: credentials.password: " + path +
                " has mode 0644: others may read it; expected 0600 (chmod 600)\n");
  ::chmod(path.c_str(), 0600);
  const auto config = load(f, asked);
  ASSERT_TRUE(config);
  for (const ShownSetting& s : show(*config)) {
    EXPECT_EQ(s.value.find("canary"), std::string::npos) << s.name;
  }
}

TEST_F(Loading, TlsThatIsOffIsAWarningOverTheNetworkAlone) {
  const auto warnings = [&](const std::string& endpoints) {
    return good(
               "[stores.s]\nplugin = \"postgres\"\nkind = \"sql\"\ntls = \"off\"\n"
               "options.database = \"o\"\nendpoints = [" +
               endpoints + "]\n")
        .warnings;
  };
  EXPECT_TRUE(warnings("\"127.0.0.2:1\", \"localhost:1\", \"[::1]:1\", \"/run/pg\"").empty());
  const auto w = warnings("\"127.0.0.1:1\", \"db:5432\"");
  ASSERT_EQ(w.size(), 1u);
  EXPECT_EQ(w[0].what,
            "stores.s.tls is \"off\": passwords and data cross the network to "
            "\"db:5432\" unencrypted, and nothing proves that it is the right server");
  EXPECT_EQ(w[0].place.line, 4u);
}

TEST_F(Loading, WhatOfAServerAReloadChanges) {
  const Config before = good(kServer);
  std::string text = kServer;
  text.replace(text.find("account = \"orders\""), 18, "account = \"next\"");
  text.replace(text.find("db:5432"), 7, "db:5433");
  const Config after = good(text +
                            "[[credentials]]\nstore = \"orders\"\nservice = \"audit\"\n"
                            "account = \"x\"\n[stores.orders.tls]\nmin_version = \"1.3\"\n");
  const Difference d = diff(before, after);
  EXPECT_EQ(d.changed, (std::vector<std::string>{"credentials", "stores.orders.account",
                                                 "stores.orders.endpoints", "stores.orders.tls"}));
  EXPECT_TRUE(d.needs_restart.empty());
}

TEST_F(Loading, EndpointsWaitWithWhatTheyBelongTo) {
  const Config before = good(kServer);
  Config after = before;
  after.stores[0].endpoints = {"db:5433"};
  after.stores[0].read_endpoints = {"db:5434"};
  after.stores[0].options.push_back(0xc0);
  const Difference d = diff(before, after);
  EXPECT_TRUE(d.changed.empty());
  EXPECT_EQ(d.needs_restart,
            (std::vector<std::string>{"stores.orders.endpoints", "stores.orders.options",
                                      "stores.orders.read_endpoints"}));
}

TEST(Tls, AsThePluginGetsIt) {
  const auto packed = [](const Tls& t) {
    const auto bytes = pack_tls(t);
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(packed({}), "\x82\xa4mode\xabverify-full\xabmin_version\xa7TLSv1.2");
  Tls off;
  off.mode = Tls::Mode::off;
  EXPECT_EQ(packed(off), "\x81\xa4mode\xa3off");
}

TEST_F(Loading, DropInsOverrideSettingsAndAddGrants) {
  file("conf.d/20.toml", "[daemon]\nlog_level = \"debug\"\n");
  file("conf.d/10.toml",
       "[daemon]\nlog_level = \"warn\"\ndrain_timeout = \"7s\"\n"
       "[[grants]]\nservice = \"x\"\nstore = \"headgate\"\naccess = \"read\"\n");
  file("conf.d/30.toml.off", "nonsense");
  const Config c = good(kStore);
  EXPECT_EQ(c.daemon.log_level, Level::debug);
  EXPECT_EQ(c.daemon.drain_timeout, std::chrono::seconds(7));
  ASSERT_EQ(c.grants.size(), 2u);
  EXPECT_EQ(c.grants[1].store, "headgate");
  EXPECT_EQ(fs::path(c.grants[1].place.file).filename(), "10.toml");
  EXPECT_EQ(c.grants[1].place.line, 4u);
  EXPECT_EQ(c.files.size(), 3u);
}

TEST_F(Loading, EverySyntaxErrorOfSeveralFilesIsTold) {
  file("conf.d/10.toml", "[daemon\n");
  file("conf.d/20.toml", "x = \n");
  const auto config = load(file("headgate.toml", "unknown = 1\n"));
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().size(), 2u) << faults(config);
}

TEST_F(Loading, WhatCannotBeReadIsAFault) {
  EXPECT_NE(faults(load((directory_ / "none.toml").string())).find("No such file"),
            std::string::npos);
  EXPECT_NE(faults(load(directory_.string())), "");
  EXPECT_NE(faults(load(file("big.toml", std::string(kFileMax + 1, '#')))).find("larger than 4MiB"),
            std::string::npos);
  EXPECT_NE(faults(load(file("zero.toml", std::string("a = \"\0\"", 7)))), "");
  EXPECT_NE(faults(load(file("utf8.toml", "a = \"\xff\"\n"))), "");
}

TEST_F(Loading, DeepNestingIsAFaultAndNoCrash) {
  std::string text = "x = ";
  for (int i = 0; i < 100'000; ++i) text += '[';
  EXPECT_NE(faults(load(file("deep.toml", text))), "");
  text = "x";
  for (int i = 0; i < 50'000; ++i) text += ".x";
  EXPECT_NE(faults(load(file("dotted.toml", text + " = 1\n"))).find("more than 128 dots"),
            std::string::npos);
  text = "x";
  for (int i = 0; i < 100; ++i) text += ".x";
  EXPECT_NE(faults(load(file("dotted.toml", text + " = 1\n"))).find("nested deeper than 32"),
            std::string::npos);
  // Both at once: as deep as it goes.
  std::string both;
  for (int i = 0; i < 40; ++i) both += "a" + text.substr(1, 250) + " = [\n{ ";
  EXPECT_NE(faults(load(file("both.toml", both))), "");
  EXPECT_EQ(faults(load(file("ruler.toml", "# " + std::string(500, '.') + "\n"))), "");
}

TEST_F(Loading, OverridesWinAndNameThemselves) {
  const Config c =
      good(kStore, {"daemon.log_level=error", "stores.a.lease_idle=3s", "daemon.threads_max=5",
                    "daemon.plugin_dir=plugins", "stores.a.options.path=b=c.db"});
  EXPECT_EQ(c.daemon.log_level, Level::error);
  EXPECT_EQ(c.daemon.threads_max, 5u);
  EXPECT_EQ(c.daemon.plugin_dir, (fs::current_path() / "plugins").string());
  EXPECT_EQ(c.stores.at(0).pool.lease_idle, std::chrono::seconds(3));
  EXPECT_EQ(c.stores.at(0).shown_options.at("path"), "\"b=c.db\"");
  EXPECT_EQ(c.set_at.at("daemon.threads_max").text(), "--set daemon.threads_max");
  for (const char* bad : {"", "=", "a", ".=1", "a.=1", ".a=1", "a..b=1", "daemon=1",
                          "daemon.log_level=1\nx=2", "grants=1", "stores.a=1"}) {
    LoadOptions options = with_schema();
    options.overrides = {bad};
    EXPECT_FALSE(load((directory_ / "headgate.toml").string(), options)) << bad;
  }
}

TEST_F(Loading, StoreDefaultsReachEveryStore) {
  const Config c = good(std::string("[store_defaults]\nlease_total = \"2m\"\n") + kStore);
  EXPECT_EQ(c.stores.at(0).pool.lease_total, std::chrono::minutes(2));
}

TEST_F(Loading, NamesAreFound) {
  const Config c = good(kStore);
  EXPECT_EQ(c.store("a"), &c.stores[0]);
  EXPECT_EQ(c.store("b"), nullptr);
  EXPECT_EQ(c.service("x")->place.line, 6u);
  EXPECT_EQ(c.grants[0].place.line, 8u);
}

TEST_F(Loading, DiffSaysWhatAReloadTakesOver) {
  const Config before = good(kStore);
  const Config after = good(R"(
[daemon]
log_level = "debug"
threads_max = 7
[stores.a]
plugin = "sqlite"
kind = "sql"
lease_idle = "3s"
options = { path = "other.db" }
[stores.b]
plugin = "sqlite"
kind = "sql"
options = { path = "b.db" }
[services.x]
unix_users = [2]
weight = 2
[services.y]
curve_keys = []
)");
  const Difference d = diff(before, after);
  EXPECT_THAT(d.changed, ElementsAre("daemon.log_level", "grants", "services.x.unix_users",
                                     "services.x.weight", "services.y", "stores.a.lease_idle"));
  EXPECT_THAT(d.needs_restart, ElementsAre("daemon.threads_max", "stores.a.options", "stores.b"));
  EXPECT_THAT(diff(after, after).changed, IsEmpty());
  EXPECT_THAT(diff(after, after).needs_restart, IsEmpty());
  // A line that moved is no change.
  const Config moved = good(std::string("# comment\n\n") + kStore);
  EXPECT_THAT(diff(before, moved).changed, IsEmpty());
}

TEST_F(Loading, ShowNamesValueDefaultAndPlace) {
  const Config c = good(std::string("[daemon]\nlog_level = \"debug\"\n") + kStore);
  const auto rows = show(c);
  const auto row = [&](std::string_view name) {
    for (const ShownSetting& s : rows) {
      if (s.name == name) return s;
    }
    return ShownSetting{};
  };
  EXPECT_EQ(row("daemon.log_level").value, "\"debug\"");
  EXPECT_EQ(row("daemon.log_level").fallback, "\"info\"");
  EXPECT_TRUE(row("daemon.log_level").place.ends_with("headgate.toml:2"));
  EXPECT_EQ(row("daemon.message_max").value, "\"20MiB\"");
  EXPECT_EQ(row("daemon.message_max").place, "default");
  EXPECT_TRUE(row("daemon.message_max").restart);
  EXPECT_EQ(row("stores.a.options.path").value, "\"a.db\"");
  EXPECT_EQ(row("stores.a.lease_idle").value, "\"10s\"");
}

// What `show config` prints can be written into a file again: same values.
TEST_F(Loading, ShownValuesAreToml) {
  std::string text;
  for (const ShownSetting& s : show(Config{})) {
    if (s.value.empty()) continue;
    const std::size_t dot = s.name.find('.');
    text += s.name.substr(0, dot) + s.name.substr(dot) + " = " + s.value + "\n";
  }
  const Config c = good(text);
  EXPECT_THAT(diff(Config{}, c).changed, IsEmpty());
  EXPECT_THAT(diff(Config{}, c).needs_restart, IsEmpty());
}

TEST(Table, NamesAreUniqueAndDefaultsInsideTheirRanges) {
  std::set<std::string_view> names;
  const auto each = [&](auto settings) {
    for (const auto& s : settings) {
      EXPECT_TRUE(names.insert(s.name).second) << s.name;
      EXPECT_FALSE(s.help.empty());
      EXPECT_LE(s.min, s.max) << s.name;
    }
  };
  each(daemon_settings());
  names.clear();
  each(pool_settings());
}

TEST(Statements, TextsAreTrimmed) {
  std::vector<Statement> s;
  std::vector<ConfigFault> faults;
  parse_statements(
      "--name:a\r\n\r\nSELECT 1;;\r\n ; \n"
      "  --   name:   b.c-d  \nSELECT\n  -- why\n 2",
      "f.sql", s, faults);
  ASSERT_THAT(faults, IsEmpty());
  ASSERT_EQ(s.size(), 2u);
  EXPECT_EQ(s[0].name, "a");
  EXPECT_EQ(s[0].text, "SELECT 1");
  EXPECT_EQ(s[1].text, "SELECT\n  -- why\n 2");
  EXPECT_EQ(s[1].place.line, 5u);
}

TEST(Statements, EmptyAndMissing) {
  std::vector<Statement> s;
  std::vector<ConfigFault> faults;
  parse_statements("", "f.sql", s, faults);
  read_statements("/nonexistent/statements", s, faults);
  EXPECT_THAT(s, IsEmpty());
  EXPECT_THAT(faults, IsEmpty());
  parse_statements("-- name: \nSELECT 1", "f.sql", s, faults);
  EXPECT_EQ(faults.size(), 1u);
}

}  // namespace
}  // namespace headgate::config
