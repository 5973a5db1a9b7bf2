// Operations of clients that know about full disks.
#include "blockstore/base/str_cat.h"
#include "tests/sim/workload.h"

namespace volfs::sim {

bool Workload::MayLackRoom(const std::string& what) const {
  if (what.starts_with("delete ") || what.starts_with("revert ") || what.starts_with("fsync ")) {
    return false;
  }
  for (int disk = 0; disk < kDisks; ++disk) {
    if (machine_.disk(disk).limited()) return true;
  }
  return false;
}

uint64_t Workload::MissingReserve(int disk) const {
  const std::string name(1, static_cast<char>('a' + disk));
  for (const auto& node : store_.nodes()) {
    if (node->name() == name) return node->catalog().missing_reserve_bytes();
  }
  return 0;
}

bool Workload::Drained(int disk) const {
  const uint64_t missing_bytes = MissingReserve(disk);
  return missing_bytes > 0 && machine_.disk(disk).FreeBytes() < missing_bytes;
}

Workload::Growth::Growth(Workload& workload, int disk)
    : workload_(workload),
      disk_(disk),
      drained_(workload.Drained(disk)),
      frees_(workload.machine_.frees()) {}

void Workload::Growth::Succeeded(const std::string& what) {
  const bool freed = workload_.machine_.frees() != frees_;
  if (!drained_ || freed || !workload_.Drained(disk_)) return;
  workload_.Violation(StrCat(what, " was made out of the reserve of a full node"));
}

void Workload::Empty(int disk) {
  for (auto& snapshot : oracle_.snapshots()) {
    const bool there = snapshot->existence == Existence::kYes && snapshot->decided;
    if (there && oracle_.Volume(snapshot->volume)->disk == disk) (void)DeleteSnapshot(*snapshot);
  }
  for (auto& model : oracle_.volumes()) {
    if (model->disk == disk && Usable(*model)) (void)Delete(*model, false);
  }
  SleepFor(std::chrono::seconds(12));  // the background frees, and completes the reserve
  if (Troubled()) return;
  constexpr uint64_t kForOne = 64 * 1024;
  if (machine_.disk(disk).FreeBytes() < MissingReserve(disk) + kForOne) return;
  if (MissingReserve(disk) != 0) Violation("there is room, but the reserve is not whole");
  const VolumeModel& made = Make(disk, 1024);
  if (made.existence != Existence::kYes) Violation("a disk has room again, but nothing is made");
}

}  // namespace volfs::sim
