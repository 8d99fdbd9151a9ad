// The host functions of a Recorder.
#include "plugins/sdk/recorder.hpp"

#include <algorithm>

namespace headgate::sdk {

Recorder::Recorder(const hg_host* real, std::uint64_t reply_max)
    : hg_host(*real), real_(real), reply_max_(reply_max) {
  now_us = [](const hg_host* h) { return self(h)->real_->now_us(self(h)->real_); };
  reserve = [](const hg_host* h, hg_op, std::uint64_t n, std::uint8_t** out, std::uint64_t* room) {
    Recorder* r = self(h);
    if (r->used_ + n > r->reply_max_) return static_cast<std::int32_t>(HG_FULL);
    if (r->store_.size() - r->used_ < n)
      r->store_.resize(std::max<std::size_t>({256, r->store_.size() * 2, r->used_ + n}));
    *out = r->store_.data() + r->used_;
    *room = std::min<std::uint64_t>(r->store_.size(), r->reply_max_) - r->used_;
    return static_cast<std::int32_t>(HG_GO);
  };
  commit = [](const hg_host* h, hg_op, std::uint64_t n) { self(h)->used_ += n; };
  patch = [](const hg_host* h, hg_op, std::uint64_t at, const std::uint8_t* b, std::uint64_t n) {
    std::copy_n(b, n, self(h)->store_.data() + at);
  };
  written = [](const hg_host* h, hg_op) { return static_cast<std::uint64_t>(self(h)->used_); };
  rewind = [](const hg_host* h, hg_op) { self(h)->used_ = 0; };
  flush_part = [](const hg_host*, hg_op) { return static_cast<std::int32_t>(HG_STOP); };
  take = [](const hg_host* h, hg_op op, hg_bytes* out) {
    return self(h)->real_->take(self(h)->real_, op, out);
  };
}

}  // namespace headgate::sdk
