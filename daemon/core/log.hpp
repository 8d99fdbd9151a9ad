// Log is where the daemon's parts say what happened: one line an event, as logfmt
// (`level=info event=reload file=/etc/headgate/headgate.toml changed=3`).
//
// Owner:     Gateway; everybody else holds a Log&. Threads: any.
// Holds:     a call below the level costs one load and one branch, and formats nothing. A call
//            above it formats the line and hands it to the sink thread; it never blocks: when the
//            bounded queue is full the oldest line is dropped and counted.
// Rule:      no value of a parameter and no secret is ever given as a field.
//
// This header needs no library and may be used from every folder. The writer behind open_log() (the
// sink thread, spdlog) is in log.cpp, target headgate_log: the one piece of core that does I/O,
// kept apart so that only gateway and main link it.
#pragma once
#include <atomic>
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace headgate {

enum class Level : std::uint8_t { debug, info, warn, error };  // HG_LOG_*

constexpr std::string_view name(Level l) {
  constexpr std::string_view names[] = {"debug", "info", "warn", "error"};
  return names[static_cast<std::size_t>(l)];
}
constexpr std::optional<Level> level_from(std::string_view s) {
  for (const Level l : {Level::debug, Level::info, Level::warn, Level::error}) {
    if (name(l) == s) return l;
  }
  return std::nullopt;
}

// One key=value of a line. Lent for the call: texts are not copied.
struct LogField {
  enum class Kind : std::uint8_t { text, integer, natural, real, flag };

  template <class T>
  requires std::convertible_to<T, std::string_view> LogField(std::string_view k, const T& v)
      : key(k), kind(Kind::text), text(v) {}
  LogField(std::string_view k, bool v) : key(k), kind(Kind::flag), integer(v) {}
  template <std::signed_integral T>
  LogField(std::string_view k, T v) : key(k), kind(Kind::integer), integer(v) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) LogField(std::string_view k, T v)
      : key(k), kind(Kind::natural), natural(v) {}
  template <std::floating_point T>
  LogField(std::string_view k, T v) : key(k), kind(Kind::real), real(v) {}

  std::string_view key;
  Kind kind;
  std::string_view text;
  union {
    std::int64_t integer = 0;
    std::uint64_t natural;
    double real;
  };
};

class Log {
 public:
  using Fields = std::initializer_list<LogField>;

  virtual ~Log() = default;
  [[nodiscard]] bool enabled(Level l) const {
    return static_cast<std::uint8_t>(l) >= level_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] Level level() const {
    return static_cast<Level>(level_.load(std::memory_order_relaxed));
  }
  void set_level(Level l) { level_.store(static_cast<std::uint8_t>(l), std::memory_order_relaxed); }

  void debug(std::string_view event, Fields f = {}) { event_at(Level::debug, event, f); }
  void info(std::string_view event, Fields f = {}) { event_at(Level::info, event, f); }
  void warn(std::string_view event, Fields f = {}) { event_at(Level::warn, event, f); }
  void error(std::string_view event, Fields f = {}) { event_at(Level::error, event, f); }
  void event_at(Level l, std::string_view event, Fields f = {}) {
    if (enabled(l)) [[unlikely]]
      write(l, event, f);
  }

  // Waits until everything said so far has left the process.
  virtual void flush() = 0;
  // Lines that were dropped because the sink was too slow.
  [[nodiscard]] virtual std::uint64_t dropped() const = 0;

 protected:
  virtual void write(Level l, std::string_view event, Fields f) = 0;

 private:
  std::atomic<std::uint8_t> level_{static_cast<std::uint8_t>(Level::info)};
};

// Says nothing; for tests and for tools that have nowhere to log.
class NoLog final : public Log {
 public:
  void flush() override {}
  [[nodiscard]] std::uint64_t dropped() const override { return 0; }

 protected:
  void write(Level, std::string_view, Fields) override {}
};

// The line without its end, as log.cpp writes it: `level=... event=... key=value ...`. A text is
// quoted when it is empty or holds anything but plain ASCII words; quotes, backslashes, control
// characters and invalid UTF-8 are escaped (\n, \t, \u00XX), so an event is always one line.
// A key that is no word of letters, digits, '_', '.' or '-' is written with '_' in those places.
std::string logfmt(Level level, std::string_view event, Log::Fields fields);

struct LogSettings {
  Level level = Level::info;
  int fd = 2;                      // where lines go
  bool journald = false;           // put `<6>` in front, no time of our own: config::is_journal()
  std::size_t queue_lines = 8192;  // lines that may wait for the sink thread
};

// The real one. Its destructor flushes.
std::unique_ptr<Log> open_log(const LogSettings& settings);

}  // namespace headgate
