// Cases for every kind: the ABI's own rules, life cycle, bad bodies, deadlines.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "plugins/sdk/plugin.h"
#include "proto/writer.hpp"
#include "tests/conformance/bare_host.hpp"
#include "tests/conformance/case.hpp"

namespace headgate::conformance {
BareHost& host_of(Target& target);
const hg_plugin* plugin_of(Target& target);
hg_driver* driver_of(Target& target);

namespace {

// A cheap request that the store must be able to answer.
Reply probe(Context& x) { return x.caller->call("ping", Json::object()); }

CASE(ping_ok, "conn.ping_ok", "", V("ping"), V()) { expect_ok(probe(x), "ping"); }

CASE(unknown_verb, "abi.unknown_verb", "", V(), V()) {
  const Reply r = x.caller->call("no_such_verb", Json::object());
  expect(r.code == Code::unsupported || (!x.target.bare() && r.code == Code::denied), show(r));
  expect(r.message.find("no_such_verb") != std::string::npos, "the message names it: " + r.message);
}

CASE(describe_declares, "abi.describe_sane", "", V(), V()) {
  const Json& d = x.target.describe();
  expect(d.at("kind").is_string() && d.at("verbs").is_object() && !d.at("verbs").empty(),
         "kind and verbs");
  for (auto& [name, flags] : d.at("verbs").items()) {
    const std::string access = flags.value("access", "");
    expect(access == "read" || access == "write" || access == "admin", name + " has no access");
    for (const char* f : {"streams", "uploads", "waits"})
      if (flags.contains(f)) expect(flags[f].is_boolean(), name + "." + f + " is no bool");
  }
}

// Every verb refuses a body with an unknown field, by its name, and a body that is no map.
CASE(unknown_option, "abi.unknown_option", "", V(), V()) {
  for (auto& [verb, flags] : x.target.describe().at("verbs").items()) {
    if (verb == "describe") continue;
    const Reply r = x.caller->call(verb, {{"no_such_field", 1}});
    expect(!r.ok(), verb + " took an unknown field");
    expect_code(r, Code::invalid, verb.c_str());
    expect(r.message.find("no_such_field") != std::string::npos ||
               r.message.find("missing") != std::string::npos ||
               r.message.find("fetch") != std::string::npos ||
               r.message.find("transaction") != std::string::npos,
           verb + ": the message names the field: " + r.message);
  }
}

CASE(not_a_map, "abi.body_not_a_map", "", V(), V()) {
  for (auto& [verb, flags] : x.target.describe().at("verbs").items()) {
    if (verb == "describe") continue;
    for (const Json& body : {Json(1), Json("x"), Json::array({1}), Json(nullptr)}) {
      const Reply r = x.caller->call(verb, body);
      expect_code(r, Code::invalid, (verb + " with " + show(body)).c_str());
    }
  }
}

// Random and mutated bodies: always an answer, never a crash, and the store goes on.
BARE_CASE(malformed, "abi.malformed_msgpack", "", V(), V()) {
  std::mt19937 random(20261125);
  std::vector<std::string> verbs;
  for (auto& [verb, flags] : x.target.describe().at("verbs").items())
    if (!flags.value("waits", false) && !flags.value("uploads", false) && verb != "begin")
      verbs.push_back(verb);
  const std::vector<const char*> fields = {
      "sql",    "params", "key",      "value",     "keys",     "collection",
      "filter", "update", "document", "documents", "pipeline", "items",
      "verb",   "body",   "name",     "table",     "fields",   "members"};
  std::function<void(proto::Writer&, int)> value = [&](proto::Writer& w, int depth) {
    switch (random() % (depth > 3 ? 7 : 10)) {
      case 0:
        w.nil();
        break;
      case 1:
        w.boolean(random() % 2 == 0);
        break;
      case 2:
        w.sint(static_cast<std::int64_t>(random()) - 2'000'000'000);
        break;
      case 3:
        w.real(static_cast<double>(random()) / 7);
        break;
      case 4:
        w.str(random() % 2 ? "$set" : "a.b");
        break;
      case 5: {
        const std::uint8_t b[3] = {0, 255, 7};
        w.bin(b);
        break;
      }
      case 6: {
        const std::uint8_t b[8] = {7, 1, 2, 3, 4, 5, 6, 7};
        w.ext(static_cast<std::int8_t>(random() % 20), proto::Bytes(b, random() % 9));
        break;
      }
      case 7: {
        const unsigned n = random() % 4;
        w.array(n);
        for (unsigned i = 0; i < n; ++i) value(w, depth + 1);
        break;
      }
      default: {
        const unsigned n = random() % 4;
        w.map(n);
        for (unsigned i = 0; i < n; ++i) {
          w.str(random() % 2 ? fields[random() % fields.size()] : "$gt");
          value(w, depth + 1);
        }
      }
    }
  };
  for (int i = 0; i < 4000; ++i) {
    proto::VectorOut out;
    proto::Writer w(&out);
    const unsigned n = random() % 4;
    w.map(n);
    std::set<std::string> used;
    for (unsigned f = 0; f < n; ++f) {
      std::string name = fields[random() % fields.size()];
      while (!used.insert(name).second) name += "x";
      w.str(name);
      value(w, 0);
    }
    if (proto::check(out.view()) != proto::Shape::good) continue;
    Options o;
    o.timeout_ms = 2000;
    const Reply r = x.caller->raw(verbs[random() % verbs.size()], out.view(), o);
    expect(r.code != Code::internal, "an internal error: " + show(r));
  }
  x.caller = x.target.caller();
  expect_ok(probe(x), "the store goes on");
}

BARE_CASE(optional_null, "abi.required_functions", "", V(), V()) {
  const hg_plugin* p = plugin_of(x.target);
  expect(p->describe && p->driver_open && p->driver_close && p->driver_route && p->conn_open &&
             p->conn_submit && p->conn_close,
         "a required function is NULL");
  for (const Json& lane : x.target.describe().at("lanes")) {
    if (lane.at("model") == "event")
      expect(p->conn_io && p->conn_timer, "an event lane needs conn_io and conn_timer");
    if (lane.at("lease") == true)
      expect(p->conn_reset != nullptr, "a leasable lane needs conn_reset");
    if (lane.at("cancel") == "operation")
      expect(p->conn_cancel != nullptr, "cancel is declared and conn_cancel is NULL");
    expect(lane.at("max_inflight").get<int>() >= 1 && lane.at("max_batch").get<int>() >= 1 &&
               lane.at("max_batch").get<int>() <= lane.at("max_inflight").get<int>(),
           "sane limits of lane " + lane.at("name").get<std::string>());
  }
}

BARE_CASE(describe_stable, "abi.describe_stable", "", V(), V()) {
  const hg_plugin* p = plugin_of(x.target);
  const hg_bytes a = p->describe(), b = p->describe();
  expect(a.size == b.size && std::memcmp(a.data, b.data, a.size) == 0,
         "describe differs between two calls");
  expect(proto::check({a.data, static_cast<std::size_t>(a.size)}) == proto::Shape::good,
         "describe is not one msgpack value");
}

BARE_CASE(single_export, "abi.single_export", "", V(), V()) {
  const std::string command =
      "nm -D --defined-only '" + x.bare.plugin + "' | awk '$2 ~ /[TDBRV]/ {print $3}' | sort -u";
  FILE* pipe = popen(command.c_str(), "r");
  expect(pipe != nullptr, "cannot run nm");
  std::set<std::string> names;
  char line[512];
  while (fgets(line, sizeof line, pipe) != nullptr)
    names.insert(std::string(line, strcspn(line, "\n")));
  pclose(pipe);
  for (const std::string& n : names)
    expect(n == HG_PLUGIN_ENTRY || n.rfind("__asan", 0) == 0 || n.rfind("__ubsan", 0) == 0 ||
               n.rfind("___asan", 0) == 0 || n.rfind("__odr_asan", 0) == 0 ||
               n.rfind("_init", 0) == 0 || n.rfind("_fini", 0) == 0,
           "it exports `" + n + "`, and only " HG_PLUGIN_ENTRY " may be");
  expect(names.empty() || names.count(HG_PLUGIN_ENTRY) == 1, "it does not export " HG_PLUGIN_ENTRY);
}

std::size_t descriptors() {
  std::size_t n = 0;
  DIR* d = opendir("/proc/self/fd");
  while (readdir(d) != nullptr) ++n;
  closedir(d);
  return n;
}
std::size_t resident_kb() {
  std::ifstream in("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  in >> total >> resident;
  return resident * 4;
}

BARE_CASE(open_close, "life.open_close_many", "", V("ping"), V()) {
  // A connection of every lane, opened and closed again and again: nothing may be left behind.
  const hg_plugin* p = plugin_of(x.target);
  auto once = [&](std::uint32_t lane) {
    hg_connect c{};
    c.size = sizeof c;
    c.lane = lane;
    c.access = HG_ACCESS_WRITE;
    c.generation = 1;
    c.id = 1'000'000 + lane;
    c.deadline_us = BareHost::now_us() + 10'000'000;
    c.endpoint = {reinterpret_cast<const std::uint8_t*>(x.bare.endpoint.data()),
                  x.bare.endpoint.size()};
    c.account = {reinterpret_cast<const std::uint8_t*>(x.bare.account.data()),
                 x.bare.account.size()};
    c.password = {reinterpret_cast<const std::uint8_t*>(x.bare.password.data()),
                  x.bare.password.size()};
    hg_connection* conn = nullptr;
    std::int32_t fd = -1;
    hg_error e{};
    e.size = sizeof e;
    expect(p->conn_open(driver_of(x.target), &c, &conn, &fd, &e) == 0,
           std::string("conn_open: ") + e.message);
    p->conn_close(conn);
  };
  // Quirk `opens`: fewer, where a login costs much.
  const int rounds = x.quirks.value("opens", 1000);
  const Json lanes = x.target.describe().at("lanes");
  for (std::uint32_t l = 0; l < lanes.size(); ++l)
    if (lanes[l].at("per") != "store" || lanes[l].at("connections_max").get<int>() > 1)
      for (int i = 0; i < rounds * 3 / 10; ++i) once(l);
  const std::size_t fds = descriptors(), kb = resident_kb();
  for (std::uint32_t l = 0; l < lanes.size(); ++l)
    if (lanes[l].at("per") != "store" || lanes[l].at("connections_max").get<int>() > 1)
      for (int i = 0; i < rounds; ++i) once(l);
  // A few may come and go with a checkpoint or a temporary file; a leak is one a connection.
  expect(descriptors() <= fds + 8,
         "descriptors grew from " + std::to_string(fds) + " to " + std::to_string(descriptors()));
  expect(resident_kb() < kb + 16'384, "memory grew by " + std::to_string(resident_kb() - kb) +
                                          " kB in " + std::to_string(rounds) +
                                          " connections a lane");
}

BARE_CASE(two_stores, "life.two_stores", "", V("ping"), V()) {
  BareOptions other = x.bare;
  other.state_dir = x.bare.state_dir + "/other";
  (void)!system(("mkdir -p '" + other.state_dir + "'").c_str());
  auto second = make_bare_target(other);
  expect_ok(second->caller()->call("ping", Json::object()), "a second store of the plugin");
  expect_ok(probe(x), "the first");
  second.reset();
  expect_ok(probe(x), "the first, after the second was closed");
}

BARE_CASE(cloexec, "life.cloexec", "", V("ping"), V()) {
  expect_ok(probe(x), "ping");
  DIR* d = opendir("/proc/self/fd");
  std::string leaked;
  while (dirent* e = readdir(d)) {
    const int fd = atoi(e->d_name);
    if (fd < 3 || fd == dirfd(d)) continue;
    const int flags = fcntl(fd, F_GETFD);
    if (flags < 0 || (flags & FD_CLOEXEC) != 0) continue;
    char target[512] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (readlink(link.c_str(), target, sizeof target - 1) > 0 &&
        strstr(target, x.bare.state_dir.c_str()) != nullptr)
      leaked += std::string(target) + " ";
  }
  closedir(d);
  expect(leaked.empty(), "a child would inherit " + leaked);
}

CASE(parallel_open, "life.parallel_open", "", V("ping"), V()) {
  std::atomic<int> failed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 64; ++i)
    threads.emplace_back([&] {
      auto c = x.target.caller();
      if (!c->call("ping", Json::object()).ok()) ++failed;
    });
  for (auto& t : threads) t.join();
  expect_eq(failed.load(), 0, "failed pings of 64 callers at once");
}

CASE(batch_empty, "batch.empty", "", V("batch"), V()) {
  const Reply r = x.caller->call("batch", {{"items", Json::array()}});
  expect_ok(r, "an empty batch");
  expect_eq(r.body, Json::array(), "no answers");
}

CASE(batch_bad, "batch.bad_items", "", V("batch"), V()) {
  for (const Json& items : {Json(1), Json::array({1}), Json::array({Json::array({"ping"})}),
                            Json::array({Json::array({"no_such_verb", Json::object()})}),
                            Json::array({Json::array({"batch", {{"items", Json::array()}}})})}) {
    const Reply r = x.caller->call("batch", {{"items", items}});
    expect(!r.ok() || (r.body.is_array() && r.body.size() == 1 && r.body[0][0] != 0),
           show(items) + ": " + show(r));
  }
  Json many = Json::array();
  for (int i = 0; i < 10'001; ++i) many.push_back(Json::array({"ping", Json::object()}));
  const Reply r = x.caller->call("batch", {{"items", many}});
  expect(r.code == Code::too_large || r.code == Code::invalid,
         "10,001 items: " + show(r.code == Code::ok ? Json("ok") : Json(r.message)));
}

CASE(expired_tx, "tx.unknown", "", V("begin", "commit"), V("transactions")) {
  Options o;
  o.tx = 999'999'999;
  const Reply r = x.caller->call("commit", Json::object(), o);
  expect_code(r, Code::transaction_expired, "a transaction that never was");
  const Reply none = x.caller->call("commit", Json::object());
  expect_code(none, Code::invalid, "commit without tx");
}

}  // namespace
}  // namespace headgate::conformance
