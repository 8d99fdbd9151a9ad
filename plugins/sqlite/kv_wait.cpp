// See kv_wait.hpp.
#include "plugins/sqlite/kv_wait.hpp"

#include <algorithm>
#include <utility>

namespace headgate::sqlite {
namespace {

// FNV-1a, 64 bits.
constexpr std::uint64_t kBasis = 14695981039346656037ull;
constexpr std::uint64_t kPrime = 1099511628211ull;

}  // namespace

std::uint64_t Waiters::hash(Wanted what, proto::Bytes name) {
  std::uint64_t h = (kBasis ^ static_cast<std::uint64_t>(what)) * kPrime;
  for (const std::uint8_t b : name) h = (h ^ b) * kPrime;
  return h == 0 ? 1 : h;
}

std::uint64_t Waiters::note(const std::vector<std::uint64_t>& hashes, std::uint64_t since,
                            std::uint64_t now) {
  std::uint64_t token = hashes.empty() ? 1 : hashes[0];
  for (std::size_t i = 1; i < hashes.size(); ++i)
    for (int shift = 0; shift < 64; shift += 8)
      token = (token ^ (hashes[i] >> shift & 0xff)) * kPrime;
  if (token == 0) token = 1;
  const std::lock_guard lock(mutex_);
  if (notes_ + hashes.size() > kNotesMax) {
    tokens_.clear();
    notes_ = 0;
  }
  if (places_ + hashes.size() > kNotesMax) {
    lines_.clear();
    places_ = 0;
  }
  for (const std::uint64_t h : hashes) {
    if (since != 0)
      places_ += lines_[h].places.insert_or_assign(since, now + kForgetUs).second ? 1 : 0;
    std::vector<std::uint64_t>& of = tokens_[h];
    if (std::find(of.begin(), of.end(), token) != of.end()) continue;
    of.push_back(token);
    ++notes_;
  }
  return token;
}

bool Waiters::is_first(std::uint64_t hash, std::uint64_t since, std::uint64_t now) {
  const std::lock_guard lock(mutex_);
  const auto found = lines_.find(hash);
  if (found == lines_.end()) return true;
  auto& places = found->second.places;
  while (!places.empty() && places.begin()->second < now) {
    places.erase(places.begin());
    --places_;
  }
  const bool first = places.empty() || places.begin()->first >= since;
  if (!first) found->second.passed = true;
  return first;
}

void Waiters::leave(const std::vector<std::uint64_t>& hashes, std::uint64_t since) {
  const std::lock_guard lock(mutex_);
  for (const std::uint64_t h : hashes) {
    const auto found = lines_.find(h);
    if (found == lines_.end()) continue;
    places_ -= found->second.places.erase(since);
    if (found->second.places.empty()) lines_.erase(found);
  }
}

void Waiters::wake(std::uint64_t hash) {
  std::vector<std::uint64_t> tokens;
  {
    const std::lock_guard lock(mutex_);
    const auto found = tokens_.find(hash);
    if (found == tokens_.end()) return;
    tokens = std::move(found->second);
    tokens_.erase(found);
    notes_ -= tokens.size();
  }
  for (const std::uint64_t t : tokens) host_->wake(host_, driver_id_, t);
}

void Waiters::wake_passed(std::uint64_t hash) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = lines_.find(hash);
    if (found == lines_.end() || !std::exchange(found->second.passed, false)) return;
  }
  wake(hash);
}

}  // namespace headgate::sqlite
