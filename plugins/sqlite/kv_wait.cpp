// See kv_wait.hpp.
#include "plugins/sqlite/kv_wait.hpp"

#include <algorithm>

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

std::uint64_t Waiters::note(const std::vector<std::uint64_t>& hashes) {
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
  for (const std::uint64_t h : hashes) {
    std::vector<std::uint64_t>& of = tokens_[h];
    if (std::find(of.begin(), of.end(), token) != of.end()) continue;
    of.push_back(token);
    ++notes_;
  }
  return token;
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

}  // namespace headgate::sqlite
