// The layouts of the server's messages.
#include "plugins/postgres/wire/messages.hpp"

#include <algorithm>
#include <charconv>

namespace headgate::postgres::wire {

void PayloadReader::fail(const char* why) const {
  throw ProtocolFault(std::string("the server's ") + message_ + " " + why);
}

std::string_view PayloadReader::cstring() {
  const auto* nul =
      static_cast<const std::uint8_t*>(left() == 0 ? nullptr : std::memchr(pos_, 0, left()));
  if (nul == nullptr) fail("has a string without an end");
  const std::string_view s(reinterpret_cast<const char*>(pos_),
                           static_cast<std::size_t>(nul - pos_));
  pos_ = nul + 1;
  return s;
}

void PayloadReader::done() const {
  if (left() != 0) fail("is longer than its contents");
}

RowDescription::RowDescription(Bytes payload) : r_(payload, "RowDescription"), count_(r_.u16()) {}

bool RowDescription::next(Field* out) {
  if (read_ == count_) {
    r_.done();
    return false;
  }
  ++read_;
  out->name = r_.cstring();
  out->table = r_.u32();
  out->column = r_.u16();
  out->type = r_.u32();
  out->size = static_cast<std::int16_t>(r_.u16());
  out->typmod = r_.i32();
  out->format = static_cast<std::int16_t>(r_.u16());
  if (out->format != 0 && out->format != 1) r_.fail("has a format that does not exist");
  return true;
}

DataRow::DataRow(Bytes payload) : r_(payload, "DataRow"), count_(r_.u16()) {}

bool DataRow::next(Value* out) {
  if (read_ == count_) {
    r_.done();
    return false;
  }
  ++read_;
  const std::int32_t n = r_.i32();
  if (n < -1) r_.fail("has a value of negative length");
  out->null = n == -1;
  out->bytes = out->null ? Bytes{} : r_.bytes(static_cast<std::size_t>(n));
  return true;
}

ParameterDescription::ParameterDescription(Bytes payload) {
  PayloadReader r(payload, "ParameterDescription");
  const std::size_t n = r.u16();
  types_ = r.bytes(n * 4);
  r.done();
}

CommandComplete read_command_complete(Bytes payload) {
  PayloadReader r(payload, "CommandComplete");
  CommandComplete c;
  c.tag = c.command = r.cstring();
  r.done();
  // The last word is the count; an INSERT has another number before it.
  for (int words = 0; words < 2; ++words) {
    const std::size_t space = c.command.rfind(' ');
    if (space == std::string_view::npos) break;
    const std::string_view word = c.command.substr(space + 1);
    std::int64_t n = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
    if (word.empty() || end != word.data() + word.size()) break;
    if (error != std::errc() || n < 0) r.fail("has a count that is none");
    if (words == 0) c.rows = n;
    c.command = c.command.substr(0, space);
  }
  return c;
}

std::optional<std::int64_t> rows_affected(const CommandComplete& c) {
  if (c.command == "SELECT" || c.command == "FETCH" || c.command == "MOVE") return std::nullopt;
  return c.rows.value_or(0);
}

Notice read_notice(Bytes payload) {
  PayloadReader r(payload, "ErrorResponse");
  Notice n;
  std::string_view translated;
  for (std::uint8_t code = r.u8(); code != 0; code = r.u8()) {
    const std::string_view value = r.cstring();
    switch (code) {
      case 'S':
        translated = value;
        break;
      case 'V':
        n.severity = value;
        break;
      case 'C':
        n.sqlstate = value;
        break;
      case 'M':
        n.message = value;
        break;
      case 'D':
        n.detail = value;
        break;
      case 'H':
        n.hint = value;
        break;
      case 'P':
        n.position = value;
        break;
      case 'W':
        n.where = value;
        break;
      case 's':
        n.schema = value;
        break;
      case 't':
        n.table = value;
        break;
      case 'c':
        n.column = value;
        break;
      case 'd':
        n.data_type = value;
        break;
      case 'n':
        n.constraint = value;
        break;
      case 'R':
        n.routine = value;
        break;
      default:
        break;
    }
  }
  r.done();
  if (n.severity.empty()) n.severity = translated;
  const bool five =
      n.sqlstate.size() == 5 && std::all_of(n.sqlstate.begin(), n.sqlstate.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
      });
  if (!five) n.sqlstate = {};
  return n;
}

TransactionStatus read_ready_for_query(Bytes payload) {
  PayloadReader r(payload, "ReadyForQuery");
  const char c = static_cast<char>(r.u8());
  r.done();
  if (c != 'I' && c != 'T' && c != 'E') r.fail("has a status that does not exist");
  return static_cast<TransactionStatus>(c);
}

ParameterStatus read_parameter_status(Bytes payload) {
  PayloadReader r(payload, "ParameterStatus");
  ParameterStatus s;
  s.name = r.cstring();
  s.value = r.cstring();
  r.done();
  return s;
}

Notification read_notification(Bytes payload) {
  PayloadReader r(payload, "NotificationResponse");
  Notification n;
  n.pid = r.i32();
  n.channel = r.cstring();
  n.payload = r.cstring();
  r.done();
  return n;
}

CopyResponse read_copy_response(Bytes payload) {
  PayloadReader r(payload, "CopyResponse");
  CopyResponse c;
  const std::uint8_t format = r.u8();
  c.columns = r.u16();
  if (format > 1) r.fail("has a format that does not exist");
  c.binary = format == 1;
  for (int i = 0; i < c.columns; ++i) {
    const std::uint16_t f = r.u16();
    if (f > format) r.fail("has a column in a format that does not fit");
  }
  r.done();
  return c;
}

BackendKey read_backend_key(Bytes payload) {
  PayloadReader r(payload, "BackendKeyData");
  BackendKey k;
  k.pid = r.i32();
  k.key = r.i32();
  r.done();
  return k;
}

NegotiateProtocolVersion read_negotiate_protocol_version(Bytes payload) {
  PayloadReader r(payload, "NegotiateProtocolVersion");
  NegotiateProtocolVersion v;
  v.minor = r.u32();
  v.unknown_options = r.u32();
  for (std::uint32_t i = 0; i < v.unknown_options; ++i) (void)r.cstring();
  r.done();
  return v;
}

void read_empty(const Message& m) {
  if (m.payload.empty()) return;
  PayloadReader(m.payload, "message without contents").fail("is longer than its contents");
}

std::optional<Bytes> CopyBinaryReader::row(Bytes copy_data) {
  PayloadReader r(copy_data, "binary COPY");
  if (!begun_) {
    constexpr std::string_view kSignature{"PGCOPY\n\xff\r\n\0", 11};
    if (proto::text_of(r.bytes(kSignature.size())) != kSignature) r.fail("has no signature");
    if (r.u32() != 0) r.fail("has flags that do not exist");
    (void)r.bytes(r.u32());  // the header's extension
    begun_ = true;
    if (r.left() == 0) return std::nullopt;
  }
  if (ended_) r.fail("goes on after its end");
  const Bytes rest = r.bytes(r.left());
  if (rest.size() < 2) r.fail("is cut short");
  if (load16(rest.data()) != 0xffff) return rest;
  if (rest.size() != 2) r.fail("goes on after its end");
  ended_ = true;
  return std::nullopt;
}

}  // namespace headgate::postgres::wire
