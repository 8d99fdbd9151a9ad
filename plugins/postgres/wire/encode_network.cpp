// Addresses and bit strings, from their canonical text: inside arrays and in COPY, where the server
// reads binary forms alone.
#include <arpa/inet.h>

#include <charconv>

#include "plugins/postgres/wire/encode.hpp"

namespace headgate::postgres::wire {
namespace {

constexpr Oid kCidr = 650;

int hex(std::uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string_view text_of(const Encoding& e, const Type& type, const proto::Item& it) {
  if (it.type != proto::Type::str) e.mismatch(type, it);
  need_no_nul(e, it.bytes);
  return proto::text_of(it.bytes);
}

[[noreturn]] void no_value(const Encoding& e, const Type& type) {
  e.refuse("22P02", "the text is no " + type.name);
}

}  // namespace

void encode_inet(const Encoding& e, const Type& type, const proto::Item& it) {
  const std::string_view s = text_of(e, type, it);
  const std::size_t slash = s.find('/');
  const std::string address(s.substr(0, slash));
  const bool v4 = address.find(':') == std::string::npos;
  std::uint8_t bytes[16];
  if (address.size() > 64 || inet_pton(v4 ? AF_INET : AF_INET6, address.c_str(), bytes) != 1)
    no_value(e, type);
  const unsigned n = v4 ? 4 : 16;
  unsigned bits = n * 8;
  if (slash != std::string_view::npos) {
    const std::string_view digits = s.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (error != std::errc() || end != digits.data() + digits.size() || bits > n * 8)
      no_value(e, type);
  }
  e.out.put8(v4 ? 2 : 3);
  e.out.put8(static_cast<std::uint8_t>(bits));
  e.out.put8(type.oid == kCidr ? 1 : 0);
  e.out.put8(static_cast<std::uint8_t>(n));
  e.out.put({bytes, n});
}

void encode_macaddr(const Encoding& e, const Type& type, const proto::Item& it) {
  const std::string_view s = text_of(e, type, it);
  const std::size_t n = type.codec == Codec::macaddr ? 6 : 8;
  if (s.size() != n * 3 - 1) no_value(e, type);
  for (std::size_t i = 0; i < n; ++i) {
    const int high = hex(static_cast<std::uint8_t>(s[3 * i]));
    const int low = hex(static_cast<std::uint8_t>(s[3 * i + 1]));
    if (high < 0 || low < 0 || (i + 1 < n && s[3 * i + 2] != ':')) no_value(e, type);
    e.out.put8(static_cast<std::uint8_t>(high << 4 | low));
  }
}

void encode_bits(const Encoding& e, const Type& type, const proto::Item& it) {
  const std::string_view s = text_of(e, type, it);
  e.out.put32(static_cast<std::uint32_t>(s.size()));
  const std::size_t n = (s.size() + 7) / 8;
  if (n == 0) return;
  std::uint8_t* p = e.out.extend(n);
  std::memset(p, 0, n);
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '0' && s[i] != '1') no_value(e, type);
    if (s[i] == '1') p[i / 8] = static_cast<std::uint8_t>(p[i / 8] | 0x80 >> i % 8);
  }
}

}  // namespace headgate::postgres::wire
