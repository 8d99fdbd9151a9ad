// document_edit: reaching into a document to change it, as update operators do.
//
// Parts that are numbers are indexes in an array and names in a document. Threads: pure functions.
#pragma once
#include <string>
#include <vector>

#include "plugins/sqlite/document_value.hpp"

namespace headgate::sqlite::doc {

using Parts = std::vector<std::string>;

inline constexpr std::size_t kArrayGapMax = 100'000;  // nulls that one assignment may put in front

// What the parts lead to, or null pointer.
Value* find_at(Value& document, const Parts& parts);
// The same, made where it is missing (as null, in documents made on the way). Throws Error
// (invalid) where a value that is no document, or an array's element that is no index, is in the
// way.
Value& make_at(Value& document, const Parts& parts);
// Removes the field; an array's element becomes null. False: it was not there.
bool remove_at(Value& document, const Parts& parts);

}  // namespace headgate::sqlite::doc
