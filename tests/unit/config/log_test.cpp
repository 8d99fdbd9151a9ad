// Log: the line, the level, and that a slow or dead sink stops nobody.
#include "daemon/core/log.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace headgate {
namespace {

std::string value(std::string_view v) {
  const std::string line = logfmt(Level::info, "e", {{"k", v}});
  return line.substr(std::string("level=info event=e k=").size());
}

TEST(Logfmt, FieldsOfEveryType) {
  EXPECT_EQ(logfmt(Level::warn, "reload",
                   {{"file", std::string("/etc/headgate.toml")},
                    {"changed", 3},
                    {"big", std::numeric_limits<std::uint64_t>::max()},
                    {"low", std::numeric_limits<std::int64_t>::min()},
                    {"ok", true},
                    {"share", 0.5},
                    {"code", "x"}}),
            "level=warn event=reload file=/etc/headgate.toml changed=3 big=18446744073709551615 "
            "low=-9223372036854775808 ok=true share=0.5 code=x");
}

TEST(Logfmt, AnEventIsOneLineWhateverIsInIt) {
  EXPECT_EQ(value(""), "\"\"");
  EXPECT_EQ(value("two words"), "\"two words\"");
  EXPECT_EQ(value("a=b"), "\"a=b\"");
  EXPECT_EQ(value("say \"x\\y\""), R"("say \"x\\y\"")");
  EXPECT_EQ(value("a\nlevel=error\r\t"), R"("a\nlevel=error\r\t")");
  EXPECT_EQ(value(std::string_view("\0\x1b[2J\x7f", 6)), R"("\u0000\u001b[2J\u007f")");
  EXPECT_EQ(value("gr\xc3\xbc\xc3\x9f"), "\"gr\xc3\xbc\xc3\x9f\"");
  EXPECT_EQ(value("\xff\xc3"), R"("\u00ff\u00c3")");
  EXPECT_EQ(value("\xed\xa0\x80"), R"("\u00ed\u00a0\u0080")");            // a surrogate
  EXPECT_EQ(value("\xc0\x8a"), R"("\u00c0\u008a")");                      // an overlong newline
  EXPECT_EQ(value("\xc2\x85"), R"("\u0085")");                            // NEL, a line end to some
  EXPECT_EQ(value("\xf4\x90\x80\x80"), R"("\u00f4\u0090\u0080\u0080")");  // above U+10FFFF
}

TEST(Logfmt, KeysAreWords) {
  EXPECT_EQ(logfmt(Level::info, "e", {{"a b=c\n", 1}, {"", 2}}), "level=info event=e a_b_c_=1 _=2");
}

TEST(Levels, Names) {
  EXPECT_EQ(level_from("debug"), Level::debug);
  EXPECT_EQ(level_from("error"), Level::error);
  EXPECT_FALSE(level_from("Info"));
}

class Pipe : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(::pipe(ends_), 0); }
  void TearDown() override {
    for (const int fd : ends_) {
      if (fd >= 0) ::close(fd);
    }
  }
  std::string read_all() {
    ::close(ends_[1]);
    ends_[1] = -1;
    std::string out;
    char buffer[4096];
    ssize_t n = 0;
    while ((n = ::read(ends_[0], buffer, sizeof buffer)) > 0) {
      out.append(buffer, static_cast<std::size_t>(n));
    }
    return out;
  }
  int ends_[2] = {-1, -1};
};

TEST_F(Pipe, JournalGetsPrioritiesAndNoTime) {
  {
    const auto log = open_log({.level = Level::debug, .fd = ends_[1], .journald = true});
    log->debug("a");
    log->info("b", {{"n", 1}});
    log->warn("c");
    log->error("d");
  }
  EXPECT_EQ(read_all(),
            "<7>level=debug event=a\n<6>level=info event=b n=1\n"
            "<4>level=warn event=c\n<3>level=error event=d\n");
}

TEST_F(Pipe, LevelChangesWhileItRuns) {
  {
    const auto log = open_log({.level = Level::warn, .fd = ends_[1], .journald = true});
    log->info("hidden");
    log->set_level(Level::info);
    log->info("seen");
    EXPECT_TRUE(log->enabled(Level::info));
    EXPECT_FALSE(log->enabled(Level::debug));
  }
  EXPECT_EQ(read_all(), "<6>level=info event=seen\n");
}

TEST_F(Pipe, TimeIsUtcToTheMillisecond) {
  {
    const auto log = open_log({.fd = ends_[1]});
    log->info("x");
    log->flush();
  }
  const std::string line = read_all();
  ASSERT_EQ(line.size(), std::string("time=2026-01-01T00:00:00.000Z level=info event=x\n").size());
  EXPECT_EQ(line[28], 'Z');
}

TEST_F(Pipe, AFullQueueDropsTheOldestAndNobodyWaits) {
  ASSERT_GT(::fcntl(ends_[1], F_SETPIPE_SZ, 4096), 0);
  const std::string filler(900, 'x');
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t dropped = 0;
  std::string out;
  {
    const auto log = open_log({.fd = ends_[1], .journald = true, .queue_lines = 16});
    for (int i = 0; i < 1000; ++i) log->info("n", {{"i", i}, {"f", filler}});
    dropped = log->dropped();
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    // Now somebody reads, so that the sink can finish.
    std::thread reader([&] {
      char buffer[4096];
      while (out.find("i=999 ") == std::string::npos) {
        const ssize_t n = ::read(ends_[0], buffer, sizeof buffer);
        if (n <= 0) break;
        out.append(buffer, static_cast<std::size_t>(n));
      }
    });
    reader.join();
  }
  EXPECT_GT(dropped, 900u);
  EXPECT_NE(out.find("i=999 "), std::string::npos);  // the newest is there
  EXPECT_EQ(out.find("i=500 "), std::string::npos);
}

TEST_F(Pipe, ADeadSinkIsCountedAndStopsNobody) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  ::close(ends_[0]);
  ends_[0] = -1;
  const auto log = open_log({.fd = ends_[1]});
  for (int i = 0; i < 10; ++i) log->info("x");
  log->flush();
  EXPECT_EQ(log->dropped(), 10u);
  std::signal(SIGPIPE, before);
}

TEST_F(Pipe, LinesOfManyThreadsStayWhole) {
  std::string out;
  std::thread reader([&] {
    char buffer[65536];
    ssize_t n = 0;
    while ((n = ::read(ends_[0], buffer, sizeof buffer)) > 0) {
      out.append(buffer, static_cast<std::size_t>(n));
    }
  });
  {
    const auto log = open_log({.fd = ends_[1], .journald = true, .queue_lines = 100'000});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&log, t] {
        for (int i = 0; i < 2000; ++i) log->info("n", {{"t", t}, {"i", i}});
      });
    }
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(log->dropped(), 0u);
  }
  ::close(ends_[1]);
  ends_[1] = -1;
  reader.join();
  std::size_t lines = 0;
  for (std::size_t at = 0; at < out.size();) {
    const std::size_t end = out.find('\n', at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_EQ(out.compare(at, 27, "<6>level=info event=n t=" + out.substr(at + 24, 1) + " i"), 0);
    at = end + 1;
    ++lines;
  }
  EXPECT_EQ(lines, 8000u);
}

}  // namespace
}  // namespace headgate
