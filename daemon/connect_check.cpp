#include "daemon/connect_check.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>

#include "daemon/gateway.hpp"

namespace headgate {
namespace {

// Beyond connect_timeout: for a plugin that does not keep to it.
constexpr Micros kGrace = std::chrono::seconds(2);

std::string_view name(Access a) { return a == Access::read ? "read" : "write"; }

// Which (account, access) the pools of a store would log in with.
std::set<std::pair<std::size_t, Access>> used(const config::Config& config,
                                              const config::Store& store,
                                              const plugin::Description& d, std::size_t kind) {
  std::map<std::string, bool> writes;  // by service
  for (const config::Grant& g : config.grants) {
    if (g.store != store.name) continue;
    bool& w = writes[g.service];
    w = w || (g.access && *g.access != Access::read);
    for (const std::string& v : g.verbs) {
      const plugin::Verb* verb = d.verb(kind, v);
      w = w || (verb != nullptr && verb->access != Access::read);
    }
  }
  std::set<std::pair<std::size_t, Access>> out;
  for (const auto& [service, w] : writes) {
    const Access access = w ? Access::write : Access::read;
    out.emplace(config::account_of(config, store, service, access), access);
  }
  if (out.empty()) out.emplace(0, Access::write);
  return out;
}

// All logins of one store.
class Probe final : public plugin::LinkEvents, public Timer {
 public:
  Probe(const config::Config& config, const config::Store& from, plugin::Host& host, UvLoop& loop)
      : config_(config), from_(from), host_(host), loop_(loop), logins_(from.name) {}

  // False: a login failed, or the store cannot be opened.
  bool run(plugin::Libraries& libraries) {
    auto library = libraries.load({config_.daemon.plugin_dir, from_.plugin, ""});
    if (!library) return say(library.error().message);
    if (std::string why; !logins_.set_tls(from_.tls, &why)) return say("not tried: " + why);
    auto made = plugin::PluginStore::make(host_, *library, settings());
    if (!made) return say(made.error().message);
    store_ = std::move(*made);
    if (auto opened = store_->open_driver_now(); !opened) return say(opened.error().message);
    store_->set_events(this);
    const auto lane = std::find_if(store_->lanes().begin(), store_->lanes().end(),
                                   [](const plugin::LaneInfo& l) { return l.lease; });
    const auto lane_index = static_cast<std::uint32_t>(
        lane == store_->lanes().end() ? 0 : lane - store_->lanes().begin());
    for (const auto& [account, access] :
         used(config_, from_, (*library)->description(), store_->kind())) {
      add(account, access, lane_index);
    }
    loop_.refresh();
    const Deadline deadline = loop_.now() + from_.pool.connect_timeout;
    loop_.arm(*this, deadline + kGrace);
    for (plugin::OpenRequest& r : requests_) {
      r.deadline = deadline;
      store_->open(r);
    }
    open_ = requests_.size();
    loop_.run();
    loop_.disarm(*this);
    tell();
    store_->set_events(nullptr);
    if (late_) return false;
    links_.clear();
    store_.reset();
    return good_;
  }
  // A connect thread hangs in the plugin (in a resolver, say) and still holds what is ours.
  [[nodiscard]] bool late() const { return late_; }

 private:
  plugin::StoreSettings settings() {
    for (const config::Account& a : config::accounts(config_, from_)) {
      bool changed = false;
      (void)logins_.put(a, &changed);
    }
    plugin::StoreSettings s = store_settings(config_, from_);
    s.inspect = true;
    if (!from_.endpoints.empty()) {
      s.login = [this](const plugin::OpenRequest& r) { return logins_.login_or_why(r); };
    }
    return s;
  }

  void add(std::size_t account, Access access, std::uint32_t lane) {
    const auto primaries = static_cast<std::int32_t>(from_.endpoints.size());
    const auto reads = static_cast<std::int32_t>(from_.read_endpoints.size());
    const bool apart = access == Access::read && reads > 0;
    const std::int32_t first = apart ? primaries : 0;
    const std::int32_t last = apart ? primaries + reads : std::max(primaries, 1);
    for (std::int32_t at = first; at < last; ++at) {
      plugin::OpenRequest r;
      r.ticket = requests_.size();
      r.lane = lane;
      r.access = access;
      r.credential = static_cast<std::uint32_t>(account);
      r.endpoint = at;
      requests_.push_back(r);
    }
    links_.resize(requests_.size());
    results_.resize(requests_.size());
  }

  bool say(const std::string& why) {
    std::fprintf(stderr, "%s: stores.%s: %s\n", from_.place.text().c_str(), from_.name.c_str(),
                 why.c_str());
    return false;
  }

  void opened(plugin::Ticket t, std::unique_ptr<plugin::Link> link) override {
    results_[t].done = true;
    links_[t] = std::move(link);
    links_[t]->close();
  }
  void open_failed(plugin::Ticket t, const Fault& why) override {
    const bool login = why.code == Code::unauthenticated || why.sqlstate.starts_with("28");
    results_[t] = {true, why.retry == Retry::other_endpoint, login, why.message};
    end_one();
  }
  void closed(plugin::Ticket) override { end_one(); }
  void completed(plugin::Operation&) override {}
  void part(plugin::Operation&, std::uint64_t, ReplyBuffer) override {}
  void upload_credit(plugin::Operation&, std::uint64_t) override {}
  void cancel_returned(plugin::Ticket) override {}
  void lost(plugin::Ticket, const Fault&) override {}
  void wake(std::uint64_t) override {}
  void end_one() {
    if (--open_ == 0) loop_.stop();
  }
  void fire() override {
    late_ = true;
    loop_.stop();
  }

  // The line to look at first: the password's or the account's, else the endpoint's.
  config::Place place_of(const plugin::OpenRequest& r) const {
    const auto all = config::accounts(config_, from_);
    if (results_[r.ticket].login && r.credential < all.size()) {
      const config::Account& a = all[r.credential];
      return a.password.from == config::SecretSource::From::none ? a.place : a.password.place;
    }
    const auto at = static_cast<std::size_t>(r.endpoint);
    const bool reads = at >= from_.endpoints.size();
    const auto found =
        config_.set_at.find(config::endpoint_key(from_.name, reads ? "read_endpoints" : "endpoints",
                                                 reads ? at - from_.endpoints.size() : at));
    return found == config_.set_at.end() ? from_.place : found->second;
  }

  void tell() {
    std::set<std::pair<std::uint32_t, Access>> served;  // that one endpoint at least took
    for (const plugin::OpenRequest& r : requests_) {
      const Result& result = results_[r.ticket];
      if (result.done && result.why.empty()) served.emplace(r.credential, r.access);
    }
    for (const plugin::OpenRequest& r : requests_) {
      Result& result = results_[r.ticket];
      if (!result.done) result.why = "no answer within connect_timeout";
      const auto at = static_cast<std::size_t>(r.endpoint);
      const std::string endpoint = at < from_.endpoints.size() ? from_.endpoints[at]
                                   : at < from_.endpoints.size() + from_.read_endpoints.size()
                                       ? from_.read_endpoints[at - from_.endpoints.size()]
                                       : "";
      std::string what = "store " + from_.name;
      if (!endpoint.empty()) {
        what += ", credential " + logins_.credentials.name(r.credential) + " (" +
                std::string(name(r.access)) + "), " + endpoint;
      }
      if (result.why.empty()) {
        std::printf("%s: connected\n", what.c_str());
      } else if (result.wrong_role && served.count({r.credential, r.access}) > 0) {
        std::printf("%s: no primary now: %s\n", what.c_str(), result.why.c_str());
      } else {
        good_ = false;
        std::fprintf(stderr, "%s: %s: %s\n", place_of(r).text().c_str(), what.c_str(),
                     result.why.c_str());
      }
    }
    std::fflush(stdout);
  }

  struct Result {
    bool done = false;
    bool wrong_role = false;
    bool login = false;  // account or password
    std::string why;
  };
  const config::Config& config_;
  const config::Store& from_;
  plugin::Host& host_;
  UvLoop& loop_;
  Logins logins_;
  std::unique_ptr<plugin::PluginStore> store_;
  std::vector<plugin::OpenRequest> requests_;
  std::vector<std::unique_ptr<plugin::Link>> links_;
  std::vector<Result> results_;
  std::size_t open_ = 0;
  bool good_ = true;
  bool late_ = false;
};

}  // namespace

void CheckLog::write(Level level, std::string_view event, Fields fields) {
  if (event != "plugin") return;
  std::string store;
  std::string text;
  for (const LogField& f : fields) {
    if (f.key == "store") store = f.text;
    if (f.key == "message" || f.key == "why") text = f.text;
  }
  std::fprintf(stderr, "%s: store %s: %s\n", level == Level::warn ? "warning" : "error",
               store.c_str(), text.c_str());
}

int check_connections(const config::Config& config, plugin::Host& host,
                      plugin::Libraries& libraries, UvLoop& loop) {
  bool good = true;
  bool late = false;
  for (const config::Store& s : config.stores) {
    auto probe = std::make_unique<Probe>(config, s, host, loop);
    good = probe->run(libraries) && good;
    late = late || probe->late();
    if (probe->late()) (void)probe.release();
  }
  if (late) ::_exit(1);  // whatever hangs is not waited for
  return good ? 0 : 1;
}

}  // namespace headgate
