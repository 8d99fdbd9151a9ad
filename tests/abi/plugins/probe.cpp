// probe is a plugin that does what it is told, good or bad: the verb names the behaviour. Written
// on the bare C ABI, so that exceptions and wrong numbers reach the host as they are.
//
// Body: a map {lane, n, fd, alone, lease, text}; all optional. Lanes: write (blocking, batches),
// read (blocking, one at a time), loop (event).
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "plugins/sdk/plugin.h"
#include "proto/cursor.hpp"
#include "proto/writer.hpp"

namespace {

using headgate::proto::Bytes;
using headgate::proto::Cursor;
using headgate::proto::VectorOut;
using headgate::proto::Writer;

const hg_host* g_host = nullptr;

struct Body {
  std::int64_t lane = 0, n = 0, fd = -1;
  bool alone = false, lease = false;
  std::string text;
};
Body read_body(const hg_call* call) {
  Body b;
  Cursor c(Bytes{call->body.data, static_cast<std::size_t>(call->body.size)});
  const std::uint32_t n = c.read_map();
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::string_view key = c.read_str();
    if (key == "lane")
      b.lane = c.read_int();
    else if (key == "n")
      b.n = c.read_int();
    else if (key == "fd")
      b.fd = c.read_int();
    else if (key == "alone")
      b.alone = c.read_bool();
    else if (key == "lease")
      b.lease = c.read_bool();
    else if (key == "text")
      b.text = c.read_str();
    else
      c.skip();
  }
  return b;
}
std::string_view verb_of(const hg_call* c) {
  return {reinterpret_cast<const char*>(c->verb.data), static_cast<std::size_t>(c->verb.size)};
}

void put(hg_op op, Bytes bytes) {
  std::uint8_t* p = nullptr;
  std::uint64_t room = 0;
  if (g_host->reserve(g_host, op, bytes.size(), &p, &room) != HG_GO) return;
  std::memcpy(p, bytes.data(), bytes.size());
  g_host->commit(g_host, op, bytes.size());
}
void finish(hg_op op, std::uint32_t flags = 0, std::int32_t lease = HG_LEASE_NONE,
            std::int32_t connection = HG_CONN_CLEAN) {
  hg_done d{};
  d.size = sizeof d;
  d.flags = flags;
  d.lease = lease;
  d.connection = connection;
  g_host->complete(g_host, op, &d);
}
void fail(hg_op op, int code, int outcome, const char* message) {
  hg_error e{};
  e.size = sizeof e;
  e.code = code;
  e.outcome = outcome;
  std::strncpy(e.message, message, sizeof e.message);
  hg_done d{};
  d.size = sizeof d;
  d.error = &e;
  g_host->complete(g_host, op, &d);
}
void reply_int(hg_op op, std::int64_t v, std::uint32_t flags = 0) {
  VectorOut out;
  Writer w(&out);
  w.sint(v);
  put(op, out.view());
  finish(op, flags);
}

struct Driver {
  std::uint64_t id = 0;
  std::int64_t idle_fd = -1, open_ms = 0;
  std::string fail_file;
};

struct Connection {
  Driver* driver = nullptr;
  hg_conn_id id = 0;
  std::uint32_t lane = 0;
  std::mutex mutex;
  std::condition_variable changed;
  std::set<hg_op> cancelled;
  hg_op last_op = 0;
  int bell = -1;  // event lane: rung by cancel and by the helper thread
  std::vector<hg_op> waiting;
  struct Streaming {
    std::int64_t left;
    std::int64_t size;
  };
  std::map<hg_op, Streaming> streams;
  std::map<hg_op, std::int64_t> uploads;
  std::vector<std::thread> helpers;
};
Connection* conn(hg_connection* c) { return reinterpret_cast<Connection*>(c); }
Driver* drv(hg_driver* d) { return reinterpret_cast<Driver*>(d); }

// ---- the behaviours
// ------------------------------------------------------------------------------

void describe_call(const hg_call* c) {
  VectorOut out;
  Writer w(&out);
  w.map(10);
  const auto str = [&](const char* k, hg_bytes b) {
    w.str(k);
    w.str({reinterpret_cast<const char*>(b.data), static_cast<std::size_t>(b.size)});
  };
  const auto num = [&](const char* k, std::uint64_t v) {
    w.str(k);
    w.uint(v);
  };
  str("service", c->service);
  str("key", c->key);
  str("receipt", c->receipt);
  num("flags", c->flags);
  num("tag", c->tag);
  num("lease", c->lease);
  num("deadline_us", c->deadline_us);
  num("work_until_us", c->work_until_us);
  num("attempt", c->attempt);
  num("access", c->access);
  put(c->op, out.view());
  finish(c->op);
}

void bad_done(hg_op op, std::int64_t n) {
  hg_done d{};
  d.size = sizeof d;
  static const std::uint8_t junk[] = {0xc1, 0xff, 0xdd, 0xff, 0xff, 0xff, 0xff};
  static const std::uint8_t receipt[200] = {};
  hg_error e{};
  e.size = sizeof e;
  switch (n) {
    case 0:
      d.size = 4;
      break;
    case 1:
      d.connection = 77;
      break;
    case 2:
      d.lease = -3;
      break;
    case 3:
      d.warnings = {junk, sizeof junk};
      break;
    case 4:
      d.receipt = {receipt, sizeof receipt};
      break;
    case 5:
      e.code = 99;
      d.error = &e;
      break;
    case 6:  // a message without an end, cut in the middle of a character, and details that lie
      e.code = HG_STORE_ERROR;
      e.outcome = HG_REJECTED;
      for (std::size_t i = 0; i < sizeof e.message; ++i)
        e.message[i] = (i % 2) == 0 ? '\xc3' : '\xa9';
      e.message[0] = 'x';
      for (std::size_t i = 1; i < sizeof e.message; ++i)
        e.message[i] = (i % 2) == 1 ? '\xc3' : '\xa9';
      std::memset(e.sqlstate, '9', sizeof e.sqlstate);
      e.detail = {junk, sizeof junk};
      d.error = &e;
      break;
    default:
      g_host->complete(g_host, op, nullptr);
      return;
  }
  g_host->complete(g_host, op, &d);
}

void stream_blocking(const hg_call* c, const Body& b) {
  const std::vector<std::uint8_t> row(static_cast<std::size_t>(b.fd > 0 ? b.fd : 8), 0x01);
  std::int64_t sent = 0;
  for (; sent < b.n; ++sent) {
    put(c->op, row);
    if (g_host->flush_part(g_host, c->op) == HG_STOP)
      return fail(c->op, HG_CANCELLED, HG_ROLLED_BACK, "stopped");
  }
  reply_int(c->op, sent);
}

void upload_blocking(const hg_call* c) {
  std::int64_t total = 0;
  for (;;) {
    hg_bytes piece{};
    switch (g_host->take(g_host, c->op, &piece)) {
      case HG_TAKE_DATA:
        for (std::uint64_t i = 0; i < piece.size; ++i) total += piece.data[i];
        break;
      case HG_TAKE_END:
        return reply_int(c->op, total);
      default:
        return fail(c->op, HG_CANCELLED, HG_ROLLED_BACK, "aborted");
    }
  }
}

void wait_blocking(Connection* k, const hg_call* c) {
  std::unique_lock lock(k->mutex);
  const auto cancelled = [&] { return k->cancelled.erase(c->op) > 0; };
  if (k->changed.wait_for(lock, std::chrono::seconds(30), cancelled)) {
    lock.unlock();
    fail(c->op, HG_CANCELLED, HG_ROLLED_BACK, "cancelled");
  } else {
    lock.unlock();
    finish(c->op);
  }
}

// True: handled on both kinds of lane.
bool common(Connection* k, const hg_call* c, const Body& b, std::uint32_t i, std::uint32_t n) {
  const bool first = i == 0, last = i + 1 == n;
  const std::string_view v = verb_of(c);
  const hg_op op = c->op;
  if (v == "echo") {
    put(op, {c->body.data, static_cast<std::size_t>(c->body.size)});
    finish(op);
  } else if (v == "echo_more") {
    put(op, {c->body.data, static_cast<std::size_t>(c->body.size)});
    finish(op, last ? 0u : static_cast<std::uint32_t>(HG_DONE_MORE));
  } else if (v == "batch_size") {
    reply_int(op, n, last ? 0u : static_cast<std::uint32_t>(HG_DONE_MORE));
  } else if (v == "sync") {  // what the calls of a batch share
    if (first) std::this_thread::sleep_for(std::chrono::milliseconds(b.n));
    reply_int(op, n, last ? 0u : static_cast<std::uint32_t>(HG_DONE_MORE));
  } else if (v == "call") {
    describe_call(c);
  } else if (v == "fill") {
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(b.n), 0x07);
    std::uint8_t* p = nullptr;
    std::uint64_t room = 0;
    const int got = g_host->reserve(g_host, op, bytes.size(), &p, &room);
    if (got == HG_FULL)
      fail(op, HG_TOO_LARGE, HG_REJECTED, "full");
    else if (got == HG_STOP)
      fail(op, HG_CANCELLED, HG_ROLLED_BACK, "stop");
    else {
      std::memcpy(p, bytes.data(), bytes.size());
      g_host->commit(g_host, op, bytes.size());
      finish(op);
    }
  } else if (v == "twice") {
    reply_int(op, 1);
    reply_int(op, 2);
  } else if (v == "never") {
  } else if (v == "throw") {
    throw std::runtime_error("thrown by the probe");
  } else if (v == "throw_int") {
    throw 42;
  } else if (v == "bad_done") {
    bad_done(op, b.n);
  } else if (v == "overrun") {
    std::uint8_t* p = nullptr;
    std::uint64_t room = 0;
    g_host->reserve(g_host, op, 4, &p, &room);
    p[room] = 0xee;
    g_host->commit(g_host, op, 4);
    finish(op);
  } else if (v == "overcommit") {
    std::uint8_t* p = nullptr;
    std::uint64_t room = 0;
    g_host->reserve(g_host, op, 4, &p, &room);
    g_host->commit(g_host, op, room + 1);
    finish(op);
  } else if (v == "bad_patch") {
    put(op, Bytes{c->body.data, 1});
    const std::uint8_t x = 1;
    g_host->patch(g_host, op, UINT64_MAX, &x, 1);
    finish(op);
  } else if (v == "patch_rewind") {
    put(op, {c->body.data, static_cast<std::size_t>(c->body.size)});
    g_host->rewind(g_host, op);
    const std::uint8_t two[] = {0x01, 0x02}, three = 0x03;
    put(op, two);
    if (g_host->written(g_host, op) != 2)
      return fail(op, HG_INTERNAL, HG_REJECTED, "written"), true;
    g_host->patch(g_host, op, 1, &three, 1);
    finish(op);
  } else if (v == "stale") {
    // The number of an operation that ended, and numbers that never were.
    for (const hg_op old :
         {k->last_op, hg_op{0}, hg_op{1} << 40 | 1, ~hg_op{0}, op + (hg_op{1} << 24)}) {
      if (old == op) continue;
      std::uint8_t* p = nullptr;
      std::uint64_t room = 0;
      hg_bytes piece{};
      g_host->reserve(g_host, old, 8, &p, &room);
      g_host->commit(g_host, old, 8);
      g_host->rewind(g_host, old);
      g_host->flush_part(g_host, old);
      g_host->take(g_host, old, &piece);
      finish(old);
    }
    finish(op);
  } else if (v == "lease") {
    finish(op, 0, HG_LEASE_OPEN);
  } else if (v == "dirty") {
    finish(op, 0, HG_LEASE_NONE, HG_CONN_NEEDS_RESET);
  } else if (v == "broken") {
    finish(op, 0, HG_LEASE_NONE, HG_CONN_BROKEN);
  } else if (v == "wake") {
    g_host->wake(g_host, k->driver->id, static_cast<std::uint64_t>(b.n));
    finish(op);
  } else if (v == "say") {
    g_host->log(g_host, k->driver->id, HG_LOG_WARN,
                {reinterpret_cast<const std::uint8_t*>(b.text.data()), b.text.size()});
    finish(op);
  } else {
    return false;
  }
  k->last_op = op;
  return true;
}

void submit_blocking(Connection* k, const hg_call* c, const Body& b) {
  const std::string_view v = verb_of(c);
  if (v == "stream")
    stream_blocking(c, b);
  else if (v == "upload")
    upload_blocking(c);
  else if (v == "wait")
    wait_blocking(k, c);
  else if (v == "sleep") {
    std::this_thread::sleep_for(std::chrono::milliseconds(b.n));
    finish(c->op);
  } else if (v == "deaf") {  // until the test writes to the pipe
    char byte = 0;
    [[maybe_unused]] const auto got = ::read(static_cast<int>(b.fd), &byte, 1);
    put(c->op, {c->body.data, static_cast<std::size_t>(c->body.size)});
    finish(c->op);
  } else {
    fail(c->op, HG_UNSUPPORTED, HG_REJECTED, "no such verb");
  }
}

// ---- the event lane
// ------------------------------------------------------------------------------

void pump(Connection* k, hg_op op) {
  auto& s = k->streams.at(op);
  while (s.left > 0) {
    --s.left;
    put(op, std::vector<std::uint8_t>(static_cast<std::size_t>(s.size), 0x02));
    const int r = g_host->flush_part(g_host, op);
    if (r == HG_WAIT) return;
    if (r == HG_STOP) {
      k->streams.erase(op);
      return fail(op, HG_CANCELLED, HG_ROLLED_BACK, "stopped");
    }
  }
  k->streams.erase(op);
  finish(op);
}
void drink(Connection* k, hg_op op) {
  for (;;) {
    hg_bytes piece{};
    switch (g_host->take(g_host, op, &piece)) {
      case HG_TAKE_DATA:
        for (std::uint64_t i = 0; i < piece.size; ++i) k->uploads[op] += piece.data[i];
        break;
      case HG_TAKE_NOTHING:
        return;
      case HG_TAKE_END: {
        const std::int64_t total = k->uploads[op];
        k->uploads.erase(op);
        return reply_int(op, total);
      }
      default:
        k->uploads.erase(op);
        return fail(op, HG_CANCELLED, HG_ROLLED_BACK, "aborted");
    }
  }
}
void submit_event(Connection* k, const hg_call* c, const Body& b) {
  const std::string_view v = verb_of(c);
  if (v == "wait") {
    k->waiting.push_back(c->op);
  } else if (v == "stream") {
    k->streams[c->op] = {b.n, b.fd > 0 ? b.fd : 8};
    pump(k, c->op);
  } else if (v == "stream_rude") {  // goes on after it was told to wait
    for (std::int64_t i = 0; i < b.n; ++i) {
      put(c->op, Bytes{c->body.data, 1});
      g_host->flush_part(g_host, c->op);
    }
    finish(c->op);
  } else if (v == "upload") {
    k->uploads[c->op] = 0;
    drink(k, c->op);
  } else if (v == "thread") {
    k->helpers.emplace_back([op = c->op] { reply_int(op, 7); });
  } else if (v == "die") {
    finish(c->op);
    hg_error e{};
    e.size = sizeof e;
    e.code = HG_UNAVAILABLE;
    std::strcpy(e.message, "the server hung up");
    g_host->lost(g_host, k->id, &e);
  } else {
    fail(c->op, HG_UNSUPPORTED, HG_REJECTED, "no such verb");
  }
}

// ---- the table
// -----------------------------------------------------------------------------------

hg_bytes describe() {
  static const std::vector<std::uint8_t> map = [] {
    VectorOut out;
    Writer w(&out);
    const char* verbs[] = {"echo",    "echo_more",   "batch_size", "call",         "fill",
                           "twice",   "never",       "throw",      "throw_int",    "bad_done",
                           "overrun", "overcommit",  "bad_patch",  "patch_rewind", "stale",
                           "lease",   "dirty",       "broken",     "wake",         "say",
                           "stream",  "stream_rude", "upload",     "wait",         "sleep",
                           "deaf",    "thread",      "die",        "touch",        "sync"};
    w.map(7);
    w.str("name");
    w.str("probe");
    w.str("version");
    w.str("1.0");
    w.str("product");
    w.str("none");
    w.str("endpoints");
    w.boolean(false);
    w.str("kinds");
    w.array(1);
    w.map(3);
    w.str("kind");
    w.str("key_value");
    w.str("verbs");
    w.map(std::size(verbs));
    for (const char* v : verbs) {
      w.str(v);
      w.map(1);
      w.str("access");
      w.str("write");
    }
    w.str("limits");
    w.map(1);
    w.str("key_max");
    w.uint(1024);
    w.str("lanes");
    w.array(3);
    const auto lane = [&](const char* n, const char* model, unsigned inflight, const char* per,
                          bool lease) {
      w.map(8);
      w.str("name");
      w.str(n);
      w.str("model");
      w.str(model);
      w.str("connections_max");
      w.uint(8);
      w.str("per");
      w.str(per);
      w.str("max_inflight");
      w.uint(inflight);
      w.str("max_batch");
      w.uint(inflight);
      w.str("lease");
      w.boolean(lease);
      w.str("cancel");
      w.str("operation");
    };
    lane("write", "blocking", 64, "store", true);
    lane("read", "blocking", 1, "pool", false);
    lane("loop", "event", 64, "pool", false);
    w.str("options");
    w.map(4);
    w.str("idle_fd");
    w.map(2);
    w.str("type");
    w.str("int");
    w.str("default");
    w.sint(-1);
    w.str("open_ms");
    w.map(4);
    w.str("type");
    w.str("duration_ms");
    w.str("default");
    w.uint(0);
    w.str("min");
    w.uint(0);
    w.str("max");
    w.uint(10'000);
    w.str("fail_file");
    w.map(1);
    w.str("type");
    w.str("str");
    w.str("mode");
    w.map(1);
    w.str("type");
    w.str("str");
    const Bytes b = out.view();
    return std::vector<std::uint8_t>(b.begin(), b.end());
  }();
  return {map.data(), map.size()};
}

std::int32_t driver_open(const hg_driver_config* config, hg_driver** out, hg_error* error) {
  auto d = std::make_unique<Driver>();
  d->id = config->driver_id;
  Cursor c(Bytes{config->options.data, static_cast<std::size_t>(config->options.size)});
  const std::uint32_t n = c.read_map();
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::string_view key = c.read_str();
    if (key == "idle_fd")
      d->idle_fd = c.read_int();
    else if (key == "open_ms")
      d->open_ms = c.read_int();
    else if (key == "fail_file")
      d->fail_file = c.read_str();
    else
      c.skip();
  }
  if (!d->fail_file.empty() && ::access(d->fail_file.c_str(), F_OK) == 0) {
    error->size = sizeof *error;
    error->code = HG_UNAVAILABLE;
    error->retry = HG_RETRY_BACKOFF;
    std::strcpy(error->message, "fail_file is there");
    return -1;
  }
  *out = reinterpret_cast<hg_driver*>(d.release());
  return 0;
}
void driver_close(hg_driver* d) { delete drv(d); }

std::int32_t driver_route(hg_driver*, const hg_call* call, hg_touches* touches, hg_route* r,
                          hg_error* error) {
  const Body b = read_body(call);
  if (verb_of(call) == "route_error") {
    error->size = sizeof *error;
    error->code = HG_INVALID;
    error->outcome = HG_APPLIED;  // a lie: routing does nothing
    std::strcpy(error->message, "no such verb");
    return -1;
  }
  if (verb_of(call) == "route_throw") throw std::bad_alloc();
  if (!b.text.empty())
    g_host->touch(g_host, touches, call->verb, HG_TOUCH_KEY,
                  {reinterpret_cast<const std::uint8_t*>(b.text.data()), b.text.size()});
  r->size = sizeof *r;
  r->lane = static_cast<std::uint32_t>(b.lane);
  r->lease = b.lease ? 1 : 0;
  r->alone = b.alone ? 1 : 0;
  r->tag = 0x7a67;
  return 0;
}

std::int32_t conn_open(hg_driver* d, const hg_connect* connect, hg_connection** out,
                       std::int32_t* fd, hg_error* error) {
  std::this_thread::sleep_for(std::chrono::milliseconds(drv(d)->open_ms));
  const std::string_view password{reinterpret_cast<const char*>(connect->password.data),
                                  static_cast<std::size_t>(connect->password.size)};
  if (password == "wrong") {
    error->size = sizeof *error;
    error->code = HG_UNAVAILABLE;
    std::strcpy(error->message, "login refused");
    return -1;
  }
  auto* k = new Connection;
  k->driver = drv(d);
  k->id = connect->id;
  k->lane = connect->lane;
  if (k->lane == 2) k->bell = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  *fd = static_cast<std::int32_t>(drv(d)->idle_fd);
  *out = reinterpret_cast<hg_connection*>(k);
  return 0;
}
void conn_attach(hg_connection* c) {
  if (conn(c)->lane == 2) g_host->watch(g_host, conn(c)->id, conn(c)->bell, HG_IO_READ);
}
void conn_submit(hg_connection* c, const hg_call* const* calls, std::uint32_t n) {
  Connection* k = conn(c);
  for (std::uint32_t i = 0; i < n; ++i) {
    const Body b = read_body(calls[i]);
    if (common(k, calls[i], b, i, n)) continue;
    if (k->lane == 2)
      submit_event(k, calls[i], b);
    else
      submit_blocking(k, calls[i], b);
  }
}
void conn_io(hg_connection* c, std::uint32_t) {
  Connection* k = conn(c);
  std::uint64_t n = 0;
  [[maybe_unused]] const auto got = ::read(k->bell, &n, sizeof n);
  std::vector<hg_op> due;
  {
    std::lock_guard lock(k->mutex);
    for (const hg_op op : k->waiting)
      if (k->cancelled.erase(op) > 0) due.push_back(op);
    for (const hg_op op : due) std::erase(k->waiting, op);
    k->cancelled.clear();
  }
  for (const hg_op op : due) fail(op, HG_CANCELLED, HG_ROLLED_BACK, "cancelled");
}
void conn_resume(hg_connection* c, hg_op op) {
  Connection* k = conn(c);
  if (k->streams.contains(op))
    pump(k, op);
  else if (k->uploads.contains(op))
    drink(k, op);
}
void conn_cancel(hg_connection* c, hg_op op) {
  Connection* k = conn(c);
  {
    std::lock_guard lock(k->mutex);
    k->cancelled.insert(op);
  }
  k->changed.notify_all();
  const std::uint64_t one = 1;
  if (k->bell >= 0) [[maybe_unused]]
    const auto n = ::write(k->bell, &one, sizeof one);
}
void conn_reset(hg_connection*, hg_op op) { finish(op); }
void conn_ping(hg_connection*, hg_op op) { finish(op); }
void conn_close(hg_connection* c) {
  Connection* k = conn(c);
  for (std::thread& t : k->helpers) t.join();
  for (const hg_op op : k->waiting) fail(op, HG_UNAVAILABLE, HG_UNKNOWN, "closed");
  for (const auto& [op, s] : k->streams) fail(op, HG_UNAVAILABLE, HG_UNKNOWN, "closed");
  for (const auto& [op, s] : k->uploads) fail(op, HG_UNAVAILABLE, HG_UNKNOWN, "closed");
  if (k->bell >= 0) ::close(k->bell);
  delete k;
}

}  // namespace

extern "C" HG_EXPORT const hg_plugin* hg_plugin_v0(const hg_host* host, hg_error*) {
  g_host = host;
  static hg_plugin p{};
  p.size = sizeof p;
  p.abi_version = HG_ABI_VERSION;
  p.name = "probe";
  p.version = "1.0";
  p.describe = describe;
  p.driver_open = driver_open;
  p.driver_close = driver_close;
  p.driver_route = driver_route;
  p.conn_open = conn_open;
  p.conn_attach = conn_attach;
  p.conn_submit = conn_submit;
  p.conn_io = conn_io;
  p.conn_resume = conn_resume;
  p.conn_cancel = conn_cancel;
  p.conn_reset = conn_reset;
  p.conn_ping = conn_ping;
  p.conn_close = conn_close;
  return &p;
}
