// The buffer's growth, and everything that is not the common case.
#include "plugins/postgres/wire/backend.hpp"

#include <algorithm>

namespace headgate::postgres::wire {
namespace {

[[noreturn]] void fault(Tag tag, const char* why) {
  throw ProtocolFault("the server sent a message of type `" +
                      std::string(1, static_cast<char>(tag)) + "` " + why);
}

}  // namespace

Reader::Reader() : Reader(Limits{}) {}
Reader::Reader(const Limits& limits)
    : limits_(limits),
      whole_max_(static_cast<std::uint32_t>(
          std::min<std::uint64_t>({limits.hold_max, limits.message_max, 0x7fffffff}))) {}

void Reader::resize(std::size_t capacity) {
  auto other = std::make_unique_for_overwrite<std::uint8_t[]>(capacity);
  const std::size_t have = tail_ - head_;
  if (have != 0) std::memcpy(other.get(), store_.get() + head_, have);
  store_ = std::move(other);
  capacity_ = capacity;
  head_ = 0;
  tail_ = have;
}

std::span<std::uint8_t> Reader::room() {
  const std::size_t base = std::max<std::size_t>(limits_.buffer, 64);
  if (head_ == tail_) {
    head_ = tail_ = 0;
    if (capacity_ != base) resize(base);
  } else if (capacity_ - tail_ < base / 4 || need_ > capacity_ - head_) {
    if (head_ != 0) {
      std::memmove(store_.get(), store_.get() + head_, tail_ - head_);
      tail_ -= head_;
      head_ = 0;
    }
    // Grows with what has come, not with what was announced.
    if (need_ > capacity_ && capacity_ - tail_ < base / 4)
      resize(std::min(std::max(need_, base), capacity_ * 2));
    else if (tail_ == capacity_)
      resize(capacity_ * 2);
  }
  return {store_.get() + tail_, capacity_ - tail_};
}

// A message above hold_max goes by.
bool Reader::pass(Message* out) {
  const std::uint64_t n = std::min<std::uint64_t>(tail_ - head_, skip_);
  head_ += static_cast<std::size_t>(n);
  skip_ -= n;
  need_ = 0;
  if (skip_ != 0) return false;
  *out = {passing_, true, {}, passed_};
  return true;
}

bool Reader::slow(Message* out) {
  if (skip_ != 0) return pass(out);
  const std::size_t have = tail_ - head_;
  need_ = 5;
  if (have == 0) return false;
  const std::uint8_t* p = store_.get() + head_;
  if (!kKnownTags[p[0]]) {
    static constexpr char kHex[] = "0123456789abcdef";
    throw ProtocolFault(std::string("the server sent a message of the unknown type 0x") +
                        kHex[p[0] >> 4] + kHex[p[0] & 15]);
  }
  if (have < 5) return false;
  const auto tag = static_cast<Tag>(p[0]);
  const std::uint32_t length = load32(p + 1);
  if (length < 4) fault(tag, "with a length below 4");
  const std::uint64_t payload = length - 4;
  if (payload > limits_.message_max) fault(tag, "that is longer than any may be");
  if (payload > whole_max_) {
    if (tag != Tag::data_row && tag != Tag::copy_data) fault(tag, "that is too long for its type");
    head_ += 5;
    passing_ = tag;
    skip_ = passed_ = payload;
    return pass(out);
  }
  if (length < have) {  // whole: only a limit of the common case kept it from there
    *out = {tag, false, {p + 5, static_cast<std::size_t>(payload)}, payload};
    head_ += length + std::size_t{1};
    return true;
  }
  need_ = length + std::size_t{1};
  return false;
}

}  // namespace headgate::postgres::wire
