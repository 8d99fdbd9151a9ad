// The parts of an import that need no gateway. Threads: pure functions.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "csv.hpp"
#include "headgate/value.hpp"

namespace headgate::cli {

enum class ColumnKind : std::uint8_t { text, integer, real, boolean };
ColumnKind column_kind(std::string_view type);
// A number only where the text is one exactly; `null`: the text (unquoted) that stands for NULL.
void pack_cell(Packer& p, const CsvField& cell, ColumnKind kind, const std::string& null);
std::string progress_line(std::uint64_t bytes, std::uint64_t total, std::uint64_t rows);

}  // namespace headgate::cli
