#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/clone/hydrator.h"
#include "blockstore/node/node.h"
#include "blockstore/store/background/event_queue.h"
#include "blockstore/store/background/idle_committer.h"
#include "blockstore/store/background/maintainer.h"
#include "blockstore/store/caller.h"
#include "blockstore/store/info.h"
#include "blockstore/store/layer_merger.h"
#include "blockstore/store/open_snapshot.h"
#include "blockstore/store/options.h"
#include "blockstore/store/parts.h"
#include "blockstore/store/requests.h"
#include "blockstore/store/settings.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// All volumes of the nodes of one mount: names, requests, and what runs in the background.
//
// Every request either fails and leaves nothing behind, or is durable when it returns (a size set
// with Volume::Grow: with the next Sync). Names are unique over the nodes.
//
// A facade: what it does is in its parts (parts.h), each request is in a source that is named as
// its control file, and what runs in the background has classes of its own.
//
// Thread-safety: all methods from any thread, with no lock of the store held. Locks: the parts'. A
// request reserves what it needs under StoreTables::mu, works without it, and publishes under it.
class Store {
 public:
  // Opens the nodes' volumes, reconciles holds and clones between them (recovery.h), removes what
  // crashes left, and starts the background work. kCorrupt, kExists (one name on two nodes), kIo.
  static Result<std::unique_ptr<Store>> Open(std::vector<std::unique_ptr<Node>> nodes,
                                             const StoreOptions& options);
  // Close, unless that was called; closes the nodes.
  ~Store();
  // Stops background work and commits everything. An error names the volumes and nodes of which
  // something is not durable. Requires: no other thread uses the store, then or later.
  Status Close();

  // --- looking ---------------------------------------------------------------------------------
  // shared_ptr: an open file or a running request keeps a volume that was deleted meanwhile.
  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) {
    return parts_.tables.Find(name);
  }
  [[nodiscard]] std::shared_ptr<Volume> Find(Id id) { return parts_.tables.Find(id); }
  // By name.
  [[nodiscard]] std::vector<std::shared_ptr<Volume>> Volumes() { return parts_.tables.Volumes(); }
  Result<VolumeInfo> Info(const std::string& name);
  VolumeInfo Info(Volume& volume);
  // The extents of the volume's map, ascending, clipped to its size.
  Result<std::vector<MapRange>> Map(Volume& volume);
  [[nodiscard]] std::vector<NodeInfo> Nodes();
  [[nodiscard]] std::vector<std::unique_ptr<Node>>& nodes() { return parts_.nodes; }

  [[nodiscard]] std::vector<SnapshotDirectory> SnapshotDirectories();
  [[nodiscard]] std::vector<SnapshotInfo> Snapshots(Id volume);
  [[nodiscard]] std::optional<SnapshotInfo> FindSnapshot(Id id);
  Result<std::shared_ptr<OpenSnapshot>> OpenSnapshotImage(Id id);

  // --- requests --------------------------------------------------------------------------------
  // Failures come in the order of contract.md section 6.
  Result<std::shared_ptr<Volume>> Create(const CreateRequest& request, const Caller& caller);
  Result<std::shared_ptr<Volume>> Clone(const CloneRequest& request, const Caller& caller);
  Result<SnapshotInfo> TakeSnapshot(const std::string& volume, const std::string& name,
                                    const Caller& caller);
  Status Resize(const std::string& name, uint64_t size_bytes, const Caller& caller);
  // As Volume::Shrink. kProtected unless options allow it, or `cut` says that nothing written may
  // go; kBusy for a clone that is not whole.
  Status Shrink(Volume& volume, uint64_t size_bytes, Volume::Cut cut = Volume::Cut::kAnything);
  // The volume is what it was at the snapshot, its size too; its other snapshots stay.
  Status Revert(const std::string& volume, const std::string& snapshot, const Caller& caller);
  // Of a clone that is `creating`: cancels it.
  Status Delete(const std::string& name, const Caller& caller);
  Status DeleteSnapshot(const std::string& volume, const std::string& snapshot,
                        const Caller& caller);
  Status Cancel(const std::string& name, const Caller& caller);
  Status Resume(const std::string& name, const Caller& caller);
  Status Rename(const std::string& from, const std::string& to);
  Status RenameSnapshot(const std::string& volume, const std::string& from, const std::string& to);

  // Of a clone that may still read from another node; null: of none.
  [[nodiscard]] Node* SourceNodeOf(Id clone);

  // Makes durable all that was written. Returns what is not, a sentence for each volume, and one
  // for each node that cannot be written: empty if all is durable. Nodes that do not answer are
  // passed over, or waited for.
  enum class Silent { kPassedOver, kWaitedFor };
  std::vector<std::string> CommitAll(Silent silent = Silent::kPassedOver);

  // Commits to the catalog of each node what is there already, so that a node that takes no write
  // is noticed although nothing is to be saved on it.
  void CommitToEachNode();

  // --- sharing instead of copying (requests/share.cc) --------------------------------------------
  // Could `target` share blocks with what is on `source`'s node? Only what was never written to
  // can.
  [[nodiscard]] bool MayShare(const Volume& source, Volume& target);
  // A snapshot without a name, for as long as somebody has it. kBusy if the source's lock is taken.
  Result<std::shared_ptr<OpenSnapshot>> PinSnapshotPoint(const std::shared_ptr<Volume>& source);
  // Makes `range` of `target` show what `source` has there, without copying; the target grows if it
  // must. From a block's start to a block's end, or to the source's. Durable with the target's next
  // Sync. kWrongRegion: these bytes have to be copied.
  Status Share(const std::shared_ptr<OpenSnapshot>& source, const std::shared_ptr<Volume>& target,
               const ByteRange& range);

  // --- what has a class of its own ---------------------------------------------------------------
  Settings& settings() { return parts_.settings; }
  Hydrator& hydrator() { return parts_.hydrator; }
  EventQueue& events() { return parts_.events; }

 private:
  Store(std::vector<std::unique_ptr<Node>> nodes, const StoreOptions& options);
  void Start();

  StoreParts parts_;
  bool closed_ = false;

  // What runs in the background, one of each a node.
  std::vector<std::unique_ptr<Maintainer>> maintainers_;
  std::vector<std::unique_ptr<LayerMerger>> mergers_;
  std::vector<std::unique_ptr<IdleCommitter>> idle_committers_;
};

}  // namespace volfs
