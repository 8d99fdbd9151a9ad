// Error is what a call throws when it was not answered `ok`: what went wrong (code), and what
// happened to the store (outcome). Both are PROTOCOL.md's closed lists.
//
// Threads: values; share them as you would a std::string.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "proto/codes.hpp"
#include "proto/cursor.hpp"

namespace headgate {

using proto::Bytes;
using proto::Code;
using proto::Outcome;

// What a reply says besides its code and its body.
struct ReplyMeta {
  Outcome outcome = Outcome::not_sent;
  std::uint32_t attempts = 0;  // executions on a connection
  bool retryable = false;      // sending the same again is safe and may succeed
  std::chrono::milliseconds retry_after{0};
  std::string sqlstate;
  std::int32_t vendor_code = 0;
  std::string message;
  std::vector<std::uint8_t> detail;  // one msgpack value, or empty
  std::string store;
  std::optional<std::int64_t> rows_affected;
  std::optional<std::int64_t> last_id;
  std::vector<std::string> warnings;
  bool replayed = false;   // the recorded answer of an earlier call with this key
  bool replicated = true;  // false: acknowledged, but a standby may lack it
  std::chrono::microseconds queue_time{0};
  std::chrono::microseconds store_time{0};
};

class Error : public std::runtime_error {
 public:
  // what() reads "<code>: <message> (<outcome>)".
  Error(Code code, ReplyMeta meta);
  Error(Code code, Outcome outcome, std::string message);

  [[nodiscard]] Code code() const { return code_; }
  [[nodiscard]] Outcome outcome() const { return meta_.outcome; }
  [[nodiscard]] bool retryable() const { return meta_.retryable; }
  [[nodiscard]] std::chrono::milliseconds retry_after() const { return meta_.retry_after; }
  [[nodiscard]] const std::string& sqlstate() const { return meta_.sqlstate; }
  [[nodiscard]] std::int32_t vendor_code() const { return meta_.vendor_code; }
  [[nodiscard]] const std::string& message() const { return meta_.message; }
  [[nodiscard]] const ReplyMeta& meta() const { return meta_; }

 private:
  Code code_;
  ReplyMeta meta_;
};

// A value that has no exact form in the type asked for, or text that is no such value.
class ValueError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace headgate
