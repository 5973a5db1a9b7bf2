#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// The only way to stdout and stderr (scripts/check_rules). Much of what is shown was named by
// others: paths, processes, arguments. On a terminal it is escaped (blockstore/base/safe_text.h);
// into a pipe or a file every byte goes as it is, as from ls(1), as programs want the very path.
// stderr is for people wherever it goes, so there it is always escaped.

// What stands behind a descriptor.
struct Surface {
  bool terminal = false;
  bool colour = false;  // a terminal that can be drawn on, and NO_COLOR is not set
};
Surface SurfaceOf(int fd);

// Whether `fd` is a terminal that can be drawn on; where TERM is "dumb" it is none.
bool IsTerminal(int fd);
size_t TerminalWidth(int fd);  // 80 if nobody knows

// `text` of others, as one line or a part of one.
std::string Shown(std::string_view text, const Surface& surface);

// `word` in the colour that its meaning has, if it is a word of status or state; else Shown.
std::string Painted(std::string_view word, const Surface& surface);

// Text that is printed as it is: all that others wrote in it is Shown already.
struct Drawn {
  std::string text;
  bool operator==(const Drawn&) const = default;
};

// Lines of others: Shown, with the line feeds kept.
Drawn ShownLines(std::string_view text, const Surface& surface);

// Columns as wide as their widest cell, two blanks between them, none at the end of a line. The
// first row is the header. Cells of the column `painted` are Painted, the others Shown.
using Row = std::vector<std::string>;
inline constexpr size_t kNoColumn = SIZE_MAX;
Drawn Table(const std::vector<Row>& rows, size_t painted, const Surface& surface);

// Each prints on stdout. Line feeds of a text are kept.
void Print(std::string_view text);
void Print(const Drawn& drawn);

// Whether all that was printed has arrived (a full disk, a closed pipe).
Status FlushOutput();

// What separates the lines of a note. No path, name or label can hold this byte, so a line feed in
// a note came with what others wrote.
inline constexpr std::string_view kNoteBreak{"\0", 1};

// Lines of our own, each with two blanks at its beginning, as lines of a note.
std::string AsNoteLines(std::string_view lines);

// Prints `text` and a line feed on stderr, each line but the first with two blanks before it. What
// others wrote is escaped, line feeds too.
void PrintNote(std::string_view text);

// Draws over the line of the terminal that is stderr. `line` is one line.
void Redraw(std::string_view line);
void EndRedrawn();

}  // namespace volfs::cli
