// The SDK as an author and an old or new daemon meet it: the template, built inside the tree and
// outside of it; host tables shorter and longer than the plugin's; structs that end where memory
// ends.
#include <dlfcn.h>
#include <sys/mman.h>

#include <filesystem>
#include <fstream>

#include "tests/abi/rig.hpp"

namespace headgate::testing {
namespace {

namespace fs = std::filesystem;

class Template : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/hg-template-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory = name;
  }
  void TearDown() override { fs::remove_all(directory); }
  Link* start(Rig& rig, Access access = Access::write) {
    StoreSettings s;
    s.name = "notes";
    s.kind = "key_value";
    s.state_dir = directory;
    s.options = BodyMap().add("path", "notes.hg").take();
    rig.load(GetParam(), "template", std::move(s));
    const Result<void> r = rig.store->open_driver_now();
    EXPECT_TRUE(r) << r.error().message;
    OpenRequest open;
    open.ticket = 1;
    open.access = access;
    rig.store->open(open);
    rig.loop.run_until([&] { return !rig.links.empty() || !rig.open_faults.empty(); });
    return rig.links.empty() ? nullptr : rig.links[1].get();
  }
  static std::string value(const TestCall* t) {
    proto::Cursor c((Bytes(t->reply)));
    c.read_map();
    c.read_str();
    return c.read_nil() ? "(nil)" : std::string(proto::text_of(c.read_bin()));
  }
  std::string directory;
};

TEST_P(Template, KeepsWhatItAnswered) {
  {
    Rig rig;
    Link* link = start(rig);
    ASSERT_NE(link, nullptr);
    std::vector<TestCall*> sent;
    std::vector<Operation*> operations;
    for (int i = 0; i < 64; ++i) {
      sent.push_back(rig.prepare(
          "set",
          BodyMap().add("key", "k" + std::to_string(i)).add("value", std::to_string(i)).take()));
      operations.push_back(sent.back()->operation);
    }
    link->submit(operations);
    ASSERT_TRUE(rig.loop.run_until([&] { return rig.order.size() == 64; }));
    for (const TestCall* t : sent) EXPECT_TRUE(t->done.ok) << t->done.fault.message;
    EXPECT_EQ(value(rig.ask(link, "get", BodyMap().add("key", "k9").take())), "9");
    EXPECT_TRUE(rig.ask(link, "delete", BodyMap().add("key", "k9").take())->done.ok);
  }
  Rig rig;
  Link* link = start(rig);
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(value(rig.ask(link, "get", BodyMap().add("key", "k10").take())), "10");
  EXPECT_EQ(value(rig.ask(link, "get", BodyMap().add("key", "k9").take())), "(nil)");
  EXPECT_EQ(rig.prepare("set", BodyMap().add("key", "k").add("value", "v").add("ttl", 5).take())
                ->done.fault.message,
            "set: unknown field `ttl`");
  EXPECT_EQ(rig.prepare("get", BodyMap().add("key", 5).take())->done.fault.code, Code::invalid);
  EXPECT_EQ(rig.prepare("get", BodyMap().add("key", "").take())->done.fault.code, Code::invalid);
  EXPECT_EQ(rig.prepare("hget", BodyMap().take())->done.fault.code, Code::unsupported);
  EXPECT_EQ(rig.prepare("get", BodyMap().add("key", "forbidden").take())->done.fault.code,
            Code::denied);
}

TEST_P(Template, AWriteThatFailsIsUndoneForTheWholeBatch) {
  Rig rig;
  Link* link = start(rig);
  ASSERT_NE(link, nullptr);
  rig.ask(link, "set", BodyMap().add("key", "a").add("value", "before").take());
  fs::create_directory(directory + "/notes.hg.new");  // where the new file would be written
  std::vector<TestCall*> sent = {
      rig.prepare("set", BodyMap().add("key", "a").add("value", "after").take()),
      rig.prepare("get", BodyMap().add("key", "other").take()),
      rig.prepare("delete", BodyMap().add("key", "a").take())};
  std::vector<Operation*> operations;
  for (TestCall* t : sent) operations.push_back(t->operation);
  link->submit(operations);
  ASSERT_TRUE(rig.loop.run_until([&] { return sent[2]->completions == 1; }));
  EXPECT_EQ(sent[0]->done.fault.outcome, Outcome::rolled_back);
  EXPECT_EQ(sent[2]->done.fault.outcome, Outcome::rolled_back);
  EXPECT_TRUE(sent[1]->done.ok);
  EXPECT_EQ(value(rig.ask(link, "get", BodyMap().add("key", "a").take())), "before");
}

TEST_P(Template, AReadOnlyConnectionRefusesWrites) {
  Rig rig;
  Link* link = start(rig, Access::read);
  ASSERT_NE(link, nullptr);
  const TestCall* t = rig.ask(link, "set", BodyMap().add("key", "a").add("value", "b").take());
  EXPECT_EQ(t->done.fault.code, Code::denied);
  EXPECT_EQ(t->done.fault.outcome, Outcome::rejected);
}

TEST_P(Template, AFileThatIsNotItsOwnStopsTheStoreWithAReason) {
  std::ofstream(directory + "/notes.hg") << "something else";
  Rig rig;
  StoreSettings s;
  s.name = "notes";
  s.kind = "key_value";
  s.options = BodyMap().add("path", directory + "/notes.hg").take();
  rig.load(GetParam(), "template", std::move(s));
  const Result<void> r = rig.store->open_driver_now();
  ASSERT_FALSE(r);
  EXPECT_NE(r.error().message.find("not a file of this plugin"), std::string::npos);
}

TEST_P(Template, ExportsOneSymbol) {
  const std::string command =
      "nm -D --defined-only '" + std::string(GetParam()) + "/template.so' | wc -l";
  FILE* p = ::popen(command.c_str(), "r");
  int n = 0;
  ASSERT_EQ(std::fscanf(p, "%d", &n), 1);
  ::pclose(p);
  EXPECT_EQ(n, 1);
}

INSTANTIATE_TEST_SUITE_P(BuiltBy, Template,
                         ::testing::Values(HEADGATE_TEST_PLUGINS, HEADGATE_OUTSIDE_PLUGINS),
                         [](const auto& p) {
                           return std::string(p.index == 0 ? "tree" : "installed_sdk");
                         });

// n bytes that end where the next page may not be touched.
class Edge {
 public:
  explicit Edge(std::size_t n) : n_(n) {
    page_ = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    base_ = static_cast<std::uint8_t*>(
        ::mmap(nullptr, 2 * page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::mprotect(base_ + page_, page_, PROT_NONE);
  }
  ~Edge() { ::munmap(base_, 2 * page_); }
  Edge(const Edge&) = delete;
  Edge& operator=(const Edge&) = delete;
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(base_ + page_ - n_);
  }

 private:
  std::size_t n_, page_;
  std::uint8_t* base_;
};

hg_plugin_entry entry_of(const char* directory) {
  void* handle = ::dlopen((std::string(directory) + "/template.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(handle, nullptr) << ::dlerror();
  return reinterpret_cast<hg_plugin_entry>(::dlsym(handle, HG_PLUGIN_ENTRY));
}

TEST(Sizes, AnOlderHostIsRefusedAndNothingBehindItsTableIsRead) {
  const hg_plugin_entry entry = entry_of(HEADGATE_TEST_PLUGINS);
  for (const std::uint32_t size : {8u, 64u, static_cast<std::uint32_t>(sizeof(hg_host) - 8)}) {
    Edge host_memory(size), error_memory(sizeof(hg_error));
    auto* host = host_memory.as<hg_host>();
    host->size = size;
    if (size >= 8) host->abi_version = HG_ABI_VERSION;
    auto* error = error_memory.as<hg_error>();
    error->size = sizeof *error;
    EXPECT_EQ(entry(host, error), nullptr);
    const std::string why(error->message);
    EXPECT_NE(why.find(std::to_string(sizeof(hg_host)) + " bytes"), std::string::npos) << why;
    EXPECT_NE(why.find("this host has " + std::to_string(size)), std::string::npos) << why;
  }
  hg_host other{};
  other.size = sizeof other;
  other.abi_version = 4;
  hg_error error{};
  EXPECT_EQ(entry(&other, &error), nullptr);
  EXPECT_NE(std::string(error.message).find("plugin ABI 0 and this host offers 4"),
            std::string::npos)
      << error.message;
}

TEST(Sizes, ANewerHostIsServedAndItsNewFieldsAreLeftAlone) {
  const hg_plugin_entry entry = entry_of(HEADGATE_TEST_PLUGINS);
  Rig rig;
  constexpr std::size_t kMore = 128;
  Edge memory(sizeof(hg_host) + kMore);
  auto* host = memory.as<hg_host>();
  std::memcpy(static_cast<void*>(host), rig.host->table(), sizeof(hg_host));
  host->size = sizeof(hg_host) + kMore;
  auto* canary = reinterpret_cast<std::uint8_t*>(host) + sizeof(hg_host);
  std::memset(canary, 0xa5, kMore);
  hg_error error{};
  error.size = sizeof error;
  const hg_plugin* p = entry(host, &error);
  ASSERT_NE(p, nullptr) << error.message;

  // The structs that the plugin fills end where memory ends.
  Edge route_memory(sizeof(hg_route)), error_memory(sizeof(hg_error));
  auto* fault = error_memory.as<hg_error>();
  fault->size = sizeof *fault;
  const std::string directory =
      fs::temp_directory_path().string() + "/hg-sizes-" + std::to_string(::getpid());
  const std::vector<std::uint8_t> options = BodyMap().add("path", directory).take();
  hg_driver_config config{};
  config.size = sizeof config;
  config.options = {options.data(), options.size()};
  hg_driver* driver = nullptr;
  ASSERT_EQ(p->driver_open(&config, &driver, fault), 0) << fault->message;
  auto* route = route_memory.as<hg_route>();
  route->size = sizeof *route;
  const std::vector<std::uint8_t> good = BodyMap().add("key", "k").take(),
                                  bad = BodyMap().add("kee", "k").take();
  hg_call call{};
  call.size = sizeof call;
  call.verb = {reinterpret_cast<const std::uint8_t*>("get"), 3};
  call.body = {good.data(), good.size()};
  EXPECT_EQ(p->driver_route(driver, &call, nullptr, route, fault), 0);
  call.body = {bad.data(), bad.size()};
  EXPECT_EQ(p->driver_route(driver, &call, nullptr, route, fault), -1);
  EXPECT_STREQ(fault->message, "get: unknown field `kee`");
  p->driver_close(driver);
  ::unlink(directory.c_str());
  for (std::size_t i = 0; i < kMore; ++i) ASSERT_EQ(canary[i], 0xa5) << i;
}

TEST(Sizes, AnOldersPluginsStructsAreReadOnlyAsFarAsTheyGo) {
  Edge memory(offsetof(hg_error, detail));
  auto* e = memory.as<hg_error>();
  e->size = offsetof(hg_error, detail);
  e->code = HG_CONFLICT;
  e->outcome = HG_REJECTED;
  std::strcpy(e->message, "old");
  const Fault f = fault_from(*e);
  EXPECT_EQ(f.code, Code::conflict);
  EXPECT_EQ(f.message, "old");
  EXPECT_EQ(f.wait_token, 0u);
}

}  // namespace
}  // namespace headgate::testing
