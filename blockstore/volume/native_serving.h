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

// Lets the kernel read and write the file of a volume by itself (io=native). The daemon then learns
// size and time of the volume from the file.
//
// Invariants:
//   N1  while it is active, the head is one flat layer, no other layer takes its place, and its
//       file stays open;
//   N2  it becomes active only inside the gate, so a snapshot that closes the gate either sees it
//       active or comes before it.
//
// Thread-safety: all methods from any thread. Locks, in order: the map's gate > its grow_mu() >
// mu_, a leaf, which guards the exported files. Cost where the kernel serves nothing: active() and
// RefreshFromFile are one atomic load.
class NativeServing {
 public:
  NativeServing(const VolumeContext& context, VolumeState& state, OpenState& opens, LiveMap& map)
      : context_(context), state_(state), opens_(opens), map_(map) {}
  NativeServing(const NativeServing&) = delete;
  NativeServing& operator=(const NativeServing&) = delete;

  // Tells whether the kernel may serve the volume from the next open on.
  [[nodiscard]] bool wanted() const { return wanted_.load(); }
  void set_wanted(bool wanted) { wanted_.store(wanted); }

  // Returns a descriptor of the file, which the kernel may read and write until End. Each that is
  // returned is paired with one End. Returns none if the volume is not one raw file.
  Result<Descriptor> Begin() VOLFS_EXCLUDES(mu_);
  void End() VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool active() const { return active_.load() != 0; }
  // Returns kBusy while it is active, with a message that `what` has to wait.
  [[nodiscard]] Status CheckNotActive(std::string_view what) const;

  // Learns size and time of the file if the kernel serves it. After an error the size is not known,
  // and no sync of the volume may be acknowledged.
  Status LearnSize();
  // As LearnSize, and logs the error.
  void RefreshFromFile();
  // As LearnSize, whether the kernel serves the file or not. With kTaken the volume takes the
  // file's time if that has changed since the last call.
  enum class Time { kTaken, kIgnored };
  Status TakeSizeFromFile(Time time);

  // Keeps bytes that the kernel wrote past the committed size, as their fsync may have been
  // acknowledged. Called at a mount, before any request. An error makes the volume read-only.
  Status AdoptAfterCrash();
  // Returns whether AdoptAfterCrash has failed. Then this mount has written nothing to the volume,
  // so it has nothing that is not saved.
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
  std::vector<OpenFiles::Use> exported_ VOLFS_GUARDED_BY(mu_);  // one for each of active_
};

}  // namespace volfs
