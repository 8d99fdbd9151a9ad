// The built-in store's bodies and answers, over an operator that records.
#include "daemon/admin/admin.hpp"

#include <gtest/gtest.h>

#include "proto/writer.hpp"

namespace headgate::admin {
namespace {

struct Recorded : Operator {
  std::optional<Micros> drained;
  bool draining = false;
  std::uint64_t killed = 0;
  bool broken = false;
  std::optional<Table> show(std::string_view what) const override {
    if (what == "huge") {
      Table t{{"a"}, {}};
      t.rows.resize(3000, {Cell(std::string(30'000, 'x'))});
      return t;
    }
    if (what != "pools") return std::nullopt;
    return Table{{"a", "b", "c", "d"}, {{Cell{}, std::int64_t{-5}, true, std::string("x")}}};
  }
  Result<Reloaded> reload() override {
    if (broken) return fault(Code::invalid, "f.toml:1:1: no", Outcome::rejected);
    return Reloaded{{"grants"}, {"daemon.listen_ipc"}};
  }
  void drain(std::optional<Micros> within) override {
    draining = true;
    drained = within;
  }
  bool kill(std::uint64_t call) override {
    killed = call;
    return call == 7;
  }
  access::Policy::Verdict can(std::string_view service, std::string_view,
                              std::string_view) const override {
    return {service == "app", "f.toml:3"};
  }
};

struct Rig {
  Recorded op;
  Admin admin{op};
  proto::VectorOut out;
  proto::Writer w{&out};
  Answer serve(const char* verb) {
    Call c;
    c.verb = verb;
    c.body = out.view();
    return admin.serve(c);
  }
  std::vector<std::uint8_t> body(const Answer& a) {
    return {a.body.view().begin(), a.body.view().end()};
  }
};

TEST(Admin, ShowsTables) {
  Rig r;
  r.w.map(1);
  r.w.str("what");
  r.w.str("pools");
  const Answer a = r.serve("show");
  ASSERT_EQ(a.code, Code::ok);
  EXPECT_EQ(proto::check(a.body.view()), proto::Shape::good);
  proto::Cursor c(a.body.view());
  ASSERT_EQ(c.read_map(), 2u);
  EXPECT_EQ(c.read_str(), "columns");
  EXPECT_EQ(c.read_array(), 4u);
  for (const char* name : {"a", "b", "c", "d"}) EXPECT_EQ(c.read_str(), name);
  EXPECT_EQ(c.read_str(), "rows");
  EXPECT_EQ(c.read_array(), 1u);
  EXPECT_EQ(c.read_array(), 4u);
  EXPECT_TRUE(c.read_nil());
  EXPECT_EQ(c.read_int(), -5);
  EXPECT_TRUE(c.read_bool());
  EXPECT_EQ(c.read_str(), "x");
  EXPECT_TRUE(c.ok() && c.at_end());
}

TEST(Admin, SaysWhenATableDoesNotFit) {
  Rig r;
  r.w.map(1);
  r.w.str("what");
  r.w.str("huge");
  EXPECT_EQ(r.serve("show").code, Code::too_large);
}

TEST(Admin, RefusesBodiesThatAreNotTheVerbs) {
  const auto refused = [](const char* verb, auto&& write, const char* word) {
    Rig r;
    write(r.w);
    const Answer a = r.serve(verb);
    EXPECT_EQ(a.code, Code::invalid) << verb;
    EXPECT_NE(a.fault.message.find(word), std::string::npos) << a.fault.message;
    EXPECT_FALSE(r.op.draining);
    EXPECT_EQ(r.op.killed, 0u);
  };
  const auto empty = [](proto::Writer& w) { w.map(0); };
  refused("show", empty, "what");
  refused("kill", empty, "call");
  refused(
      "show",
      [](proto::Writer& w) {
        w.map(1);
        w.str("what");
        w.uint(1);
      },
      "str");
  refused(
      "show",
      [](proto::Writer& w) {
        w.map(1);
        w.str("who");
        w.str("x");
      },
      "who");
  refused(
      "kill",
      [](proto::Writer& w) {
        w.map(1);
        w.str("call");
        w.sint(-1);
      },
      "call");
  refused(
      "drain",
      [](proto::Writer& w) {
        w.map(1);
        w.str("timeout_ms");
        w.str("1s");
      },
      "integer");
  refused(
      "drain",
      [](proto::Writer& w) {
        w.map(1);
        w.str("timeout_ms");
        w.uint(1ull << 40);
      },
      "at most");
  refused(
      "reload",
      [](proto::Writer& w) {
        w.map(1);
        w.str("file");
        w.str("/x");
      },
      "file");
  refused(
      "kill",
      [](proto::Writer& w) {
        w.map(2);
        w.str("call");
        w.uint(7);
        w.str("call");
        w.uint(8);
      },
      "twice");
}

TEST(Admin, DoesWhatItIsAsked) {
  {
    Rig r;
    r.w.map(1);
    r.w.str("call");
    r.w.uint(7);
    EXPECT_EQ(r.body(r.serve("kill")),
              (std::vector<std::uint8_t>{0x81, 0xa6, 'k', 'i', 'l', 'l', 'e', 'd', 0xc3}));
  }
  {
    Rig r;
    r.w.map(1);
    r.w.str("timeout_ms");
    r.w.uint(250);
    EXPECT_EQ(r.serve("drain").code, Code::ok);
    EXPECT_EQ(r.op.drained, Micros(250'000));
  }
  {
    Rig r;
    r.w.map(0);
    EXPECT_EQ(r.serve("drain").code, Code::ok);
    EXPECT_TRUE(r.op.draining && !r.op.drained);
    EXPECT_EQ(r.serve("reload").code, Code::ok);
    r.op.broken = true;
    const Answer a = r.serve("reload");
    EXPECT_EQ(a.code, Code::invalid);
    EXPECT_EQ(a.fault.message, "f.toml:1:1: no");
    EXPECT_EQ(r.serve("fly").code, Code::unsupported);
  }
}

TEST(Admin, DescribesItself) {
  const auto d = describe_reply();
  EXPECT_EQ(proto::check(d), proto::Shape::good);
}

}  // namespace
}  // namespace headgate::admin
