// What plugins of kind sql have in common: the text of copy_out and the digest that groups texts.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "plugins/sdk/driver.hpp"

namespace headgate::sdk {

// The SELECT of copy_out: the field `sql`, or `columns` (all of them when it is missing) of
// `table`. `quote_column` and `quote_table` make identifiers of names and may throw. Throws Error
// (invalid).
std::string copy_out_text(const Fields& f, std::string (*quote_column)(std::string_view),
                          std::string (*quote_table)(std::string_view));

// A text's hash without its literals, white space, comments and closing semicolons: like statements
// have the same. $1 and names with digits stay as they are.
std::uint64_t sql_digest(std::string_view text);

}  // namespace headgate::sdk
