#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/error.h"

namespace volfs::cli {

// How things are shown: colour on terminals, and tables.

// Whether `fd` is a terminal that can be drawn on; where TERM is "dumb" it is none.
bool IsTerminal(int fd);
bool MayColour(int fd);        // a terminal, and NO_COLOR is not set
size_t TerminalWidth(int fd);  // 80 if nobody knows

// `word` in the colour that its meaning has, if it is a word of status or state.
std::string Painted(std::string_view word, bool colour);

// Columns as wide as their widest cell, two blanks between them, none at the end of a line. The
// first row is the header. Cells of the column `painted` are Painted.
using Row = std::vector<std::string>;
inline constexpr size_t kNoColumn = SIZE_MAX;
std::string Table(const std::vector<Row>& rows, size_t painted, bool colour);

// Prints on stdout.
void Print(std::string_view text);

// Whether all that was printed has arrived (a full disk, a closed pipe).
Status FlushOutput();

}  // namespace volfs::cli
