// One character at a time: this is for messages and names, not for values.
#include "plugins/postgres/wire/clean_text.hpp"

#include "proto/cursor.hpp"

namespace headgate::postgres::wire {

std::string clean_text(std::string_view s, std::size_t max) {
  constexpr std::string_view kReplacement = "\xef\xbf\xbd";
  std::string out;
  while (!s.empty()) {
    std::size_t n = 1;
    const auto first = static_cast<unsigned char>(s[0]);
    std::string_view piece = kReplacement;
    if (first < 0x80) {
      piece = first < 0x20 || first == 0x7f ? std::string_view(" ") : s.substr(0, 1);
    } else {
      const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
      if (length <= s.size() && proto::valid_utf8(s.substr(0, length))) {
        n = length;
        piece = s.substr(0, n);
      }
    }
    if (out.size() + piece.size() > max) break;
    out += piece;
    s.remove_prefix(n);
  }
  return out;
}

}  // namespace headgate::postgres::wire
