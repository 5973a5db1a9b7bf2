#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/node/node.h"
#include "blockstore/store/background/crash_garbage.h"
#include "blockstore/store/background/event_queue.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// What a store does in the background of one node, each second: it looks for the node's loss,
// commits by age and amount, evicts idle maps, keeps the node's reserve and log in order, and tells
// of troubles and of room. The first node's maintainer also frees what a crash left. One for each
// node, with a thread: a node that hangs holds up no other.
//
// Thread-safety: Prepare before Start, Stop last. Locks: mu_, a leaf.
// Cost: of a volume without work, a few locks per second.
class Maintainer {
 public:
  // What it needs of the store; `garbage` is null but for the first node of a mount that writes.
  struct Context {
    EventQueue& events;
    CrashGarbage* garbage;
    std::function<std::vector<std::shared_ptr<Volume>>()> volumes;  // of all nodes
    std::function<std::string(Volume&)> status;                     // as VolumeInfo says it
    Nanoseconds map_idle;
  };
  Maintainer(Node& node, Context context);
  ~Maintainer();  // Stop
  Maintainer(const Maintainer&) = delete;
  Maintainer& operator=(const Maintainer&) = delete;

  // Makes the node's reserve whole, before the background of any node takes room, and tells of its
  // room.
  void Prepare();
  void Start();
  // Returns after the round that is at work.
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  void Work();
  void MaintainOnce(uint64_t tick);
  void MaintainVolume(Volume& volume, uint64_t tick);
  void MaintainCatalog(uint64_t tick);
  [[nodiscard]] bool WaitForTick(Nanoseconds deadline) VOLFS_EXCLUDES(mu_);
  void LookAtRoom();  // tells of what has changed
  // Tell once of each change, by an event and in the log.
  void TellNode();
  void TellVolume(Volume& volume);

  Node& node_;
  const Context context_;

  // What the last events have told; of the thread.
  bool told_node_ok_ = true;
  std::map<Id, std::string> told_troubles_;  // of volumes

  Mutex mu_;
  Condition wake_;
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace volfs
