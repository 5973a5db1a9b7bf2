#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// The only way to stdout and stderr (scripts/check_rules). Much of the output holds names that
// other users chose: paths, processes, arguments. On a terminal such text is escaped
// (blockstore/base/safe_text.h). Into a pipe or a file every byte goes unchanged, as from ls(1),
// because programs want the very path. stderr is always escaped, because people read it wherever it
// goes.

// The kind of output behind a descriptor.
struct Surface {
  bool terminal = false;
  bool colour = false;  // a terminal that can be drawn on, and NO_COLOR is not set
};
Surface SurfaceOf(int fd);

// Returns whether `fd` is a terminal that can be drawn on; where TERM is "dumb" it is none.
bool IsTerminal(int fd);
size_t TerminalWidth(int fd);  // 80 if it is unknown

// 80 times 24 if it is unknown.
struct TerminalSize {
  size_t columns = 80;
  size_t lines = 24;
};
TerminalSize SizeOfTerminal(int fd);

// Returns foreign text as one line or a part of one.
std::string Shown(std::string_view text, const Surface& surface);

// Returns `word` in the colour of its meaning, if it is a word of status or state; else Shown.
std::string Painted(std::string_view word, const Surface& surface);

// Text that is printed as it is. All foreign text in it has passed Shown already.
struct Drawn {
  std::string text;
  bool operator==(const Drawn&) const = default;
};

// Returns foreign lines: Shown, with the line feeds kept.
Drawn ShownLines(std::string_view text, const Surface& surface);

// Lays out columns as wide as their widest cell, with two blanks between them and none at the end
// of a line. The first row is the header. Cells of the column `painted` are Painted, the others
// Shown.
using Row = std::vector<std::string>;
inline constexpr size_t kNoColumn = SIZE_MAX;
Drawn Table(const std::vector<Row>& rows, size_t painted, const Surface& surface);

// Returns the text over the whole screen, from its upper left corner on: no line is longer than the
// screen is wide. If there are more lines than it has, the last one says how many are missing.
Drawn OnScreen(const Drawn& drawn, const TerminalSize& size);

// Each prints on stdout and keeps the line feeds of its text.
void Print(std::string_view text);
void Print(const Drawn& drawn);

// Returns whether all output has arrived (a full disk, a closed pipe).
Status FlushOutput();

// The form of all that is printed on stderr: text for people, or, of a command that is given
// --json, one JSON object per line. Text unless it is set. A process that is forked later has the
// same form.
enum class ErrorForm { kText, kJson };
void SetErrorForm(ErrorForm form);
ErrorForm CurrentErrorForm();

// Separates the lines of a note. No path, name or label can hold this byte, so a line feed in a
// note came with a foreign text.
inline constexpr std::string_view kNoteBreak{"\0", 1};

// Returns lines of our own, each with two blanks at its beginning, as lines of a note.
std::string AsNoteLines(std::string_view lines);

// Prints `text` and a line feed on stderr, each line but the first with two blanks before it.
// Foreign text is escaped, line feeds too. As JSON it is {"note":"TEXT"}.
void PrintNote(std::string_view text);

// Prints a line of JSON, with its LF, on stderr.
void PrintErrorLine(std::string_view json);

// Draws `line`, one line, over the current line of the terminal that is stderr.
void Redraw(std::string_view line);
void EndRedrawn();

}  // namespace volfs::cli
