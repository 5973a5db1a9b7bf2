#include "blockstore/base/str_cat.h"
#include "blockstore/node/node.h"
#include "blockstore/store/store.h"

namespace volfs {

void Store::CommitToEachNode() {
  if (parts_.options.read_only) return;
  for (const auto& node : parts_.nodes) {
    if (!node->Works()) continue;
    // SQLite writes no page that has not changed, so the setting is changed, and back. An error has
    // fenced the node, or is a lack of room, which every other commit meets too.
    (void)node->catalog().Commit({PutSetting{kCleanKey, "1"}, PutSetting{kCleanKey, "0"}},
                                 Room::kFree);
  }
}

std::vector<std::string> Store::CommitAll(Silent silent) {
  std::vector<std::string> volumes;
  for (const auto& volume : Volumes()) {
    // Volumes of a fenced node are covered by the sentence about the node.
    if (volume->node().catalog().fenced() || volume->native().closed_by_mount()) continue;
    if (silent == Silent::kPassedOver && !volume->node().CheckAnswers().ok()) continue;
    Status done = volume->Sync();
    if (done.ok()) done = volume->commits().SyncAttributes();
    if (!done.ok())
      volumes.push_back(StrCat("volume ", volume->name(), ": ", done.error().message));
  }
  std::vector<std::string> unsaved;
  for (const auto& node : parts_.nodes) {
    if (!node->Works()) unsaved.push_back(StrCat("node ", node->name(), ": ", node->State()));
  }
  unsaved.insert(unsaved.end(), volumes.begin(), volumes.end());
  return unsaved;
}

}  // namespace volfs
