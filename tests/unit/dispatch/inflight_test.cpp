// The table against a plain map, over random calls that come and go.
#include "daemon/dispatch/inflight.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace headgate {
namespace {

TEST(Inflight, FindsWhatIsThereAndNothingElse) {
  std::mt19937_64 random(3);
  Inflight table(5000);
  std::map<std::pair<PeerId, std::uint64_t>, InflightCall*> model;
  std::vector<std::uint64_t> old;
  for (int step = 0; step < 200'000; ++step) {
    const PeerId peer = random() % 5;
    const std::uint64_t id = random() % 2000;
    InflightCall* c = table.find(peer, id);
    const auto known = model.find({peer, id});
    ASSERT_EQ(c, known == model.end() ? nullptr : known->second);
    if (c != nullptr) {
      old.push_back(c->id);
      table.remove(*c);
      model.erase(known);
      ASSERT_EQ(table.by_id(old.back()), nullptr);
    } else if (!table.full() && random() % 3 != 0) {
      InflightCall& made = table.add(peer, id);
      model[{peer, id}] = &made;
      ASSERT_EQ(table.by_id(made.id), &made);
    }
    ASSERT_EQ(table.size(), model.size());
  }
  for (auto& [key, c] : model) {
    ASSERT_EQ(table.find(key.first, key.second), c);
    table.remove(*c);
  }
  EXPECT_EQ(table.size(), 0u);
  for (std::uint64_t id : old) ASSERT_EQ(table.by_id(id), nullptr);
}

}  // namespace
}  // namespace headgate
