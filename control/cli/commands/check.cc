#include "blockstore/check/check.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "blockstore/base/str_cat.h"
#include "blockstore/node/opener.h"
#include "control/cli/commands/commands.h"
#include "control/cli/mount_helper.h"
#include "control/cli/offline_node.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/text/json.h"

namespace volfs::cli {
namespace {

constexpr char kCheckName[] = "volfs check";

struct StoreToCheck {
  std::vector<std::unique_ptr<Node>> nodes;
  std::vector<std::string> names;        // for the last line
  std::vector<volfs::Finding> findings;  // of nodes that could not be opened
};

void NoteUnfinished(const std::string& path, StoreToCheck& store) {
  store.names.push_back(path);
  store.findings.push_back(
      {volfs::Finding::Kind::kNodeUnfinished, volfs::Finding::Weight::kTidy, path,
       StrCat(path,
              ": the making of this node was cut off, so nothing is in it; the "
              "next mount finishes it"),
       false});
}

// A node that is damaged, or was never finished, is a finding.
Status OpenToCheck(const std::string& path, NodeAccess access, StoreToCheck& store) {
  Result<std::unique_ptr<Node>> node = OpenOffline(path, access);
  if (node.ok()) {
    store.names.push_back(node.value()->name());
    store.nodes.push_back(std::move(node.value()));
    return OkStatus();
  }
  if (node.error().code == Errc::kNotFound) {
    NoteUnfinished(path, store);
    return OkStatus();
  }
  if (node.error().code != Errc::kCorrupt) return node.error();
  store.names.push_back(path);
  store.findings.push_back(
      {volfs::Finding::Kind::kCatalog, volfs::Finding::Weight::kDamage, path,
       StrCat(node.error().message,
              "; restore the node's directory from a backup. Some data can be saved: "
              "the files in layers/ of volumes without snapshots are raw "
              "images"),
       false});
  return OkStatus();
}

std::string_view WordOf(const volfs::Finding& finding) {
  if (finding.repaired) return "repaired";
  return finding.weight == volfs::Finding::Weight::kDamage ? "problem" : "note";
}

std::string CheckText(const std::vector<volfs::Finding>& findings, const Surface& surface) {
  constexpr size_t kWidest = std::string_view("repaired").size();
  std::string text;
  for (const volfs::Finding& finding : findings) {
    const std::string_view word = WordOf(finding);
    text += StrCat(Painted(word, surface), std::string(kWidest + 2 - word.size(), ' '),
                   Shown(finding.text, surface), "\n");
  }
  return text;
}

std::string CheckJson(const std::vector<volfs::Finding>& findings) {
  std::vector<JsonObject> objects;
  objects.reserve(findings.size());
  for (const volfs::Finding& finding : findings) {
    const bool damage = finding.weight == volfs::Finding::Weight::kDamage;
    objects.push_back({{"weight", std::string(damage ? "damage" : "tidy")},
                       {"kind", std::string(KindWord(finding.kind))},
                       {"node", finding.node},
                       {"says", finding.text},
                       {"state", std::string(finding.repaired ? "repaired" : "left")}});
  }
  return JsonArray(objects);
}

struct CheckCounts {
  size_t left = 0;  // damage
  size_t mended = 0;
  size_t notes = 0;
};

CheckCounts CountFindings(const std::vector<volfs::Finding>& findings) {
  CheckCounts counts;
  for (const volfs::Finding& finding : findings) {
    if (finding.weight == volfs::Finding::Weight::kTidy) {
      ++counts.notes;
    } else {
      ++(finding.repaired ? counts.mended : counts.left);
    }
  }
  return counts;
}

std::string LastLine(const StoreToCheck& store, const CheckCounts& counts, bool repair) {
  std::string line;
  for (const std::string& name : store.names) line += (line.empty() ? "" : ", ") + name;
  if (counts.left == 0 && counts.mended == 0) return line + ": nothing is wrong";
  line += StrCat(": ", counts.left, counts.left == 1 ? " problem" : " problems", ", ",
                 counts.mended, " repaired");
  if (counts.left > 0 && !repair) line += "; --repair mends those that can be mended";
  return line;
}

Result<int> RunCheck(const Common& common, const CheckStoreOptions& options) {
  StoreToCheck store;
  std::vector<std::string> paths;
  for (const std::string& given : SplitNodeDirectories(options.directories)) {
    if (const Result<DirectoryKind> kind = ClassifyDirectory(given);
        kind.ok() && kind.value() == DirectoryKind::kUnfinished) {
      NoteUnfinished(given, store);
      continue;
    }
    ASSIGN_OR_RETURN(const std::string path, NodeDirectoryOf(given));
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) {
      return UsageFailure(StrCat(given, ": is given twice"));
    }
    paths.push_back(path);
  }
  const NodeAccess access = options.repair ? NodeAccess::kReadWrite : NodeAccess::kReadOnly;
  for (const std::string& path : paths) RETURN_IF_ERROR(OpenToCheck(path, access, store));
  std::vector<Node*> nodes;
  for (const auto& node : store.nodes) nodes.push_back(node.get());
  const Waiting waiting(Waiting::For::kSync);
  CheckOptions how;
  // If some record of a node cannot be read, no file can be called left over.
  how.repair = options.repair && CountFindings(store.findings).left == 0;
  ASSIGN_OR_RETURN(const std::vector<volfs::Finding> found, CheckNodes(nodes, how));
  store.findings.insert(store.findings.end(), found.begin(), found.end());
  const CheckCounts counts = CountFindings(store.findings);
  const Surface surface = SurfaceOf(STDOUT_FILENO);
  Print(Drawn{common.json ? CheckJson(store.findings)
                          : CheckText(store.findings, surface) +
                                Shown(LastLine(store, counts, options.repair), surface) + "\n"});
  RETURN_IF_ERROR(FlushOutput());
  int code = kFsckOk;
  if (counts.mended > 0) code |= kFsckCorrected;
  if (counts.left > 0) code |= kFsckLeft;
  return code;
}

}  // namespace

int CheckStore(const Common& common, const CheckStoreOptions& options) {
  const Result<int> code = RunCheck(common, options);
  if (code.ok()) return code.value();
  std::fflush(stdout);
  PrintError(kCheckName, code.error());
  return code.error().code == Errc::kInvalid ? kFsckUsage : kFsckFailed;
}

}  // namespace volfs::cli
