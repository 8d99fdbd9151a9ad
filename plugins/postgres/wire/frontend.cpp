// The messages' layouts, and the buffer that they go to.
#include "plugins/postgres/wire/frontend.hpp"

#include <algorithm>
#include <array>

#include "plugins/sdk/driver.hpp"

namespace headgate::postgres::wire {

void OutBuffer::grow(std::size_t n) {
  const std::size_t used = size();
  if (capacity_ - used >= n && head_ >= used) {
    std::memmove(store_.get(), store_.get() + head_, used);
  } else {
    const std::size_t capacity = std::max({capacity_ * 2, used + n, std::size_t{4096}});
    auto larger = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
    if (used != 0) std::memcpy(larger.get(), store_.get() + head_, used);
    store_ = std::move(larger);
    capacity_ = capacity;
  }
  head_ = 0;
  tail_ = used;
}

void OutBuffer::emptied() {
  head_ = tail_ = 0;
  if (capacity_ <= kKeep) return;
  store_.reset();
  capacity_ = 0;
}

namespace {

[[noreturn]] void refuse(const char* what, const char* sqlstate,
                         sdk::Code code = sdk::Code::invalid) {
  sdk::Error e(code, sdk::Outcome::rejected, what);
  e.sqlstate = sqlstate;
  throw e;
}

// A server's strings end at their first NUL: what follows one would be another field.
void need_no_nul(std::string_view s, const char* what) {
  if (!s.empty() && std::memchr(s.data(), 0, s.size()) != nullptr) refuse(what, "22021");
}

void need_size(std::size_t n, const char* what) {
  if (n > kMessageBytesMax) refuse(what, "54000", sdk::Code::too_large);
}

void need_name(std::string_view s) {
  need_no_nul(s, "a statement's name has a NUL byte");
  if (s.size() > kStatementNameMax) refuse("a statement's name is too long", "42622");
}

// Begins a message; end() sets its length.
std::size_t begin(OutBuffer& out, char tag) {
  const std::size_t start = out.size();
  std::uint8_t* p = out.extend(5);
  p[0] = static_cast<std::uint8_t>(tag);
  return start;
}
void end(OutBuffer& out, std::size_t start) {
  store32(out.at(start + 1), static_cast<std::uint32_t>(out.size() - start - 1));
}

void plain(OutBuffer& out, char tag) {
  std::uint8_t* p = out.extend(5);
  p[0] = static_cast<std::uint8_t>(tag);
  store32(p + 1, 4);
}

void named(OutBuffer& out, char tag, char what, std::string_view name) {
  need_name(name);
  const std::size_t start = begin(out, tag);
  out.put8(static_cast<std::uint8_t>(what));
  out.put_cstring(name);
  end(out, start);
}

constexpr std::array<std::uint8_t, 19> kCopyHeader = {
    'P', 'G', 'C', 'O', 'P', 'Y', '\n', 0xff, '\r', '\n', 0, 0, 0, 0, 0, 0, 0, 0, 0};

}  // namespace

void parse(OutBuffer& out, std::string_view name, std::string_view sql,
           std::span<const Oid> types) {
  need_name(name);
  need_no_nul(sql, "the statement's text has a NUL byte");
  need_size(sql.size() + types.size() * 4, "the statement's text is too long");
  if (types.size() > kParametersMax) refuse("a statement takes at most 65535 parameters", "54023");
  const std::size_t start = begin(out, 'P');
  out.put_cstring(name);
  out.put_cstring(sql);
  out.put16(static_cast<std::uint16_t>(types.size()));
  for (const Oid t : types) out.put32(t);
  end(out, start);
}

void describe_statement(OutBuffer& out, std::string_view name) { named(out, 'D', 'S', name); }
void describe_portal(OutBuffer& out, std::string_view name) { named(out, 'D', 'P', name); }
void close_statement(OutBuffer& out, std::string_view name) { named(out, 'C', 'S', name); }
void close_portal(OutBuffer& out, std::string_view name) { named(out, 'C', 'P', name); }

void execute(OutBuffer& out, std::string_view portal, std::uint32_t max_rows) {
  need_name(portal);
  const std::size_t start = begin(out, 'E');
  out.put_cstring(portal);
  out.put32(std::min<std::uint32_t>(max_rows, 0x7fffffff));
  end(out, start);
}

void sync(OutBuffer& out) { plain(out, 'S'); }
void flush(OutBuffer& out) { plain(out, 'H'); }
void copy_done(OutBuffer& out) { plain(out, 'c'); }
void terminate(OutBuffer& out) { plain(out, 'X'); }

void query(OutBuffer& out, std::string_view sql) {
  need_no_nul(sql, "the statement's text has a NUL byte");
  need_size(sql.size(), "the statement's text is too long");
  const std::size_t start = begin(out, 'Q');
  out.put_cstring(sql);
  end(out, start);
}

void copy_data(OutBuffer& out, Bytes data) {
  need_size(data.size(), "a piece of the upload is too long");
  const std::size_t start = begin(out, 'd');
  out.put(data);
  end(out, start);
}

void copy_fail(OutBuffer& out, std::string_view reason) {
  need_no_nul(reason, "a reason has a NUL byte");
  need_size(reason.size(), "a reason is too long");
  const std::size_t start = begin(out, 'f');
  out.put_cstring(reason);
  end(out, start);
}

CopyDataWriter::CopyDataWriter(OutBuffer& out) : out_(out), start_(begin(out, 'd')) {}
CopyDataWriter::~CopyDataWriter() {
  if (!done_) out_.truncate(start_);
}
void CopyDataWriter::finish() {
  need_size(out_.size() - start_, "a row of the upload is too long");
  end(out_, start_);
  done_ = true;
}

void copy_binary_header(OutBuffer& out) { out.put(Bytes(kCopyHeader)); }
void copy_binary_row(OutBuffer& out, std::uint16_t count) { out.put16(count); }
void copy_binary_trailer(OutBuffer& out) { out.put16(0xffff); }

BindWriter::BindWriter(OutBuffer& out, std::string_view portal, std::string_view statement,
                       std::size_t parameters)
    : out_(out), start_(out.size()), count_(parameters) {
  need_name(portal);
  need_name(statement);
  if (parameters > kParametersMax) refuse("a statement takes at most 65535 parameters", "54023");
  begin(out, 'B');
  out.put_cstring(portal);
  out.put_cstring(statement);
  out.put16(static_cast<std::uint16_t>(parameters));
  formats_at_ = out.size();
  if (parameters != 0) std::memset(out.extend(parameters * 2), 0, parameters * 2);
  out.put16(static_cast<std::uint16_t>(parameters));
}

BindWriter::~BindWriter() {
  if (!done_) out_.truncate(start_);
}

void BindWriter::set_format(std::int16_t format) {
  if (next_ == count_)
    throw sdk::Error(sdk::Code::internal, sdk::Outcome::rejected, "more values than parameters");
  store16(out_.at(formats_at_ + 2 * next_), static_cast<std::uint16_t>(format));
  ++next_;
}

void BindWriter::null() {
  set_format(1);
  out_.put32(0xffffffff);
}

void BindWriter::text(std::string_view s) {
  need_no_nul(s, "a parameter's text has a NUL byte");
  need_size(s.size(), "a parameter is too long");
  set_format(0);
  out_.put32(static_cast<std::uint32_t>(s.size()));
  out_.put(s);
}

void BindWriter::binary(Bytes b) {
  need_size(b.size(), "a parameter is too long");
  set_format(1);
  out_.put32(static_cast<std::uint32_t>(b.size()));
  out_.put(b);
}

void BindWriter::finish(std::span<const std::int16_t> formats) {
  if (next_ != count_)
    throw sdk::Error(sdk::Code::internal, sdk::Outcome::rejected, "fewer values than parameters");
  if (formats.size() > kParametersMax) refuse("a result has too many columns", "54011");
  out_.put16(static_cast<std::uint16_t>(formats.size()));
  for (const std::int16_t f : formats) out_.put16(static_cast<std::uint16_t>(f));
  need_size(out_.size() - start_, "the parameters together are too long");
  end(out_, start_);
  done_ = true;
}

}  // namespace headgate::postgres::wire
