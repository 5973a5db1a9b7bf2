#include "tests/sim/machine.h"

#include <utility>

#include "blockstore/base/str_cat.h"

namespace volfs::sim {

std::string_view NameOf(Fault fault) {
  constexpr std::string_view kNames[] = {"io", "nospace", "short", "stall"};
  return kNames[static_cast<int>(fault)];
}

Machine::Machine(uint64_t seed, Trace& trace)
    : trace_(trace), runtime_(seed, trace), random_(seed * 0x51ed270b + 7) {}

void Machine::CloneBegins(int disk) {
  if (!plan_.cut_in_clone || !random_.OneIn(3)) return;
  plan_.cut_in_clone = false;
  plan_.cut_at = syncs_ + random_.Between(1, 4);
  plan_.cut = {disk == 0, disk == 1};
}

Machine::Verdict Machine::BeforeCall(int disk, Call call, const std::string& name,
                                     uint64_t offset_bytes, uint64_t length_bytes) {
  runtime_.Advance(std::chrono::microseconds(call == Call::kSync ? 200 : 5));
  runtime_.SwitchReference();
  if (on_call) on_call();
  const uint64_t number = calls_++;
  trace_.Note(number << 8 | static_cast<uint64_t>(disk) << 4 | static_cast<uint64_t>(call));
  trace_.Note(offset_bytes * 31 + length_bytes);
  if (trace_.printing()) {
    trace_.Line(StrCat("  call ", number, " disk ", disk, ' ', NameOf(call), ' ', name, ' ',
                       offset_bytes, '+', length_bytes));
  }
  if (number >= plan_.fill_at) {
    plan_.fill_at = kNever;
    disks_[static_cast<size_t>(plan_.fill_disk)].Fill(plan_.room_bytes);
    if (trace_.printing()) trace_.Line(StrCat("  *** disk ", plan_.fill_disk, " is full"));
  }
  if (number == plan_.away_at) MoveAway(plan_.away_disk);
  if (call == Call::kSync) ++syncs_;
  const bool frees = call == Call::kRemove || call == Call::kPunch || call == Call::kSetSize;
  if (frees && name != "ballast") ++frees_;
  const bool counts = !plan_.count_syncs || call == Call::kSync;
  const uint64_t due = plan_.count_syncs ? syncs_ : number;
  if (counts && due == plan_.cut_at) CutPower(plan_.cut);
  if (!disks_[static_cast<size_t>(disk)].powered()) return Verdict::kIo;
  if (disk == full_disk_ && Changes(call)) {
    if (number < full_until_)
      return call == Call::kPunch || call == Call::kRemove ? Verdict::kGoOn : Verdict::kNoSpace;
    full_disk_ = -1;
  }
  if (!counts || due != plan_.fault_at) return Verdict::kGoOn;
  // A fault that does not fit this call strikes the next one.
  const bool fits = plan_.fault == Fault::kIo || plan_.fault == Fault::kStall ||
                    (plan_.fault == Fault::kNoSpace && Changes(call)) || call == Call::kWrite;
  if (!fits) {
    ++plan_.fault_at;
    return Verdict::kGoOn;
  }
  faulted_ = true;
  if (trace_.printing()) trace_.Line(StrCat("  *** fault ", NameOf(plan_.fault)));
  switch (plan_.fault) {
    case Fault::kIo:
      return Verdict::kIo;
    case Fault::kNoSpace:
      full_disk_ = disk;
      full_until_ = number + plan_.full_calls;
      return call == Call::kPunch || call == Call::kRemove ? Verdict::kGoOn : Verdict::kNoSpace;
    case Fault::kShort:
      return Verdict::kHalf;
    case Fault::kStall:
      runtime_.Sleep(std::chrono::seconds(3));
      return Verdict::kGoOn;
  }
  return Verdict::kGoOn;
}

void Machine::CutPower(std::array<bool, kDisks> disks) {
  for (size_t i = 0; i < kDisks; ++i) {
    if (disks[i]) disks_[i].set_powered(false);
  }
  power_off_ = true;
  trace_.Line("  *** the power goes off");
}

void Machine::Flip(int index, const std::string& name, uint64_t bit) {
  const std::shared_ptr<DiskFile> file = disk(index).Find(name);
  if (file == nullptr) return;
  disk(index).SyncFile(*file);
  file->Flip(bit);
  if (trace_.printing()) trace_.Line(StrCat("  *** bit ", bit, " of ", name, " changes"));
}

void Machine::MoveAway(int index) {
  before_away_ = disk(index);
  away_disk_ = index;
  faulted_ = true;
  trace_.Line(StrCat("  *** the directory of disk ", index, " is moved away"));
}

void Machine::Boot(const LossModel& model, bool all) {
  if (before_away_) {
    const bool powered = disk(away_disk_).powered();
    disk(away_disk_) = *std::exchange(before_away_, std::nullopt);
    disk(away_disk_).set_powered(powered);
  }
  for (Disk& disk : disks_) {
    if (all || !disk.powered()) disk.LosePower(model, random_);
    disk.set_powered(true);
  }
  plan_ = {};
  full_disk_ = -1;
  faulted_ = false;
  power_off_ = false;
}

}  // namespace volfs::sim
