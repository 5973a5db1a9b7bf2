#pragma once

#include <functional>
#include <map>
#include <memory>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"

namespace volfs {

class Node;
class Volume;

// Commits what is not synced of a volume as soon as it was not written for `idle`: sync(1) and
// syncfs(2) on the mount are not told to a FUSE daemon, so first writes to a volume over other
// layers, and the growth of any volume, would wait for the maintainer, and a killed daemon lose
// them, where a disk's filesystem keeps what was written. One for each node, with a thread.
//
// What was written in place to blocks that are recorded needs none of this: it lies in the page
// cache of the node's filesystem, survives the daemon, and goes to the disk with that.
//
// Cost: the thread sleeps while no volume has work. While some have, it looks at these each `idle`,
// a few locks each; after a commit it rests kRests times as long as that took (at most
// kLongestRest), so that it has at most the tenth part of the node's time. A volume that is never
// idle, or is not reached for the rests, is committed by the maintainer. The path of writes: see
// NoteUnsynced.
class IdleCommitter {
 public:
  // Longer than the clock of VolumeState::last_change is coarse (10 ms at most).
  static constexpr Nanoseconds kIdle = std::chrono::milliseconds(20);
  static constexpr int kRests = 9;
  static constexpr Nanoseconds kLongestRest = std::chrono::seconds(1);

  // `find`: the volume of this id, or null; called from the thread.
  using Find = std::function<std::shared_ptr<Volume>(Id)>;
  IdleCommitter(Node& node, Nanoseconds idle, Find find);
  ~IdleCommitter();  // the last commit has ended
  IdleCommitter(const IdleCommitter&) = delete;
  IdleCommitter& operator=(const IdleCommitter&) = delete;

 private:
  void Work();
  // One look at all that are noted. Returns how long to rest.
  Nanoseconds Look();
  [[nodiscard]] bool IsIdle(Volume& volume);
  Nanoseconds Commit(Volume& volume);

  Node& node_;
  const Nanoseconds idle_;
  const Find find_;
  std::map<Id, int64_t> last_changes_;  // of the thread: as of its last look
  Thread thread_;
};

}  // namespace volfs
