// Compares a snapshot with its volume while the background works on their layers.
#include "blockstore/base/str_cat.h"
#include "tests/sim/workload.h"

namespace volfs::sim {

// No client may write meanwhile, but blocks are copied and merged.
bool Workload::Diff(SnapshotModel& model) {
  VolumeModel& volume = *oracle_.Volume(model.volume);
  if (model.existence != Existence::kYes || model.deleting) return false;
  if (!Usable(volume) || volume.users > 0 || !volume.image.Settled()) return false;
  ++model.users;
  volume.exclusive = true;
  const std::string name = StrCat(volume.name, '@', model.name);
  Note(StrCat("diff ", name));
  const bool busy = SourceBusy(volume) || volume.failed;
  const auto bytes = random_.OneIn(2) ? Store::Bytes::kReadable : Store::Bytes::kRangesOnly;
  const Status done = [&]() -> Status {
    const Id snapshot = store_.SnapshotId(volume.name, model.name);
    const std::shared_ptr<Volume> now = store_.Find(volume.id);
    ASSIGN_OR_RETURN(const auto open, store_.OpenSnapshotImage(snapshot));
    ASSIGN_OR_RETURN(const std::vector<std::byte> before, ReadAll(open->image()));
    ASSIGN_OR_RETURN(const auto diff, store_.OpenDiffWithNow(snapshot, now, bytes));
    ASSIGN_OR_RETURN(const std::vector<std::byte> after, ReadAll(*now));
    if (auto wrong = CheckDiff(*diff, before, after)) {
      Violation(StrCat("the diff of ", name, " and now: ", *wrong));
    }
    return OkStatus();
  }();
  volume.exclusive = false;
  --model.users;
  if (!done.ok()) {
    Check(done.error(), StrCat("diff ", name), busy || SourceBusy(volume) || SourceAway(volume));
  }
  return true;
}

}  // namespace volfs::sim
