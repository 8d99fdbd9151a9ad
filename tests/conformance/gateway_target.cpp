// A store behind a running gateway as a Target, over plain frames: the suite must not share a fault
// with our own client library.
//
// Each Caller is one DEALER socket, used by one thread.
#include <zmq.h>

#include <atomic>
#include <chrono>
#include <map>
#include <stdexcept>

#include "proto/envelope.hpp"
#include "tests/conformance/target.hpp"

namespace headgate::conformance {
namespace {

std::uint64_t now_us() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

struct Waiting {
  std::vector<Json> parts;
  std::size_t taken = 0;
  std::uint64_t credit = 0;
  bool ended = false;
  Reply reply;
};

class GatewayCaller : public Caller {
 public:
  GatewayCaller(void* context, const std::string& url, std::string store)
      : store_(std::move(store)) {
    socket_ = zmq_socket(context, ZMQ_DEALER);
    const int never = -1, none = 0, hwm = 10'000;
    zmq_setsockopt(socket_, ZMQ_RECONNECT_IVL, &never, sizeof never);
    zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket_, ZMQ_RCVHWM, &hwm, sizeof hwm);
    if (zmq_connect(socket_, url.c_str()) != 0)
      throw std::runtime_error("cannot connect to " + url);
    const std::uint64_t id = next_++;
    proto::Hello hello;
    hello.id = id;
    hello.name = "headgate-conformance";
    hello.version = "1";
    send([&](proto::Writer& w) { encode(w, hello); });
    const std::uint64_t until = now_us() + 10'000'000;
    while (!welcomed_)
      if (!pump(until)) throw std::runtime_error("no gateway answered at " + url + " within 10 s");
  }
  ~GatewayCaller() override { zmq_close(socket_); }

  std::unique_ptr<Running> start(const std::string& verb, const Json& body,
                                 const Options& o) override;
  Reply upload(const std::string& verb, const Json& body, const std::vector<Json>& pieces,
               const Options& o, bool abort) override {
    const std::vector<std::uint8_t> bytes = to_bytes(body);
    const std::uint64_t id = request(verb, bytes, o);
    const std::uint64_t until = now_us() + 60'000'000;
    for (std::size_t i = 0; i <= pieces.size(); ++i) {
      const bool last = i == pieces.size();
      Waiting& w = waiting_[id];
      while (w.credit < i + 1 && !w.ended)
        if (!pump(until)) throw std::runtime_error(verb + ": no credit for the upload");
      if (w.ended || (last && abort)) break;
      const std::vector<std::uint8_t> piece =
          last ? std::vector<std::uint8_t>{0x90} : to_bytes(pieces[i]);
      send([&](proto::Writer& out) {
        proto::encode_data_head(out, id, i + 1, last);
        out.raw(piece);
      });
    }
    if (abort) cancel(id);
    return finish(id, o.timeout_ms);
  }
  Reply raw(const std::string& verb, proto::Bytes body, const Options& o) override {
    return finish(request(verb, body, o), o.timeout_ms);
  }

  std::uint64_t request(const std::string& verb, proto::Bytes body, const Options& o) {
    proto::Request r;
    r.id = next_++;
    r.sent_us = now_us();
    r.store = store_;
    r.verb = verb;
    r.options.timeout_ms = o.timeout_ms;
    r.options.read_only = o.read_only;
    r.options.idempotent = o.idempotent;
    r.options.key = o.key;
    r.options.tx = o.tx;
    r.options.fetch = static_cast<std::uint32_t>(o.fetch);
    r.options.credit = o.fetch != 0 ? 4 : proto::kCreditDefault;
    waiting_[r.id];
    send([&](proto::Writer& w) {
      proto::encode_request_head(w, r);
      w.raw(body);
    });
    return r.id;
  }
  void cancel(std::uint64_t id) {
    send([&](proto::Writer& w) { encode(w, proto::Cancel{id}); });
  }
  // The next part, or empty when the reply is there.
  std::optional<Json> part(std::uint64_t id, std::uint64_t until) {
    Waiting& w = waiting_[id];
    while (w.taken == w.parts.size() && !w.ended)
      if (!pump(until)) throw std::runtime_error("no part within the deadline and 30 s");
    if (w.taken == w.parts.size()) return std::nullopt;
    Json p = std::move(w.parts[w.taken++]);
    send([&](proto::Writer& out) { encode(out, proto::Credit{id, w.taken + 4}); });
    return p;
  }
  Reply finish(std::uint64_t id, std::uint32_t timeout_ms) {
    const std::uint64_t until = now_us() + std::uint64_t{timeout_ms} * 1000 + 30'000'000;
    Waiting& w = waiting_[id];
    while (!w.ended)
      if (!pump(until)) throw std::runtime_error("no reply within the deadline and 30 s");
    Reply r = std::move(w.reply);
    r.id = id;
    waiting_.erase(id);
    return r;
  }

 private:
  template <class F>
  void send(F&& write) {
    proto::VectorOut out;
    proto::Writer w(&out);
    write(w);
    if (zmq_send(socket_, out.view().data(), out.view().size(), 0) < 0)
      throw std::runtime_error(std::string("zmq_send: ") + zmq_strerror(zmq_errno()));
  }

  // Takes in what has come, waiting for it until `until`; false: nothing came.
  bool pump(std::uint64_t until) {
    zmq_pollitem_t item{socket_, 0, ZMQ_POLLIN, 0};
    const std::uint64_t now = now_us();
    if (now >= until || zmq_poll(&item, 1, static_cast<long>((until - now) / 1000 + 1)) <= 0)
      return false;
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, socket_, ZMQ_DONTWAIT) >= 0)
      take({static_cast<const std::uint8_t*>(zmq_msg_data(&message)), zmq_msg_size(&message)});
    zmq_msg_close(&message);
    return true;
  }

  void take(proto::Bytes frame) {
    const auto decoded = proto::decode(frame, proto::From::daemon);
    if (!decoded)
      throw std::runtime_error("a frame of the gateway: " + std::string(decoded.error().reason()));
    if (std::get_if<proto::Welcome>(&*decoded) != nullptr) {
      welcomed_ = true;
    } else if (const auto* p = std::get_if<proto::Part>(&*decoded)) {
      auto w = waiting_.find(p->id);
      if (w == waiting_.end()) return;
      if (p->seq != w->second.parts.size() + 1) throw std::runtime_error("a part out of sequence");
      w->second.parts.push_back(from_bytes(p->body));
    } else if (const auto* c = std::get_if<proto::Credit>(&*decoded)) {
      if (auto w = waiting_.find(c->id); w != waiting_.end())
        w->second.credit = std::max(w->second.credit, c->seq);
    } else if (const auto* ping = std::get_if<proto::Ping>(&*decoded)) {
      send([&](proto::Writer& w) { encode(w, proto::Pong{ping->id}); });
    } else if (const auto* r = std::get_if<proto::Reply>(&*decoded)) {
      auto w = waiting_.find(r->id);
      if (w == waiting_.end()) {
        if (!welcomed_) throw std::runtime_error("the gateway refused the hello");
        throw std::runtime_error("an answer to a request that is not in flight");
      }
      w->second.reply = reply_of(*r);
      w->second.ended = true;
    }
  }

  static Reply reply_of(const proto::Reply& f) {
    const auto meta = proto::decode_meta(f.meta);
    if (!meta) throw std::runtime_error("meta: " + std::string(meta.error().reason()));
    Reply r;
    r.code = f.code;
    r.outcome = meta->outcome;
    r.retryable = meta->retryable;
    r.message = meta->message;
    r.sqlstate = meta->sqlstate;
    r.vendor_code = meta->vendor_code;
    r.rows_affected = meta->rows_affected;
    r.last_id = meta->last_id;
    r.replayed = meta->replayed;
    r.body = from_bytes(f.body);
    return r;
  }

  std::string store_;
  void* socket_ = nullptr;
  bool welcomed_ = false;
  std::uint64_t next_ = 1;
  std::map<std::uint64_t, Waiting> waiting_;
};

class GatewayRunning : public Running {
 public:
  GatewayRunning(GatewayCaller& caller, std::uint64_t id, const Options& o)
      : caller_(caller),
        id_(id),
        timeout_ms_(o.timeout_ms),
        until_(now_us() + std::uint64_t{o.timeout_ms} * 1000 + 30'000'000) {}
  ~GatewayRunning() override {
    if (ended_) return;
    try {
      cancel();
      wait();
    } catch (const std::exception&) {  // the caller's own failure is under way
    }
  }
  std::optional<Json> part() override { return caller_.part(id_, until_); }
  void cancel() override { caller_.cancel(id_); }
  Reply wait() override {
    if (ended_) return reply_;
    std::vector<Json> parts;
    while (auto p = caller_.part(id_, until_)) parts.push_back(std::move(*p));
    reply_ = caller_.finish(id_, timeout_ms_);
    reply_.parts = std::move(parts);
    ended_ = true;
    return reply_;
  }

 private:
  GatewayCaller& caller_;
  std::uint64_t id_;
  std::uint32_t timeout_ms_;
  std::uint64_t until_;
  bool ended_ = false;
  Reply reply_;
};

std::unique_ptr<Running> GatewayCaller::start(const std::string& verb, const Json& body,
                                              const Options& o) {
  const std::vector<std::uint8_t> bytes = to_bytes(body);
  return std::make_unique<GatewayRunning>(*this, request(verb, bytes, o), o);
}

class GatewayTarget : public Target {
 public:
  GatewayTarget(std::string url, std::string store)
      : url_(std::move(url)), store_(std::move(store)) {
    context_ = zmq_ctx_new();
    zmq_ctx_set(context_, ZMQ_MAX_SOCKETS, 8192);
    const Reply r = caller()->call("describe", Json::object());
    if (!r.ok()) throw std::runtime_error("describe of `" + store_ + "`: " + r.message);
    describe_ = r.body;
  }
  ~GatewayTarget() override { zmq_ctx_term(context_); }
  std::unique_ptr<Caller> caller() override {
    return std::make_unique<GatewayCaller>(context_, url_, store_);
  }
  const Json& describe() const override { return describe_; }
  bool bare() const override { return false; }

 private:
  void* context_ = nullptr;
  std::string url_, store_;
  Json describe_;
};

}  // namespace

std::unique_ptr<Target> make_gateway_target(const std::string& url, const std::string& store) {
  return std::make_unique<GatewayTarget>(url, store);
}

}  // namespace headgate::conformance
