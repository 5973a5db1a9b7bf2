#include "control/cli/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include "blockstore/log.h"
#include "control/cli/failure.h"
#include "control/cli/supervisor.h"

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

}  // namespace

bool IsTerminal(int fd) {
  const char* term = std::getenv("TERM");
  return ::isatty(fd) == 1 && (term == nullptr || std::string_view(term) != "dumb");
}

bool MayColour(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  return IsTerminal(fd) && (no_color == nullptr || *no_color == '\0');
}

size_t TerminalWidth(int fd) {
  constexpr size_t kUsual = 80;
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsual;
  return size.ws_col;
}

std::string Painted(std::string_view word, bool colour) {
  for (const Colour& known : kColours) {
    if (colour && word == known.word) return Text("\x1b[", known.code, "m", word, "\x1b[0m");
  }
  return std::string(word);
}

std::string Table(const std::vector<Row>& rows, size_t painted, bool colour) {
  std::vector<size_t> widths;
  for (const Row& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += i == painted ? Painted(row[i], colour) : row[i];
      if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + 2, ' ');
    }
    out.erase(out.find_last_not_of(' ') + 1);  // empty cells at the end of a row
    out += '\n';
  }
  return out;
}

// A terminal that is stopped, or a pager, may keep us waiting.
void Print(std::string_view text) {
  const Waiting waiting(Waiting::For::kEver);
  std::fwrite(text.data(), 1, text.size(), stdout);
}

Status FlushOutput() {
  const Waiting waiting(Waiting::For::kEver);
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    return SystemFailure("standard output");
  }
  return OkStatus();
}

}  // namespace volfs::cli
