#include <dirent.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <memory>
#include <optional>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/retention.h"
#include "control/cli/target.h"
#include "control/text/json.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

struct Listed {
  Fields fields;
  std::string json;  // info.json, without its LF
};

// Returns the names in a directory of control/, in its order; none if it is not there.
Result<std::vector<std::string>> NamesIn(const Client& client, const std::string& directory) {
  const Waiting waiting(client.mountpoint());
  const std::string path = client.PathOf("control/" + directory);
  const std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(path.c_str()), &::closedir);
  std::vector<std::string> names;
  if (open == nullptr && errno == ENOENT) return names;
  if (open == nullptr) return SystemFailure(path);
  while (const dirent* entry = ::readdir(open.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

// Appends a volume's snapshots, in the order of their directory: the newest last. Those that are
// deleted meanwhile are left out.
Status AddSnapshotsOf(const Client& client, const std::string& volume, std::vector<Listed>& all) {
  const std::string directory = StrCat("snapshots/", volume);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(client, directory));
  for (const std::string& name : names) {
    const Result<std::string> text = client.ReadControl(StrCat(directory, "/", name, "/info.json"));
    if (!text.ok() && text.error().os_errno == ENOENT) continue;
    if (!text.ok()) return text.error();
    std::string json = text.value().substr(0, text.value().find('\n'));
    Fields fields = ParseFlatJson(json);
    all.push_back({std::move(fields), std::move(json)});
  }
  return OkStatus();
}

Result<std::vector<Listed>> SnapshotsOf(const Client& client, const std::string& volume) {
  std::vector<Listed> all;
  std::vector<std::string> volumes{volume};
  if (volume.empty()) {
    ASSIGN_OR_RETURN(volumes, NamesIn(client, "snapshots"));
  }
  for (const std::string& name : volumes) RETURN_IF_ERROR(AddSnapshotsOf(client, name, all));
  // A volume without snapshots has none to list; one that was never there is an error.
  if (all.empty() && !volume.empty()) RETURN_IF_ERROR(client.CheckVolume(volume));
  return all;
}

std::string SizeOf(const Fields& fields, std::string_view name) {
  const std::string digits = ValueOf(fields, name);
  const std::optional<uint64_t> size = ParseNumber(digits);
  return size ? FormatSize(*size) : digits;
}

std::string NameOfImage(const Fields& fields) {
  return StrCat(ValueOf(fields, "volume"), "@", ValueOf(fields, "name"));
}

Status CheckRules(const KeepRules& rules) {
  for (const KeepRule& rule : rules) {
    if (rule.count > 0) return OkStatus();
  }
  return UsageFailure("say which snapshots to keep: --keep-last N, --keep-daily N, ...");
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// A snapshot, and what the rules say of it.
struct Judged {
  Fields fields;
  std::vector<std::string> reasons;  // to keep it
};

// Returns the snapshots, newest first.
Result<std::vector<Judged>> Judge(std::vector<Listed> oldest_first, const KeepRules& rules) {
  std::vector<Judged> judged;
  std::vector<time_t> times;
  for (auto one = oldest_first.rbegin(); one != oldest_first.rend(); ++one) {
    ASSIGN_OR_RETURN(const time_t created, ParseUtcSeconds(ValueOf(one->fields, "created")));
    times.push_back(created);
    judged.push_back({std::move(one->fields), {}});
  }
  const auto reasons = ReasonsToKeep(times, rules);
  for (size_t i = 0; i < judged.size(); ++i) judged[i].reasons = reasons[i];
  return judged;
}

void PrintJudged(const Common& common, const std::vector<Judged>& snapshots, bool dry_run) {
  if (!common.json) {
    std::vector<Row> rows = {{"NAME", "CREATED", dry_run ? "WOULD BE" : "IS", "BY"}};
    for (const Judged& one : snapshots) {
      rows.push_back({NameOfImage(one.fields), ValueOf(one.fields, "created"),
                      one.reasons.empty() ? "deleted" : "kept", Joined(one.reasons)});
    }
    Print(Table(rows, kNoColumn, SurfaceOf(STDOUT_FILENO)));
    return;
  }
  std::vector<JsonObject> objects;
  objects.reserve(snapshots.size());
  for (const Judged& one : snapshots) {
    objects.push_back({{"name", ValueOf(one.fields, "name")},
                       {"volume", ValueOf(one.fields, "volume")},
                       {"created", ValueOf(one.fields, "created")},
                       {"action", std::string(one.reasons.empty() ? "delete" : "keep")},
                       {"reasons", JsonStrings(one.reasons)}});
  }
  Print(JsonArray(objects));
}

}  // namespace

Status Prune(const Common& common, const PruneOptions& options) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string volume, targets.Volume(options.volume));
  RETURN_IF_ERROR(CheckRules(options.rules));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(std::vector<Listed> listed, SnapshotsOf(client, volume));
  ASSIGN_OR_RETURN(std::vector<Judged> judged, Judge(std::move(listed), options.rules));
  std::optional<Errc> first;
  // The oldest go first, so that the next call can go on where one was interrupted.
  for (auto one = judged.rbegin(); one != judged.rend() && !options.dry_run; ++one) {
    if (!one->reasons.empty()) continue;
    const Result<Reply> deleted = client.Ask("delete", NameOfImage(one->fields));
    if (deleted.ok()) continue;
    PrintError("volfs prune", deleted.error());
    one->reasons = {"an error"};
    if (!first) first = deleted.error().code;
  }
  PrintJudged(common, judged, options.dry_run);
  if (first) return SilentFailure(*first);
  return OkStatus();
}

Status ListSnapshots(const Common& common, const std::string& volume) {
  Targets targets(common.mount);
  std::string name;
  if (!volume.empty()) {
    ASSIGN_OR_RETURN(name, targets.Volume(volume));
  }
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const std::vector<Listed> snapshots, SnapshotsOf(client, name));
  if (common.json) {
    std::string text = "[";
    for (const Listed& one : snapshots) text += (text.size() == 1 ? "\n" : ",\n") + one.json;
    Print(text + (snapshots.empty() ? "]\n" : "\n]\n"));
    return OkStatus();
  }
  std::vector<Row> rows = {{"NAME", "CREATED", "SIZE", "EXCLUSIVE"}};
  for (const Listed& one : snapshots) {
    rows.push_back({NameOfImage(one.fields), ValueOf(one.fields, "created"),
                    SizeOf(one.fields, "size_bytes"), SizeOf(one.fields, "exclusive_bytes")});
  }
  Print(Table(rows, kNoColumn, SurfaceOf(STDOUT_FILENO)));
  return OkStatus();
}

}  // namespace volfs::cli
