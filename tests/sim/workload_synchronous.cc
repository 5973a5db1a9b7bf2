// Operations of clients that are durable when they return.
#include "blockstore/base/str_cat.h"
#include "tests/sim/workload.h"

namespace volfs::sim {

// Makes some calls synchronous, as O_DSYNC does.
Volume::Durability Workload::DrawDurability() {
  const bool chosen =
      synchronous_ == Synchronous::kAll || (synchronous_ == Synchronous::kSome && random_.OneIn(6));
  return chosen ? Volume::Durability::kAtReturn : Volume::Durability::kWithSync;
}

// Runs before the call that made a change returns.
Status Workload::Conclude(Volume& volume, VolumeModel& model, Volume::Durability durability) {
  if (durability == Volume::Durability::kWithSync) return OkStatus();
  const bool had_failed = model.failed;
  const Status done = volume.Conclude(durability);
  if (done.ok() && had_failed) {
    Violation(StrCat("a synchronous call on ", model.name, " succeeds after a sync that failed"));
  }
  if (!done.ok() && done.error().code == Errc::kIo) model.failed = true;
  return done;
}

// Runs after it, when only calls that have ended may have touched the range.
void Workload::Acknowledged(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes,
                            Volume::Durability durability) {
  if (durability == Volume::Durability::kWithSync) return;
  model.image.IsDurable(offset_bytes, length_bytes);
}

}  // namespace volfs::sim
