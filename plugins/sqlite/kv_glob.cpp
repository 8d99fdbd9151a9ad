// Compiling and matching; see kv_glob.hpp.
#include "plugins/sqlite/kv_glob.hpp"

#include <utility>

namespace headgate::sqlite {

std::string Glob::literal_of(proto::Bytes p) {
  std::string out;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const std::uint8_t b = p[i];
    if (b == '*' || b == '?' || b == '[') break;
    if (b == '\\' && i + 1 < p.size()) ++i;
    out.push_back(static_cast<char>(p[i]));
  }
  return out;
}

Glob::Glob(proto::Bytes p) : literal_(literal_of(p)) {
  tokens_.reserve(p.size());
  for (std::size_t i = 0; i < p.size(); ++i) {
    const std::uint8_t b = p[i];
    if (b == '*') {
      // Several stars mean one.
      if (tokens_.empty() || tokens_.back().kind != Kind::star) tokens_.push_back({Kind::star});
    } else if (b == '?') {
      tokens_.push_back({Kind::any});
    } else if (b == '[') {
      i = read_class(p, i + 1);
    } else {
      if (b == '\\' && i + 1 < p.size()) ++i;
      tokens_.push_back({Kind::byte, p[i]});
    }
  }
  exact_ = tokens_.size() == literal_.size();
  whole_range_ = tokens_.size() == literal_.size() + 1 && tokens_.back().kind == Kind::star;
}

// Reads a class whose first byte is at i; returns the index of its last byte.
std::size_t Glob::read_class(proto::Bytes p, std::size_t i) {
  Class set;
  bool inverted = false;
  if (i < p.size() && p[i] == '^') {
    inverted = true;
    ++i;
  }
  for (; i < p.size() && p[i] != ']'; ++i) {
    if (p[i] == '\\' && i + 1 < p.size()) {
      set.set(p[++i]);
    } else if (i + 2 < p.size() && p[i + 1] == '-') {
      std::uint8_t low = p[i], high = p[i + 2];
      if (low > high) std::swap(low, high);
      for (unsigned b = low; b <= high; ++b) set.set(b);
      i += 2;
    } else {
      set.set(p[i]);
    }
  }
  if (inverted) set.flip();
  tokens_.push_back({Kind::in_class, 0, static_cast<std::uint32_t>(classes_.size())});
  classes_.push_back(set);
  return i;
}

bool Glob::one(const Token& t, std::uint8_t b) const {
  switch (t.kind) {
    case Kind::byte:
      return t.byte == b;
    case Kind::any:
      return true;
    case Kind::in_class:
      return classes_[t.of].test(b);
    case Kind::star:
      return false;
  }
  return false;
}

// Every token but a star takes exactly one byte, so after a mismatch only the last star can help.
bool Glob::matches(proto::Bytes text) const {
  std::size_t t = 0, p = 0;
  std::size_t star = SIZE_MAX, resume = 0;
  while (t < text.size()) {
    ++steps_;
    if (p < tokens_.size() && tokens_[p].kind == Kind::star) {
      star = p++;
      resume = t;
    } else if (p < tokens_.size() && one(tokens_[p], text[t])) {
      ++p;
      ++t;
    } else if (star != SIZE_MAX) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
    if (star + 1 == tokens_.size()) return true;  // the last token is this star (SIZE_MAX + 1 is 0)
  }
  while (p < tokens_.size() && tokens_[p].kind == Kind::star) ++p;
  return p == tokens_.size();
}

std::string after_prefix(std::string_view prefix) {
  while (!prefix.empty() && static_cast<std::uint8_t>(prefix.back()) == 0xff)
    prefix.remove_suffix(1);
  std::string out(prefix);
  if (!out.empty()) out.back() = static_cast<char>(static_cast<std::uint8_t>(out.back()) + 1);
  return out;
}

}  // namespace headgate::sqlite
