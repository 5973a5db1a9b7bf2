#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/layer/open_files.h"
#include "blockstore/volume/context.h"
#include "blockstore/volume/live_map.h"
#include "blockstore/volume/open_state.h"
#include "blockstore/volume/state.h"

namespace volfs {

// Lets the kernel read and write the file of a volume by itself (io=native), and learns afterwards
// what it did: the file's size and time are the volume's.
//
// Invariants:
//   N1  while it is active, the head is one flat layer, no other takes its place, and its file
//   stays
//       open;
//   N2  it becomes active only inside the gate, so a snapshot that has closed the gate sees it or
//       precedes it.
//
// Thread-safety: all methods from any thread. Locks, in order: the map's gate > its grow_mu() >
// mu_, a leaf, which guards what is exported. Cost where the kernel serves nothing: active() and
// RefreshFromFile are one atomic load.
class NativeServing {
 public:
  NativeServing(const VolumeContext& context, VolumeState& state, OpenState& opens, LiveMap& map)
      : context_(context), state_(state), opens_(opens), map_(map) {}
  NativeServing(const NativeServing&) = delete;
  NativeServing& operator=(const NativeServing&) = delete;

  // May the kernel serve the volume from the next open on?
  [[nodiscard]] bool wanted() const { return wanted_.load(); }
  void set_wanted(bool wanted) { wanted_.store(wanted); }

  // The kernel may read and write the file that is returned from now until End (one each). None if
  // the volume is not one raw file.
  Result<Descriptor> Begin() VOLFS_EXCLUDES(mu_);
  void End() VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool active() const { return active_.load() != 0; }
  // Returns kBusy while it is active; `what` is named as what has to wait.
  [[nodiscard]] Status CheckNotActive(std::string_view what) const;

  // Learns size and time of the file if the kernel serves it. An error means that the size is not
  // known, of which nothing may be acknowledged.
  Status LearnSize();
  // ... and logs the error.
  void RefreshFromFile();
  // The same whether the kernel serves it or not. kTaken: the file's time counts if it has changed
  // since the last look.
  enum class Time { kTaken, kIgnored };
  Status TakeSizeFromFile(Time time);

  // At a mount, before anything else: keeps what was written past the size that was committed, as
  // its fsync may have been acknowledged. An error makes the volume read-only.
  Status AdoptAfterCrash();
  // That failed: nothing was written to the volume in this mount, so nothing of it can be unsaved.
  [[nodiscard]] bool closed_by_mount() const { return closed_by_mount_; }

 private:
  Status AdoptIfAlone();

  const VolumeContext context_;
  VolumeState& state_;
  OpenState& opens_;
  LiveMap& map_;
  std::atomic<bool> wanted_{false};
  std::atomic<int> active_{0};  // grows only inside the gate
  std::atomic<int64_t> followed_mtime_ns_{0};
  bool closed_by_mount_ = false;  // constant after the mount

  Mutex mu_;
  std::vector<OpenFiles::Use> lent_ VOLFS_GUARDED_BY(mu_);  // one for each of active_
};

}  // namespace volfs
