#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/target.h"

namespace volfs::cli {
namespace {

// The columns of a volume's map.
enum MapColumn : size_t { kOffset, kLength, kState, kMapNode, kLayer, kSnapshot, kMapColumns };

// Returns the lines of a map as rows of all columns; an older daemon tells no snapshots.
std::vector<Row> RowsOf(std::string_view map) {
  std::vector<Row> rows;
  for (const std::string_view line : SplitLines(map)) {
    const std::vector<std::string_view> words = SplitWords(line);
    Row row(words.begin(), words.end());
    if (row.size() == kSnapshot) row.emplace_back("-");
    rows.push_back(std::move(row));
  }
  return rows;
}

// Adds `row` in the parts that lseek(2) tells of the image: the backing file of a flat layer has
// holes within what the map calls data. They read as zeros and take no room.
void AddParts(int image, const Row& row, std::vector<Row>& parts) {
  const auto begin = static_cast<off_t>(ParseNumber(row[kOffset]).value_or(0));
  const off_t end = begin + static_cast<off_t>(ParseNumber(row[kLength]).value_or(0));
  for (off_t at = begin; at < end;) {
    const off_t hole = ::lseek(image, at, SEEK_HOLE);
    const bool is_hole = hole == at;
    off_t next = is_hole ? ::lseek(image, at, SEEK_DATA) : hole;
    if (next <= at || next > end) next = end;  // past the last data there is none
    Row part = row;
    part[kOffset] = StrCat(at);
    part[kLength] = StrCat(next - at);
    if (is_hole) part[kState] = "hole";
    parts.push_back(std::move(part));
    at = next;
  }
}

std::string TextOfParts(int image, const std::vector<Row>& rows) {
  std::vector<Row> parts;
  for (const Row& row : rows) {
    row.size() == kMapColumns&& row[kState] == "data" ? AddParts(image, row, parts)
                                                      : parts.push_back(row);
  }
  std::string text;
  for (const Row& row : parts) {
    for (const std::string& cell : row) text += cell + " ";
    text += "\n";
  }
  return text;
}

// Returns the rows as they are, with a note, if the image may not be read or its node makes us
// wait.
std::vector<Row> WithHoles(const Client& client, const std::string& volume, std::vector<Row> rows) {
  constexpr std::chrono::seconds kLookPatience{2};
  const auto text = AnswerWithin(kLookPatience, [&]() -> std::string {
    const Descriptor image(::open(client.ImagePath(volume).c_str(), O_RDONLY | O_CLOEXEC));
    return image.ok() ? TextOfParts(image.get(), rows) : "";
  });
  if (text && (!text->empty() || rows.empty())) return RowsOf(*text);
  PrintNote(StrCat("volfs map: ", volume,
                   ": the image cannot be read in time, so holes within data are not told"));
  return rows;
}

Drawn MapTable(std::vector<Row> rows) {
  rows.insert(rows.begin(), {"OFFSET", "LENGTH", "STATE", "NODE", "LAYER", "SNAPSHOT"});
  return Table(rows, kNoColumn, SurfaceOf(STDOUT_FILENO));
}

std::string MapJson(const std::vector<Row>& rows) {
  std::vector<JsonObject> ranges;
  for (const Row& row : rows) {
    if (row.size() < kMapColumns) continue;
    const auto name = [&row](MapColumn column) -> JsonValue {
      return row[column] == "-" ? JsonValue(nullptr) : JsonValue(row[column]);
    };
    ranges.push_back({{"offset_bytes", ParseNumber(row[kOffset]).value_or(0)},
                      {"length_bytes", ParseNumber(row[kLength]).value_or(0)},
                      {"state", row[kState]},
                      {"node", name(kMapNode)},
                      {"layer", name(kLayer)},
                      {"snapshot", name(kSnapshot)}});
  }
  return JsonArray(ranges);
}

}  // namespace

Status ShowMap(const Common& common, const std::string& name) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string image, targets.Image(name));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const std::string directory, client.ControlDirectory(image));
  ASSIGN_OR_RETURN(const std::string text, client.ReadControl(directory + "/map"));
  const std::vector<Row> rows = WithHoles(client, image, RowsOf(text));
  Print(common.json ? Drawn{MapJson(rows)} : MapTable(rows));
  return OkStatus();
}

}  // namespace volfs::cli
