// The line (logfmt) and its way out: a bounded queue, one sink thread, one write(2) a line.
//
// spdlog gives queue and thread; the format, the journal's priorities and the counting are ours.
#include "daemon/core/log.hpp"

#include <poll.h>
#include <spdlog/async.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <ctime>
#include <mutex>

namespace headgate {
namespace {

bool key_character(unsigned char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '.' || c == '-';
}

// What may stand in a value without quotes.
bool plain_character(unsigned char c) {
  return c > 0x20 && c < 0x7f && c != '"' && c != '=' && c != '\\';
}

void append_key(std::string& out, std::string_view key) {
  if (key.empty()) out += '_';
  for (const char c : key) out += key_character(static_cast<unsigned char>(c)) ? c : '_';
}

// Length of the well-formed UTF-8 sequence at s[i], or 0 (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
std::size_t utf8_length(std::string_view s, std::size_t i) {
  const auto at = [&](std::size_t k) -> unsigned {
    return k < s.size() ? static_cast<unsigned char>(s[k]) : 0u;
  };
  const unsigned b = at(i);
  const auto tail = [&](std::size_t k) { return (at(k) & 0xc0) == 0x80; };
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return tail(i + 1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) {
    const unsigned c = at(i + 1);
    if ((b == 0xe0 && c < 0xa0) || (b == 0xed && c > 0x9f)) return 0;
    return tail(i + 1) && tail(i + 2) ? 3 : 0;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    const unsigned c = at(i + 1);
    if ((b == 0xf0 && c < 0x90) || (b == 0xf4 && c > 0x8f)) return 0;
    return tail(i + 1) && tail(i + 2) && tail(i + 3) ? 4 : 0;
  }
  return 0;
}

void append_escaped(std::string& out, std::string_view s) {
  for (std::size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += s[i++];
      continue;
    }
    if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
      ++i;
      continue;
    }
    const std::size_t n = utf8_length(s, i);
    const bool c1 = n == 2 && c == 0xc2 && static_cast<unsigned char>(s[i + 1]) < 0xa0;
    if (n == 0 || c < 0x20 || c == 0x7f || c1) {  // C1 controls move terminals too
      char code[8];
      const unsigned value = c1 ? static_cast<unsigned char>(s[i + 1]) : c;
      std::snprintf(code, sizeof code, "\\u%04x", value);
      out += code;
      i += c1 ? 2 : 1;
      continue;
    }
    out.append(s, i, n);
    i += n;
  }
}

void append_text(std::string& out, std::string_view s) {
  bool plain = !s.empty();
  for (const char c : s) plain = plain && plain_character(static_cast<unsigned char>(c));
  if (plain) {
    out += s;
    return;
  }
  out += '"';
  append_escaped(out, s);
  out += '"';
}

template <class T>
void append_number(std::string& out, T v) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, v);
  out.append(text, end.ptr);
}

void append_fields(std::string& out, Level level, std::string_view event, Log::Fields fields) {
  out += "level=";
  out += name(level);
  out += " event=";
  append_text(out, event);
  for (const LogField& f : fields) {
    out += ' ';
    append_key(out, f.key);
    out += '=';
    switch (f.kind) {
      case LogField::Kind::text:
        append_text(out, f.text);
        break;
      case LogField::Kind::integer:
        append_number(out, f.integer);
        break;
      case LogField::Kind::natural:
        append_number(out, f.natural);
        break;
      case LogField::Kind::real:
        append_number(out, f.real);
        break;
      case LogField::Kind::flag:
        out += f.integer != 0 ? "true" : "false";
        break;
    }
  }
}

void append_now(std::string& out) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  char text[40];
  const std::size_t n = std::strftime(text, sizeof text, "time=%Y-%m-%dT%H:%M:%S", &parts);
  out.append(text, n);
  std::snprintf(text, sizeof text, ".%03ldZ ", now.tv_nsec / 1'000'000);
  out += text;
}

// sd-daemon(3): priorities of syslog(3), in front of the line.
std::string_view priority(Level l) {
  constexpr std::array<std::string_view, 4> priorities = {"<7>", "<6>", "<4>", "<3>"};
  return priorities[static_cast<std::size_t>(l)];
}

// Writes on the sink thread. A line that cannot be written is lost and counted: a log that is gone
// must not stop the daemon.
class FdSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  [[nodiscard]] std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

  // Waits for a flush that was posted after `seen`; false after 100 ms.
  bool wait_flush(std::uint64_t seen) {
    std::unique_lock lock(flush_mutex_);
    return flushed_.wait_for(lock, std::chrono::milliseconds(100),
                             [&] { return flushes_ != seen; });
  }
  std::uint64_t flushes() {
    const std::lock_guard lock(flush_mutex_);
    return flushes_;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& m) override {
    const char* p = m.payload.data();
    std::size_t left = m.payload.size();
    while (left > 0) {
      const ssize_t n = ::write(fd_, p, left);
      if (n >= 0) {
        p += n;
        left -= static_cast<std::size_t>(n);
      } else if (errno == EAGAIN) {
        pollfd one{fd_, POLLOUT, 0};
        ::poll(&one, 1, 1000);
      } else if (errno != EINTR) {
        lost_.fetch_add(1, std::memory_order_relaxed);
        return;
      }
    }
  }
  void flush_() override {
    {
      const std::lock_guard lock(flush_mutex_);
      ++flushes_;
    }
    flushed_.notify_all();
  }

 private:
  int fd_;
  std::atomic<std::uint64_t> lost_{0};
  std::mutex flush_mutex_;
  std::condition_variable flushed_;
  std::uint64_t flushes_ = 0;
};

class SinkLog final : public Log {
 public:
  explicit SinkLog(const LogSettings& s)
      : journald_(s.journald),
        sink_(std::make_shared<FdSink>(s.fd)),
        queue_(std::make_shared<spdlog::details::thread_pool>(s.queue_lines, 1)),
        logger_(std::make_shared<spdlog::async_logger>(
            "headgate", sink_, queue_, spdlog::async_overflow_policy::overrun_oldest)) {
    logger_->set_level(spdlog::level::trace);  // Log's own level decides
    logger_->flush_on(spdlog::level::off);
    set_level(s.level);
  }

  void flush() override {
    const std::uint64_t seen = sink_->flushes();
    // Posted again when it was itself the oldest line of a full queue.
    do {
      queue_->post_flush(std::shared_ptr<spdlog::async_logger>(logger_),
                         spdlog::async_overflow_policy::block);
    } while (!sink_->wait_flush(seen));
  }
  std::uint64_t dropped() const override { return queue_->overrun_counter() + sink_->lost(); }

 protected:
  void write(Level l, std::string_view event, Fields fields) override {
    thread_local std::string line;
    line.clear();
    if (journald_) {
      line += priority(l);
    } else {
      append_now(line);
    }
    append_fields(line, l, event, fields);
    line += '\n';
    logger_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

 private:
  const bool journald_;
  std::shared_ptr<FdSink> sink_;
  std::shared_ptr<spdlog::details::thread_pool> queue_;  // its destructor empties the queue
  std::shared_ptr<spdlog::async_logger> logger_;
};

}  // namespace

std::string logfmt(Level level, std::string_view event, Log::Fields fields) {
  std::string out;
  append_fields(out, level, event, fields);
  return out;
}

std::unique_ptr<Log> open_log(const LogSettings& settings) {
  return std::make_unique<SinkLog>(settings);
}

}  // namespace headgate
