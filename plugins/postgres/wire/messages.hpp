// messages: the contents of a server's messages, checked while they are read.
//
// Every view points into the payload and lives as long as it. Whatever does not fit (a count that
// lies, a missing NUL, bytes left over, a value that the protocol does not know) is a
// ProtocolFault.
//
// Source: PostgreSQL 15, chapters 55.7 and 55.8. Threads: none of its own.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "plugins/postgres/wire/backend.hpp"

namespace headgate::postgres::wire {

// Reads one payload front to back.
class PayloadReader {
 public:
  PayloadReader(Bytes payload, const char* message)
      : pos_(payload.data()), end_(pos_ + payload.size()), message_(message) {}
  std::uint8_t u8() { return *take(1); }
  std::uint16_t u16() { return load16(take(2)); }
  std::uint32_t u32() { return load32(take(4)); }
  std::int32_t i32() { return static_cast<std::int32_t>(u32()); }
  Bytes bytes(std::size_t n) { return {take(n), n}; }
  std::string_view cstring();
  [[nodiscard]] std::size_t left() const { return static_cast<std::size_t>(end_ - pos_); }
  // REQUIRES by the protocol: nothing is left.
  void done() const;
  [[noreturn]] void fail(const char* why) const;

 private:
  const std::uint8_t* take(std::size_t n) {
    if (left() < n) fail("is cut short");
    const std::uint8_t* p = pos_;
    pos_ += n;
    return p;
  }
  const std::uint8_t* pos_;
  const std::uint8_t* end_;
  const char* message_;
};

// One column of a RowDescription.
struct Field {
  std::string_view name;
  Oid table = 0;  // 0: no column of a table
  std::uint16_t column = 0;
  Oid type = 0;
  std::int16_t size = 0;  // pg_type.typlen
  std::int32_t typmod = -1;
  std::int16_t format = 0;
};

class RowDescription {
 public:
  explicit RowDescription(Bytes payload);
  [[nodiscard]] std::size_t count() const { return count_; }
  // False after the last one (then the payload has been checked to its end).
  bool next(Field* out);

 private:
  PayloadReader r_;
  std::size_t count_;
  std::size_t read_ = 0;
};

// The values of a DataRow (and of a binary COPY's tuple), one after the other.
class DataRow {
 public:
  explicit DataRow(Bytes payload);
  [[nodiscard]] std::size_t count() const { return count_; }
  struct Value {
    bool null = false;
    Bytes bytes{};
  };
  bool next(Value* out);

 private:
  PayloadReader r_;
  std::size_t count_;
  std::size_t read_ = 0;
};

class ParameterDescription {
 public:
  explicit ParameterDescription(Bytes payload);
  [[nodiscard]] std::size_t count() const { return types_.size() / 4; }
  [[nodiscard]] Oid type(std::size_t i) const { return load32(types_.data() + 4 * i); }

 private:
  Bytes types_;
};

// `INSERT 0 3` is command INSERT, rows 3; `CREATE TABLE` has no rows.
struct CommandComplete {
  std::string_view tag;      // whole
  std::string_view command;  // the words before the numbers
  std::optional<std::int64_t> rows;
};
CommandComplete read_command_complete(Bytes payload);
// What meta.rows_affected says: of INSERT, UPDATE, DELETE, MERGE, COPY; 0 of DDL. Empty of SELECT
// and its like, whose rows are in the body.
std::optional<std::int64_t> rows_affected(const CommandComplete& c);

// An ErrorResponse or NoticeResponse. Fields that the server did not send are empty; unknown ones
// are skipped, as the protocol asks. Text is as it came: it need not be UTF-8 before the client
// encoding is set; put it through clean_text() before it leaves.
struct Notice {
  std::string_view severity;    // V, not translated (S where a server has no V)
  std::string_view sqlstate;    // C: five characters, or empty
  std::string_view message;     // M
  std::string_view detail;      // D: holds values of rows and parameters
  std::string_view hint;        // H
  std::string_view position;    // P
  std::string_view where;       // W
  std::string_view schema;      // s
  std::string_view table;       // t
  std::string_view column;      // c
  std::string_view data_type;   // d
  std::string_view constraint;  // n
  std::string_view routine;     // R: the server's C function, the same in every language
  [[nodiscard]] bool fatal() const { return severity == "FATAL" || severity == "PANIC"; }
};
Notice read_notice(Bytes payload);

enum class TransactionStatus : char { idle = 'I', open = 'T', failed = 'E' };
TransactionStatus read_ready_for_query(Bytes payload);

struct ParameterStatus {
  std::string_view name;
  std::string_view value;
};
ParameterStatus read_parameter_status(Bytes payload);

struct Notification {
  std::int32_t pid = 0;
  std::string_view channel;
  std::string_view payload;
};
Notification read_notification(Bytes payload);

// CopyInResponse, CopyOutResponse, CopyBothResponse.
struct CopyResponse {
  bool binary = false;
  std::uint16_t columns = 0;
};
CopyResponse read_copy_response(Bytes payload);

struct BackendKey {
  std::int32_t pid = 0;
  std::int32_t key = 0;
};
BackendKey read_backend_key(Bytes payload);

struct NegotiateProtocolVersion {
  std::uint32_t minor = 0;
  std::uint32_t unknown_options = 0;
};
NegotiateProtocolVersion read_negotiate_protocol_version(Bytes payload);

// ParseComplete, BindComplete, CloseComplete, NoData, PortalSuspended, EmptyQueryResponse,
// CopyDone: REQUIRES by the protocol: an empty payload.
void read_empty(const Message& m);

// COPY's binary stream (copy_out), as PostgreSQL cuts it: a CopyData holds the header, at most one
// row, or the trailer; the header may come in front of the first row or of the trailer.
class CopyBinaryReader {
 public:
  // The row in this CopyData, as a DataRow's payload (ResultPlan::write_row takes it); empty: none.
  std::optional<Bytes> row(Bytes copy_data);
  // At CopyDone: the trailer has come.
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  bool begun_ = false;
  bool ended_ = false;
};

}  // namespace headgate::postgres::wire
