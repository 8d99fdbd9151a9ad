#include "daemon/access/credentials.hpp"

#include <gtest/gtest.h>

namespace headgate::access {
namespace {

struct Source {
  std::string text = "one";
  bool readable = true;
  int reads = 0;
  CredentialInput input(std::string name, std::string account = "a") {
    return {std::move(name), std::move(account), "{ file = \"/x\" }",
            [this]() -> tl::expected<Secret, std::string> {
              ++reads;
              if (!readable) return tl::make_unexpected(std::string("/x cannot be read"));
              std::string copy = text;
              return Secret(std::move(copy));
            }};
  }
};

TEST(Credentials, APasswordIsReadOnceUntilItIsRefused) {
  Credentials all;
  Source s;
  bool changed = true;
  const auto i = all.put(s.input("orders"), &changed);
  EXPECT_FALSE(changed);
  EXPECT_EQ(all.login(i, false)->password.reveal(), "one");
  EXPECT_EQ(all.login(i, false)->account, "a");
  EXPECT_EQ(s.reads, 1);
  s.text = "two";
  EXPECT_EQ(all.login(i, false)->password.reveal(), "one");
  EXPECT_EQ(all.login(i, true)->password.reveal(), "two");
  EXPECT_EQ(all.login(i, false)->password.reveal(), "two");
  EXPECT_EQ(s.reads, 2);
}

TEST(Credentials, RenewTellsWhatHasChanged) {
  Credentials all;
  Source a;
  Source b;
  bool changed = false;
  (void)all.put(a.input("a"), &changed);
  const auto at_b = all.put(b.input("b"), &changed);
  EXPECT_TRUE(all.renew().changed.empty()) << "the first reading is no change";
  b.text = "new";
  EXPECT_EQ(all.renew().changed, std::vector<std::uint32_t>{at_b});
  b.readable = false;
  const auto renewed = all.renew();
  EXPECT_TRUE(renewed.changed.empty());
  ASSERT_EQ(renewed.unreadable.size(), 1u);
  EXPECT_EQ(renewed.unreadable[0],
            "password of credential `b`, { file = \"/x\" }: /x cannot be read");
  EXPECT_EQ(all.login(at_b, false)->password.reveal(), "new") << "the known one is kept";
  EXPECT_FALSE(all.login(at_b, true));
}

TEST(Credentials, ALookReadsWhatHasChangedAndSettled) {
  Credentials all;
  Source s;
  std::string stamp = "1";
  CredentialInput input = s.input("orders");
  input.stamp = [&stamp] { return stamp; };
  bool changed = false;
  const auto i = all.put(std::move(input), &changed);
  (void)all.look();
  EXPECT_EQ(s.reads, 0) << "not read yet: whoever logs in will";
  (void)all.renew();
  EXPECT_EQ(s.reads, 1);
  EXPECT_FALSE(all.look().unsettled);
  EXPECT_EQ(s.reads, 1);
  s.text = "half";
  stamp = "2";
  EXPECT_TRUE(all.look().unsettled) << "it may still be written";
  s.text = "whole";
  stamp = "3";
  EXPECT_TRUE(all.look().unsettled);
  EXPECT_EQ(s.reads, 1);
  const auto news = all.look();
  EXPECT_FALSE(news.unsettled);
  EXPECT_EQ(news.changed, std::vector<std::uint32_t>{i});
  EXPECT_EQ(all.login(i, false)->password.reveal(), "whole");
  EXPECT_EQ(s.reads, 2);
  // the same text in another file is no change; one that cannot be read is told once
  stamp = "4";
  (void)all.look();
  EXPECT_TRUE(all.look().changed.empty());
  s.readable = false;
  stamp = "none";
  (void)all.look();
  EXPECT_EQ(all.look().unreadable.size(), 1u);
  EXPECT_TRUE(all.look().unreadable.empty());
  EXPECT_EQ(all.login(i, false)->password.reveal(), "whole");
}

TEST(Credentials, OneThatCouldNotBeReadIsAChangeWhenItCan) {
  Credentials all;
  Source s;
  s.readable = false;
  std::string stamp = "none";
  CredentialInput input = s.input("orders");
  input.stamp = [&stamp] { return stamp; };
  bool changed = false;
  const auto i = all.put(std::move(input), &changed);
  EXPECT_FALSE(all.login(i, false));
  s.readable = true;
  stamp = "1";
  (void)all.look();
  EXPECT_EQ(all.look().changed, std::vector<std::uint32_t>{i}) << "pools need not wait any more";
}

TEST(Credentials, WhatIsWrittenWhileItIsReadIsLeft) {
  Credentials all;
  Source s;
  int stamps = 0;
  bool moving = false;
  CredentialInput input = s.input("orders");
  input.stamp = [&] { return std::to_string(moving ? ++stamps : stamps); };
  bool changed = false;
  const auto i = all.put(std::move(input), &changed);
  (void)all.renew();
  s.text = "half";
  moving = true;
  const auto news = all.renew();
  EXPECT_TRUE(news.changed.empty());
  EXPECT_EQ(news.unreadable.size(), 1u);
  EXPECT_EQ(all.login(i, false)->password.reveal(), "one");
}

TEST(Credentials, ANameKeepsItsIndexAndAnotherAccountIsAChange) {
  Credentials all;
  Source s;
  bool changed = false;
  const auto i = all.put(s.input("orders"), &changed);
  (void)all.put(s.input("orders/read"), &changed);
  EXPECT_EQ(all.put(s.input("orders"), &changed), i);
  EXPECT_FALSE(changed);
  EXPECT_EQ(all.put(s.input("orders", "b"), &changed), i);
  EXPECT_TRUE(changed);
  EXPECT_EQ(all.login(i, false)->account, "b");
  EXPECT_EQ(all.size(), 2u);
}

TEST(Credentials, NoPasswordIsNoFault) {
  Credentials all;
  bool changed = false;
  const auto i = all.put({"cert", "cert", "", {}}, &changed);
  ASSERT_TRUE(all.login(i, true));
  EXPECT_TRUE(all.login(i, true)->password.empty());
  EXPECT_FALSE(all.login(i + 1, false));
}

}  // namespace
}  // namespace headgate::access
