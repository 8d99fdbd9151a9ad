// Default deny: what no line gives is refused, whatever it is called and however it is touched.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "daemon/access/policy.hpp"

namespace headgate::access {
namespace {

constexpr std::uint32_t kCollection = 1, kKey = 2, kStatement = 3, kVerb = 4, kPrefix = 5;

VerbTable sql() {
  return VerbTable({{"ping", Access::read},
                    {"query", Access::read},
                    {"execute", Access::write},
                    {"run", Access::read},
                    {"batch", Access::read},
                    {"backup", Access::admin}});
}
VerbTable builtin() {
  return VerbTable({{"ping", Access::read},
                    {"describe", Access::read},
                    {"show", Access::read},
                    {"reload", Access::admin}});
}

struct World {
  VerbTable b = builtin();
  VerbTable s = sql();
  UsageBook book;
  PolicyInput input;
  World() {
    input.services = {{"app", 1, 2, {"uid:1000", "curve:" + std::string(40, 'k')}},
                      {"other", 2, 1, {"uid:1001"}}};
    input.stores = {{"headgate", &b}, {"orders", &s}};
    input.own_user = "uid:500";
  }
  void grant(const std::string& service, Rule r, const std::string& store = "orders") {
    r.place = "f.toml:" + std::to_string(input.grants.size() + 1);
    input.grants.push_back({service, store, std::move(r)});
  }
  std::unique_ptr<Policy> build() { return std::make_unique<Policy>(input, book); }
  int rule(const Policy& p, std::uint32_t service, const char* verb) {
    return p.grant(service, 1).rule_for(s.find(verb));
  }
};

Rule on(Access a) {
  Rule r;
  r.access = a;
  return r;
}

TEST(NameTable, FindsEveryNameAndNoOther) {
  std::mt19937 random(1);
  for (std::size_t n : {1u, 2u, 7u, 100u, 300u}) {
    std::set<std::string> names;
    while (names.size() < n) {
      std::string s(1 + random() % 12, 'a');
      for (char& c : s) c = static_cast<char>('a' + random() % 26);
      names.insert(s);
    }
    const std::vector<std::string> list(names.begin(), names.end());
    const NameTable t(list);
    for (std::uint32_t i = 0; i < list.size(); ++i) {
      EXPECT_EQ(t.find(list[i]), i);
      EXPECT_EQ(t.find(list[i] + "0"), NameTable::kNone);
    }
    EXPECT_EQ(t.find(""), NameTable::kNone);
  }
  EXPECT_EQ(NameTable().find("x"), NameTable::kNone);
}

TEST(Policy, KnowsServicesByKeyAndUserOnly) {
  World w;
  const auto p = w.build();
  EXPECT_EQ(p->service_of("uid:1000"), 1u);
  EXPECT_EQ(p->service_of("curve:" + std::string(40, 'k')), 1u);
  EXPECT_EQ(p->service_of("uid:1001"), 2u);
  EXPECT_EQ(p->service_of("uid:500"), kOwnService);
  for (const char* nobody : {"", "uid:", "uid:100", "uid:10000", "app", "curve:", "@daemon"}) {
    EXPECT_EQ(p->service_of(nobody), std::nullopt) << nobody;
  }
}

TEST(Policy, AServiceMayHaveTheDaemonsOwnUser) {
  World w;
  w.input.services[0].users.push_back("uid:500");
  const auto p = w.build();
  EXPECT_EQ(p->service_of("uid:500"), 1u);
  EXPECT_TRUE(p->is_own("uid:500"));
}

TEST(Policy, NothingIsAllowedWithoutALine) {
  World w;
  const auto p = w.build();
  for (std::uint32_t service = 0; service < 4; ++service) {
    for (std::uint32_t v = 0; v < w.s.size(); ++v) {
      EXPECT_EQ(p->grant(service, 1).rule_for(v), -1);
      EXPECT_FALSE(p->grant(service, 1).allows(w.s[v].name, kVerb, proto::bytes_of(w.s[v].name)));
    }
    EXPECT_EQ(p->grant(service, 9).rule_for(0), -1);
  }
}

TEST(Policy, EverybodyMayPingTheGatewayAndOnlyOurOwnUserMayMore) {
  World w;
  const auto p = w.build();
  EXPECT_GE(p->grant(1, 0).rule_for(w.b.find("ping")), 0);
  EXPECT_EQ(p->grant(1, 0).rule_for(w.b.find("show")), -1);
  EXPECT_EQ(p->grant(1, 0).rule_for(w.b.find("reload")), -1);
  EXPECT_GE(p->own_grant().rule_for(w.b.find("reload")), 0);
  EXPECT_TRUE(p->can("@daemon", "headgate", "reload").allowed);
  EXPECT_FALSE(p->can("app", "headgate", "reload").allowed);
}

TEST(Policy, AccessGivesWhatIsBelowIt) {
  World w;
  w.grant("app", on(Access::read));
  w.grant("other", on(Access::write));
  const auto p = w.build();
  EXPECT_GE(w.rule(*p, 1, "query"), 0);
  EXPECT_EQ(w.rule(*p, 1, "execute"), -1);
  EXPECT_FALSE(p->grant(1, 1).writes());
  EXPECT_GE(w.rule(*p, 2, "query"), 0);
  EXPECT_GE(w.rule(*p, 2, "execute"), 0);
  EXPECT_EQ(w.rule(*p, 2, "backup"), -1);
  EXPECT_TRUE(p->grant(2, 1).writes());
  // Items of a batch are asked for one by one.
  EXPECT_FALSE(p->grant(1, 1).allows("batch", kVerb, proto::bytes_of("execute")));
  EXPECT_TRUE(p->grant(1, 1).allows("batch", kVerb, proto::bytes_of("query")));
  EXPECT_FALSE(p->grant(1, 1).allows("batch", kVerb, proto::bytes_of("no such")));
}

TEST(Policy, NamedStatementsAlone) {
  World w;
  Rule r = on(Access::write);
  r.statements = {"orders_of"};
  w.grant("app", r);
  const auto p = w.build();
  EXPECT_EQ(w.rule(*p, 1, "query"), -1);
  EXPECT_EQ(w.rule(*p, 1, "execute"), -1);
  EXPECT_GE(w.rule(*p, 1, "run"), 0);
  const Grant& g = p->grant(1, 1);
  EXPECT_TRUE(g.allows("run", kStatement, proto::bytes_of("orders_of")));
  EXPECT_FALSE(g.allows("run", kStatement, proto::bytes_of("orders_off")));
  EXPECT_FALSE(g.allows("batch", kVerb, proto::bytes_of("query")));
}

TEST(Policy, PartsOfAStore) {
  World w;
  w.s = VerbTable({{"get", Access::read},
                   {"set", Access::write},
                   {"scan", Access::read},
                   {"find", Access::read},
                   {"list_collections", Access::read},
                   {"backup", Access::admin}});
  Rule keys = on(Access::admin);
  keys.key_prefixes = {"cart:"};
  keys.collections = {"carts"};
  w.grant("app", keys);
  const auto p = w.build();
  const Grant& g = p->grant(1, 1);
  EXPECT_TRUE(g.allows("get", kKey, proto::bytes_of("cart:1")));
  EXPECT_FALSE(g.allows("get", kKey, proto::bytes_of("cart")));
  EXPECT_FALSE(g.allows("set", kKey, proto::bytes_of("user:1")));
  EXPECT_TRUE(g.allows("scan", kPrefix, proto::bytes_of("cart:2026")));
  EXPECT_FALSE(g.allows("scan", kPrefix, proto::bytes_of("")));
  EXPECT_FALSE(g.allows("scan", kPrefix, proto::bytes_of("car")));
  EXPECT_TRUE(g.allows("find", kCollection, proto::bytes_of("carts")));
  EXPECT_FALSE(g.allows("find", kCollection, proto::bytes_of("cart")));
  EXPECT_FALSE(g.allows("find", 99, proto::bytes_of("carts")));
  EXPECT_EQ(g.rule_for(w.s.find("list_collections")), -1);
  EXPECT_EQ(g.rule_for(w.s.find("backup")), -1);
}

TEST(Policy, ASecondLineAddsItsPartOnly) {
  World w;
  w.s = VerbTable({{"get", Access::read}, {"set", Access::write}});
  w.grant("app", on(Access::read));
  Rule part = on(Access::write);
  part.key_prefixes = {"mine:"};
  w.grant("app", part);
  const auto p = w.build();
  EXPECT_TRUE(p->grant(1, 1).allows("get", kKey, proto::bytes_of("any")));
  EXPECT_FALSE(p->grant(1, 1).allows("set", kKey, proto::bytes_of("any")));
  EXPECT_TRUE(p->grant(1, 1).allows("set", kKey, proto::bytes_of("mine:1")));
}

TEST(Policy, SaysWhichLineAllowsOrWhatIsMissing) {
  World w;
  w.grant("app", on(Access::read));
  const auto p = w.build();
  EXPECT_EQ(p->can("app", "orders", "query").why, "allowed by f.toml:1");
  EXPECT_EQ(p->can("app", "orders", "execute").why, "no grant gives it; there are f.toml:1");
  EXPECT_EQ(p->can("other", "orders", "query").why,
            "no grant gives service `other` anything on store `orders`");
  EXPECT_EQ(p->can("nobody", "orders", "query").why, "there is no service `nobody`");
  EXPECT_EQ(p->can("app", "nothing", "query").why, "there is no store `nothing`");
  EXPECT_EQ(p->can("app", "orders", "fly").why, "store `orders` offers no verb `fly`");
}

TEST(Policy, UsageOutlivesAReload) {
  World w;
  Rule r = on(Access::read);
  r.limits.calls_max = 1;
  w.grant("app", r);
  const auto before = w.build();
  before->grant(1, 1).usage(0).calls = 1;
  const auto after = w.build();
  EXPECT_EQ(after->grant(1, 1).usage(0).calls, 1u);
}

}  // namespace
}  // namespace headgate::access
