#include "daemon/admin/admin.hpp"

#include <algorithm>
#include <string>

#include "proto/writer.hpp"

namespace headgate::admin {
namespace {

constexpr std::uint64_t kReplyMax = 64u << 20;  // `show` on a daemon at its limits

Answer refused(Code code, std::string message, Outcome outcome = Outcome::rejected) {
  Answer a;
  a.code = a.fault.code = code;
  a.outcome = a.fault.outcome = outcome;
  a.fault.message = std::move(message);
  return a;
}

// Reads a body field by field; a name that nobody asked for, or one that comes twice, is a fault.
class Body {
 public:
  explicit Body(proto::Bytes b) : c_(b), left_(c_.read_map()) {}
  // f(name) reads the value and returns what is wrong with it, or "".
  template <class F>
  std::string each(F&& f) {
    std::vector<std::string> seen;
    for (; left_ > 0; --left_) {
      const std::string name(c_.read_str());
      if (!c_.ok()) return "the body must be a map with str keys";
      if (std::find(seen.begin(), seen.end(), name) != seen.end()) return name + " is given twice";
      seen.push_back(name);
      if (std::string wrong = f(name, c_); !wrong.empty()) return wrong;
    }
    return c_.ok() ? "" : "the body must be a map";
  }

 private:
  proto::Cursor c_;
  std::uint32_t left_;
};

std::string unknown(const std::string& name) { return "unknown field `" + name + "`"; }

std::string text(const std::string& name, proto::Cursor& c, std::string* out) {
  if (c.peek() != proto::Type::str) return name + " must be a str";
  *out = c.read_str();
  return "";
}

std::string number(const std::string& name, proto::Cursor& c, std::optional<std::uint64_t>* out) {
  if (c.read_nil()) return "";
  if (c.peek() != proto::Type::uint) return name + " must be an integer, not negative";
  *out = c.read_uint();
  return "";
}

// Writes into a reply's own memory.
struct ReplyOut : proto::Out {
  explicit ReplyOut(ReplyBuffer& b) : buffer(b) {
    grow = [](proto::Out* out, std::size_t n) {
      auto* self = static_cast<ReplyOut*>(out);
      self->settle();
      self->pos = self->from = self->buffer.reserve(n);
      if (self->pos == nullptr) return false;
      self->end = self->pos + self->buffer.room();
      return true;
    };
  }
  void settle() {
    if (pos != nullptr) buffer.commit(static_cast<std::uint64_t>(pos - from));
    from = pos;
  }
  ReplyBuffer& buffer;
  std::uint8_t* from = nullptr;
};

template <class F>
Answer reply(F&& write) {
  Answer a;
  a.body = ReplyBuffer(kReplyMax);
  ReplyOut out(a.body);
  proto::Writer w(&out);
  write(w);
  out.settle();
  if (!w.ok()) return refused(Code::too_large, "the answer does not fit into a reply");
  return a;
}

void strings(proto::Writer& w, const std::vector<std::string>& list) {
  w.array(static_cast<std::uint32_t>(list.size()));
  for (const std::string& s : list) w.str(s);
}

void cell(proto::Writer& w, const Cell& c) {
  if (const auto* n = std::get_if<std::int64_t>(&c)) return w.sint(*n);
  if (const auto* b = std::get_if<bool>(&c)) return w.boolean(*b);
  if (const auto* s = std::get_if<std::string>(&c)) return w.str(*s);
  w.nil();
}

}  // namespace

std::vector<access::Verb> verbs() {
  return {{"ping", Access::read}, {"describe", Access::read}, {"show", Access::read},
          {"can", Access::read},  {"reload", Access::admin},  {"drain", Access::admin},
          {"kill", Access::admin}};
}

const std::vector<std::string>& shown() {
  static const std::vector<std::string> kShown = {"stores", "pools",   "services", "calls",
                                                  "leases", "plugins", "config",   "version",
                                                  "peers",  "limits"};
  return kShown;
}

std::vector<std::uint8_t> describe_reply() {
  proto::VectorOut out;
  proto::Writer w(&out);
  w.map(6);
  w.str("kind");
  w.str("admin");
  w.str("product");
  w.str("Headgate");
  w.str("version");
  w.str(HEADGATE_VERSION);
  w.str("verbs");
  const auto all = verbs();
  w.map(static_cast<std::uint32_t>(all.size()));
  for (const access::Verb& v : all) {
    w.str(v.name);
    w.map(4);
    w.str("access");
    w.str(v.access == Access::read ? "read" : "admin");
    for (const char* flag : {"streams", "uploads", "waits"}) {
      w.str(flag);
      w.boolean(false);
    }
  }
  w.str("capabilities");
  w.array(0);
  w.str("limits");
  w.map(0);
  const proto::Bytes b = out.view();
  return {b.begin(), b.end()};
}

Answer Admin::serve(const Call& call) {
  if (call.verb == "show") return show(call.body);
  if (call.verb == "reload") return reload(call.body);
  if (call.verb == "drain") return drain(call.body);
  if (call.verb == "kill") return kill(call.body);
  if (call.verb == "can") return can(call.body);
  return refused(Code::unsupported, "this store has no such verb");
}

Answer Admin::show(proto::Bytes body) {
  std::string what;
  const std::string wrong = Body(body).each([&](const std::string& name, proto::Cursor& c) {
    return name == "what" ? text(name, c, &what) : unknown(name);
  });
  if (!wrong.empty()) return refused(Code::invalid, wrong);
  const std::optional<Table> table = operator_.show(what);
  if (!table) {
    std::string known;
    for (const std::string& s : shown()) known += (known.empty() ? "" : ", ") + s;
    return refused(Code::invalid, "what must be one of " + known);
  }
  return reply([&](proto::Writer& w) {
    w.map(2);
    w.str("columns");
    strings(w, table->columns);
    w.str("rows");
    w.array(static_cast<std::uint32_t>(table->rows.size()));
    for (const auto& row : table->rows) {
      w.array(static_cast<std::uint32_t>(row.size()));
      for (const Cell& c : row) cell(w, c);
    }
  });
}

Answer Admin::reload(proto::Bytes body) {
  const std::string wrong =
      Body(body).each([](const std::string& name, proto::Cursor&) { return unknown(name); });
  if (!wrong.empty()) return refused(Code::invalid, wrong);
  const Result<Reloaded> done = operator_.reload();
  if (!done) return refused(done.error().code, done.error().message);
  return reply([&](proto::Writer& w) {
    w.map(2);
    w.str("changed");
    strings(w, done->changed);
    w.str("needs_restart");
    strings(w, done->needs_restart);
  });
}

Answer Admin::drain(proto::Bytes body) {
  std::optional<std::uint64_t> ms;
  const std::string wrong = Body(body).each([&](const std::string& name, proto::Cursor& c) {
    return name == "timeout_ms" ? number(name, c, &ms) : unknown(name);
  });
  if (!wrong.empty()) return refused(Code::invalid, wrong);
  if (ms && *ms > proto::kTimeoutMsMax) {
    return refused(Code::invalid,
                   "timeout_ms must be at most " + std::to_string(proto::kTimeoutMsMax));
  }
  operator_.drain(ms ? std::optional<Micros>(std::chrono::milliseconds(*ms)) : std::nullopt);
  return reply([](proto::Writer& w) { w.map(0); });
}

Answer Admin::kill(proto::Bytes body) {
  std::optional<std::uint64_t> call;
  const std::string wrong = Body(body).each([&](const std::string& name, proto::Cursor& c) {
    return name == "call" ? number(name, c, &call) : unknown(name);
  });
  if (!wrong.empty()) return refused(Code::invalid, wrong);
  if (!call) return refused(Code::invalid, "call is missing: `show calls` gives its number");
  const bool killed = operator_.kill(*call);
  return reply([&](proto::Writer& w) {
    w.map(1);
    w.str("killed");
    w.boolean(killed);
  });
}

Answer Admin::can(proto::Bytes body) {
  std::string service;
  std::string store;
  std::string verb;
  const std::string wrong = Body(body).each([&](const std::string& name, proto::Cursor& c) {
    if (name == "service") return text(name, c, &service);
    if (name == "store") return text(name, c, &store);
    if (name == "verb") return text(name, c, &verb);
    return unknown(name);
  });
  if (!wrong.empty()) return refused(Code::invalid, wrong);
  const auto verdict = operator_.can(service, store, verb);
  return reply([&](proto::Writer& w) {
    w.map(2);
    w.str("allowed");
    w.boolean(verdict.allowed);
    w.str("why");
    w.str(verdict.why);
  });
}

}  // namespace headgate::admin
