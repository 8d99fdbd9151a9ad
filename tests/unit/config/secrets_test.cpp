// Secrets: where they come from, what is refused, and that they cannot be said by accident.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <type_traits>

#include "daemon/config/config.hpp"

namespace headgate::config {
namespace {

namespace fs = std::filesystem;
using From = SecretSource::From;

template <class T>
concept Printable = requires(std::ostream& o, const T& t) {
  o << t;
};
template <class T>
concept Comparable = requires(const T& a, const T& b) {
  a == b;
};

static_assert(!std::is_copy_constructible_v<Secret> && !std::is_copy_assignable_v<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string> &&
              !std::is_convertible_v<Secret, std::string_view> &&
              !std::is_convertible_v<std::string, Secret> &&
              !std::is_constructible_v<Secret, const std::string&>);
static_assert(!Printable<Secret> && !Comparable<Secret>);
static_assert(!std::is_constructible_v<LogField, std::string_view, const Secret&>);

TEST(Secret, WipesWhereItCameFrom) {
  std::string text = "correct horse battery staple, and longer than any small string";
  const char* where = text.data();
  const std::size_t size = text.size();
  const Secret s(std::move(text));
  EXPECT_EQ(s.reveal(), "correct horse battery staple, and longer than any small string");
  EXPECT_EQ(s.reveal().data()[s.reveal().size()], '\0');
  for (std::size_t i = 0; i < size; ++i) EXPECT_EQ(where[i], '\0');
}

TEST(Secret, WipesWhatItHeld) {
  Secret s(std::string("hunter2hunter2hunter2"));
  const Secret other = s.copy();
  EXPECT_TRUE(s.same_as(other));
  Secret moved = std::move(s);
  EXPECT_TRUE(s.empty());
  EXPECT_FALSE(s.same_as(other));
  EXPECT_TRUE(moved.same_as(other));
  char memory[8] = "hunter2";
  wipe(memory, sizeof memory);
  for (const char c : memory) EXPECT_EQ(c, '\0');
  moved = Secret(std::string("b"));
  EXPECT_EQ(moved.reveal(), "b");
}

class Sources : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "headgate_secret_XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::string file(const std::string& name, const std::string& text, mode_t mode) {
    const std::string p = (directory_ / name).string();
    std::ofstream(p, std::ios::binary) << text;
    EXPECT_EQ(::chmod(p.c_str(), mode), 0);
    return p;
  }
  static std::string read(From from, const std::string& name,
                          std::vector<std::string> command = {}) {
    const auto s = read_secret({from, name, std::move(command), {}});
    return s ? "ok:" + std::string(s->reveal()) : s.error();
  }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
  fs::path directory_;
};

TEST_F(Sources, FileOfOursThatOthersCannotRead) {
  EXPECT_EQ(read(From::file, file("a", "canary\n", 0600)), "ok:canary");
  EXPECT_EQ(read(From::file, file("b", "canary\r\n", 0400)), "ok:canary");
  EXPECT_EQ(read(From::file, file("c", " can\nary\n\n", 0600)), "ok: can\nary\n");
  for (const mode_t mode : {0640, 0604, 0620, 0601, 0660}) {
    const std::string answer = read(From::file, file("m", "canary", mode));
    EXPECT_TRUE(has(answer, "others may read it; expected 0600")) << answer;
    EXPECT_FALSE(has(answer, "canary"));
  }
}

TEST_F(Sources, FilesThatAreNone) {
  EXPECT_TRUE(has(read(From::file, file("e", "", 0600)), "is empty"));
  EXPECT_TRUE(has(read(From::file, file("n", "\n", 0600)), "is empty"));
  EXPECT_TRUE(has(read(From::file, directory_.string()), "is not a file"));
  EXPECT_TRUE(has(read(From::file, "/dev/zero"), "is not a file"));
  EXPECT_TRUE(has(read(From::file, (directory_ / "no").string()), "No such file"));
  EXPECT_TRUE(has(read(From::file, file("x", std::string(70'000, 'x'), 0600)), "larger than"));
  const std::string fifo = (directory_ / "fifo").string();
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_TRUE(has(read(From::file, fifo), "is not a file"));  // and does not wait for a writer
}

TEST_F(Sources, FileOfSomebodyElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  const std::string p = file("other", "canary", 0600);
  ASSERT_EQ(::chown(p.c_str(), 4242, 4242), 0);
  EXPECT_TRUE(has(read(From::file, p), "belongs to uid 4242"));
}

TEST_F(Sources, SystemdAndEnvironment) {
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_TRUE(has(read(From::systemd, "db"), "LoadCredential=db:"));
  ::setenv("CREDENTIALS_DIRECTORY", directory_.c_str(), 1);
  file("db", "canary", 0440);
  EXPECT_EQ(read(From::systemd, "db"), "ok:canary");
  ::unsetenv("CREDENTIALS_DIRECTORY");
  ::setenv("HEADGATE_TEST_SECRET", "canary", 1);
  EXPECT_EQ(read(From::env, "HEADGATE_TEST_SECRET"), "ok:canary");
  ::unsetenv("HEADGATE_TEST_SECRET");
  EXPECT_TRUE(has(read(From::env, "HEADGATE_TEST_SECRET"), "is not set"));
}

TEST_F(Sources, Command) {
  EXPECT_EQ(read(From::command, "", {"/bin/echo", "canary"}), "ok:canary");
  EXPECT_EQ(read(From::command, "", {"/bin/sh", "-c", "cat; echo canary"}), "ok:canary");
  EXPECT_TRUE(has(read(From::command, "", {"/bin/sh", "-c", "echo canary; exit 3"}), "status 3"));
  EXPECT_FALSE(has(read(From::command, "", {"/bin/sh", "-c", "echo canary; exit 3"}), "canary"));
  EXPECT_TRUE(has(read(From::command, "", {"/bin/true"}), "is empty"));
  EXPECT_TRUE(has(read(From::command, "", {"/nonexistent"}), "cannot be started"));
  EXPECT_TRUE(has(read(From::command, "", {"/bin/sh", "-c", "kill -9 $$"}), "killed"));
  EXPECT_TRUE(has(read(From::command, "", {"/usr/bin/yes"}), "more than 64KiB"));
}

}  // namespace
}  // namespace headgate::config
