// clean_text: text of a server that may leave the gateway.
#pragma once
#include <string>
#include <string_view>

namespace headgate::postgres::wire {

// UTF-8 (foreign bytes become U+FFFD), no control characters (they become spaces), and at most
// `max` bytes, cut between characters.
std::string clean_text(std::string_view s, std::size_t max = 400);

}  // namespace headgate::postgres::wire
