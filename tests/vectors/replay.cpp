// Replays proto/vectors/*.json through the C++ decoder: what is accepted must read as the vector
// says, what is refused must be refused with its code, its reason and the same verdict on the peer.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "proto/envelope.hpp"
#include "proto/values.hpp"

namespace headgate::proto {
namespace {

using nlohmann::json;
using Buffer = std::vector<std::uint8_t>;

json vectors(const std::string& file) {
  std::ifstream in(std::string(HEADGATE_SOURCE_DIR) + "/proto/vectors/" + file + ".json");
  return json::parse(in);
}

Buffer unhex(const std::string& hex) {
  Buffer out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

std::string hex(Bytes b) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string s;
  for (const std::uint8_t x : b) s += {kHex[x >> 4], kHex[x & 15]};
  return s;
}

Buffer bytes(const json& v) {
  if (v.contains("hex")) return unhex(v["hex"]);
  Buffer out;
  for (const json& piece : v["hex_repeat"]) {
    const Buffer once = unhex(piece[0]);
    const std::size_t times = piece[1];
    if (once.size() == 1)
      out.resize(out.size() + times, once[0]);
    else
      for (std::size_t n = 0; n < times; ++n) out.insert(out.end(), once.begin(), once.end());
  }
  return out;
}

// The vectors' JSON form of the next value.
json readable(Cursor& c) {
  const Item it = c.next();
  switch (it.type) {
    case Type::nil:
      return nullptr;
    case Type::boolean:
      return it.boolean;
    case Type::uint:
      return it.uint;
    case Type::sint:
      return it.sint;
    case Type::float32:
    case Type::float64:
      if (std::isfinite(it.real)) return it.real;
      return {{"$float", std::isnan(it.real) ? "nan" : it.real > 0 ? "inf" : "-inf"}};
    case Type::str:
      return std::string(text_of(it.bytes));
    case Type::bin:
      return {{"$bin", hex(it.bytes)}};
    case Type::ext:
      return {{"$ext", {it.ext, hex(it.bytes)}}};
    case Type::array: {
      json a = json::array();
      for (std::uint32_t i = 0; i < it.count; ++i) a.push_back(readable(c));
      return a;
    }
    case Type::map: {
      json object = json::object(), pairs = json::array();
      bool strings = true;
      for (std::uint32_t i = 0; i < it.count; ++i) {
        const json key = readable(c);
        const json value = readable(c);
        strings = strings && key.is_string();
        if (key.is_string()) object[key.get<std::string>()] = value;
        pairs.push_back({key, value});
      }
      if (strings) return object;
      return {{"$map", pairs}};
    }
    case Type::invalid:
      break;
  }
  ADD_FAILURE() << "unreadable value";
  return nullptr;
}

json body(Bytes b, const json& wanted) {
  if (wanted.is_object() && wanted.contains("$size")) return {{"$size", b.size()}};
  Cursor c(b);
  json v = readable(c);
  EXPECT_TRUE(c.ok() && c.at_end());
  return v;
}

json options(const Options& o, const json& given) {
  json all = {{"timeout_ms", o.timeout_ms},
              {"read_only", o.read_only},
              {"idempotent", o.idempotent},
              {"key", std::string(o.key)},
              {"tx", o.tx},
              {"fetch", o.fetch},
              {"credit", o.credit},
              {"trace", std::string(o.trace)}};
  const json defaults = {
      {"timeout_ms", 0}, {"read_only", false}, {"idempotent", false}, {"key", ""},
      {"tx", 0},         {"fetch", 0},         {"credit", 4},         {"trace", ""}};
  json out = json::object();
  for (const auto& [key, value] : all.items())
    if (given.contains(key) || value != defaults[key]) out[key] = value;
  return out;
}

json limits(const Limits& l) {
  return {{"message_max", l.message_max},
          {"reply_max", l.reply_max},
          {"part_max", l.part_max},
          {"depth_max", l.depth_max},
          {"elements_max", l.elements_max},
          {"timeout_ms_max", l.timeout_ms_max},
          {"credit_max", l.credit_max},
          {"fetch_max", l.fetch_max},
          {"calls_per_peer_max", l.calls_per_peer_max}};
}

struct Shown {
  const json& wanted;
  json operator()(const Hello& f) const {
    return {{"type", "hello"},
            {"id", f.id},
            {"name", std::string(f.name)},
            {"version", std::string(f.version)},
            {"proto_min", f.proto_min},
            {"proto_max", f.proto_max},
            {"pongs", f.pongs}};
  }
  json operator()(const Welcome& f) const {
    json stores = json::array();
    StoreReader reader(f.stores);
    for (GrantedStore s; reader.next(&s);) {
      Cursor verbs(s.verbs);
      stores.push_back({std::string(s.name), std::string(s.kind), readable(verbs)});
    }
    EXPECT_EQ(stores.size(), reader.count());
    // Limits that the frame does not name have their defaults; those of the future are dropped.
    json known = limits(Limits{});
    for (const auto& [key, value] : wanted["limits"].items())
      if (known.contains(key)) known[key] = value;
    EXPECT_EQ(limits(f.limits), known);
    return {{"type", "welcome"},
            {"id", f.id},
            {"version", f.version},
            {"limits", wanted["limits"]},
            {"heartbeat_ms", f.heartbeat_ms},
            {"stores", stores}};
  }
  json operator()(const Request& f) const {
    return {{"type", "request"},
            {"id", f.id},
            {"sent_us", f.sent_us},
            {"store", std::string(f.store)},
            {"verb", std::string(f.verb)},
            {"options", options(f.options, wanted["options"])},
            {"body", body(f.body, wanted["body"])}};
  }
  json operator()(const Data& f) const {
    return {{"type", "data"},
            {"id", f.id},
            {"seq", f.seq},
            {"last", f.last},
            {"body", body(f.body, wanted["body"])}};
  }
  json operator()(const Part& f) const {
    return {{"type", "part"}, {"id", f.id}, {"seq", f.seq}, {"body", body(f.body, wanted["body"])}};
  }
  json operator()(const Reply& f) const {
    EXPECT_TRUE(decode_meta(f.meta).has_value());
    return {{"type", "reply"},
            {"id", f.id},
            {"code", std::string(name(f.code))},
            {"meta", body(f.meta, wanted["meta"])},
            {"body", body(f.body, wanted["body"])}};
  }
  json operator()(const Credit& f) const {
    return {{"type", "credit"}, {"id", f.id}, {"seq", f.seq}};
  }
  json operator()(const Cancel& f) const { return {{"type", "cancel"}, {"id", f.id}}; }
  json operator()(const Ping& f) const { return {{"type", "ping"}, {"id", f.id}}; }
  json operator()(const Pong& f) const { return {{"type", "pong"}, {"id", f.id}}; }
  json operator()(const Goaway& f) const {
    return {{"type", "goaway"}, {"id", 0}, {"drain_ms", f.drain_ms}};
  }
};

Limits limits_of(const json& v) {
  Limits l;
  if (!v.contains("limits")) return l;
  for (const auto& [key, value] : v["limits"].items()) {
    if (key == "message_max")
      l.message_max = value;
    else if (key == "depth_max")
      l.depth_max = value;
    else if (key == "elements_max")
      l.elements_max = value;
    else if (key == "timeout_ms_max")
      l.timeout_ms_max = value;
    else if (key == "credit_max")
      l.credit_max = value;
    else if (key == "fetch_max")
      l.fetch_max = value;
    else
      ADD_FAILURE() << "limit " << key;
  }
  return l;
}

void replay_frame(const json& v) {
  const Buffer frame = bytes(v);
  const From from = v["from"] == "client" ? From::client : From::daemon;
  const auto m = decode(frame, from, limits_of(v));
  if (v["accept"].get<bool>()) {
    ASSERT_TRUE(m.has_value()) << m.error().reason();
    EXPECT_EQ(std::visit(Shown{v["readable"]}, *m), v["readable"]);
    return;
  }
  ASSERT_FALSE(m.has_value());
  const Refusal& r = m.error();
  EXPECT_EQ(name(r.code), v["code"].get<std::string>()) << r.reason();
  EXPECT_EQ(r.cut, v["cut"].get<bool>()) << r.reason();
  EXPECT_NE(r.reason().find(v["reason_contains"].get<std::string>()), std::string_view::npos)
      << r.reason();
  EXPECT_TRUE(r.cut || r.has_id);
}

class Frames : public testing::TestWithParam<const char*> {};

TEST_P(Frames, Replay) {
  const json all = vectors(GetParam());
  ASSERT_FALSE(all.empty());
  for (const json& v : all) {
    SCOPED_TRACE(v["name"].get<std::string>());
    replay_frame(v);
  }
}

INSTANTIATE_TEST_SUITE_P(Vectors, Frames,
                         testing::Values("client", "options", "pieces", "violations", "reply",
                                         "welcome", "limits"),
                         [](const auto& i) { return std::string(i.param); });

// Encoding what was read gives a frame that reads the same.
TEST_P(Frames, EncodeAgain) {
  for (const json& v : vectors(GetParam())) {
    if (!v["accept"].get<bool>()) continue;
    SCOPED_TRACE(v["name"].get<std::string>());
    const Buffer frame = bytes(v);
    const From from = v["from"] == "client" ? From::client : From::daemon;
    const auto m = decode(frame, from, limits_of(v));
    ASSERT_TRUE(m.has_value());
    VectorOut out;
    Writer w(&out);
    std::visit(
        [&](const auto& f) {
          if constexpr (std::is_same_v<std::decay_t<decltype(f)>, Reply>) {
            encode_reply_head(w, f.id, f.code, *decode_meta(f.meta));
            w.raw(f.body);
          } else {
            encode(w, f);
          }
        },
        *m);
    ASSERT_TRUE(w.ok());
    const auto back = decode(out.view(), from, limits_of(v));
    if (!back.has_value() && back.error().code == Code::too_large) continue;  // meta grew: attempts
    ASSERT_TRUE(back.has_value()) << back.error().reason();
    const json again = std::visit(Shown{v["readable"]}, *back);
    if (v["readable"]["type"] == "reply") continue;  // defaults are not written: see unit tests
    EXPECT_EQ(again, v["readable"]);
  }
}

json shown(const Meta& m) {
  json j = {{"outcome", static_cast<int>(m.outcome)},
            {"attempts", m.attempts},
            {"retryable", m.retryable},
            {"retry_after_ms", m.retry_after_ms},
            {"sqlstate", std::string(m.sqlstate)},
            {"vendor_code", m.vendor_code},
            {"message", std::string(m.message)},
            {"store", std::string(m.store)},
            {"replayed", m.replayed},
            {"replicated", m.replicated},
            {"queue_us", m.queue_us},
            {"store_us", m.store_us},
            {"omitted", m.omitted}};
  if (m.rows_affected) j["rows_affected"] = *m.rows_affected;
  if (m.last_id) j["last_id"] = *m.last_id;
  if (!m.detail.empty()) j["detail"] = body(m.detail, nullptr);
  if (!m.warnings.empty()) j["warnings"] = body(m.warnings, nullptr);
  return j;
}

TEST(Vectors, Meta) {
  const json defaults = shown(Meta{});
  for (const json& v : vectors("meta")) {
    SCOPED_TRACE(v["name"].get<std::string>());
    const Buffer b = bytes(v);
    const auto m = decode_meta(b);
    ASSERT_EQ(m.has_value(), v["accept"].get<bool>());
    if (!m.has_value()) {
      EXPECT_NE(m.error().reason().find("meta"), std::string_view::npos);
      continue;
    }
    json expected = defaults;
    for (const auto& [key, value] : v["readable"].items())
      if (shown(*m).contains(key)) expected[key] = value;
    EXPECT_EQ(shown(*m), expected);
  }
}

// The text of an ext value whose text is ours to make; empty for the rest.
std::string text(const Item& it) {
  Timestamp t;
  if (read(it, &t)) return to_text(t);
  Decimal d;
  if (read(it, &d)) return to_text(d);
  Date date;
  if (read(it, &date)) return to_text(date);
  TimeOfDay time;
  if (read(it, &time)) return to_text(time);
  LocalTimestamp local;
  if (read(it, &local)) return to_text(local);
  Interval i;
  if (read(it, &i)) return to_text(i);
  Uuid u;
  if (read(it, &u)) return to_text(u);
  Json j;
  if (read(it, &j)) return std::string(j.text);
  return {};
}

TEST(Vectors, Values) {
  int exts = 0;
  for (const json& v : vectors("values")) {
    SCOPED_TRACE(v["name"].get<std::string>());
    const Buffer b = bytes(v);
    ASSERT_EQ(check(b), Shape::good);
    Cursor c(b);
    const Item it = c.next();
    if (it.type != Type::ext) {
      Cursor again(b);
      EXPECT_EQ(readable(again), v["readable"]);
      continue;
    }
    ++exts;
    EXPECT_EQ(valid_ext(it), v["accept"].get<bool>());
    BigInteger big;
    if (v.contains("text") && !read(it, &big)) {
      EXPECT_EQ(text(it), v["text"].get<std::string>());
    }
  }
  EXPECT_GT(exts, 90);
}

TEST(Vectors, AreManyAndCoverEveryCode) {
  std::size_t n = 0;
  std::array<int, kCodes> seen{};
  for (const char* file : {"client", "options", "pieces", "violations", "reply", "welcome",
                           "limits", "meta", "values"})
    for (const json& v : vectors(file)) {
      ++n;
      if (v.contains("readable") && v["readable"].is_object() && v["readable"].contains("code"))
        for (int c = 0; c < kCodes; ++c)
          if (v["readable"]["code"] == kCodeNames[static_cast<std::size_t>(c)])
            ++seen[static_cast<std::size_t>(c)];
    }
  EXPECT_GE(n, 160u);
  for (int c = 0; c < kCodes; ++c)
    EXPECT_GT(seen[static_cast<std::size_t>(c)], 0) << kCodeNames[static_cast<std::size_t>(c)];
}

}  // namespace
}  // namespace headgate::proto
