// The encoders: whole frames, and heads in front of a body.
#include "proto/envelope.hpp"

namespace headgate::proto {
namespace {

void head(Writer& w, std::uint32_t fields, FrameType type, std::uint64_t id) {
  w.array(fields);
  w.uint(kVersion);
  w.uint(static_cast<std::uint64_t>(type));
  w.uint(id);
}

void encode_options(Writer& w, const Options& o) {
  const int n = (o.timeout_ms != 0) + o.read_only + o.idempotent + !o.key.empty() + (o.tx != 0) +
                (o.fetch != 0) + (o.credit != kCreditDefault) + !o.trace.empty();
  w.map(static_cast<std::uint32_t>(n));
  auto number = [&](std::string_view key, std::uint64_t v) {
    w.str(key);
    w.uint(v);
  };
  if (o.timeout_ms != 0) number("timeout_ms", o.timeout_ms);
  if (o.read_only) w.str("read_only"), w.boolean(true);
  if (o.idempotent) w.str("idempotent"), w.boolean(true);
  if (!o.key.empty()) w.str("key"), w.str(o.key);
  if (o.tx != 0) number("tx", o.tx);
  if (o.fetch != 0) number("fetch", o.fetch);
  if (o.credit != kCreditDefault) number("credit", o.credit);
  if (!o.trace.empty()) w.str("trace"), w.str(o.trace);
}

void encode_limits(Writer& w, const Limits& l) {
  w.map(9);
  auto number = [&](std::string_view key, std::uint64_t v) {
    w.str(key);
    w.uint(v);
  };
  number("message_max", l.message_max);
  number("reply_max", l.reply_max);
  number("part_max", l.part_max);
  number("depth_max", l.depth_max);
  number("elements_max", l.elements_max);
  number("timeout_ms_max", l.timeout_ms_max);
  number("credit_max", l.credit_max);
  number("fetch_max", l.fetch_max);
  number("calls_per_peer_max", l.calls_per_peer_max);
}

void body_or_nil(Writer& w, Bytes body) { w.raw(body.empty() ? Bytes(kNilBody) : body); }

}  // namespace

void encode(Writer& w, const Hello& f) {
  head(w, 8, FrameType::hello, f.id);
  w.str(f.name);
  w.str(f.version);
  w.uint(f.proto_min);
  w.uint(f.proto_max);
  w.boolean(f.pongs);
}

void encode(Writer& w, const Welcome& f) {
  head(w, 7, FrameType::welcome, f.id);
  w.uint(f.version);
  encode_limits(w, f.limits);
  w.uint(f.heartbeat_ms);
  if (f.stores.empty()) w.array(0);
  w.raw(f.stores);
}

void encode_store(Writer& w, std::string_view name, std::string_view kind,
                  std::span<const std::string_view> verbs) {
  w.array(3);
  w.str(name);
  w.str(kind);
  w.array(static_cast<std::uint32_t>(verbs.size()));
  for (const std::string_view v : verbs) w.str(v);
}

void encode_request_head(Writer& w, const Request& f) {
  head(w, 8, FrameType::request, f.id);
  w.uint(f.sent_us);
  w.str(f.store);
  w.str(f.verb);
  encode_options(w, f.options);
}

void encode(Writer& w, const Request& f) {
  encode_request_head(w, f);
  if (f.body.empty()) w.map(0);
  w.raw(f.body);
}

void encode_data_head(Writer& w, std::uint64_t id, std::uint64_t seq, bool last) {
  head(w, 6, FrameType::data, id);
  w.uint(seq);
  w.boolean(last);
}

void encode(Writer& w, const Data& f) {
  encode_data_head(w, f.id, f.seq, f.last);
  body_or_nil(w, f.body);
}

void encode_part_head(Writer& w, std::uint64_t id, std::uint64_t seq) {
  head(w, 5, FrameType::part, id);
  w.uint(seq);
}

void encode(Writer& w, const Part& f) {
  encode_part_head(w, f.id, f.seq);
  body_or_nil(w, f.body);
}

void encode(Writer& w, const Credit& f) {
  head(w, 4, FrameType::credit, f.id);
  w.uint(f.seq);
}

void encode(Writer& w, const Cancel& f) { head(w, 3, FrameType::cancel, f.id); }
void encode(Writer& w, const Ping& f) { head(w, 3, FrameType::ping, f.id); }
void encode(Writer& w, const Pong& f) { head(w, 3, FrameType::pong, f.id); }

void encode(Writer& w, const Goaway& f) {
  head(w, 4, FrameType::goaway, 0);
  w.uint(f.drain_ms);
}

}  // namespace headgate::proto
