// The part of the operators' table that deals with strings and dates; see document_operators.hpp.
#pragma once
#include "plugins/sqlite/document_operators.hpp"

namespace headgate::sqlite::doc {

const Operator* find_text_operator(std::string_view name);

}  // namespace headgate::sqlite::doc
