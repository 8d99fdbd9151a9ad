// What the vectors do not say: bounds of the encoders, no allocation, every prefix of a frame.
#include "proto/envelope.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace headgate::proto {
namespace {

using Buffer = std::vector<std::uint8_t>;

template <class F>
Buffer written(F&& f) {
  VectorOut out(1);
  Writer w(&out);
  f(w);
  EXPECT_TRUE(w.ok());
  return {out.view().begin(), out.view().end()};
}

Options every_option() {
  Options o;
  o.timeout_ms = 5000;
  o.read_only = o.idempotent = true;
  o.key = "key";
  o.tx = 9;
  o.fetch = 100;
  o.credit = 8;
  o.trace = "00-abc";
  return o;
}

const Buffer kBody = {0x81, 0xa1, 'a', 0x01};

TEST(Envelope, ARequestSurvivesTheTrip) {
  const Buffer b = written([](Writer& w) {
    encode(w, Request{7, 123, "orders", "query", every_option(), kBody});
  });
  const auto m = decode(b, From::client);
  ASSERT_TRUE(m.has_value());
  const auto& r = std::get<Request>(*m);
  EXPECT_EQ(r.id, 7u);
  EXPECT_EQ(r.sent_us, 123u);
  EXPECT_EQ(r.store, "orders");
  EXPECT_EQ(r.verb, "query");
  EXPECT_EQ(r.options.timeout_ms, 5000u);
  EXPECT_TRUE(r.options.read_only && r.options.idempotent);
  EXPECT_EQ(r.options.key, "key");
  EXPECT_EQ(r.options.tx, 9u);
  EXPECT_EQ(r.options.fetch, 100u);
  EXPECT_EQ(r.options.credit, 8u);
  EXPECT_EQ(r.options.trace, "00-abc");
  EXPECT_TRUE(std::equal(r.body.begin(), r.body.end(), kBody.begin(), kBody.end()));
  EXPECT_EQ(r.body.data(), b.data() + b.size() - kBody.size()) << "in place";
}

TEST(Envelope, DefaultsOfARequest) {
  const Buffer b = written([](Writer& w) { encode(w, Request{7, 0, "s", "v", {}, {}}); });
  const auto m = decode(b, From::client);
  ASSERT_TRUE(m.has_value());
  const Options& o = std::get<Request>(*m).options;
  EXPECT_EQ(o.timeout_ms, 0u);
  EXPECT_EQ(o.credit, kCreditDefault);
  EXPECT_TRUE(o.key.empty() && o.trace.empty() && !o.read_only && !o.idempotent);
}

Meta every_meta() {
  Meta m;
  m.outcome = Outcome::unknown;
  m.attempts = UINT32_MAX;
  m.retryable = true;
  m.retry_after_ms = UINT32_MAX;
  m.sqlstate = "40001";
  m.vendor_code = INT32_MIN;
  m.rows_affected = INT64_MIN;
  m.last_id = INT64_MIN;
  m.replayed = true;
  m.replicated = false;
  m.queue_us = m.store_us = UINT64_MAX;
  return m;
}

TEST(Envelope, AReplyHeadNeverPassesItsBound) {
  const std::string message(10'000, 'm'), store(10'000, 's');
  const Buffer big = written([](Writer& w) { w.str(std::string(5'000, 'd')); });
  for (std::size_t detail = 0; detail < 1'200; detail += 7) {
    Meta m = every_meta();
    m.message = message;
    m.store = store;
    const Buffer d = written([&](Writer& w) { w.str(std::string(detail, 'd')); });
    const Buffer warnings = written([&](Writer& w) {
      w.array(1);
      w.str(std::string(1'200 - detail, 'w'));
    });
    m.detail = d;
    m.warnings = warnings;
    const Buffer b =
        written([&](Writer& w) { encode_reply_head(w, UINT64_MAX, Code::internal, m); });
    ASSERT_LE(b.size(), kReplyHeadMax);
    Buffer frame = b;
    frame.push_back(0xc0);
    const auto r = decode(frame, From::daemon);
    ASSERT_TRUE(r.has_value()) << r.error().reason();
    const auto back = decode_meta(std::get<Reply>(*r).meta);
    ASSERT_TRUE(back.has_value()) << back.error().reason();
    EXPECT_EQ(back->message.size(), kMessageTextMax);
    EXPECT_EQ(back->store.size(), kNameMax);
    EXPECT_TRUE(back->omitted) << "both never fit";
    EXPECT_TRUE(back->detail.empty() || back->warnings.empty());
    EXPECT_EQ(back->vendor_code, INT32_MIN);
    EXPECT_EQ(back->rows_affected, INT64_MIN);
    EXPECT_EQ(back->queue_us, UINT64_MAX);
    EXPECT_FALSE(back->replicated);
  }
  Meta m = every_meta();
  m.message = message;
  m.store = store;
  m.detail = big;
  EXPECT_LE(written([&](Writer& w) { encode_reply_head(w, UINT64_MAX, Code::internal, m); }).size(),
            1'100u)
      << "what every fixed field needs at most";
}

TEST(Envelope, DetailAndWarningsThatFitAreKept) {
  Meta m = every_meta();
  const Buffer d = written([](Writer& w) { w.str(std::string(400, 'd')); });
  const Buffer warnings = written([](Writer& w) {
    w.array(1);
    w.str(std::string(400, 'w'));
  });
  m.detail = d;
  m.warnings = warnings;
  Buffer b = written([&](Writer& w) { encode_reply_head(w, 1, Code::store_error, m); });
  b.push_back(0xc0);
  const auto r = decode(b, From::daemon);
  ASSERT_TRUE(r.has_value());
  const auto back = decode_meta(std::get<Reply>(*r).meta);
  EXPECT_EQ(back->detail.size(), d.size());
  EXPECT_EQ(back->warnings.size(), warnings.size());
  EXPECT_FALSE(back->omitted);
}

TEST(Envelope, AMessageIsCutBetweenCharacters) {
  std::string text(510, 'x');
  text += "é";  // bytes 511 and 512
  Meta m;
  m.message = text;
  Buffer b = written([&](Writer& w) { encode_reply_head(w, 1, Code::internal, m); });
  b.push_back(0xc0);
  const auto r = decode(b, From::daemon);
  ASSERT_TRUE(r.has_value()) << r.error().reason();
  EXPECT_EQ(decode_meta(std::get<Reply>(*r).meta)->message, std::string(510, 'x'));
}

TEST(Envelope, HeadsInFrontOfABody) {
  EXPECT_LE(written([](Writer& w) { encode_part_head(w, UINT64_MAX, UINT64_MAX); }).size(),
            kPartHeadMax);
  const std::string name(255, 'n'), trace(128, 't');
  Options o = every_option();
  o.key = name;
  o.trace = trace;
  o.tx = UINT64_MAX;
  const Buffer head = written([&](Writer& w) {
    encode_request_head(w, Request{UINT64_MAX, UINT64_MAX, name, name, o, {}});
  });
  EXPECT_LE(head.size(), kRequestHeadMax);
  Buffer frame = head;
  frame.push_back(0x80);
  EXPECT_TRUE(decode(frame, From::client).has_value());
}

// Each prefix of each frame is refused, within its own bytes (ASan watches), and says whom to tell.
TEST(Envelope, EveryPrefixIsRefused) {
  const std::array<std::string_view, 2> verbs = {"get", "set"};
  const Buffer stores = written([&](Writer& w) {
    w.array(1);
    encode_store(w, "cache", "key_value", verbs);
  });
  const std::pair<From, Buffer> frames[] = {
      {From::client, written([](Writer& w) {
         encode(w, Hello{1, "x", "1", 1, 1, true});
       })},
      {From::client, written([](Writer& w) {
         encode(w, Request{7, 1000, "o", "q", every_option(), kBody});
       })},
      {From::client, written([](Writer& w) {
         encode(w, Data{7, 1, true, kBody});
       })},
      {From::client, written([](Writer& w) {
         encode(w, Credit{7, 300});
       })},
      {From::client, written([](Writer& w) { encode(w, Cancel{700}); })},
      {From::daemon, written([&](Writer& w) {
         encode(w, Welcome{1, 1, {}, 5, stores});
       })},
      {From::daemon, written([](Writer& w) {
         encode(w, Part{7, 1, kBody});
       })},
      {From::daemon, written([](Writer& w) {
         encode_reply_head(w, 7, Code::conflict, every_meta());
         w.raw(kBody);
       })},
      {From::daemon, written([](Writer& w) { encode(w, Pong{7}); })},
      {From::daemon, written([](Writer& w) { encode(w, Goaway{70'000}); })}};
  for (const auto& [from, whole] : frames) {
    ASSERT_TRUE(decode(whole, from).has_value());
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const auto exact = std::make_unique<std::uint8_t[]>(n);
      std::copy_n(whole.data(), n, exact.get());
      const auto m = decode({exact.get(), n}, from);
      ASSERT_FALSE(m.has_value()) << "type " << +whole[2] << ", " << n << " bytes";
      EXPECT_TRUE(m.error().cut || m.error().has_id);
      EXPECT_FALSE(m.error().reason().empty());
    }
    Buffer longer = whole;
    longer.push_back(0xc0);
    EXPECT_FALSE(decode(longer, from).has_value()) << "type " << +whole[2];
  }
}

TEST(Envelope, ReasonsAreUtf8AndBoundedWhateverTheOptionIsCalled) {
  for (const std::string& name : {std::string(255, 'o'), std::string(64, '\xff'),
                                  std::string("\0x", 2), std::string(63, 'x') + "é"}) {
    const Buffer b = written([&](Writer& w) {
      encode_request_head(w, Request{7, 1, "s", "v", {}, {}});
    });
    Buffer frame(b.begin(), b.end() - 1);  // without the empty options map
    const Buffer options = written([&](Writer& w) {
      w.map(1);
      w.str(name);
      w.uint(1);
      w.map(0);
    });
    frame.insert(frame.end(), options.begin(), options.end());
    const auto m = decode(frame, From::client);
    ASSERT_FALSE(m.has_value());
    EXPECT_TRUE(valid_utf8(m.error().reason()));
    EXPECT_EQ(m.error().reason().find("unknown option"), 0u);
  }
}

TEST(Names, AllKnown) {
  EXPECT_EQ(name(FrameType::hello), "hello");
  EXPECT_EQ(name(FrameType::goaway), "goaway");
  EXPECT_EQ(name(static_cast<FrameType>(99)), "?");
  for (int c = 0; c < kCodes; ++c) EXPECT_FALSE(name(static_cast<Code>(c)).empty());
  EXPECT_FALSE(code_from(kCodes).has_value());
  EXPECT_FALSE(outcome_from(kOutcomes).has_value());
}

}  // namespace
}  // namespace headgate::proto
