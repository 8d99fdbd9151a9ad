#include "daemon/access/credentials.hpp"

#include <algorithm>

namespace headgate::access {

Credentials::One* Credentials::at(std::uint32_t index) const {
  const std::lock_guard lock(mutex_);
  return index < all_.size() ? all_[index].get() : nullptr;
}

std::uint32_t Credentials::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::uint32_t>(all_.size());
}

std::string Credentials::name(std::uint32_t index) const {
  One* one = at(index);
  if (one == nullptr) return {};
  const std::lock_guard lock(one->mutex);
  return one->input.name;
}

std::uint32_t Credentials::put(CredentialInput input, bool* changed) {
  *changed = false;
  const std::lock_guard list(mutex_);
  for (std::uint32_t i = 0; i < all_.size(); ++i) {
    One& one = *all_[i];
    const std::lock_guard lock(one.mutex);
    if (one.input.name != input.name) continue;
    *changed = one.input.account != input.account || one.input.source != input.source;
    if (*changed) {
      one.password.forget();
      one.known = one.failed = false;
      one.reading.stamp.clear();
    }
    one.input = std::move(input);
    return i;
  }
  all_.push_back(std::make_unique<One>());
  all_.back()->input = std::move(input);
  return static_cast<std::uint32_t>(all_.size() - 1);
}

// What went wrong, or "". REQUIRES: one.mutex is held.
std::string Credentials::read(One& one, bool* changed) {
  *changed = false;
  if (one.input.source.empty()) return {};
  if (one.input.stamp) one.reading.taken(one.input.stamp());
  auto secret = one.input.read();
  if (!secret) {
    one.failed = true;
    return "password of credential `" + one.input.name + "`, " + one.input.source + ": " +
           secret.error();
  }
  if (one.known && one.input.stamp && one.input.stamp() != one.reading.stamp) {
    one.failed = true;
    return "password of credential `" + one.input.name + "`, " + one.input.source +
           ": was written while it was read";
  }
  // One that could not be read before is new to whoever waits for it.
  *changed = one.known ? !one.password.same_as(*secret) : one.failed;
  one.password = std::move(*secret);
  one.known = true;
  one.failed = false;
  return {};
}

tl::expected<Credentials::Login, std::string> Credentials::login(std::uint32_t index, bool fresh) {
  One* one = at(index);
  if (one == nullptr) return tl::make_unexpected(std::string("there is no such credential"));
  const std::lock_guard lock(one->mutex);
  bool changed = false;
  if (fresh || !one->known) {
    if (std::string wrong = read(*one, &changed); !wrong.empty()) {
      return tl::make_unexpected(std::move(wrong));
    }
  }
  return Login{one->input.name, one->input.account, one->password.copy()};
}

bool Reading::settled(std::string now, bool* unsettled) {
  const bool stays = now == seen;
  seen = std::move(now);
  if (seen == stamp) return false;
  if (!stays) *unsettled = true;
  return stays;
}

Credentials::Renewed Credentials::look() {
  Renewed out;
  for (std::uint32_t i = 0; i < size(); ++i) {
    One& one = *at(i);
    const std::lock_guard lock(one.mutex);
    if (!one.input.stamp || one.reading.stamp.empty()) continue;  // not read yet: it will be
    if (!one.reading.settled(one.input.stamp(), &out.unsettled)) continue;
    bool changed = false;
    if (std::string wrong = read(one, &changed); !wrong.empty()) {
      out.unreadable.push_back(std::move(wrong));
    }
    if (changed) out.changed.push_back(i);
  }
  return out;
}

Credentials::Renewed Credentials::renew() {
  Renewed out;
  for (std::uint32_t i = 0; i < size(); ++i) {
    One& one = *at(i);
    const std::lock_guard lock(one.mutex);
    bool changed = false;
    if (std::string wrong = read(one, &changed); !wrong.empty()) {
      out.unreadable.push_back(std::move(wrong));
    }
    if (changed) out.changed.push_back(i);
  }
  return out;
}

}  // namespace headgate::access
