#include "control/cli/doctor.h"

#include <unistd.h>

#include "blockstore/base/str_cat.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/target.h"
#include "control/text/json.h"

namespace volfs::cli {
namespace {

std::string_view Word(Finding::Level level) {
  switch (level) {
    case Finding::Level::kOk:
      return "ok";
    case Finding::Level::kNote:
      return "note";
    case Finding::Level::kWarning:
      return "warning";
    case Finding::Level::kProblem:
      return "problem";
  }
  return "";
}

std::string FindingsJson(const std::vector<Finding>& findings) {
  std::vector<JsonObject> objects;
  objects.reserve(findings.size());
  for (const Finding& finding : findings) {
    objects.push_back({{"level", std::string(Word(finding.level))},
                       {"subject", finding.subject},
                       {"says", finding.says},
                       {"remedy", finding.remedy}});
  }
  return JsonArray(objects);
}

Drawn FindingsText(const std::vector<Finding>& findings) {
  const Surface surface = SurfaceOf(STDOUT_FILENO);
  std::string text;
  for (const Finding& finding : findings) {
    const std::string_view word = Word(finding.level);
    constexpr size_t kWidest = std::string_view("problem").size();
    text += StrCat(Painted(word, surface), std::string(kWidest + 2 - word.size(), ' '),
                   Shown(finding.subject, surface), ": ", Shown(finding.says, surface), "\n");
    if (finding.remedy.empty()) continue;
    text += StrCat(std::string(kWidest + 2, ' '), "-> ", Shown(finding.remedy, surface), "\n");
  }
  return {text};
}

// The mount that --mount or VOLFS_MOUNT names, else all of them.
Result<std::vector<std::string>> MountsToExamine(const Common& common) {
  if (!common.mount.empty() || !DefaultMount().empty()) {
    Targets targets(common.mount);
    ASSIGN_OR_RETURN(const Client client, targets.Mount());
    return std::vector<std::string>{client.mountpoint()};
  }
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  std::vector<std::string> paths;
  for (const MountEntry& mount : VolfsMounts(mounts)) paths.push_back(mount.mountpoint);
  return paths;
}

}  // namespace

Status Doctor(const Common& common) {
  ASSIGN_OR_RETURN(const std::vector<std::string> mounts, MountsToExamine(common));
  std::vector<Finding> findings = ExamineSystem();
  const std::vector<Finding> of_mounts = ExamineMounts(mounts);
  for (const auto& more : {of_mounts, ExamineLoops(of_mounts), ExamineKnownNodes()}) {
    findings.insert(findings.end(), more.begin(), more.end());
  }
  Print(common.json ? Drawn{FindingsJson(findings)} : FindingsText(findings));
  for (const Finding& finding : findings) {
    if (finding.level == Finding::Level::kProblem) return SilentFailure(Errc::kIo);
  }
  return OkStatus();
}

}  // namespace volfs::cli
