// What is loaded, what is refused, and whether the refusal says enough to mend it.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/abi/rig.hpp"

namespace headgate::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::Test;

std::string refusal(Rig& rig, const LoadRequest& request) {
  const auto r = rig.libraries->load(request);
  return r ? "(it was loaded)" : r.error().message;
}
::testing::AssertionResult says(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* w : words)
    if (text.find(w) == std::string::npos)
      return ::testing::AssertionFailure() << "\"" << text << "\" does not say \"" << w << "\"";
  return ::testing::AssertionSuccess();
}

TEST(Load, RefusalsNameTheFileAndTheFault) {
  Rig rig;
  const std::string d = plugin_directory();
  const auto why = [&](const char* name) { return refusal(rig, {d, name, ""}); };
  EXPECT_TRUE(says(why("no_symbol"), {"no_symbol.so", "hg_plugin_v0"}));
  EXPECT_TRUE(says(why("other_symbol"),
                   {"other_symbol.so", "plugin ABI 3", "hg_plugin_v3", "plugin ABI 0"}));
  EXPECT_TRUE(says(why("other_number"), {"other_number.so", "plugin ABI 7", "plugin ABI 0"}));
  EXPECT_TRUE(says(why("short_table"), {"short_table.so", "40 bytes"}));
  EXPECT_TRUE(says(why("lying_table"), {"lying_table.so", "shorter than its size says"}));
  EXPECT_TRUE(says(why("missing_function"), {"missing_function.so", "driver_route"}));
  EXPECT_TRUE(says(why("refuses"), {"refuses.so", "not on a Tuesday"}));
  EXPECT_TRUE(says(why("throws_at_load"), {"throws_at_load.so", "threw"}));
  EXPECT_TRUE(says(why("bad_describe"), {"bad_describe.so", "describe", "msgpack"}));
  EXPECT_TRUE(says(why("bad_lane"), {"bad_lane.so", "lanes[0]", "max_batch"}));
  EXPECT_TRUE(says(why("no_reset"), {"no_reset.so", "lane `one`", "conn_reset"}));
  EXPECT_TRUE(says(why("nowhere"), {"nowhere.so", "No such file"}));
  EXPECT_TRUE(says(why("../probe"), {"../probe", "letters"}));
  EXPECT_TRUE(says(refusal(rig, {"plugins", "probe", ""}), {"absolute"}));
}

TEST(Load, OlderAndNewerTablesAreTakenAsFarAsBothSidesKnow) {
  Rig rig;
  for (const char* name : {"older_table", "newer_table"}) {
    const auto r = rig.libraries->load({plugin_directory(), name, ""});
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ((*r)->plugin().conn_ping, nullptr);
    EXPECT_NE((*r)->plugin().conn_close, nullptr);
  }
}

class Files : public Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/hg-load-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
    file = directory + "/probe.so";
    fs::copy_file(plugin_directory() + "/probe.so", file);
    ::chmod(file.c_str(), 0755);
  }
  void TearDown() override { fs::remove_all(directory); }
  std::string directory, file;
};

TEST_F(Files, WritableByOthersIsRefused) {
  Rig rig;
  ::chmod(file.c_str(), 0775);
  EXPECT_TRUE(says(refusal(rig, {directory, "probe", ""}),
                   {file.c_str(), "the file", "written by its group"}));
  ::chmod(file.c_str(), 0757);
  EXPECT_TRUE(says(refusal(rig, {directory, "probe", ""}), {"written by its group or by others"}));
  ::chmod(file.c_str(), 0755);
  ::chmod(directory.c_str(), 0777);
  EXPECT_TRUE(says(refusal(rig, {directory, "probe", ""}), {"its directory", directory.c_str()}));
  ::chmod(directory.c_str(), 0700);
  EXPECT_EQ(refusal(rig, {directory, "probe", ""}), "(it was loaded)");
}

TEST_F(Files, ALinkIsJudgedByWhereItLeads) {
  Rig rig;
  const std::string links = directory + "/links";
  fs::create_directory(links);
  fs::create_symlink(file, links + "/probe.so");
  ::chmod(directory.c_str(), 0777);
  EXPECT_TRUE(says(refusal(rig, {links, "probe", ""}), {"its directory"}));
}

TEST_F(Files, ForeignOwnerIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  Rig rig;
  ASSERT_EQ(::chown(file.c_str(), 12345, 12345), 0);
  EXPECT_TRUE(says(refusal(rig, {directory, "probe", ""}), {"belongs to user 12345"}));
}

TEST_F(Files, ChecksumIsCompared) {
  Rig rig;
  const auto sum = sha256_of(file);
  ASSERT_TRUE(sum);
  EXPECT_TRUE(
      says(refusal(rig, {directory, "probe", std::string(64, '0')}), {"SHA-256", sum->c_str()}));
  EXPECT_EQ(refusal(rig, {directory, "probe", *sum}), "(it was loaded)");
  const std::string empty = directory + "/empty";
  std::ofstream(empty).flush();
  EXPECT_EQ(*sha256_of(empty), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_F(Files, NoSharedObjectIsRefused) {
  Rig rig;
  std::ofstream(directory + "/text.so") << "not a library";
  EXPECT_TRUE(says(refusal(rig, {directory, "text", ""}), {"text.so"}));
  fs::create_directory(directory + "/dir.so");
  EXPECT_TRUE(says(refusal(rig, {directory, "dir", ""}), {"no regular file"}));
}

TEST(Describe, IsRead) {
  Rig rig;
  const auto r = rig.libraries->load({plugin_directory(), "probe", ""});
  ASSERT_TRUE(r) << r.error().message;
  const Description& d = (*r)->description();
  EXPECT_EQ(d.name, "probe");
  ASSERT_EQ(d.lanes.size(), 3u);
  EXPECT_EQ(d.lanes[0].name, "write");
  EXPECT_EQ(d.lanes[0].max_batch, 64u);
  EXPECT_TRUE(d.lanes[0].per_store);
  EXPECT_TRUE(d.lanes[2].event);
  EXPECT_NE(d.verb(0, "echo"), nullptr);
  EXPECT_EQ(d.verb(0, "nothing"), nullptr);
  EXPECT_EQ(d.verb(7, "echo"), nullptr);
  EXPECT_EQ(d.kind_index("sql"), -1);
  EXPECT_EQ(proto::check(describe_reply(d, 0)), proto::Shape::good);
  EXPECT_EQ(*rig.libraries->load({plugin_directory(), "probe", ""}), *r)
      << "one file is loaded once";
}

TEST(Store, OptionsAndKindAreJudgedByDescribe) {
  Rig rig;
  const auto library = *rig.libraries->load({plugin_directory(), "probe", ""});
  const auto why = [&](StoreSettings s) {
    s.name = "shop";
    const auto r = PluginStore::make(*rig.host, library, std::move(s));
    return r ? std::string("(made)") : r.error().message;
  };
  StoreSettings s;
  s.kind = "sql";
  EXPECT_TRUE(says(why(s), {"store shop", "probe", "no kind \"sql\""}));
  s.kind = "key_value";
  s.endpoints = {"a:1"};
  EXPECT_TRUE(says(why(s), {"takes no endpoints"}));
  s.endpoints.clear();
  s.options = BodyMap().add("open_ms", "20 years").add("colour", "red").take();
  EXPECT_TRUE(says(why(s), {"`open_ms`", "duration", "from 0 to 10000", "`colour`",
                            "idle_fd, open_ms, fail_file"}));
  s.options = BodyMap().add("open_ms", "2s").take();
  EXPECT_EQ(why(s), "(made)");
}

TEST(Store, AFailedDriverIsTriedAgainAfterAPause) {
  Rig rig;
  char name[] = "/tmp/hg-fail-XXXXXX";
  const int fd = ::mkstemp(name);
  ::close(fd);
  StoreSettings s;
  s.name = "late";
  s.kind = "key_value";
  s.reopen_min = std::chrono::milliseconds(50);
  s.options = BodyMap().add("fail_file", name).take();
  rig.load(plugin_directory(), "probe", std::move(s));
  const Result<void> r = rig.store->open_driver_now();
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().message, "fail_file is there");
  EXPECT_EQ(rig.store->trouble(), "fail_file is there");
  EXPECT_EQ(rig.open(0), nullptr);
  EXPECT_TRUE(says(rig.open_faults.at(0).message, {"cannot open: fail_file is there"}));
  EXPECT_EQ(rig.open_faults[0].outcome, Outcome::not_sent);
  const TestCall* t = rig.prepare("echo", BodyMap().take());
  EXPECT_EQ(t->done.fault.code, Code::unavailable);
  EXPECT_EQ(t->done.fault.retry, Retry::backoff);
  ::unlink(name);
  // A route asks for the driver too, once the pause is over.
  EXPECT_TRUE(rig.loop.run_until([&] {
    rig.prepare("echo", BodyMap().take());
    for (auto& c : rig.calls)
      if (c->operation != nullptr) {
        rig.by_operation.erase(c->operation);
        rig.store->end(*c->operation);
        c->operation = nullptr;
      }
    return rig.store->is_open();
  }));
  EXPECT_NE(rig.open(0), nullptr);
}

TEST(Store, LoginComesFromTheSourceAndItsRefusalIsTheFault) {
  Rig rig;
  StoreSettings s;
  s.name = "guarded";
  s.kind = "key_value";
  std::string password = "wrong";
  s.login = [&](const OpenRequest& request) -> Result<Login> {
    if (request.generation == 99) return fault(Code::unavailable, "no credential");
    Login l;
    std::string text = password;
    l.password = Secret(std::move(text));
    return l;
  };
  rig.load(plugin_directory(), "probe", std::move(s));
  ASSERT_TRUE(rig.store->open_driver_now());
  EXPECT_EQ(rig.open(0), nullptr);
  EXPECT_EQ(rig.open_faults.at(0).message, "login refused");
  EXPECT_EQ(rig.host->threads(), 0u) << "a refused connection gives its thread back";
  OpenRequest r;
  r.generation = 99;
  rig.store->open(r);
  EXPECT_TRUE(rig.loop.run_until([&] { return rig.open_faults.size() == 2; }));
  EXPECT_EQ(rig.open_faults[1].message, "no credential");
  password = "right";
  EXPECT_NE(rig.open(0), nullptr);
}

TEST(Store, ADriverAndConnectionsInTheMakingOutliveTheStore) {
  Rig rig;
  StoreSettings s;
  s.name = "short";
  s.kind = "key_value";
  s.options = BodyMap().add("open_ms", "50ms").take();
  rig.load(plugin_directory(), "probe", std::move(s));
  OpenRequest r;
  rig.store->open(r);
  r.ticket = 2;
  rig.store->open(r);
  rig.store.reset();
  EXPECT_TRUE(rig.loop.run_until([&] { return rig.host->threads() == 0; }));
  EXPECT_TRUE(rig.links.empty());
}

}  // namespace
}  // namespace headgate::testing
