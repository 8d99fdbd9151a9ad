// Rig is a host, a loop and a recording pool, for tests that drive a real plugin through the lanes.
//
// Owner:   a test. Threads: the test's own is the loop.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/plugin/plugin_store.hpp"
#include "proto/writer.hpp"
#include "tests/unit/support/poll_loop.hpp"

namespace headgate::testing {

using namespace headgate::plugin;
using proto::Bytes;

// Says everything into a vector.
class ListLog final : public Log {
 public:
  void flush() override {}
  [[nodiscard]] std::uint64_t dropped() const override { return 0; }
  std::mutex mutex;
  std::vector<std::string> lines;

 protected:
  void write(Level, std::string_view event, Fields fields) override {
    std::string line(event);
    for (const LogField& f : fields) {
      line += " " + std::string(f.key) + "=";
      line += f.kind == LogField::Kind::text ? std::string(f.text) : std::to_string(f.natural);
    }
    std::lock_guard lock(mutex);
    lines.push_back(std::move(line));
  }
};

class Grants final : public Permission {
 public:
  [[nodiscard]] bool allows(std::string_view, std::uint32_t, Bytes name) const override {
    return proto::text_of(name) != "forbidden";
  }
};

// A body map from pairs, integers and texts.
class BodyMap {
 public:
  BodyMap& add(std::string_view key, std::int64_t v) {
    Writer_.str(key);
    Writer_.sint(v);
    ++n_;
    return *this;
  }
  BodyMap& add(std::string_view key, std::string_view v) {
    Writer_.str(key);
    Writer_.str(v);
    ++n_;
    return *this;
  }
  BodyMap& bin(std::string_view key, std::string_view v) {
    Writer_.str(key);
    Writer_.bin(proto::bytes_of(v));
    ++n_;
    return *this;
  }
  BodyMap& yes(std::string_view key) {
    Writer_.str(key);
    Writer_.boolean(true);
    ++n_;
    return *this;
  }
  [[nodiscard]] std::vector<std::uint8_t> take() const {
    proto::VectorOut out;
    proto::Writer w(&out);
    w.map(n_);
    w.raw(out_->view());
    return {out.view().begin(), out.view().end()};
  }

 private:
  std::unique_ptr<proto::VectorOut> out_ = std::make_unique<proto::VectorOut>();
  proto::Writer Writer_{out_.get()};
  std::uint32_t n_ = 0;
};

// One call with the memory that it lends.
struct TestCall {
  Call call;
  std::string verb;
  std::vector<std::uint8_t> body;
  Operation* operation = nullptr;
  int completions = 0;
  Done done;
  std::vector<std::uint8_t> reply;
  std::vector<std::uint64_t> parts;
  std::uint64_t part_bytes = 0;
  std::uint64_t granted = 0;
};

// A directory of plugins that was built with whatever umask, made safe to load from.
inline const std::string& safe(const std::string& directory) {
  const std::string tidy = "chmod -R go-w '" + directory + "'";
  EXPECT_EQ(::system(tidy.c_str()), 0);
  return directory;
}
// The plugins that were built for tests.
inline std::string plugin_directory() {
  static const std::string directory = safe(HEADGATE_TEST_PLUGINS);
  return directory;
}

class Rig : public LinkEvents {
 public:
  explicit Rig(HostSettings settings = {}) {
    host = std::make_unique<Host>(loop, log, settings);
    libraries = std::make_unique<Libraries>(host->table());
  }
  ~Rig() override {
    for (auto& [ticket, link] : links) link->close();
    loop.run_until([&] { return links.empty(); });
    EXPECT_TRUE(links.empty()) << "a link did not close";
    store.reset();
    loop.run_until([&] { return host->written_off() == 0; }, std::chrono::seconds(10));
    EXPECT_EQ(host->operations().in_use(), 0u);
    EXPECT_EQ(host->threads(), 0u);
  }

  void load(const std::string& directory, const std::string& name, StoreSettings settings) {
    Result<std::shared_ptr<const Library>> library = libraries->load({safe(directory), name, ""});
    ASSERT_TRUE(library) << library.error().message;
    Result<std::unique_ptr<PluginStore>> made =
        PluginStore::make(*host, *library, std::move(settings));
    ASSERT_TRUE(made) << made.error().message;
    store = std::move(*made);
    store->set_events(this);
  }
  // Opens a connection of this lane and waits for it.
  Link* open(std::uint32_t lane, Ticket ticket = 1) {
    OpenRequest r;
    r.ticket = ticket;
    r.lane = lane;
    r.deadline = loop.now() + std::chrono::seconds(5);
    store->open(r);
    const std::size_t failed = open_faults.size();
    loop.run_until([&] { return links.contains(ticket) || open_faults.size() > failed; });
    return links.contains(ticket) ? links[ticket].get() : nullptr;
  }

  // A call that has been routed and has its operation.
  TestCall* prepare(std::string_view verb, std::vector<std::uint8_t> body, std::uint64_t fetch = 0,
                    bool upload = false, Micros timeout = std::chrono::seconds(5)) {
    calls.push_back(std::make_unique<TestCall>());
    TestCall* t = calls.back().get();
    t->verb = verb;
    t->body = std::move(body);
    t->call.verb = t->verb;
    t->call.body = t->body;
    t->call.share.service_name = "tests";
    t->call.permission = &grants;
    t->call.received = loop.now();
    t->call.deadline = loop.now() + timeout;
    t->call.fetch = fetch;
    t->call.upload = upload;
    t->call.credit = fetch > 0 ? 1 : 0;
    const Result<Route> r = store->route(t->call, 0, nullptr);
    if (!r) {
      t->done.ok = false;
      t->done.fault = r.error();
      t->completions = 1;
      return t;
    }
    t->operation = store->begin(&t->call, Purpose::call, *r, 1, 0, "");
    EXPECT_NE(t->operation, nullptr);
    by_operation[t->operation] = t;
    return t;
  }
  TestCall* send(Link* link, std::string_view verb,
                 std::vector<std::uint8_t> body = BodyMap().take(), std::uint64_t fetch = 0,
                 bool upload = false) {
    TestCall* t = prepare(verb, std::move(body), fetch, upload);
    if (t->operation != nullptr) link->submit({&t->operation, 1});
    return t;
  }
  TestCall* ask(Link* link, std::string_view verb,
                std::vector<std::uint8_t> body = BodyMap().take(), std::uint64_t fetch = 0) {
    TestCall* t = send(link, verb, std::move(body), fetch);
    EXPECT_TRUE(loop.run_until([&] { return t->completions > 0; })) << verb << " got no answer";
    return t;
  }
  void close(Ticket ticket = 1) {
    links[ticket]->close();
    EXPECT_TRUE(loop.run_until([&] { return !links.contains(ticket); }))
        << "the link did not close";
  }

  // LinkEvents
  void opened(Ticket ticket, std::unique_ptr<Link> link) override {
    links[ticket] = std::move(link);
  }
  void open_failed(Ticket, const Fault& f) override { open_faults.push_back(f); }
  void completed(Operation& o) override {
    const auto it = by_operation.find(&o);
    if (it != by_operation.end()) {
      TestCall* t = it->second;
      ++t->completions;
      t->done = std::move(o.done);
      t->reply.assign(o.reply.view().begin(), o.reply.view().end());
      t->operation = nullptr;
      by_operation.erase(it);
      order.push_back(t);
    } else {
      other_done.push_back(o.done.connection);
    }
    store->end(o);
    if (on_completed) on_completed();
  }
  void part(Operation& o, std::uint64_t sequence, ReplyBuffer body) override {
    TestCall* t = by_operation.at(&o);
    t->parts.push_back(sequence);
    t->part_bytes += body.size();
    if (on_part) on_part(*t, sequence);
  }
  void upload_credit(Operation& o, std::uint64_t sequence) override {
    by_operation.at(&o)->granted = sequence;
  }
  void cancel_returned(Ticket) override { ++cancels_returned; }
  void lost(Ticket, const Fault& f) override { losses.push_back(f); }
  void closed(Ticket ticket) override {
    ++closes;
    links.erase(ticket);
  }
  void wake(std::uint64_t token) override { wakes.push_back(token); }

  PollLoop loop;
  ListLog log;
  Grants grants;
  std::unique_ptr<Host> host;
  std::unique_ptr<Libraries> libraries;
  std::unique_ptr<PluginStore> store;
  std::map<Ticket, std::unique_ptr<Link>> links;
  std::vector<Fault> open_faults, losses;
  std::vector<std::unique_ptr<TestCall>> calls;
  std::map<Operation*, TestCall*> by_operation;
  std::vector<TestCall*> order;
  std::vector<ConnState> other_done;
  std::vector<std::uint64_t> wakes;
  int cancels_returned = 0;
  int closes = 0;
  std::function<void()> on_completed;
  std::function<void(TestCall&, std::uint64_t)> on_part;
};

inline std::int64_t as_int(const std::vector<std::uint8_t>& reply) {
  proto::Cursor c((Bytes(reply)));
  return c.read_int();
}

}  // namespace headgate::testing
