#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/disk.h"
#include "tests/sim/fiber_runtime.h"
#include "tests/sim/random.h"
#include "tests/sim/trace.h"

namespace volfs::sim {

inline constexpr int kDisks = 2;
inline constexpr uint64_t kNever = ~uint64_t{0};

// The effect of a fault on the call that it strikes.
enum class Fault : uint8_t {
  kIo,       // EIO; of a sync: the pages are clean afterwards but a part of them is lost
  kNoSpace,  // the disk is full for a while
  kShort,    // half of a write, then no room
  kStall,    // it answers after three seconds
};
inline constexpr int kFaults = 4;
std::string_view NameOf(Fault fault);

// The events that shall befall the disks of a run. Calls are counted from 0 over all disks, or only
// the calls that sync: faults around these matter most.
struct CallPlan {
  bool count_syncs = false;
  uint64_t cut_at = kNever;                     // before this call the power goes off ...
  std::array<bool, kDisks> cut = {true, true};  // ... of these disks
  uint64_t fault_at = kNever;
  Fault fault = Fault::kIo;
  uint64_t full_calls = 50;  // kNoSpace: so many changing calls later there is room again
  // Before this call (of any kind) this disk becomes full but for `room_bytes`, and stays so.
  uint64_t fill_at = kNever;
  int fill_disk = 0;
  uint64_t room_bytes = 0;
  // Not at `cut_at`, but in the middle of a clone across the disks, at one of its next syncs, the
  // power goes off of the clone's disk. With count_syncs only.
  bool cut_in_clone = false;
  // Before this call (always counted over all calls) the directory of one disk is moved away from
  // its path, and another copy of it as it is at that moment takes its place. A process that has
  // files open goes on in the one that is away: data that it syncs after this is lost at the next
  // boot.
  uint64_t away_at = kNever;
  int away_disk = 0;
};

// The world of one run: a clock with its fibers, two disks, and a plan of the events that befall
// them. Every call to a disk passes BeforeCall, which is a switch point.
class Machine {
 public:
  enum class Verdict { kGoOn, kIo, kNoSpace, kHalf };

  Machine(uint64_t seed, Trace& trace);

  FiberRuntime& runtime() { return runtime_; }
  Trace& trace() { return trace_; }
  Random& random() { return random_; }  // of the disks
  Disk& disk(int index) { return disks_[static_cast<size_t>(index)]; }
  [[nodiscard]] const Disk& disk(int index) const { return disks_[static_cast<size_t>(index)]; }

  void SetPlan(const CallPlan& plan) { plan_ = plan; }
  [[nodiscard]] const CallPlan& plan() const { return plan_; }
  // A clone that will be on this disk begins: see CallPlan::cut_in_clone.
  void CloneBegins(int disk);
  [[nodiscard]] uint64_t calls() const { return calls_; }
  [[nodiscard]] uint64_t syncs() const { return syncs_; }
  [[nodiscard]] bool faulted() const { return faulted_; }  // a fault has struck since the last boot
  // How often a call has given room back, but for the reserve's.
  [[nodiscard]] uint64_t frees() const { return frees_; }
  [[nodiscard]] bool power_off() const { return power_off_; }  // of any disk

  // `what` of the call, for the trace only.
  Verdict BeforeCall(int disk, Call call, const std::string& name, uint64_t offset_bytes,
                     uint64_t length_bytes);
  // Is somebody's `mv` or a backup that was put in its place done with the disk's directory? See
  // CallPlan::away_at.
  [[nodiscard]] bool away(int disk) const { return before_away_.has_value() && disk == away_disk_; }
  // Called before every call, if set: the exhaustive runs copy the disks here.
  std::function<void()> on_call;

  // The power of these disks goes off now.
  void CutPower(std::array<bool, kDisks> disks);
  // Drops undurable effects, as far as `model` says, on disks that lost power (or on all, if
  // `all`). Then all disks are on again, empty of faults.
  void Boot(const LossModel& model, bool all);
  void MoveAway(int disk);
  // A bit of a file changes at rest, while the disk is not mounted.
  void Flip(int disk, const std::string& name, uint64_t bit);

 private:
  Trace& trace_;
  FiberRuntime runtime_;
  Random random_;
  std::array<Disk, kDisks> disks_;
  CallPlan plan_;
  uint64_t calls_ = 0;
  uint64_t syncs_ = 0;
  uint64_t frees_ = 0;
  uint64_t full_until_ = 0;
  int full_disk_ = -1;
  bool faulted_ = false;
  bool power_off_ = false;
  int away_disk_ = 0;
  std::optional<Disk> before_away_;  // the disk at the path of away_disk_
};

}  // namespace volfs::sim
