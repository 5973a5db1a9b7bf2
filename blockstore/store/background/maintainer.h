#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/node/node.h"
#include "blockstore/store/background/crash_garbage.h"
#include "blockstore/store/background/event_queue.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// Keeps one node of a store in order, each second: looks whether the node is lost, commits by age
// and amount, evicts idle maps, keeps the node's reserve and log in order, and emits events for
// troubles and for changes of room. The first node's maintainer also frees the garbage of a crash.
// There is one for each node, with a thread, so that a node that hangs holds up no other.
//
// Thread-safety: Prepare before Start, Stop last. Locks: mu_, a leaf.
// Cost: of a volume without work, a few locks per second.
class Maintainer {
 public:
  // The parts of the store that a maintainer needs. `garbage` is set for the first node of a mount
  // that writes, else null.
  struct Context {
    EventQueue& events;
    CrashGarbage* garbage;
    std::function<std::vector<std::shared_ptr<Volume>>()> volumes;  // of all nodes
    std::function<std::string(Volume&)> status;                     // as in VolumeInfo
    Nanoseconds map_idle;
  };
  Maintainer(Node& node, Context context);
  ~Maintainer();  // Stop
  Maintainer(const Maintainer&) = delete;
  Maintainer& operator=(const Maintainer&) = delete;

  // Makes the node's reserve whole and tells of its room. Called for all nodes before the
  // background work of any takes room.
  void Prepare();
  void Start();
  // Returns after the running round.
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  void Work();
  void MaintainOnce(uint64_t tick);
  // Makes the damage that a use of a layer found, also a copy's or a snapshot's, the trouble of
  // each volume over that layer until the layer can be read again. Looks at the file of the head,
  // and at those of the layers under it that are not in `seen` (null: at none). Cost: one stat(2)
  // a file that is open, one read a damaged layer.
  void LookForDamage(Volume& volume, std::unordered_set<Id>* seen);
  void MaintainVolume(Volume& volume, uint64_t tick);
  void MaintainCatalog(uint64_t tick);
  [[nodiscard]] bool WaitForTick(Nanoseconds deadline) VOLFS_EXCLUDES(mu_);
  void LookAtRoom();  // tells of a change
  // Tell once of each change, by an event and in the log.
  void TellNode();
  void TellVolume(Volume& volume);

  Node& node_;
  const Context context_;

  // The contents of the last events; used by the thread only.
  bool told_node_ok_ = true;
  std::map<Id, std::string> told_troubles_;  // of volumes

  Mutex mu_;
  Condition wake_;
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace volfs
