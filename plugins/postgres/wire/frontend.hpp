// frontend: what we say to a server: the v3 protocol's messages, appended to an OutBuffer.
//
// Nothing is sent here. A writer that refuses (text with a NUL, more than the protocol's lengths
// hold) throws sdk::Error (invalid, rejected) and leaves the buffer as it was, so that the messages
// of other calls around it stay whole.
//
// Source: PostgreSQL 15, chapter 55.7 "Message Formats". Threads: none of its own.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "plugins/postgres/wire/buffer.hpp"

namespace headgate::postgres::wire {

inline constexpr std::size_t kParametersMax = 65'535;        // of a Bind: its count is 16 bits
inline constexpr std::size_t kMessageBytesMax = 0x3ffffffe;  // what a server takes: 1 GiB less 1
inline constexpr std::size_t kStatementNameMax = 63;         // longer names are cut by the server

// `types`: what the caller wants the parameters to be; 0, or fewer than there are: the server says.
void parse(OutBuffer& out, std::string_view name, std::string_view sql,
           std::span<const Oid> types = {});
void describe_statement(OutBuffer& out, std::string_view name);
void describe_portal(OutBuffer& out, std::string_view name);
// At most max_rows rows, then PortalSuspended; 0: all.
void execute(OutBuffer& out, std::string_view portal = {}, std::uint32_t max_rows = 0);
void close_statement(OutBuffer& out, std::string_view name);
void close_portal(OutBuffer& out, std::string_view name);
void sync(OutBuffer& out);
void flush(OutBuffer& out);
// The simple protocol: for what the extended one does not take, of our own text alone.
void query(OutBuffer& out, std::string_view sql);
void copy_data(OutBuffer& out, Bytes data);
void copy_done(OutBuffer& out);
void copy_fail(OutBuffer& out, std::string_view reason);
void terminate(OutBuffer& out);

// A CopyData whose content is appended to the buffer between begin and end.
class CopyDataWriter {
 public:
  explicit CopyDataWriter(OutBuffer& out);
  ~CopyDataWriter();  // without finish(): as if it had never begun
  CopyDataWriter(const CopyDataWriter&) = delete;
  CopyDataWriter& operator=(const CopyDataWriter&) = delete;
  OutBuffer& out() { return out_; }
  void finish();

 private:
  OutBuffer& out_;
  std::size_t start_;
  bool done_ = false;
};

// Binary COPY (copy_in): the header once, each row a BinaryRow, the trailer once; each inside
// CopyData. A row is `count` values written by encode_value(out, ..., Form::binary).
void copy_binary_header(OutBuffer& out);
void copy_binary_row(OutBuffer& out, std::uint16_t count);
void copy_binary_trailer(OutBuffer& out);

// One Bind, value by value, straight into the buffer. What is not finish()ed (an exception between)
// leaves no trace.
//
//   BindWriter bind(out, "", statement, 2);
//   bind_value(bind, *type, cursor, "parameter 1");  // parameter.hpp
//   bind.null();
//   bind.finish(plan.formats());
class BindWriter {
 public:
  BindWriter(OutBuffer& out, std::string_view portal, std::string_view statement,
             std::size_t parameters);
  ~BindWriter();
  BindWriter(const BindWriter&) = delete;
  BindWriter& operator=(const BindWriter&) = delete;

  void null();
  void text(std::string_view s);  // format 0: the server's input function reads it
  void binary(Bytes b);           // format 1: its receive function
  // Bytes that somebody else appends: REQUIRES value = the length word and its bytes.
  OutBuffer& out() { return out_; }
  void appended(std::int16_t format) { set_format(format); }

  // `formats` of the result's columns: none (all text), one for all, or one a column.
  // REQUIRES: as many values as announced.
  void finish(std::span<const std::int16_t> formats);

 private:
  void set_format(std::int16_t format);
  OutBuffer& out_;
  std::size_t start_;
  std::size_t formats_at_ = 0;
  std::size_t count_;
  std::size_t next_ = 0;
  bool done_ = false;
};

}  // namespace headgate::postgres::wire
