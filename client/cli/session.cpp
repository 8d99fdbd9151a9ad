// The connection, calls with Ctrl-C, and what an error means to whoever typed the command.
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "cli.hpp"

namespace headgate::cli {
namespace {

std::string_view meaning(Outcome o) {
  switch (o) {
    case Outcome::not_sent:
      return "nothing reached the store";
    case Outcome::rejected:
      return "the store did not execute it";
    case Outcome::rolled_back:
      return "it was executed and undone as a whole";
    case Outcome::applied:
      return "it was applied";
    case Outcome::unknown:
      return "it was sent, and no complete answer came: it may have been applied";
  }
  return "?";
}

std::string advice(Code code, const ReplyMeta& m) {
  if (m.outcome == Outcome::unknown) {
    return "look whether it was applied before you send it again; a call with --key can be "
           "repeated "
           "without harm";
  }
  switch (code) {
    case Code::invalid:
      return "mend the request: nothing was done";
    case Code::unsupported:
      return "this store cannot do that; `headgate request STORE describe` says "
             "what it can";
    case Code::unauthenticated:
      return "the gateway does not know this user or key: add it to a "
             "service in its configuration";
    case Code::denied:
      return "`headgate can SERVICE STORE VERB` says which grant is missing";
    case Code::too_large:
      return "ask for parts with --fetch, or raise the limit it names";
    case Code::overloaded:
    case Code::unavailable:
    case Code::draining:
      return "try again later; `headgate show pools` says where calls wait";
    case Code::queue_timeout:
    case Code::deadline:
      return "give more time with --timeout";
    case Code::transaction_expired:
    case Code::transaction_aborted:
      return "begin the transaction again";
    case Code::conflict:
      return "read again, then write again";
    case Code::internal:
      return "this is a fault of the gateway's: its log says more";
    default:
      return m.retryable ? "the same command may be sent again" : "";
  }
}

}  // namespace

Exit exit_code(Code code, Outcome outcome) {
  if (code == Code::ok) return kOk;
  if (code == Code::cancelled) return kInterrupted;
  if (outcome == Outcome::unknown) return kUnknown;
  switch (code) {
    case Code::unavailable:
    case Code::overloaded:
    case Code::draining:
      return kUnavailable;
    case Code::deadline:
    case Code::queue_timeout:
      return kDeadline;
    default:
      return kRefused;
  }
}

Millis parse_timeout(const std::string& text, const std::string& option) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  const std::map<std::string_view, double> units = {
      {"", 1e3}, {"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
  const auto factor = units.find(unit);
  const double ms = factor == units.end() ? 0 : number * factor->second;
  if (error != std::errc{} || !(ms >= 1) || ms > 24 * 3600e3) {
    throw Usage(option + ": expected a duration like 5s, 250ms or 2m, up to 24h, not '" + text +
                "'");
  }
  return Millis(static_cast<std::int64_t>(ms));
}

Client& Session::client() {
  if (client_ == nullptr) {
    ConnectOptions o;
    o.url = options_.url;
    o.key_file = options_.key_file;
    o.name = "headgate-cli";
    if (options_.timeout) {
      o.timeout = *options_.timeout;
      o.connect_timeout = std::min(o.connect_timeout, *options_.timeout);
    }
    client_ = std::make_unique<Client>(std::move(o));
  }
  return *client_;
}

CallOptions Session::call_options(const CallWords& words, std::uint64_t tx) const {
  CallOptions o;
  o.timeout = options_.timeout;
  o.read_only = words.read_only;
  o.idempotent = words.idempotent;
  o.key = words.key;
  o.fetch = words.fetch;
  o.tx = tx;
  return o;
}

Reply Session::call(std::string_view store, std::string_view verb, Bytes body,
                    const CallOptions& o) {
  Pending pending = client().start(store, verb, body, o);
  const Interrupt::During during(interrupt_, [&pending] { pending.cancel(); });
  return pending.wait();
}

Reply Session::done(std::string_view store, std::string_view verb, Bytes body,
                    const CallOptions& o) {
  Reply r = call(store, verb, body, o);
  r.throw_unless_ok();
  return r;
}

Reply Session::stream(std::string_view store, std::string_view verb, Bytes body, CallOptions o,
                      const std::function<void(Bytes)>& piece) {
  Stream stream = client().stream(store, verb, body, o);
  const Interrupt::During during(interrupt_, [&stream] { stream.cancel(); });
  while (const auto bytes = stream.next()) piece(*bytes);
  return stream.reply();
}

std::string explain(Code code, const ReplyMeta& m, Format format) {
  if (format == Format::json) {
    nlohmann::ordered_json e = {{"code", name(code)},
                                {"outcome", name(m.outcome)},
                                {"message", m.message},
                                {"retryable", m.retryable},
                                {"retry_after_ms", m.retry_after.count()},
                                {"attempts", m.attempts}};
    if (!m.sqlstate.empty()) e["sqlstate"] = m.sqlstate;
    if (m.vendor_code != 0) e["vendor_code"] = m.vendor_code;
    return nlohmann::ordered_json{{"error", e}}.dump(
               -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
           "\n";
  }
  std::string out = "headgate: " + std::string(name(code)) + ": " + m.message + "\n";
  out +=
      "  outcome: " + std::string(name(m.outcome)) + " (" + std::string(meaning(m.outcome)) + ")";
  if (m.attempts > 1) out += ", after " + std::to_string(m.attempts) + " attempts";
  if (!m.sqlstate.empty()) out += ", SQLSTATE " + m.sqlstate;
  out += "\n";
  if (m.retry_after.count() > 0) {
    out += "  try again in " + std::to_string(m.retry_after.count()) + " ms\n";
  }
  if (const std::string a = advice(code, m); !a.empty()) out += "  " + a + "\n";
  return out;
}

}  // namespace headgate::cli
