// Sinks, streams, uploads, completions, touches: the plugin's side of every operation.
#include "daemon/plugin/host_table.hpp"

#include <algorithm>
#include <cstring>

#include "daemon/plugin/event_lane.hpp"
#include "daemon/plugin/lane.hpp"
#include "daemon/plugin/store_core.hpp"

namespace headgate::plugin {

// Friend of Host: its functions are the table's.
struct HostTable {
  // Written behind what reserve() promised; a plugin that writes too far is caught at its next
  // call.
  static constexpr std::uint64_t kCanary = 0x9e3779b97f4a7c15;
  static constexpr std::uint64_t kCanarySize = sizeof kCanary;

  static Host& self(const hg_host* h) { return *static_cast<const Host::Table*>(h)->host; }

  static std::uint64_t now_us(const hg_host*) { return Host::now_us(); }

  static Slot* running(const hg_host* h, hg_op op) {
    Slot* s = self(h).operations_.running(op);
    if (s == nullptr) self(h).misdeed(Misdeed::stale_call, "", "an operation that does not run");
    return s;
  }

  static void misuse(Host& host, Slot& s, std::string_view what) {
    s.misused = true;
    host.misdeed(Misdeed::sink_misuse, "", what);
  }

  static bool intact(Slot& s) {
    if (s.room == 0) return true;
    std::uint64_t found = 0;
    std::memcpy(&found, s.sink.body() + s.sink.size() + s.room, kCanarySize);
    return found == kCanary;
  }

  static std::int32_t reserve(const hg_host* h, hg_op op, std::uint64_t n, std::uint8_t** out,
                              std::uint64_t* room) {
    Slot* s = running(h, op);
    if (s == nullptr || s->misused || s->stopped.load(std::memory_order_relaxed)) return HG_STOP;
    if (!intact(*s)) {
      misuse(self(h), *s, "wrote behind what it had reserved");
      return HG_STOP;
    }
    if (n > UINT64_MAX - kCanarySize) return HG_FULL;
    std::uint8_t* p = s->sink.reserve(n + kCanarySize);
    if (p == nullptr) return HG_FULL;
    s->room = s->sink.room() - kCanarySize;
    std::memcpy(p + s->room, &kCanary, kCanarySize);
    *out = p;
    *room = s->room;
    return HG_GO;
  }

  static void commit(const hg_host* h, hg_op op, std::uint64_t n) {
    Slot* s = running(h, op);
    if (s == nullptr || s->misused) return;
    if (n > s->room) return misuse(self(h), *s, "committed more than it had reserved");
    if (!intact(*s)) return misuse(self(h), *s, "wrote behind what it had reserved");
    s->sink.commit(n);
    s->room -= n;
  }

  static void patch(const hg_host* h, hg_op op, std::uint64_t offset, const std::uint8_t* bytes,
                    std::uint64_t n) {
    Slot* s = running(h, op);
    if (s == nullptr || s->misused || n == 0) return;
    if (offset > s->sink.size() || n > s->sink.size() - offset)
      return misuse(self(h), *s, "patched bytes that it had not committed");
    std::memcpy(s->sink.body() + offset, bytes, n);
  }

  static std::uint64_t written(const hg_host* h, hg_op op) {
    const Slot* s = running(h, op);
    return s == nullptr ? 0 : s->sink.size();
  }

  static void rewind(const hg_host* h, hg_op op) {
    Slot* s = running(h, op);
    if (s == nullptr || s->misused) return;
    s->sink.clear();
    s->room = 0;
  }

  static void notify(Host& host, Slot& s) {
    if (!s.in_inbox.exchange(true, std::memory_order_seq_cst)) host.inbox_.push(s);
  }

  static std::int32_t flush_part(const hg_host* h, hg_op op) {
    Slot* s = running(h, op);
    if (s == nullptr || s->misused) return HG_STOP;
    // The caller takes no parts: everything leaves with the reply.
    if (!s->streams) return s->stopped.load(std::memory_order_relaxed) ? HG_STOP : HG_GO;
    if (!intact(*s)) {
      misuse(self(h), *s, "wrote behind what it had reserved");
      return HG_STOP;
    }
    Stream& t = *s->stream;
    std::unique_lock lock(t.mutex);
    if (t.stopped) return HG_STOP;
    if (s->sink.size() == 0) return HG_GO;
    if (t.flushed > t.credit) {
      lock.unlock();
      misuse(self(h), *s, "flushed a part after it was told to wait");
      return HG_STOP;
    }
    ReplyBuffer part(s->reply_max + kCanarySize);
    part.swap(s->sink);
    s->room = 0;
    t.parts.push_back(std::move(part));
    ++t.flushed;
    notify(self(h), *s);
    if (t.flushed <= t.credit) return HG_GO;
    if (s->on_loop) {
      t.waiting = true;
      return HG_WAIT;
    }
    t.moved.wait(lock, [&] { return t.stopped || t.flushed <= t.credit; });
    return t.stopped ? HG_STOP : HG_GO;
  }

  static std::int32_t take(const hg_host* h, hg_op op, hg_bytes* out) {
    *out = {nullptr, 0};
    Slot* s = running(h, op);
    if (s == nullptr) return HG_TAKE_ABORTED;
    if (!s->uploads) return HG_TAKE_END;
    Stream& t = *s->stream;
    std::unique_lock lock(t.mutex);
    if (!s->on_loop) t.moved.wait(lock, [&] { return t.stopped || t.last || !t.pieces.empty(); });
    if (t.stopped) return HG_TAKE_ABORTED;
    t.current.clear();
    if (t.pieces.empty()) {
      if (t.last) return HG_TAKE_END;
      t.starved = true;
      return HG_TAKE_NOTHING;
    }
    t.current = std::move(t.pieces.front());
    t.pieces.pop_front();
    ++t.taken;
    notify(self(h), *s);  // the caller may send one more
    *out = {t.current.data(), t.current.size()};
    return HG_TAKE_DATA;
  }

  static void complete(const hg_host* h, hg_op op, const hg_done* d) {
    Host& host = self(h);
    Slot* s = host.operations_.find(op);
    if (s == nullptr || !s->move(op, Phase::running, Phase::done)) {
      const bool second = s != nullptr && s->is(op, Phase::done);
      host.misdeed(second ? Misdeed::second_completion : Misdeed::late_completion, "");
      return;
    }
    // From here on this thread owns the slot until `ready`.
    std::string bad;
    s->done = done_from(d, bad);
    if (!bad.empty()) host.misdeed(Misdeed::bad_done, "", bad);
    if (!s->misused && !intact(*s)) misuse(host, *s, "wrote behind what it had reserved");
    if (s->misused) {
      Done& done = s->done;
      done.fault.outcome = done.ok ? Outcome::applied : done.fault.outcome;
      done.fault.code = Code::internal;
      done.fault.message = "the plugin wrote its reply against the sink's rules";
      done.ok = done.keep_body = false;
      done.connection = ConnState::broken;
    }
    if (s->done.ok || s->done.keep_body) s->reply.swap(s->sink);
    if (s->done.connection == ConnState::broken && s->broke != nullptr)
      s->broke->store(true, std::memory_order_relaxed);
    const bool more = d != nullptr && d->size >= offsetof(hg_done, rows_affected) &&
                      (d->flags & HG_DONE_MORE) != 0;
    s->ready.store(true, std::memory_order_release);
    if (!s->in_inbox.exchange(true, std::memory_order_seq_cst))
      host.inbox_.push(*s, more);
    else if (!more)
      host.inbox_.wake();
  }

  static std::int32_t touch(const hg_host* h, hg_touches* t, hg_bytes verb, std::uint32_t kind,
                            hg_bytes name) {
    constexpr std::string_view kinds[] = {"table",     "collection", "key",
                                          "statement", "verb",       "keys under"};
    if (t == nullptr || t->call == nullptr || kind >= std::size(kinds)) {
      if (t != nullptr) t->denied = true;
      self(h).misdeed(Misdeed::stale_call, "", "touch");
      return 0;
    }
    const proto::Bytes named{name.data, static_cast<std::size_t>(name.size)};
    const std::string_view verb_name =
        proto::text_of({verb.data, static_cast<std::size_t>(verb.size)});
    if (t->call->permission != nullptr && t->call->permission->allows(verb_name, kind, named))
      return 1;
    if (!t->denied) {
      t->denied = true;
      const std::string_view text = proto::text_of(named);
      const bool readable = text.size() <= 128 && proto::valid_utf8(text);
      t->unknown = kind == HG_TOUCH_VERB && t->kind != nullptr && !t->kind->verbs.contains(text);
      t->what = (t->unknown ? "" : std::string(verb_name) + " on ") + std::string(kinds[kind]) +
                (readable ? " `" + std::string(text) + "`" : "");
    }
    return 0;
  }

  static EventLink* link(const hg_host* h, hg_conn_id id, std::string_view function) {
    Host& host = self(h);
    if (!host.inbox_.on_loop()) {
      host.misdeed(Misdeed::wrong_thread, "", function);
      return nullptr;
    }
    return host.link(id);
  }
  static void watch(const hg_host* h, hg_conn_id id, std::int32_t fd, std::uint32_t events) {
    if (EventLink* l = link(h, id, "watch")) l->watch_fd(fd, events);
  }
  static void timer(const hg_host* h, hg_conn_id id, std::uint64_t at_us) {
    if (EventLink* l = link(h, id, "timer")) l->set_timer(at_us);
  }
  static void lost(const hg_host* h, hg_conn_id id, const hg_error* error) {
    EventLink* l = link(h, id, "lost");
    if (l == nullptr) return;
    Fault f;
    f.code = Code::unavailable;
    f.message = "the connection was lost while idle";
    l->lost(error == nullptr ? f : fault_from(*error));
  }

  static void wake(const hg_host* h, std::uint64_t driver_id, std::uint64_t token) {
    Host::Wakes& w = self(h).wakes_;
    std::lock_guard lock(w.mutex);
    w.waiting.emplace_back(driver_id, token);
    if (w.pushed) return;
    w.pushed = true;
    self(h).inbox_.push(w);
  }

  static void log(const hg_host* h, std::uint64_t driver_id, std::int32_t level, hg_bytes message) {
    Host& host = self(h);
    const Level l = static_cast<Level>(std::clamp<std::int32_t>(level, HG_LOG_DEBUG, HG_LOG_ERROR));
    if (!host.log_.enabled(l)) return;
    std::string store;
    {
      std::lock_guard lock(host.stores_mutex_);
      const auto it = host.stores_.find(driver_id);
      if (it != host.stores_.end()) store = it->second->settings.name;
    }
    const proto::Bytes text{message.data, std::min<std::size_t>(message.size, 4096)};
    host.log_.event_at(l, "plugin", {{"store", store}, {"message", proto::text_of(text)}});
  }
};

void fill_host_table(hg_host& t) {
  t.size = sizeof(hg_host);
  t.abi_version = HG_ABI_VERSION;
  t.now_us = HostTable::now_us;
  t.reserve = HostTable::reserve;
  t.commit = HostTable::commit;
  t.patch = HostTable::patch;
  t.written = HostTable::written;
  t.rewind = HostTable::rewind;
  t.flush_part = HostTable::flush_part;
  t.take = HostTable::take;
  t.complete = HostTable::complete;
  t.touch = HostTable::touch;
  t.watch = HostTable::watch;
  t.timer = HostTable::timer;
  t.lost = HostTable::lost;
  t.wake = HostTable::wake;
  t.log = HostTable::log;
}

}  // namespace headgate::plugin
