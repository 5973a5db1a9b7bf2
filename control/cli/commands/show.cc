#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <map>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/progress.h"
#include "control/cli/target.h"
#include "control/text/json.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

constexpr int kWatchMs = 1000;

// The columns of control/status that we know; more may follow.
enum Column : size_t { kName, kStatus, kSize, kNode, kType, kHydrated, kSource, kColumns };

std::string SizeForPeople(std::string_view digits) {
  const std::optional<uint64_t> size = ParseNumber(digits);
  return size ? FormatSize(*size) : std::string(digits);
}

Drawn WithLineFeed(std::string text) {
  if (!text.ends_with('\n')) text += '\n';
  return ShownLines(text, SurfaceOf(STDOUT_FILENO));
}

Result<std::vector<Row>> ReadStatusRows(const Client& client) {
  ASSIGN_OR_RETURN(const std::string text, client.ReadControl("status"));
  std::vector<Row> rows;
  for (const std::string_view line : SplitLines(text)) {
    const std::vector<std::string_view> words = SplitWords(line);
    if (words.size() < kColumns) continue;
    Row row(words.begin(), words.begin() + kColumns);
    row[kSize] = SizeForPeople(row[kSize]);
    rows.push_back(std::move(row));
  }
  return rows;
}

Row Header() { return {"NAME", "STATUS", "SIZE", "NODE", "TYPE", "HYDRATED", "SOURCE"}; }

Result<Drawn> DetailsTable(const Client& client) {
  ASSIGN_OR_RETURN(std::vector<Row> rows, ReadStatusRows(client));
  rows.insert(rows.begin(), Header());
  return Table(rows, kStatus, SurfaceOf(STDOUT_FILENO));
}

// The busier a volume, the smaller its number.
int RestOf(std::string_view status) {
  constexpr std::array<std::string_view, 4> kBusyFirst = {"creating", "deleting", "error",
                                                          "in-use"};
  return static_cast<int>(std::find(kBusyFirst.begin(), kBusyFirst.end(), status) -
                          kBusyFirst.begin());
}

enum class Order { kByName, kBusyFirst };

// The same, and how the copying goes.
Result<Drawn> StatusTable(const Client& client, Order order = Order::kByName) {
  ASSIGN_OR_RETURN(std::vector<Row> rows, ReadStatusRows(client));
  if (order == Order::kBusyFirst) {
    std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
      return RestOf(a[kStatus]) < RestOf(b[kStatus]);
    });
  }
  for (Row& row : rows) {
    const bool copying = row[kStatus] == "creating" || row[kStatus] == "error";
    const Result<Progress> progress =
        copying ? ReadProgress(client, row[kName]) : Error{Errc::kNotFound, ""};
    if (!progress.ok()) continue;  // nothing to tell, or gone since the status was read
    const Progress& now = progress.value();
    row.push_back(FormatSize(now.rate_bytes) + "/s");
    row.push_back(now.eta_seconds ? FormatSeconds(*now.eta_seconds) : "-");
    row.push_back(now.error);
  }
  Row header = Header();
  header.insert(header.end(), {"RATE", "ETA", "REASON"});
  const bool copying =
      std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.size() > kColumns; });
  if (!copying) header.resize(kColumns);
  rows.insert(rows.begin(), std::move(header));
  return Table(rows, kStatus, SurfaceOf(STDOUT_FILENO));
}

// Returns the first text of a JSON object, {"name":"db",...}. A volume's name needs no escape.
std::string FirstText(std::string_view object) {
  const std::vector<std::string> parts = SplitAt(object, '"');
  return parts.size() > 3 ? parts[3] : "";
}

// Whether a field says nothing of a volume that is whole.
bool IsAboutCopying(std::string_view field) {
  return field == "copied_bytes" || field == "total_bytes" || field == "rate_bytes" ||
         field == "eta_seconds" || field == "copy_rate";
}

// The fields of one volume or snapshot, a line each; those without a value are left out.
Result<Drawn> VolumeText(const Client& client, const std::string& volume) {
  ASSIGN_OR_RETURN(const Fields fields, client.Info(volume));
  const bool whole = std::strtod(ValueOf(fields, "hydrated").c_str(), nullptr) >= 100;
  std::vector<Row> rows;
  for (const auto& [field, value] : fields) {
    if (value == "null" || (whole && IsAboutCopying(field))) continue;
    const bool is_size = field == "size" || field.ends_with("_bytes");
    const std::string size = SizeForPeople(value);
    rows.push_back({field, is_size && size != value ? StrCat(size, " (", value, ")") : value});
  }
  return Table(rows, 1, SurfaceOf(STDOUT_FILENO));
}

Result<Drawn> StatusText(const Client& client, const Common& common, const std::string& volume) {
  if (!volume.empty() && common.json) {
    ASSIGN_OR_RETURN(const std::string directory, client.ControlDirectory(volume));
    ASSIGN_OR_RETURN(std::string text, client.ReadControl(directory + "/info.json"));
    return WithLineFeed(text);
  }
  if (!volume.empty()) return VolumeText(client, volume);
  if (!common.json) return StatusTable(client);
  ASSIGN_OR_RETURN(std::string text, client.ReadControl("status.json"));
  return WithLineFeed(text);
}

// Shows what `text` gives again and again: on a terminal in one place, as far as it fits, else
// whenever it changes. Ends with an error, or with the signal that ends the program.
Status Watch(const std::function<Result<Drawn>()>& text) {
  const bool terminal = IsTerminal(STDOUT_FILENO);
  Drawn shown;
  for (;;) {
    ASSIGN_OR_RETURN(const Drawn now, text());
    if (terminal) {
      Print(OnScreen(now, SizeOfTerminal(STDOUT_FILENO)));
    } else if (now != shown) {
      Print(now);
    }
    shown = now;
    RETURN_IF_ERROR(FlushOutput());
    ::poll(nullptr, 0, kWatchMs);
  }
}

// Returns the objects of status.json, or of one volume's info.json, by the names of their volumes.
// A volume that is gone meanwhile is none of them.
Result<std::map<std::string, std::string>> ReadObjects(const Client& client,
                                                       const std::string& volume) {
  const std::string file =
      volume.empty() ? "status.json" : StrCat("volumes/", volume, "/info.json");
  const Result<std::string> text = client.ReadControl(file);
  std::map<std::string, std::string> objects;
  if (!text.ok() && text.error().os_errno == ENOENT) return objects;
  if (!text.ok()) return text.error();
  for (std::string_view line : SplitLines(text.value())) {
    if (line.ends_with(',')) line.remove_suffix(1);
    if (!line.starts_with('{')) continue;
    objects[volume.empty() ? FirstText(line) : volume] = line;
  }
  return objects;
}

// Prints a line for each volume that is new or has changed, and one with the status "deleted" for
// each that is gone.
Status WatchJson(const Client& client, const std::string& volume) {
  std::map<std::string, std::string> shown;
  for (;;) {
    ASSIGN_OR_RETURN(const auto now, ReadObjects(client, volume));
    for (const auto& [name, object] : now) {
      if (shown[name] != object) Print(object + "\n");
    }
    for (const auto& [name, object] : shown) {
      if (!now.contains(name)) Print(JsonLine({{"name", name}, {"status", "deleted"}}));
    }
    shown = now;
    RETURN_IF_ERROR(FlushOutput());
    ::poll(nullptr, 0, kWatchMs);
  }
}

// "TIME EVENT VOLUME, STATUS" of a line of watch/events; the line itself if it is not understood.
std::string EventText(std::string_view line) {
  std::string head;
  std::string tail;
  for (const auto& [key, value] : ParseFlatJson(line)) {
    if (value == "null" || key == "seq" || key == "id") continue;
    if (key == "time" || key == "event" || key == "volume") {
      head += StrCat(head.empty() ? "" : "  ", value);
    } else {
      tail += StrCat("  ", key, "=", value);
    }
  }
  return head.empty() ? std::string(line) : head + tail;
}

void PrintEvents(const Common& common, std::string_view lines) {
  for (const std::string_view line : SplitLines(lines)) {
    Print(StrCat(common.json ? std::string(line) : EventText(line), "\n"));
  }
}

}  // namespace

Status List(const Common& common, const ListOptions& options) {
  if (options.snapshots) return ListSnapshots(common, options.volume);
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  if (common.json) {
    ASSIGN_OR_RETURN(const Drawn text, StatusText(client, common, ""));
    Print(text);
  } else if (options.details) {
    ASSIGN_OR_RETURN(const Drawn text, DetailsTable(client));
    Print(text);
  } else {
    ASSIGN_OR_RETURN(const std::vector<Row> rows, ReadStatusRows(client));
    for (const Row& row : rows) Print(row[kName] + "\n");
  }
  return OkStatus();
}

Status ShowStatus(const Common& common, const StatusOptions& options) {
  Targets targets(common.mount);
  std::string volume;
  if (!options.name.empty()) {
    ASSIGN_OR_RETURN(volume, targets.Image(options.name));
  }
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  if (options.watch && !volume.empty()) RETURN_IF_ERROR(client.CheckVolume(volume));
  if (options.watch && common.json) return WatchJson(client, volume);
  if (options.watch) {
    return Watch([&] {
      return volume.empty() ? StatusTable(client, Order::kBusyFirst) : VolumeText(client, volume);
    });
  }
  ASSIGN_OR_RETURN(const Drawn now, StatusText(client, common, volume));
  Print(now);
  return OkStatus();
}

Status ShowEvents(const Common& common) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  const std::string path = client.PathOf("control/watch/events");
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return SystemFailure(path);
  std::string pending;  // the beginning of a line
  std::array<char, 65536> buffer;
  const Waiting waiting(client.mountpoint(), Waiting::On::kEvents);
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemFailure(path);
    if (got == 0) return OkStatus();  // the daemon ends
    pending.append(buffer.data(), static_cast<size_t>(got));
    const size_t whole = pending.rfind('\n') + 1;  // 0 if there is none
    PrintEvents(common, std::string_view(pending).substr(0, whole));
    pending.erase(0, whole);
    RETURN_IF_ERROR(FlushOutput());
  }
}

}  // namespace volfs::cli
