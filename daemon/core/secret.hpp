// Secret holds a password or a private key: it can be used, and nothing else.
//
// Holds: it cannot be printed, formatted, logged, compared or copied by accident (copy() says so in
//        words); its memory is overwritten before it is given back, also when it moves.
// Threads: one at a time.
#pragma once
#include <cstddef>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

namespace headgate {

// Overwrites n bytes in a way that the optimizer may not leave out.
inline void wipe(void* p, std::size_t n) {
  volatile auto* bytes = static_cast<volatile unsigned char*>(p);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = 0;
}
inline void wipe(std::string& s) {
  wipe(s.data(), s.capacity());
  s.clear();
}

class Secret {
 public:
  Secret() = default;
  // Takes the text over and wipes where it came from.
  explicit Secret(std::string&& text) : Secret(std::string_view(text), 0) { wipe(text); }
  Secret(Secret&& o) noexcept : bytes_(std::move(o.bytes_)), size_(std::exchange(o.size_, 0)) {}
  Secret& operator=(Secret&& o) noexcept {
    if (this != &o) {
      forget();
      bytes_ = std::move(o.bytes_);
      size_ = std::exchange(o.size_, 0);
    }
    return *this;
  }
  ~Secret() { forget(); }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  bool operator==(const Secret&) const = delete;
  friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

  [[nodiscard]] Secret copy() const { return Secret(reveal(), 0); }
  // The bytes, lent while the Secret lives. Whoever asks must not keep, print or log them.
  [[nodiscard]] std::string_view reveal() const { return {bytes_.get(), size_}; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  // For rotation: did the source change? Looks at every byte.
  [[nodiscard]] bool same_as(const Secret& o) const {
    if (size_ != o.size_) return false;
    unsigned char difference = 0;
    for (std::size_t i = 0; i < size_; ++i) {
      difference |= static_cast<unsigned char>(bytes_[i] ^ o.bytes_[i]);
    }
    return difference == 0;
  }
  void forget() {
    if (bytes_ != nullptr) wipe(bytes_.get(), size_);
    bytes_.reset();
    size_ = 0;
  }

 private:
  Secret(std::string_view text, int) : bytes_(new char[text.size() + 1]), size_(text.size()) {
    text.copy(bytes_.get(), size_);
    bytes_[size_] = '\0';
  }
  std::unique_ptr<char[]> bytes_;  // never reallocated: no stale copy stays behind
  std::size_t size_ = 0;
};

}  // namespace headgate
