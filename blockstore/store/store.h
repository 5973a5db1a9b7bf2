#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
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
#include "blockstore/store/open_diff.h"
#include "blockstore/store/open_snapshot.h"
#include "blockstore/store/options.h"
#include "blockstore/store/parts.h"
#include "blockstore/store/requests.h"
#include "blockstore/store/settings.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// All volumes of the nodes of one mount: their names, the requests that make and change them, and
// the work in the background.
//
// A request either fails and leaves nothing behind, or is durable when it returns (a size set with
// Volume::Grow: with the next Sync). Names are unique over the nodes.
//
// A facade: the state is in its parts (parts.h), each request is in a source that is named as its
// control file, and the background work has classes of its own.
//
// Thread-safety: all methods from any thread, with no lock of the store held. Locks: the parts'. A
// request reserves names and sources under StoreTables::mu, works without it, and publishes under
// it.
class Store {
 public:
  // Opens the nodes' volumes, reconciles holds and clones between them (recovery.h), removes the
  // files of cut-off requests, and starts the background work. Returns kCorrupt, kExists (one name
  // on two nodes) or kIo.
  static Result<std::unique_ptr<Store>> Open(std::vector<std::unique_ptr<Node>> nodes,
                                             const StoreOptions& options);
  // Calls Close, unless that was called, and closes the nodes.
  ~Store();
  // Stops the background work and commits everything. An error names the volumes and nodes that are
  // not durable. Requires: no other thread uses the store, then or later.
  Status Close();

  // --- looking ---------------------------------------------------------------------------------
  // Find returns null if there is none. shared_ptr: an open file or a running request keeps a
  // volume that was deleted meanwhile.
  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) {
    return parts_.tables.Find(name);
  }
  [[nodiscard]] std::shared_ptr<Volume> Find(Id id) { return parts_.tables.Find(id); }
  // Returns all volumes, by name.
  [[nodiscard]] std::vector<std::shared_ptr<Volume>> Volumes() { return parts_.tables.Volumes(); }
  Result<VolumeInfo> Info(const std::string& name);
  VolumeInfo Info(Volume& volume);
  // Returns the extents of the volume's map, ascending, clipped to its size.
  Result<std::vector<MapRange>> Map(Volume& volume);
  [[nodiscard]] std::vector<NodeInfo> Nodes();
  [[nodiscard]] std::vector<std::unique_ptr<Node>>& nodes() { return parts_.nodes; }

  [[nodiscard]] std::vector<SnapshotDirectory> SnapshotDirectories();
  // Find the one of a volume, by its id or its name; nothing if there is none.
  [[nodiscard]] std::optional<SnapshotDirectory> FindSnapshotDirectory(Id volume);
  [[nodiscard]] std::optional<SnapshotDirectory> FindSnapshotDirectory(std::string_view volume);
  [[nodiscard]] std::vector<SnapshotInfo> Snapshots(Id volume);
  [[nodiscard]] std::optional<SnapshotInfo> FindSnapshot(Id id);
  // Returns kNoId if there is none.
  [[nodiscard]] Id SnapshotId(const std::string& volume, const std::string& snapshot);
  [[nodiscard]] std::vector<Id> SnapshotIds();  // of all volumes, ascending
  Result<std::shared_ptr<OpenSnapshot>> OpenSnapshotImage(Id id);
  // Returns the extents of the snapshot's map, as Map does.
  Result<std::vector<MapRange>> MapOfSnapshot(Id id);
  // Return snapshots with their exclusive_bytes: one, or all by their volume's name and their age.
  // The bytes are counted when they are asked for (Reclaimer::BytesFreedWithout), and then told
  // again for ten times as long as that took, so that readers cost at most a tenth of a processor
  // per snapshot. While the node does not let itself be counted the last count is told, 0 if there
  // is none.
  [[nodiscard]] std::optional<SnapshotInfo> MeasureSnapshot(Id id);
  [[nodiscard]] std::vector<SnapshotInfo> MeasureSnapshots();

  // --- comparing (diffs.cc) --------------------------------------------------------------------
  // Opens the difference between two snapshots, by their ids. Returns the errors of
  // OpenSnapshotImage.
  Result<std::shared_ptr<OpenDiff>> OpenDiffOf(Id before, Id after);
  // Opens the difference between a snapshot and the volume as it is now, uncommitted writes
  // included. With kRangesOnly it takes a copy of the volume's map, and its bytes cannot be read.
  // With kReadable it makes a snapshot point (PinSnapshotPoint), with the errors of that.
  enum class Bytes : uint8_t { kRangesOnly, kReadable };
  Result<std::shared_ptr<OpenDiff>> OpenDiffWithNow(Id before,
                                                    const std::shared_ptr<Volume>& volume,
                                                    Bytes bytes);

  // --- requests --------------------------------------------------------------------------------
  // Failures come in the order of contract.md section 6.
  Result<std::shared_ptr<Volume>> Create(const CreateRequest& request, const Caller& caller);
  Result<std::shared_ptr<Volume>> Clone(const CloneRequest& request, const Caller& caller);
  Result<SnapshotInfo> TakeSnapshot(const std::string& volume, const std::string& name,
                                    const Caller& caller);
  Status Resize(const std::string& name, uint64_t size_bytes, const Caller& caller);
  // As Volume::Shrink. Returns kProtected unless the options allow it or `cut` is kUnwritten, kBusy
  // for a clone that is not whole.
  Status Shrink(Volume& volume, uint64_t size_bytes, Volume::Cut cut = Volume::Cut::kAnything);
  // Gives the volume the contents and the size of the snapshot. Its other snapshots stay.
  Status Revert(const std::string& volume, const std::string& snapshot, const Caller& caller);
  // Deletes a volume; cancels a clone that is `creating`.
  Status Delete(const std::string& name, const Caller& caller);
  Status DeleteSnapshot(const std::string& volume, const std::string& snapshot,
                        const Caller& caller);
  Status Cancel(const std::string& name, const Caller& caller);
  Status Resume(const std::string& name, const Caller& caller);
  Status Rename(const std::string& from, const std::string& to);
  Status RenameSnapshot(const std::string& volume, const std::string& from, const std::string& to);

  // Returns the node that a clone may still read from, null if there is none or it is not mounted.
  [[nodiscard]] Node* SourceNodeOf(Id clone);

  // Makes all volumes durable. Returns one sentence for each volume that is not, and one for each
  // node that cannot be written; empty if all is durable. Passes over nodes that do not answer, or
  // waits for them.
  enum class Silent { kPassedOver, kWaitedFor };
  std::vector<std::string> CommitAll(Silent silent = Silent::kPassedOver);

  // Makes a commit that changes nothing on each node, so that a node that takes no write is noticed
  // even if nothing is to be saved on it.
  void CommitToEachNode();

  // --- sharing instead of copying (requests/share.cc) --------------------------------------------
  // Returns whether `target` could share blocks with `source`: it is on the same node and was never
  // written to.
  [[nodiscard]] bool MayShare(const Volume& source, Volume& target);
  // Makes a snapshot without a name, which lives as long as the OpenSnapshot. Returns kBusy if the
  // lock of the source is taken.
  Result<std::shared_ptr<OpenSnapshot>> PinSnapshotPoint(const std::shared_ptr<Volume>& source);
  // As Volume::ShowThrough: makes `range` of `target` show the same as in `source`, without
  // copying. Durable with the target's next Sync. After kWrongRegion the caller has to copy these
  // bytes.
  Status Share(const std::shared_ptr<OpenSnapshot>& source, const std::shared_ptr<Volume>& target,
               const ByteRange& range);

  // --- parts for the layers above ----------------------------------------------------------------
  Settings& settings() { return parts_.settings; }
  Hydrator& hydrator() { return parts_.hydrator; }
  EventQueue& events() { return parts_.events; }

 private:
  Store(std::vector<std::unique_ptr<Node>> nodes, const StoreOptions& options);
  void Start();

  StoreParts parts_;
  bool closed_ = false;

  // The background work: one of each class for each node.
  std::vector<std::unique_ptr<Maintainer>> maintainers_;
  std::vector<std::unique_ptr<LayerMerger>> mergers_;
  std::vector<std::unique_ptr<IdleCommitter>> idle_committers_;
};

}  // namespace volfs
