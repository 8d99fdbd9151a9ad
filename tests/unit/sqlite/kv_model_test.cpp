// Random verbs against a model in memory: after every step the reply, and now and then everything
// that can be read, must be what the model says. HEADGATE_SEED replays a run.
#include <cmath>
#include <cstdlib>
#include <map>
#include <random>
#include <set>

#include "tests/unit/sqlite/kv_store_test.hpp"

namespace headgate::sqlite::test {
namespace {

// What a key holds, told as simply as can be.
struct Value {
  char type = 's';  // s string, h hash, l list, t set, z zset
  std::string text;
  std::map<std::string, std::string> hash;
  std::vector<std::string> list;
  std::set<std::string> members;
  std::map<std::string, double> scores;
  std::int64_t expires = 0;
  [[nodiscard]] bool empty() const {
    switch (type) {
      case 'h':
        return hash.empty();
      case 'l':
        return list.empty();
      case 't':
        return members.empty();
      case 'z':
        return scores.empty();
      default:
        return false;
    }
  }
};

class Model {
 public:
  std::map<std::string, Value> keys;

  // The key, unless it has expired; nullptr: none.
  Value* find(const std::string& k) {
    const auto it = keys.find(k);
    if (it == keys.end()) return nullptr;
    if (it->second.expires != 0 && it->second.expires <= wall_ms) {
      keys.erase(it);
      return nullptr;
    }
    return &it->second;
  }
  Value& make(const std::string& k, char type) {
    if (Value* v = find(k)) return *v;
    Value& v = keys[k];
    v = {};
    v.type = type;
    return v;
  }
  void tidy(const std::string& k) {
    const auto it = keys.find(k);
    if (it != keys.end() && it->second.empty()) keys.erase(it);
  }
};

std::vector<std::pair<double, std::string>> ranked(const Value& v) {
  std::vector<std::pair<double, std::string>> out;
  for (const auto& [m, s] : v.scores) out.emplace_back(s, m);
  std::sort(out.begin(), out.end());
  return out;
}

constexpr int kSteps = 12'000;

class KvModel : public KvStore {
 protected:
  std::mt19937_64 random;
  Model model;

  std::size_t below(std::size_t n) { return random() % n; }
  // Mostly a key that this family of verbs has to itself, so that its values grow; else any.
  std::string key(std::size_t family) {
    return "k" + std::to_string(below(4) != 0 ? family * 2 + below(2) : below(12));
  }
  std::string word() {
    static const std::string words[] = {"", "a", "b", "c", "dd", std::string("\0\xff", 2)};
    if (below(12) == 0) return std::string(500 + below(3000), 'L');
    return words[below(std::size(words))];
  }
  std::int64_t index() { return static_cast<std::int64_t>(below(20)) - 10; }
  double score() { return static_cast<double>(below(7)) - 3; }
  static Json bins(const std::vector<std::string>& words) {
    Json out = Json::array();
    for (const std::string& w : words) out.push_back(bin(w));
    return out;
  }
  std::vector<std::string> words(std::size_t max = 4) {
    std::vector<std::string> out(below(max));
    for (std::string& w : out) w = word();
    return out;
  }

  // Expects `invalid` when the key holds another type; returns whether it does.
  bool wrong(const std::string& verb, const std::string& k, char type, const Json& body) {
    const Value* v = model.find(k);
    if (v == nullptr || v->type == type) return false;
    const Reply r = store.call(verb, body);
    EXPECT_EQ(r.code, HG_INVALID) << verb << body;
    return true;
  }
  void check(const std::string& verb, const Json& body, const Json& expected) {
    const Reply r = store.call(verb, body);
    ASSERT_TRUE(r.ok()) << verb << " " << body << ": " << r.message;
    ASSERT_EQ(r.body, expected) << verb << " " << body;
  }

  void strings();
  void any_key();
  void hashes();
  void lists();
  void list_ends();
  void sets();
  void zsets();
  void compare_all();
};

void KvModel::strings() {
  const std::string k = key(0), w = word();
  switch (below(6)) {
    case 0: {
      Json body = {{"key", bin(k)}, {"value", bin(w)}};
      const Value* old = model.find(k);
      const bool nx = below(4) == 0, xx = !nx && below(4) == 0, ttl = below(3) == 0;
      const bool keep = !ttl && below(3) == 0;
      if (nx) body["nx"] = true;
      if (xx) body["xx"] = true;
      if (ttl) body["ttl_ms"] = 50;
      if (keep) body["keep_ttl"] = true;
      const bool go = nx ? old == nullptr : xx ? old != nullptr : true;
      const Reply r = store.call("set", body);
      ASSERT_TRUE(r.ok()) << r.message;
      ASSERT_EQ(r.body["set"], go) << body;
      if (!go) return;
      Value v;
      v.text = w;
      v.expires = ttl ? wall_ms + 50 : keep && old != nullptr ? old->expires : 0;
      model.keys[k] = v;
      return;
    }
    case 1: {
      const Json body = {{"key", bin(k)}, {"value", bin(w)}};
      if (wrong("append", k, 's', body)) return;
      if (model.find(k) == nullptr && w.empty()) return check("append", body, {{"length", 0}});
      Value& v = model.make(k, 's');
      v.text += w;
      return check("append", body, {{"length", v.text.size()}});
    }
    case 2: {
      const Json body = {{"key", bin(k)}, {"by", index()}};
      if (wrong("increment", k, 's', body)) return;
      const Value* v = model.find(k);
      const std::string text = v == nullptr ? "0" : v->text;
      if (text.find_first_not_of("-0123456789") != std::string::npos || text.empty()) {
        EXPECT_EQ(store.call("increment", body).code, HG_INVALID) << text;
        return;
      }
      const std::int64_t sum = std::stoll(text) + body["by"].get<std::int64_t>();
      model.make(k, 's').text = std::to_string(sum);
      return check("increment", body, {{"value", sum}});
    }
    case 3: {
      const Json body = {{"key", bin(k)}};
      if (wrong("get_delete", k, 's', body)) return;
      const Value* v = model.find(k);
      const Json expected = {{"value", v == nullptr ? Json() : bin(v->text)}};
      model.keys.erase(k);
      return check("get_delete", body, expected);
    }
    case 4: {
      const bool absent = below(3) == 0;
      const Value* v = model.find(k);
      const std::string guess = v != nullptr && below(2) == 0 ? v->text : word();
      const Json body = {
          {"key", bin(k)}, {"expected", absent ? Json() : bin(guess)}, {"value", bin(w)}};
      if (wrong("compare_and_set", k, 's', body)) return;
      const bool same = absent ? v == nullptr : v != nullptr && v->text == guess;
      if (same) {
        model.keys[k] = {};
        model.keys[k].text = w;
      }
      return check("compare_and_set", body, {{"set", same}});
    }
    default: {
      const Json body = {{"key", bin(k)}};
      if (wrong("get", k, 's', body)) return;
      const Value* v = model.find(k);
      ASSERT_EQ(store.call("get", body).body["value"], v == nullptr ? Json() : bin(v->text));
    }
  }
}

void KvModel::any_key() {
  const std::string k = key(below(6));
  const Json body = {{"key", bin(k)}};
  Value* v = model.find(k);
  switch (below(6)) {
    case 0:
      if (below(4) != 0) return;
      check("delete", body, {{"deleted", v == nullptr ? 0 : 1}});
      model.keys.erase(k);
      return;
    case 1: {
      Json with = body;
      with["ttl_ms"] = 1 + static_cast<int>(below(300));
      check("expire", with, {{"set", v != nullptr}});
      if (v != nullptr) v->expires = wall_ms + with["ttl_ms"].get<int>();
      return;
    }
    case 2:
      check("persist", body, {{"set", v != nullptr && v->expires != 0}});
      if (v != nullptr) v->expires = 0;
      return;
    case 3:
      return check("ttl", body,
                   {{"ttl_ms", v == nullptr      ? Json()
                               : v->expires == 0 ? Json(-1)
                                                 : Json(v->expires - wall_ms)}});
    case 4:
      wall_ms += static_cast<std::int64_t>(below(10));
      return;
    default:
      if (below(20) != 0) return;
      std::int64_t n = 0;
      for (int i = 0; i < 3; ++i) n += model.find("k1" + std::to_string(i)) != nullptr ? 1 : 0;
      n += model.find("k1") != nullptr ? 1 : 0;
      check("delete_prefix", {{"prefix", "k1"}}, {{"deleted", n}});
      std::erase_if(model.keys, [](const auto& e) { return e.first.starts_with("k1"); });
  }
}

void KvModel::hashes() {
  const std::string k = key(1), field = word(), w = word();
  switch (below(4)) {
    case 0: {
      const std::string other = word();
      const Json body = {{"key", bin(k)},
                         {"fields", Json::array({Json::array({bin(field), bin(w)}),
                                                 Json::array({bin(other), bin("x")})})}};
      if (wrong("hset", k, 'h', body)) return;
      Value& v = model.make(k, 'h');
      const std::size_t before = v.hash.size();
      v.hash[field] = w;
      v.hash[other] = "x";
      return check("hset", body, {{"added", v.hash.size() - before}});
    }
    case 1: {
      const std::vector<std::string> names = words();
      const Json body = {{"key", bin(k)}, {"fields", bins(names)}};
      if (wrong("hdel", k, 'h', body)) return;
      int n = 0;
      if (Value* v = model.find(k))
        for (const std::string& f : names) n += static_cast<int>(v->hash.erase(f));
      model.tidy(k);
      return check("hdel", body, {{"deleted", n}});
    }
    case 2: {
      const Json body = {{"key", bin(k)}, {"field", "n"}, {"by", index()}};
      if (wrong("hincrby", k, 'h', body)) return;
      std::string& text = model.make(k, 'h').hash["n"];
      text = std::to_string((text.empty() ? 0 : std::stoll(text)) + body["by"].get<std::int64_t>());
      return check("hincrby", body, {{"value", std::stoll(text)}});
    }
    default: {
      const Json body = {{"key", bin(k)}, {"field", bin(field)}};
      if (wrong("hget", k, 'h', body)) return;
      const Value* v = model.find(k);
      const bool there = v != nullptr && v->hash.contains(field);
      check("hget", body, {{"value", there ? bin(v->hash.at(field)) : Json()}});
    }
  }
}

void KvModel::list_ends() {
  const std::string k = key(2);
  const bool left = below(2) == 0;
  if (below(2) == 0) {
    const std::vector<std::string> what = words(8);
    const Json body = {{"key", bin(k)}, {"values", bins(what)}};
    const std::string verb = left ? "lpush" : "rpush";
    if (wrong(verb, k, 'l', body)) return;
    Value& v = model.make(k, 'l');
    for (const std::string& w : what) v.list.insert(left ? v.list.begin() : v.list.end(), w);
    const std::size_t n = v.list.size();
    model.tidy(k);
    return check(verb, body, {{"length", n}});
  }
  const Json body = {{"key", bin(k)}, {"count", below(4)}};
  const std::string verb = left ? "lpop" : "rpop";
  if (wrong(verb, k, 'l', body)) return;
  std::vector<std::string> popped;
  if (Value* v = model.find(k))
    while (!v->list.empty() && popped.size() < body["count"].get<std::size_t>()) {
      popped.push_back(left ? v->list.front() : v->list.back());
      v->list.erase(left ? v->list.begin() : v->list.end() - 1);
    }
  model.tidy(k);
  check(verb, body, {{"values", bins(popped)}});
}

void KvModel::lists() {
  const std::string k = key(2), w = word();
  Value* v = model.find(k);
  const auto size = static_cast<std::int64_t>(v != nullptr && v->type == 'l' ? v->list.size() : 0);
  const std::int64_t a = index(), b = index();
  std::int64_t start = a < 0 ? std::max<std::int64_t>(a + size, 0) : a;
  const std::int64_t stop = std::min(b < 0 ? b + size : b, size - 1);
  switch (below(6)) {
    case 0: {
      const Json body = {{"key", bin(k)}, {"start", a}, {"stop", b}};
      if (wrong("lrange", k, 'l', body)) return;
      std::vector<std::string> out;
      for (; start <= stop; ++start) out.push_back(v->list[static_cast<std::size_t>(start)]);
      return check("lrange", body, {{"values", bins(out)}});
    }
    case 1: {
      const Json body = {{"key", bin(k)}, {"start", a}, {"stop", b}};
      if (wrong("ltrim", k, 'l', body)) return;
      if (v != nullptr) {
        std::vector<std::string> out;
        for (; start <= stop; ++start) out.push_back(v->list[static_cast<std::size_t>(start)]);
        v->list = out;
        model.tidy(k);
      }
      return check("ltrim", body, Json::object());
    }
    case 2: {
      const Json body = {{"key", bin(k)}, {"count", a}, {"value", bin(w)}};
      if (wrong("lrem", k, 'l', body)) return;
      std::int64_t left = a == 0 ? INT64_MAX : std::abs(a), n = 0;
      if (v != nullptr) {
        if (a < 0) std::reverse(v->list.begin(), v->list.end());
        std::erase_if(v->list, [&](const std::string& x) {
          return x == w && left > 0 && (--left, ++n, true);
        });
        if (a < 0) std::reverse(v->list.begin(), v->list.end());
        model.tidy(k);
      }
      return check("lrem", body, {{"removed", n}});
    }
    case 3: {
      const Json body = {{"key", bin(k)}, {"index", a}, {"value", bin(w)}};
      if (wrong("lset", k, 'l', body)) return;
      const std::int64_t i = a < 0 ? a + size : a;
      if (v == nullptr || i < 0 || i >= size) {
        EXPECT_EQ(store.call("lset", body).code, v == nullptr ? HG_NOT_FOUND : HG_INVALID);
        return;
      }
      v->list[static_cast<std::size_t>(i)] = w;
      return check("lset", body, Json::object());
    }
    case 4: {
      const std::string d = key(2);
      const bool from = below(2) == 0, to = below(2) == 0;
      const Json body = {{"source", bin(k)},
                         {"destination", bin(d)},
                         {"from", from ? "left" : "right"},
                         {"to", to ? "left" : "right"}};
      if (wrong("lmove", k, 'l', body) || wrong("lmove", d, 'l', body)) return;
      if (v == nullptr) return check("lmove", body, {{"value", nullptr}});
      const std::string moved = from ? v->list.front() : v->list.back();
      v->list.erase(from ? v->list.begin() : v->list.end() - 1);
      Value& into = model.make(d, 'l');
      into.list.insert(to ? into.list.begin() : into.list.end(), moved);
      model.tidy(k);
      return check("lmove", body, {{"value", bin(moved)}});
    }
    default: {
      const Json body = {{"key", bin(k)}, {"index", a}};
      if (wrong("lindex", k, 'l', body)) return;
      const std::int64_t i = a < 0 ? a + size : a;
      check("lindex", body,
            {{"value", i >= 0 && i < size ? bin(v->list[static_cast<std::size_t>(i)]) : Json()}});
    }
  }
}

void KvModel::sets() {
  const std::string k = key(3);
  const std::vector<std::string> what = words();
  switch (below(4)) {
    case 0: {
      const Json body = {{"key", bin(k)}, {"members", bins(what)}};
      if (wrong("sadd", k, 't', body)) return;
      Value& v = model.make(k, 't');
      const std::size_t before = v.members.size();
      v.members.insert(what.begin(), what.end());
      const std::size_t n = v.members.size() - before;
      model.tidy(k);
      return check("sadd", body, {{"added", n}});
    }
    case 1: {
      const Json body = {{"key", bin(k)}, {"members", bins(what)}};
      if (wrong("srem", k, 't', body)) return;
      std::size_t n = 0;
      if (Value* v = model.find(k))
        for (const std::string& m : what) n += v->members.erase(m);
      model.tidy(k);
      return check("srem", body, {{"removed", n}});
    }
    case 2: {
      const Json body = {{"key", bin(k)}, {"count", below(3)}};
      if (wrong("spop", k, 't', body)) return;
      const Reply r = store.call("spop", body);
      ASSERT_TRUE(r.ok()) << r.message;
      Value* v = model.find(k);
      const std::size_t had = v == nullptr ? 0 : v->members.size();
      ASSERT_EQ(r.body["members"].size(), std::min(had, body["count"].get<std::size_t>()));
      for (const Json& m : r.body["members"])
        ASSERT_EQ(v->members.erase(std::string(m.get_binary().begin(), m.get_binary().end())), 1u);
      model.tidy(k);
      return;
    }
    default: {
      const std::vector<std::string> of = {key(3), key(3), key(3)};
      std::vector<std::set<std::string>> sets;
      const std::string verb = below(3) == 0 ? "sinter" : below(2) == 0 ? "sunion" : "sdiff";
      const Json body = {{"keys", bins(of)}};
      for (const std::string& s : of) {
        if (wrong(verb, s, 't', body)) return;
        const Value* v = model.find(s);
        sets.push_back(v == nullptr ? std::set<std::string>{} : v->members);
      }
      std::vector<std::string> out;
      std::set<std::string> all;
      for (const auto& s : sets) all.insert(s.begin(), s.end());
      for (const std::string& m : all) {
        const bool in0 = sets[0].contains(m), in1 = sets[1].contains(m), in2 = sets[2].contains(m);
        if (verb == "sinter" ? in0 && in1 && in2 : verb == "sunion" || (in0 && !in1 && !in2))
          out.push_back(m);
      }
      check(verb, body, {{"members", bins(out)}});
    }
  }
}

void KvModel::zsets() {
  const std::string k = key(4), m = word();
  Value* v = model.find(k);
  const auto members = [](const std::vector<std::pair<double, std::string>>& of) {
    Json out = Json::array();
    for (const auto& [s, name] : of) out.push_back(Json::array({bin(name), s}));
    return Json({{"members", out}});
  };
  const auto ranks = v == nullptr ? decltype(ranked(*v)){} : ranked(*v);
  const bool reverse = below(2) == 0;
  switch (below(7)) {
    case 0: {
      const bool nx = below(4) == 0, xx = !nx && below(4) == 0;
      const double s = score();
      const std::string other = word();
      const Json body = {
          {"key", bin(k)},
          {"nx", nx},
          {"xx", xx},
          {"members", Json::array({Json::array({s, bin(m)}), Json::array({1, bin(other)})})}};
      if (wrong("zadd", k, 'z', body)) return;
      int added = 0;
      for (const auto& [name, to] : {std::pair(m, s), std::pair(other, 1.0)}) {
        Value& z = model.make(k, 'z');
        const bool there = z.scores.contains(name);
        if (there ? !nx : !xx) z.scores[name] = to;
        added += !there && !xx ? 1 : 0;
        model.tidy(k);
      }
      return check("zadd", body, {{"added", added}});
    }
    case 1: {
      const double by = score() + 0.5;
      const Json body = {{"key", bin(k)}, {"member", bin(m)}, {"by", by}};
      if (wrong("zincrby", k, 'z', body)) return;
      const double sum = model.make(k, 'z').scores[m] += by;
      return check("zincrby", body, {{"score", sum}});
    }
    case 2: {
      const Json body = {{"key", bin(k)}, {"members", bins({m, word()})}};
      if (wrong("zrem", k, 'z', body)) return;
      std::size_t n = 0;
      if (v != nullptr)
        for (const Json& x : body["members"])
          n += v->scores.erase(std::string(x.get_binary().begin(), x.get_binary().end()));
      model.tidy(k);
      return check("zrem", body, {{"removed", n}});
    }
    case 3: {
      const Json body = {{"key", bin(k)}, {"member", bin(m)}, {"reverse", reverse}};
      if (wrong("zrank", k, 'z', body)) return;
      Json rank;
      for (std::size_t i = 0; i < ranks.size(); ++i)
        if (ranks[i].second == m) rank = reverse ? ranks.size() - 1 - i : i;
      return check("zrank", body, {{"rank", rank}});
    }
    case 4: {
      const Json body = {
          {"key", bin(k)}, {"start", index()}, {"stop", index()}, {"reverse", reverse}};
      if (wrong("zrange", k, 'z', body)) return;
      const auto n = static_cast<std::int64_t>(ranks.size());
      std::int64_t a = body["start"], b = body["stop"];
      if (a < 0) a = std::max<std::int64_t>(a + n, 0);
      if (b < 0) b += n;
      std::vector<std::pair<double, std::string>> out;
      for (; a <= std::min(b, n - 1); ++a)
        out.push_back(ranks[static_cast<std::size_t>(reverse ? n - 1 - a : a)]);
      return check("zrange", body, members(out));
    }
    case 5: {
      const double low = score(), high = score();
      const std::size_t offset = below(3), count = below(4);
      const Json body = {{"key", bin(k)},    {"min", low},     {"max", high},
                         {"offset", offset}, {"count", count}, {"reverse", reverse}};
      if (wrong("zrangebyscore", k, 'z', body)) return;
      std::vector<std::pair<double, std::string>> in;
      for (const auto& r : ranks)
        if (r.first >= low && r.first <= high) in.push_back(r);
      if (reverse) std::reverse(in.begin(), in.end());
      in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(std::min(offset, in.size())));
      in.resize(std::min(count, in.size()));
      return check("zrangebyscore", body, members(in));
    }
    default: {
      const Json body = {{"key", bin(k)}, {"count", below(3)}};
      const std::string verb = reverse ? "zpopmax" : "zpopmin";
      if (wrong(verb, k, 'z', body)) return;
      std::vector<std::pair<double, std::string>> out = ranks;
      if (reverse) std::reverse(out.begin(), out.end());
      out.resize(std::min(out.size(), body["count"].get<std::size_t>()));
      for (const auto& r : out) v->scores.erase(r.second);
      model.tidy(k);
      check(verb, body, members(out));
    }
  }
}

// Everything that can be read, against the model.
void KvModel::compare_all() {
  std::vector<std::string> names;
  for (int i = 0; i < 12; ++i)
    if (model.find("k" + std::to_string(i)) != nullptr) names.push_back("k" + std::to_string(i));
  std::sort(names.begin(), names.end());
  check("scan", {{"prefix", "k"}},
        {{"keys", bins(names)}, {"values", nullptr}, {"cursor", nullptr}});
  for (const std::string& k : names) {
    const Value& v = *model.find(k);
    const Json body = {{"key", bin(k)}};
    switch (v.type) {
      case 's':
        ASSERT_EQ(store.call("get", body).body["value"], bin(v.text));
        break;
      case 'h': {
        Json fields = Json::array();
        for (const auto& [f, w] : v.hash) fields.push_back(Json::array({bin(f), bin(w)}));
        check("hgetall", body, {{"fields", fields}});
        check("hlen", body, {{"length", v.hash.size()}});
        break;
      }
      case 'l':
        check("lrange", {{"key", bin(k)}, {"start", 0}, {"stop", -1}}, {{"values", bins(v.list)}});
        check("llen", body, {{"length", v.list.size()}});
        break;
      case 't':
        check("smembers", body, {{"members", bins({v.members.begin(), v.members.end()})}});
        check("scard", body, {{"length", v.members.size()}});
        break;
      default: {
        Json out = Json::array();
        for (const auto& [s, m] : ranked(v)) out.push_back(Json::array({bin(m), s}));
        check("zrange", {{"key", bin(k)}, {"start", 0}, {"stop", -1}}, {{"members", out}});
        check("zcard", body, {{"length", v.scores.size()}});
      }
    }
  }
}

TEST_F(KvModel, RandomVerbsAgree) {
  const char* given = std::getenv("HEADGATE_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  std::printf("HEADGATE_SEED=%llu\n", static_cast<unsigned long long>(seed));
  random.seed(seed);
  for (int step = 0; step < kSteps && !HasFailure(); ++step) {
    switch (below(8)) {
      case 0:
      case 1:
        strings();
        break;
      case 2:
        any_key();
        break;
      case 3:
        hashes();
        break;
      case 4:
        list_ends();
        break;
      case 5:
        lists();
        break;
      case 6:
        sets();
        break;
      default:
        zsets();
    }
    if (step % 500 == 499) compare_all();
    if (HasFailure()) std::printf("at step %d\n", step);
  }
  if (HasFailure()) return;
  // What no key holds any more goes in the end.
  for (int i = 0; i < 3000 && rows("headgate_kv_garbage") > 0; ++i)
    ok("set", {{"key", "zz"}, {"value", "x"}});
  std::int64_t large = 0, fields = 0, items = 0, members = 0, scores = 0;
  wall_ms += 1'000'000;
  for (int i = 0; i < 200; ++i) ok("set", {{"key", "zz"}, {"value", "x"}});
  for (const auto& name : std::vector<std::string>([&] {
         std::vector<std::string> out;
         for (const auto& [k, v] : model.keys) out.push_back(k);
         return out;
       }())) {
    const Value* v = model.find(name);
    if (v == nullptr) continue;
    large += v->type == 's' && v->text.size() > 480 ? 1 : 0;
    fields += static_cast<std::int64_t>(v->hash.size());
    items += static_cast<std::int64_t>(v->list.size());
    members += static_cast<std::int64_t>(v->members.size());
    scores += static_cast<std::int64_t>(v->scores.size());
  }
  for (int i = 0;
       i < 3000 && rows("headgate_kv_keys") > static_cast<std::int64_t>(model.keys.size()) + 1; ++i)
    ok("set", {{"key", "zz"}, {"value", "x"}});
  EXPECT_EQ(rows("headgate_kv_large"), large);
  EXPECT_EQ(rows("headgate_kv_hash"), fields);
  EXPECT_EQ(rows("headgate_kv_list"), items);
  EXPECT_EQ(rows("headgate_kv_set"), members);
  EXPECT_EQ(rows("headgate_kv_zset"), scores);
}

}  // namespace
}  // namespace headgate::sqlite::test
