// Answers: the one reply of a call, parts of a stream, credit for an upload.
#include <algorithm>

#include "daemon/dispatch/dispatcher.hpp"

namespace headgate {
namespace {

proto::Meta meta_of(const Call& c, const Answer& a) {
  proto::Meta m;
  m.outcome = a.outcome;
  m.attempts = c.attempts;
  m.retryable = a.retryable;
  m.retry_after_ms = a.retry_after_ms;
  if (a.code != Code::ok) {
    m.sqlstate = a.fault.sqlstate;
    m.vendor_code = a.fault.vendor_code;
    m.message = a.fault.message;
    m.detail = a.fault.detail;
  }
  if (a.has_rows_affected) m.rows_affected = a.rows_affected;
  if (a.has_last_id) m.last_id = a.last_id;
  m.warnings = a.warnings;
  m.replayed = a.replayed;
  m.replicated = !a.not_replicated;
  m.queue_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, c.queue_us));
  m.store_us = static_cast<std::uint64_t>(std::max<std::int64_t>(0, c.store_us));
  return m;
}

// A head on the stack; the encoders below write no more than this.
struct Head {
  std::uint8_t bytes[proto::kReplyHeadMax];
  proto::Out out{bytes, bytes + sizeof bytes, nullptr};
  proto::Writer writer{&out};
  [[nodiscard]] proto::Bytes view() const {
    return {bytes, static_cast<std::size_t>(out.pos - bytes)};
  }
};

}  // namespace

void Dispatcher::reply(PeerId peer, std::uint64_t id, const Refused& why) {
  ++counts_.replies[static_cast<std::size_t>(why.code)];
  proto::Meta m;
  m.outcome = Outcome::not_sent;
  m.message = why.message;
  m.retryable =
      why.code == Code::overloaded || why.code == Code::draining || why.code == Code::queue_timeout;
  m.retry_after_ms = why.retry_after_ms;
  Head head;
  proto::encode_reply_head(head.writer, id, why.code, m);
  frames_->send(peer, head.view(), proto::kNilBody);
}

void Dispatcher::answer(Call& call, Answer a) {
  ReplyBuffer body = std::move(a.body);
  finish(static_cast<InflightCall&>(call), a, std::move(body), {});
}

// `fixed`: a body that is lent, in place of one that is given.
void Dispatcher::finish(InflightCall& c, const Answer& a, ReplyBuffer body, proto::Bytes fixed) {
  if (state(c.peer) != nullptr) {
    Head head;
    proto::encode_reply_head(head.writer, c.request_id, a.code, meta_of(c, a));
    if (body.size() > 0) {
      frames_->send(c.peer, head.view(), std::move(body));
    } else {
      frames_->send(c.peer, head.view(), fixed.empty() ? proto::Bytes(proto::kNilBody) : fixed);
    }
  }
  end(c, a.code);
}

void Dispatcher::end(InflightCall& c, Code code) {
  ++counts_.replies[static_cast<std::size_t>(code)];
  ServiceCounts& s = service(c.share.service);
  --s.calls;
  if (code != Code::ok) ++s.errors;
  --c.usage->calls;
  inflight_.remove(c);
}

void Dispatcher::part(Call& call, std::uint64_t sequence, ReplyBuffer body) {
  if (state(call.peer) == nullptr) return;
  Head head;
  proto::encode_part_head(head.writer, call.request_id, sequence);
  if (body.size() > 0) {
    frames_->send(call.peer, head.view(), std::move(body));
  } else {
    frames_->send(call.peer, head.view(), proto::kNilBody);
  }
}

void Dispatcher::upload_credit(Call& call, std::uint64_t sequence) {
  auto& c = static_cast<InflightCall&>(call);
  c.upload_credit = std::max(c.upload_credit, sequence);
  if (state(c.peer) == nullptr) return;
  Head head;
  proto::encode(head.writer, proto::Credit{c.request_id, sequence});
  frames_->send(c.peer, head.view(), proto::Bytes{});
}

}  // namespace headgate
