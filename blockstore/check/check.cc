#include "blockstore/check/check.h"

#include <array>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "blockstore/check/pass.h"

namespace volfs {
namespace {

// In the order of Finding::Kind.
constexpr std::array<std::string_view, kFindingKinds> kKindWords = {
    "catalog",          "same-node",        "node-name",        "block-size",
    "older-copy",       "forked-copy",      "node-unfinished",  "node-absent",
    "id-twice",         "name-twice",       "unknown-type",     "head-missing",
    "head-shared",      "volume-size",      "empty-tombstone",  "snapshot-volume",
    "snapshot-layer",   "snapshot-size",    "parent-missing",   "parent-cycle",
    "parent-bounds",    "presence-of-flat", "presence-bounds",  "present-without-file",
    "file-missing",     "file-short",       "file-long",        "file-unusable",
    "orphan-file",      "foreign-file",     "garbage",          "unreached-layer",
    "unreached-blocks", "hold-missing",     "hold-mismatch",    "hold-unneeded",
    "hold-layer",       "hold-source",      "clone-unfinished", "clone-release",
    "clone-job",        "clone-progress"};

bool AnyDamage(const std::vector<CheckPass::Item>& items) {
  for (const CheckPass::Item& item : items) {
    if (item.finding.weight == Finding::Weight::kDamage) return true;
  }
  return false;
}

// Runs the repairs of one weight and adds the repaired findings to `repaired`. Returns false if one
// failed: its finding then says so.
bool RepairAll(std::vector<CheckPass::Item>& items, Finding::Weight weight,
               std::vector<Finding>& repaired) {
  for (CheckPass::Item& item : items) {
    if (item.finding.weight != weight || !item.repair) continue;
    if (const Status done = item.repair(); !done.ok()) {
      item.finding.text += StrCat("; it was to be repaired, but: ", done.error().message);
      return false;
    }
    item.finding.repaired = true;
    repaired.push_back(item.finding);
  }
  return true;
}

}  // namespace

std::string_view KindWord(Finding::Kind kind) { return kKindWords.at(static_cast<size_t>(kind)); }

// Each repair changes the findings of the next pass (a released hold may leave an unreachable
// layer), so passes repeat until there is nothing left to repair.
Result<std::vector<Finding>> CheckNodes(const std::vector<Node*>& nodes,
                                        const CheckOptions& options) {
  std::vector<Finding> findings;
  for (;;) {
    CheckPass pass(options);
    RETURN_IF_ERROR(pass.Run(nodes));
    std::vector<CheckPass::Item>& items = pass.items();
    const size_t before = findings.size();
    bool more = options.repair;
    if (more) more = RepairAll(items, Finding::Weight::kDamage, findings);
    if (more && !AnyDamage(items)) more = RepairAll(items, Finding::Weight::kTidy, findings);
    if (more && findings.size() > before) continue;
    for (CheckPass::Item& item : items) {
      if (!item.finding.repaired) findings.push_back(std::move(item.finding));
    }
    return findings;
  }
}

}  // namespace volfs
