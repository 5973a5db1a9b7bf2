#include "control/cli/process/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "blockstore/base/safe_text.h"
#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/supervisor.h"
#include "control/text/json.h"

namespace volfs::cli {
namespace {

struct Colour {
  std::string_view word;
  std::string_view code;
};

constexpr std::array<Colour, 9> kColours = {{
    {"available", "32"},
    {"in-use", "36"},
    {"creating", "33"},
    {"deleting", "33"},
    {"error", "31"},
    {"ok", "32"},
    {"note", "36"},
    {"warning", "33"},
    {"problem", "31"},
}};

ErrorForm error_form = ErrorForm::kText;

}  // namespace

void SetErrorForm(ErrorForm form) { error_form = form; }

ErrorForm CurrentErrorForm() { return error_form; }

bool IsTerminal(int fd) {
  const char* term = std::getenv("TERM");
  return ::isatty(fd) == 1 && (term == nullptr || std::string_view(term) != "dumb");
}

Surface SurfaceOf(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  const bool wants_colour = no_color == nullptr || *no_color == '\0';
  return {.terminal = ::isatty(fd) == 1, .colour = wants_colour && IsTerminal(fd)};
}

TerminalSize SizeOfTerminal(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return {};
  TerminalSize known;
  if (size.ws_col != 0) known.columns = size.ws_col;
  if (size.ws_row != 0) known.lines = size.ws_row;
  return known;
}

size_t TerminalWidth(int fd) { return SizeOfTerminal(fd).columns; }

std::string Shown(std::string_view text, const Surface& surface) {
  return surface.terminal ? SafeText(text) : std::string(text);
}

std::string Painted(std::string_view word, const Surface& surface) {
  for (const Colour& known : kColours) {
    if (surface.colour && word == known.word) {
      return StrCat("\x1b[", known.code, "m", word, "\x1b[0m");
    }
  }
  return Shown(word, surface);
}

Drawn Table(const std::vector<Row>& rows, size_t painted, const Surface& surface) {
  std::vector<Row> shown = rows;
  std::vector<size_t> widths;
  for (Row& row : shown) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = Shown(row[i], surface);
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string out;
  for (const Row& row : shown) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += i == painted ? Painted(row[i], surface) : row[i];
      if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + 2, ' ');
    }
    out.erase(out.find_last_not_of(' ') + 1);  // empty cells at the end of a row
    out += '\n';
  }
  return {out};
}

namespace {

// Returns the first `columns` characters of a line that Table drew: escapes of colour take no
// column, and neither do the later bytes of a character.
std::string FirstColumns(std::string_view line, size_t columns) {
  std::string out;
  bool coloured = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      const size_t end = std::min(line.find('m', i), line.size() - 1);
      out += line.substr(i, end + 1 - i);
      coloured = true;
      i = end;
      continue;
    }
    const bool begins = (static_cast<unsigned char>(line[i]) & 0xc0) != 0x80;
    if (begins && columns == 0) return out + (coloured ? "\x1b[0m" : "");
    if (begins) --columns;
    out += line[i];
  }
  return out;
}

}  // namespace

Drawn OnScreen(const Drawn& drawn, const TerminalSize& size) {
  const std::vector<std::string_view> lines = SplitLines(drawn.text);
  const bool fits = lines.size() < size.lines;  // the cursor stands on the line below
  const size_t shown = fits ? lines.size() : std::max<size_t>(size.lines, 3) - 2;
  std::string out = "\x1b[H";
  for (size_t i = 0; i < shown; ++i) out += FirstColumns(lines[i], size.columns) + "\x1b[K\n";
  if (!fits) {
    out +=
        FirstColumns(StrCat("... and ", lines.size() - shown, " more"), size.columns) + "\x1b[K\n";
  }
  return {out + "\x1b[J"};
}

Drawn ShownLines(std::string_view text, const Surface& surface) {
  return {surface.terminal ? SafeText(text, LineFeeds::kKept) : std::string(text)};
}

void Print(std::string_view text) { Print(ShownLines(text, SurfaceOf(STDOUT_FILENO))); }

// A terminal that is stopped, or a pager, may keep us waiting.
void Print(const Drawn& drawn) {
  const Waiting waiting(Waiting::For::kEver);
  std::fwrite(drawn.text.data(), 1, drawn.text.size(), stdout);
}

Status FlushOutput() {
  const Waiting waiting(Waiting::For::kEver);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return SystemFailure("standard output");
  }
  return OkStatus();
}

std::string AsNoteLines(std::string_view lines) {
  constexpr std::string_view kIndent = "  ";
  std::string out;
  for (std::string_view line : SplitLines(lines)) {
    if (line.starts_with(kIndent)) line.remove_prefix(kIndent.size());
    out += StrCat(kNoteBreak, line);
  }
  return out;
}

void PrintErrorLine(std::string_view json) { std::fwrite(json.data(), 1, json.size(), stderr); }

void PrintNote(std::string_view text) {
  if (error_form == ErrorForm::kJson) {
    std::string note(text);
    std::replace(note.begin(), note.end(), kNoteBreak[0], '\n');
    return PrintErrorLine(JsonLine({{"note", std::move(note)}}));
  }
  std::string out;
  for (;;) {
    const size_t end = std::min(text.find(kNoteBreak), text.size());
    out += SafeText(text.substr(0, end));
    if (end == text.size()) break;
    out += "\n  ";
    text.remove_prefix(end + kNoteBreak.size());
  }
  out += '\n';
  std::fwrite(out.data(), 1, out.size(), stderr);
}

void Redraw(std::string_view line) {
  std::fprintf(stderr, "\r%s\x1b[K", SafeText(line).c_str());
  std::fflush(stderr);
}

void EndRedrawn() { std::fputc('\n', stderr); }

}  // namespace volfs::cli
