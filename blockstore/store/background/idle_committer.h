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

// Commits the unsynced work of a volume as soon as the volume was not written for `idle`. The
// kernel tells a FUSE daemon nothing of sync(1) and syncfs(2). So first writes over other layers,
// and the growth of a volume, would wait for the maintainer, and a killed daemon would lose them.
// One for each node, with a thread of its own.
//
// Writes in place, to recorded blocks, need no commit: they are in the page cache of the node's
// filesystem, which outlives the daemon and which sync(1) reaches.
//
// Cost: the thread sleeps while no volume has work. While some have, it looks at them each `idle`,
// a few locks for each. After a commit it rests kRests times as long as that took, at most
// kLongestRest, so it takes at most a tenth of the node's time. The maintainer commits volumes that
// are never idle, or that this thread does not reach. For the cost of a write see
// Committer::NoteUnsynced.
class IdleCommitter {
 public:
  // Longer than a tick of the coarse clock of VolumeState::last_change (10 ms at most).
  static constexpr Nanoseconds kIdle = std::chrono::milliseconds(20);
  static constexpr int kRests = 9;
  static constexpr Nanoseconds kLongestRest = std::chrono::seconds(1);

  // Returns the volume with this id, or null. Called by the thread.
  using Find = std::function<std::shared_ptr<Volume>(Id)>;
  IdleCommitter(Node& node, Nanoseconds idle, Find find);
  ~IdleCommitter();  // returns after the last commit
  IdleCommitter(const IdleCommitter&) = delete;
  IdleCommitter& operator=(const IdleCommitter&) = delete;

 private:
  void Work();
  // Looks once at all noted volumes. Returns how long to rest.
  Nanoseconds Look();
  [[nodiscard]] bool IsIdle(Volume& volume);
  Nanoseconds Commit(Volume& volume);

  Node& node_;
  const Nanoseconds idle_;
  const Find find_;
  std::map<Id, int64_t> last_changes_;  // at the last look; used by the thread only
  Thread thread_;
};

}  // namespace volfs
