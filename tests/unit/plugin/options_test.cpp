// describe and options: every wrong table is refused by the name of what is wrong in it.
#include <gtest/gtest.h>

#include <functional>

#include "daemon/plugin/description.hpp"
#include "proto/writer.hpp"

namespace headgate::plugin {
namespace {

using proto::VectorOut;
using proto::Writer;
using Bytes = std::vector<std::uint8_t>;
using Write = std::function<void(Writer&)>;

Bytes made(const Write& f) {
  VectorOut out;
  Writer w(&out);
  f(w);
  return {out.view().begin(), out.view().end()};
}
const Write kLane = [](Writer& w) {
  w.map(2);
  w.str("name");
  w.str("one");
  w.str("model");
  w.str("blocking");
};
const Write kKind = [](Writer& w) {
  w.map(2);
  w.str("kind");
  w.str("sql");
  w.str("verbs");
  w.map(1);
  w.str("ping");
  w.map(1);
  w.str("access");
  w.str("read");
};
// A good table, with one part replaced.
Bytes table(const std::string& part = "", const Write& write = {}) {
  return made([&](Writer& w) {
    w.map(part.empty() || part == "name" || part == "kinds" || part == "lanes" ? 3 : 4);
    const auto put = [&](const char* key, const Write& good) {
      w.str(key);
      if (part == key)
        write(w);
      else
        good(w);
    };
    put("name", [](Writer& p) { p.str("x"); });
    put("kinds", [](Writer& p) {
      p.array(1);
      kKind(p);
    });
    put("lanes", [](Writer& p) {
      p.array(1);
      kLane(p);
    });
    if (!part.empty() && part != "name" && part != "kinds" && part != "lanes") {
      w.str(part);
      write(w);
    }
  });
}
std::string why(const Bytes& map) {
  const hg_plugin none{};
  const auto r = read_description(map, none);
  return r ? "" : r.error().message;
}
void expect(const std::string& text, const std::string& word) {
  EXPECT_NE(text.find(word), std::string::npos)
      << "\"" << text << "\" does not say \"" << word << "\"";
}
Write lane_with(const char* key, const Write& value) {
  return [key, value](Writer& w) {
    w.array(1);
    w.map(3);
    w.str("name");
    w.str("one");
    w.str("model");
    w.str("event");
    w.str(key);
    value(w);
  };
}
Write number(std::int64_t n) {
  return [n](Writer& w) { w.sint(n); };
}

TEST(Describe, TheSmallestTableIsTaken) { EXPECT_EQ(why(table()), ""); }

TEST(Describe, EveryCutIsRefused) {
  const Bytes whole = table();
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_NE(why(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n))), "") << n;
  Bytes longer = whole;
  longer.push_back(0xc0);
  EXPECT_NE(why(longer), "");
}

TEST(Describe, WrongEntriesAreNamed) {
  expect(why(table("colour", number(1))), "unknown key `colour`");
  expect(why(table("name", [](Writer& w) { w.str("two words"); })), "`name`");
  expect(why(table("kinds", [](Writer& w) { w.array(0); })), "kinds");
  expect(why(table("kinds",
                   [](Writer& w) {
                     w.array(2);
                     kKind(w);
                     kKind(w);
                   })),
         "kind `sql` is declared twice");
  expect(why(table("lanes",
                   [](Writer& w) {
                     w.array(2);
                     kLane(w);
                     kLane(w);
                   })),
         "lane `one` is declared twice");
  expect(why(table("lanes", lane_with("max_inflight", number(0)))),
         "`max_inflight` must be an integer from 1 to 65536");
  expect(why(table("lanes", lane_with("max_inflight", number(1 << 20)))), "lanes[0]");
  expect(why(table("lanes", lane_with("max_batch", number(2)))), "`max_batch` is above");
  expect(why(table("lanes", lane_with("connections", number(-1)))), "connections");
  expect(why(table("lanes", lane_with("per", [](Writer& w) { w.str("planet"); }))),
         "\"store\" or \"pool\"");
  expect(why(table("lanes", lane_with("cancel", [](Writer& w) { w.str("maybe"); }))),
         "\"none\" or \"operation\"");
  expect(why(table("lanes", lane_with("lease", number(1)))), "`lease` has the wrong type");
  expect(why(table("lanes", lane_with("lease", [](Writer& w) { w.boolean(false); }))), "conn_io");
  expect(why(table("lanes", lane_with("connections_option", [](Writer& w) { w.str("readers"); }))),
         "lane `one`: `connections_option` names no int option");
  expect(why(table("kinds",
                   [](Writer& w) {
                     w.array(1);
                     w.map(2);
                     w.str("kind");
                     w.str("sql");
                     w.str("verbs");
                     w.map(1);
                     w.str("ping");
                     w.map(1);
                     w.str("streams");
                     w.boolean(true);
                   })),
         "kinds[0].verbs.ping: has no `access`");
}

TEST(Describe, OptionsAreCheckedToo) {
  const auto option = [](const Write& entry) {
    return table("options", [entry](Writer& w) {
      w.map(1);
      w.str("size");
      entry(w);
    });
  };
  expect(why(option([](Writer& w) { w.map(0); })), "options.size: has no `type`");
  expect(why(option([](Writer& w) {
           w.map(1);
           w.str("type");
           w.str("colour");
         })),
         "options.size");
  expect(why(option([](Writer& w) {
           w.map(3);
           w.str("type");
           w.str("int");
           w.str("min");
           w.uint(5);
           w.str("max");
           w.uint(4);
         })),
         "`min` is above `max`");
  expect(why(option([](Writer& w) {
           w.map(3);
           w.str("type");
           w.str("int");
           w.str("max");
           w.uint(4);
           w.str("default");
           w.uint(5);
         })),
         "options.size: the default must be an integer of at most 4");
  expect(why(option([](Writer& w) {
           w.map(3);
           w.str("type");
           w.str("int");
           w.str("required");
           w.boolean(true);
           w.str("default");
           w.uint(5);
         })),
         "is required and has a default");
  const auto values_of = [&](const char* type) {
    return option([type](Writer& w) {
      w.map(2);
      w.str("type");
      w.str(type);
      w.str("values");
      w.array(1);
      w.str("a");
    });
  };
  EXPECT_EQ(why(values_of("str")), "");
  expect(why(values_of("int")), "options.size: has `values` and is no str");
}

Description plugin() {
  Description d;
  d.name = "x";
  const auto add = [&](const char* name, Option::Type t, std::optional<std::int64_t> min,
                       std::optional<std::int64_t> max, bool required, const Write& fallback) {
    Option o;
    o.name = name;
    o.type = t;
    o.min = min;
    o.max = max;
    o.required = required;
    if (fallback) o.fallback = made(fallback);
    d.options.push_back(o);
  };
  add("path", Option::Type::str, 1, 10, true, {});
  add("readers", Option::Type::integer, 1, 64, false, number(2));
  add("full", Option::Type::boolean, {}, {}, false, {});
  add("hosts", Option::Type::list, {}, 2, false, {});
  add("wait", Option::Type::duration_ms, 0, 60'000, false, [](Writer& w) { w.str("2s"); });
  add("cache", Option::Type::bytes, {}, {}, false, {});
  add("mode", Option::Type::str, {}, {}, false, {});
  d.options.back().values = {"fast", "safe"};
  return d;
}
std::string faults(const Write& options) {
  std::string all;
  for (const OptionFault& f : check_options(plugin(), made(options)))
    all += f.option + " " + f.what + "\n";
  return all;
}
Write with(const char* key, const Write& value) {
  return [key, value](Writer& w) {
    w.map(2);
    w.str("path");
    w.str("p");
    w.str(key);
    value(w);
  };
}
Write words(const char* s) {
  return [s](Writer& w) { w.str(s); };
}

TEST(Options, EveryFaultIsFoundAndSaysWhatWasExpected) {
  const std::string all = faults([](Writer& w) {
    w.map(6);
    w.str("readers");
    w.str("two");
    w.str("full");
    w.uint(1);
    w.str("hosts");
    w.array(1);
    w.uint(1);
    w.str("wait");
    w.str("2 parsecs");
    w.str("cache");
    w.sint(-1);
    w.str("colour");
    w.str("red");
  });
  expect(all, "readers must be an integer from 1 to 64, not a string");
  expect(all, "full must be true or false, not an integer");
  expect(all,
         "hosts must be a list of strings with a length of at most 2, not a list with an integer");
  expect(
      all,
      "wait must be a duration (milliseconds, or text like \"5s\") from 0 to 60000, not this text");
  expect(all, "cache must be a size (bytes, or text like \"8MiB\"), not a negative number");
  expect(all,
         "colour is no option of plugin x; it has: path, readers, full, hosts, wait, cache, mode");
  expect(all, "path is missing; it must be a string with a length from 1 to 10");
}

TEST(Options, RangesAndUnits) {
  EXPECT_EQ(faults(with("readers", number(64))), "");
  expect(faults(with("readers", number(65))), "not 65");
  EXPECT_EQ(faults(with("wait", words("60s"))), "");
  EXPECT_EQ(faults(with("wait", words("1m"))), "");
  expect(faults(with("wait", words("61s"))), "not 61000");
  expect(faults(with("wait", words("9999999999999999999s"))), "not this text");
  expect(faults(with("wait", words("99999999999999999d"))), "not this text");
  expect(faults(with("wait", words("-1s"))), "not this text");
  EXPECT_EQ(faults(with("mode", words("safe"))), "");
  expect(faults(with("mode", words("slow"))), "mode must be \"fast\" or \"safe\", not this text");
  EXPECT_EQ(faults(with("cache", words("8MiB"))), "");
  expect(faults(with("cache", words("8MB"))), "not this text");
  expect(faults([](Writer& w) {
           w.map(1);
           w.str("path");
           w.str("much too long");
         }),
         "path must be a string");
  expect(faults(with("path", words("p"))), "path is given twice");
  expect(faults([](Writer& w) { w.array(0); }), "one map");
}

TEST(Options, AreCompletedForTheDriver) {
  const Bytes full = complete_options(plugin(), made(with("cache", words("1GiB"))));
  proto::Cursor c{proto::Bytes(full)};
  ASSERT_EQ(c.read_map(), 4u);
  EXPECT_EQ(c.read_str(), "path");
  EXPECT_EQ(c.read_str(), "p");
  EXPECT_EQ(c.read_str(), "readers");
  EXPECT_EQ(c.read_int(), 2);
  EXPECT_EQ(c.read_str(), "wait");
  EXPECT_EQ(c.read_int(), 2000);
  EXPECT_EQ(c.read_str(), "cache");
  EXPECT_EQ(c.read_int(), 1 << 30);
  EXPECT_TRUE(c.ok() && c.at_end());
}

}  // namespace
}  // namespace headgate::plugin
