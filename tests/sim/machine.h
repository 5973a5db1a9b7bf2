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
  kIo,       // EIO; after a failed sync the pages are clean but some of them are lost
  kNoSpace,  // the disk is full for a while
  kShort,    // half of a write, then no room
  kStall,    // the answer comes after three seconds
};
inline constexpr int kFaults = 4;
std::string_view NameOf(Fault fault);

// The planned events for the disks of a run. Calls are counted from 0 over all disks, or only the
// calls that sync, because faults around these matter most.
struct CallPlan {
  bool count_syncs = false;
  uint64_t cut_at = kNever;                     // before this call the power is cut ...
  std::array<bool, kDisks> cut = {true, true};  // ... of these disks
  uint64_t fault_at = kNever;
  Fault fault = Fault::kIo;
  uint64_t full_calls = 50;  // kNoSpace: there is room again after so many changing calls
  // Before this call (of any kind) the disk becomes full except for `room_bytes`, and stays so.
  uint64_t fill_at = kNever;
  int fill_disk = 0;
  uint64_t room_bytes = 0;
  // Cuts the power of the clone's disk not at `cut_at`, but at one of the next syncs of a clone
  // across the disks. With count_syncs only.
  bool cut_in_clone = false;
  // Before this call (counted over all calls) the directory of one disk is moved away from its
  // path, and a copy of it takes its place. A process with open files goes on in the moved
  // directory: data that it syncs after this is lost at the next boot.
  uint64_t away_at = kNever;
  int away_disk = 0;
};

// The world of one run: a clock with its fibers, two disks, and a plan of events for the disks.
// Every call to a disk passes BeforeCall, which is a switch point.
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
  // Reports that a clone to this disk begins (CallPlan::cut_in_clone).
  void CloneBegins(int disk);
  [[nodiscard]] uint64_t calls() const { return calls_; }
  [[nodiscard]] uint64_t syncs() const { return syncs_; }
  [[nodiscard]] bool faulted() const { return faulted_; }  // a fault has struck since the last boot
  // Returns how often a call has given room back, apart from the reserve.
  [[nodiscard]] uint64_t frees() const { return frees_; }
  [[nodiscard]] bool power_off() const { return power_off_; }  // of any disk

  // `what` describes the call, for the trace only.
  Verdict BeforeCall(int disk, Call call, const std::string& name, uint64_t offset_bytes,
                     uint64_t length_bytes);
  // Returns whether the disk's directory was moved away, and a copy put in its place
  // (CallPlan::away_at).
  [[nodiscard]] bool away(int disk) const { return before_away_.has_value() && disk == away_disk_; }
  // If set, is called before every call. The exhaustive runs copy the disks here.
  std::function<void()> on_call;

  // Cuts the power of these disks now.
  void CutPower(std::array<bool, kDisks> disks);
  // Drops the effects that are not durable, as far as `model` says, on disks that lost power (or on
  // all, if `all`). Then all disks are on again, without faults.
  void Boot(const LossModel& model, bool all);
  void MoveAway(int disk);
  // Changes a bit of a file at rest, while the disk is not mounted.
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
