#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/clone/clone_job.h"
#include "blockstore/clone/hydrator.h"
#include "blockstore/layer/image.h"
#include "blockstore/layer/layer_table.h"
#include "blockstore/layer/reclaim.h"
#include "blockstore/node/node.h"
#include "blockstore/store/idle_committer.h"
#include "blockstore/sync/epoch.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// Who asks. Root (uid 0) may everything.
struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // supplementary
};
enum class Right { kRead = 4, kWrite = 2 };
bool Allowed(const Caller& caller, const Attributes& attributes, Right right);

// The mode of a volume that is made with `mode`: `cp` makes its target with the mode of its source,
// which of a snapshot is 0444, and nobody, root included, could write, attach or delete the copy.
// So the owner may write what he makes. Only a chmod makes a volume read-only.
[[nodiscard]] uint32_t NewVolumeMode(uint32_t mode);

// What `status` says of one volume, at one moment.
struct VolumeInfo {
  Id id = kNoId;
  std::string name;
  std::string status;  // creating, available, in-use, deleting, error
  uint64_t size_bytes = 0;
  std::string type;
  std::string node;
  std::string region;
  std::string source;   // of a clone that is not whole yet: what it was asked for as; else empty
  std::string error;    // why it is `error`, or why copying pauses
  bool paused = false;  // the latter
  int64_t created_ns = 0;
  int attachments = 0;           // opens
  uint64_t allocated_bytes = 0;  // what its layers take, shared ones and a source's included
  uint64_t exclusive_bytes = 0;  // of these, what deleting it would free at least
  CloneProgress progress;        // of a clone that is not whole yet; 100 per cent otherwise
  uint64_t copy_rate = Throttle::kUnlimited;  // its own limit, bytes a second
  Verification verification = Verification::kNone;
  bool native = false;  // io=native was asked for
};

struct SnapshotInfo {
  Id id = kNoId;
  std::string volume;
  Id volume_id = kNoId;
  std::string name;
  uint64_t size_bytes = 0;
  Attributes attributes;
  uint64_t allocated_bytes = 0;  // an upper bound, as of a volume
};

struct NodeInfo {
  Id id = kNoId;
  std::string uuid, name, path, region, state;
  std::vector<VolumeType> types;
  SpaceInfo space;
  uint64_t waiting_seconds = 0;  // NodeCalls::waiting_seconds
  bool works = true;             // it can be read and written
  Fullness fullness = Fullness::kRoomy;
  uint64_t missing_reserve_bytes = 0;
  // NodeDirectory::FilesystemName: nodes with the same one share their room.
  std::string filesystem = {};
};

// The room of all `nodes` together: nodes that share a filesystem have its room once. Where their
// sizes differ, each has a quota of its own there, and both count. One that cannot tell counts as
// nothing, so that it does not hide what the others have.
[[nodiscard]] SpaceInfo SpaceOfAll(const std::vector<NodeInfo>& nodes);

struct CreateRequest {
  std::string name;
  std::optional<uint64_t> size_bytes;  // none: an empty file, to which no least size applies
  std::string type;                    // empty: the default
  std::string node;                    // empty: the first that offers the type
  uint32_t mode = 0600;
  std::optional<bool> native;  // io=native; none: as StoreOptions says
};

struct CloneRequest {
  std::string source{};    // a volume
  std::string snapshot{};  // empty: of the volume's contents now
  std::string name{};
  std::optional<uint64_t> size_bytes{};
  std::string type{};  // empty: the source's
  std::string node{};  // empty: the one with most room that is not the source's
  bool linked = false;
  bool verify = false;  // read back what is copied, and compare
  std::string token{};
  std::string words{};  // the canonical request, for a retry with the same token
};

// A range of a volume and where it lives.
struct MapRange {
  ByteRange bytes;
  bool zero = false;  // nowhere: reads as zeros
  std::string node;   // of the layer; the name of one that is not mounted too
  std::string layer;  // its file, "layers/0123456789abcd00"
};

// Something changed: for watchers, and for caches above. Sent by the store's own notifier thread,
// in order, with no lock held.
struct StoreEvent {
  uint64_t seq = 0;
  int64_t time_ns = 0;
  std::string event{};  // created, deleted, renamed, resized, snapshot, clone, status, node, ...
  std::string volume{};
  Id id = kNoId;
  std::string status{};
  // Of the event `node` (its state has changed between ok and not): which one, and its state.
  std::string node{};
  std::string error{};  // and of a `status` that is error: why
};

class LayerMerger;

// A snapshot that somebody has open: keeps its layers, also when it is deleted meanwhile.
class OpenSnapshot {
 public:
  // The caller has added a use to `layer`; it is taken away at the end.
  OpenSnapshot(Reclaimer& reclaimer, Layer* layer, std::shared_ptr<const FrozenImage> image);
  ~OpenSnapshot();  // may free the space of a deleted snapshot: no lock may be held
  OpenSnapshot(const OpenSnapshot&) = delete;
  OpenSnapshot& operator=(const OpenSnapshot&) = delete;
  [[nodiscard]] const FrozenImage& image() const { return *image_; }
  [[nodiscard]] Layer* layer() const { return layer_; }

 private:
  Reclaimer& reclaimer_;
  Layer* const layer_;
  const std::shared_ptr<const FrozenImage> image_;
};

struct StoreOptions {
  // The nodes are open for reading only (NodeAccess::kReadOnly): all of them, and nothing is
  // written in the background. What a crash left is shown as the next mount would, which tidies it
  // up.
  bool read_only = false;
  bool hydrate = true;  // false: clones stay creating (offline tools, tests)
  // The cap on copying at first. 0 where somebody applies the remembered limits right after
  // (control): nothing may be copied before a pause of the last mount is in force again.
  uint64_t copy_rate = Throttle::kUnlimited;
  // The most that copying reads, or locks against users' first writes, at once. As large as a FUSE
  // request: a user waits for one piece at most. A multiple of the block size.
  uint64_t copy_piece_bytes = uint64_t{1} << 20;
  bool allow_shrink = false;  // may volumes be made smaller?
  bool native = false;        // do new volumes have io=native?
  bool merge = true;          // false: layers stay as they are (tests)
  // What one commit of merging moves; the sixteenth part of it while writers wait. A multiple of
  // 16 blocks.
  uint64_t merge_slice_bytes = uint64_t{16} << 20;
  // What is not synced of a volume is committed when it was not written for so long
  // (idle_committer.h); kForever: only by age and amount.
  Nanoseconds commit_idle = IdleCommitter::kIdle;
  // A map that nobody has used for so long is given back; it is loaded again at the next use.
  Nanoseconds map_idle = std::chrono::minutes(1);
  // Of layers, open at once. What else the process has open is not counted.
  size_t open_files = OpenFiles::kDefaultMax;
};

// All volumes of the nodes of one mount: names, requests, and what runs in the background.
//
// Every request either fails and leaves nothing behind, or is durable when it returns (a size set
// with Volume::Grow: with the next Sync). Names are unique over the nodes.
//
// Thread-safety: all methods from any thread. Locks: naming_mu_ or settings_mu_ > mu_; mu_ guards
// the tables and is never held over I/O; a request reserves what it needs under it, works without,
// and publishes under it.
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
  Status Close() VOLFS_EXCLUDES(mu_, event_mu_);

  // --- looking ---------------------------------------------------------------------------------
  // shared_ptr: an open file or a running request keeps a volume that was deleted meanwhile.
  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::shared_ptr<Volume> Find(Id id) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::vector<std::shared_ptr<Volume>> Volumes() VOLFS_EXCLUDES(mu_);  // by name
  Result<VolumeInfo> Info(const std::string& name) VOLFS_EXCLUDES(mu_);
  VolumeInfo Info(Volume& volume) VOLFS_EXCLUDES(mu_);
  // The extents of the volume's map, ascending, clipped to its size.
  Result<std::vector<MapRange>> Map(Volume& volume);
  [[nodiscard]] std::vector<NodeInfo> Nodes();
  [[nodiscard]] std::vector<std::unique_ptr<Node>>& nodes() { return nodes_; }

  // Volumes that have snapshots (deleted ones whose snapshots live on included), by name; one
  // directory for a name.
  struct SnapshotDirectory {
    Id volume = kNoId;
    std::string name;
    Attributes attributes;  // the volume's: who may write it may delete its snapshots
  };
  [[nodiscard]] std::vector<SnapshotDirectory> SnapshotDirectories() VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::vector<SnapshotInfo> Snapshots(Id volume) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::optional<SnapshotInfo> FindSnapshot(Id id) VOLFS_EXCLUDES(mu_);
  Result<std::shared_ptr<OpenSnapshot>> OpenSnapshotImage(Id id) VOLFS_EXCLUDES(mu_);

  // --- requests --------------------------------------------------------------------------------
  // Failures come in the order of contract.md section 6.
  Result<std::shared_ptr<Volume>> Create(const CreateRequest& request, const Caller& caller);
  Result<std::shared_ptr<Volume>> Clone(const CloneRequest& request, const Caller& caller);
  Result<SnapshotInfo> TakeSnapshot(const std::string& volume, const std::string& name,
                                    const Caller& caller);
  Status Resize(const std::string& name, uint64_t size_bytes, const Caller& caller);
  // NativeServing::wanted, durably. kBusy while it is open.
  Status SetNative(Volume& volume, bool native);
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
  [[nodiscard]] Node* SourceNodeOf(Id clone) VOLFS_EXCLUDES(mu_);

  // Makes durable all that was written. Returns what is not, a sentence for each volume, and one
  // for each node that cannot be written: empty if all is durable. Nodes that do not answer are
  // passed over, or waited for.
  enum class Silent { kPassedOver, kWaitedFor };
  std::vector<std::string> CommitAll(Silent silent = Silent::kPassedOver) VOLFS_EXCLUDES(mu_);

  // Commits to the catalog of each node what is there already, so that a node that takes no write
  // is noticed although nothing is to be saved on it.
  void CommitToEachNode();

  // --- sharing instead of copying (store/share.cc) -----------------------------------------------
  // Could `target` share blocks with what is on `source`'s node? Only what was never written to
  // can.
  [[nodiscard]] bool MayShare(const Volume& source, Volume& target) VOLFS_EXCLUDES(mu_);
  // A snapshot without a name, for as long as somebody has it. kBusy if the source's lock is taken.
  Result<std::shared_ptr<OpenSnapshot>> PinSnapshotPoint(const std::shared_ptr<Volume>& source);
  // Makes `range` of `target` show what `source` has there, without copying; the target grows if it
  // must. From a block's start to a block's end, or to the source's. Durable with the target's next
  // Sync. kWrongRegion: these bytes have to be copied.
  Status Share(const std::shared_ptr<OpenSnapshot>& source, const std::shared_ptr<Volume>& target,
               const ByteRange& range);

  // --- limits: remembered in the first node's catalog --------------------------------------------
  [[nodiscard]] std::string Setting(const std::string& key) VOLFS_EXCLUDES(mu_);
  Status SetSetting(const std::string& key, const std::string& value)
      VOLFS_EXCLUDES(settings_mu_, mu_);
  Hydrator& hydrator() { return *hydrator_; }
  // Of one clone, beside the limit of all: Throttle::kUnlimited for none, 0 pauses it. Remembered
  // on its node for as long as it is not whole. kInvalid if that is not so, kIo.
  Status SetCopyRate(Volume& clone, uint64_t bytes_per_second) VOLFS_EXCLUDES(settings_mu_, mu_);

  // Events: called from the notifier thread until the store is destroyed. Set once.
  void SetListener(std::function<void(const StoreEvent&)> listener) VOLFS_EXCLUDES(event_mu_);

 private:
  // A clone that is not whole yet, or whose hold is still to be released.
  struct CloneEntry {
    CloneRecord record;
    std::shared_ptr<CloneJob> job;  // null: it cannot be copied now, `trouble` says why
    std::string trouble;
    Node* source_node = nullptr;  // null: not mounted
    Layer* held = nullptr;   // what it is copied from; there may be no hold, then `trouble` says so
    Id lock = kNoId;         // the volume or snapshot whose lock it has
    bool owed = false;       // whole, but the hold could not be released: A is not mounted
    bool absent = false;     // known by its hold only: the clone's own node is not mounted
    uint64_t max_bytes = 0;  // that it may have to copy, as long as that is not counted
    uint64_t copy_rate = Throttle::kUnlimited;
  };
  struct SnapshotEntry {
    SnapshotRecord record;
    Node* node = nullptr;
    // weak_ptr: the map is shared by those who have it open and goes with the last of them.
    std::weak_ptr<const FrozenImage> image;
    std::string refused{};  // empty, or why none of it may be shown (row_relations.h)
  };
  struct Tombstone {  // a deleted volume whose snapshots live on
    VolumeRecord record;
    Node* node = nullptr;
  };
  // A layer that may hold writes which were never committed, or whose page cache may be wrong.
  struct Unpunched {
    Id layer = kNoId;
    std::shared_ptr<Volume> volume;  // whose head it was at the mount; null: nobody's
  };
  // What a request has reserved; given back unless Keep() was called.
  class Reservation;
  struct ClonePlan;
  friend class Recovery;
  friend class LayerMerger;

  Store(std::vector<std::unique_ptr<Node>> nodes, const StoreOptions& options);
  void Start();
  void StartJob(Id clone) VOLFS_EXCLUDES(mu_);
  CloneJob::Context CopyContext();

  // Looking; under mu_.
  [[nodiscard]] bool NameTakenLocked(const std::string& name) const VOLFS_REQUIRES(mu_);
  // The ids that share a name: of the volume, and of a deleted one whose snapshots live on (a
  // restored volume has its own id). Their snapshots are in one directory, under names of their own
  // each.
  [[nodiscard]] std::vector<Id> IdsLocked(const std::string& name) const VOLFS_REQUIRES(mu_);
  [[nodiscard]] std::string NameLocked(Id volume) const VOLFS_REQUIRES(mu_);
  [[nodiscard]] Attributes AttributesLocked(Id volume) const VOLFS_REQUIRES(mu_);  // as NameLocked
  // Enters the tree gate of the node of a volume or snapshot, which is found by its name again
  // then.
  struct TreeLock {
    Node* node = nullptr;  // null: there is none
    Gate::Passage passage;
  };
  [[nodiscard]] TreeLock LockTreeOf(const std::string& volume, const std::string& snapshot)
      VOLFS_EXCLUDES(mu_);
  // kBusy: the name leads to another node now.
  static Status CheckSameNode(const Node* tree, const Node& node, const std::string& what);
  [[nodiscard]] const SnapshotEntry* FindSnapshotLocked(const std::string& volume,
                                                        const std::string& name) const
      VOLFS_REQUIRES(mu_);
  [[nodiscard]] Status CheckUnlockedLocked(Id key, const std::string& what) const
      VOLFS_REQUIRES(mu_);
  [[nodiscard]] Status CheckSourceLocked(const Volume& source) const VOLFS_REQUIRES(mu_);

  // Requires: the name is free, the source unlocked.
  void ReserveNameLocked(Reservation& reservation, const std::string& name) VOLFS_REQUIRES(mu_);
  void ReserveSourceLocked(Reservation& reservation, Id source) VOLFS_REQUIRES(mu_);

  // Placement (store/placement.cc).
  [[nodiscard]] Node* FindNode(const std::string& name) const;
  [[nodiscard]] Status CheckType(const std::string& type) const;
  // A node whose catalog has failed can be read, but nothing may be asked of it.
  [[nodiscard]] static Status CheckNotFenced(Node& node);
  [[nodiscard]] Error NoSuchNode(const std::string& name) const;
  Result<Node*> PlaceNew(const CreateRequest& request, std::string& type) const;
  // What clones that are being copied are still to take of the node's room, on whichever of the
  // nodes that share it.
  [[nodiscard]] uint64_t PromisedBytes(Node& node) const VOLFS_EXCLUDES(mu_);
  Result<Node*> PlaceClone(const ClonePlan& plan, const CloneRequest& request) const;

  // Cloning (store/clone.cc).
  Status PlanClone(const CloneRequest& request, const Caller& caller, ClonePlan& plan)
      VOLFS_EXCLUDES(mu_);
  // Deleting, reverting. kProtected before kDenied.
  static Status CheckMayDestroy(const Caller& caller, const Volume& volume, const char* verb);
  [[nodiscard]] Status CheckMayShrink(const Volume& volume) const;
  Status SetNativeClosed(Volume& volume, bool native);
  Status FindSourceLocked(const CloneRequest& request, ClonePlan& plan) VOLFS_REQUIRES(mu_);
  Result<std::shared_ptr<Volume>> Retried(const CloneRequest& request) VOLFS_EXCLUDES(mu_);
  Status Freeze(ClonePlan& plan, const Volume::Extra& extra);
  static VolumeRecord CloneVolumeRecord(const ClonePlan& plan, const LayerRecord& head);
  Result<std::shared_ptr<Volume>> CloneLinked(ClonePlan& plan);
  Result<std::shared_ptr<Volume>> CloneAcross(ClonePlan& plan);
  std::shared_ptr<Volume> PublishClone(ClonePlan& plan, Layer* head, const VolumeRecord& record)
      VOLFS_EXCLUDES(mu_);
  // `head`: the clone's, if it is on its source's node.
  Status ReleaseHold(const CloneEntry& entry, Id clone, Node& clone_node, Layer* head);
  void UnlockSourceLocked(const CloneEntry& entry, Id clone) VOLFS_REQUIRES(mu_);
  void OnJobOver(const std::shared_ptr<CloneJob>& job) VOLFS_EXCLUDES(mu_);
  void CompleteClone(Id clone) VOLFS_EXCLUDES(mu_);
  Status CancelClone(const std::shared_ptr<Volume>& volume) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool IsClone(Id id) const VOLFS_EXCLUDES(mu_);

  // Tries for a moment: who has just closed a volume may still be counted as having it open.
  static Status RetryFor(const std::function<Status()>& begin);
  // BeginRevert has been called.
  Status RevertTo(Volume& volume, const SnapshotRecord& snapshot) VOLFS_EXCLUDES(naming_mu_, mu_);
  // Volume::ReplaceHead by one over `under`; the old head's space is freed. The volume's lock as a
  // source is reserved: nobody else changes its head.
  Status PutHeadOver(Volume& volume, Layer* under, const Volume::NewHead& make, Room room);
  // After an instant: the tree knows the new head; `old` keeps its point, now a snapshot's or
  // hold's.
  void AdoptHead(Volume& volume, Layer* old);
  // Volume::FreezeHead; the point of what it froze is the caller's. The volume is reserved.
  Result<Volume::FrozenHead> FreezeHead(Volume& volume, const Volume::Extra& extra);
  // `held`: a layer whose point goes with the last reader too; null: none.
  Status Forget(const std::shared_ptr<Volume>& volume, CatalogChange change, Layer* held)
      VOLFS_EXCLUDES(naming_mu_, mu_);
  Result<std::shared_ptr<const FrozenImage>> SnapshotImage(Id id) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t ExclusiveBytes(Volume& volume);
  // All of DeleteSnapshot but freeing its space: of the layer that this returns.
  Result<Id> DropSnapshot(const std::string& volume, const std::string& name, const Caller& caller)
      VOLFS_EXCLUDES(naming_mu_, mu_);
  void FillCloneInfo(VolumeInfo& info) VOLFS_EXCLUDES(mu_);
  // What is cloned, as it is called now; while its node is away, as it was called at the request.
  [[nodiscard]] std::string SourceNameLocked(const CloneEntry& entry) const VOLFS_REQUIRES(mu_);

  // Background.
  void Maintain(Node& node) VOLFS_EXCLUDES(event_mu_);
  void MaintainOnce(Node& node, uint64_t tick);
  [[nodiscard]] bool WaitForTick(Node& node, Nanoseconds deadline) VOLFS_EXCLUDES(event_mu_);
  void PrepareRoom(Node& node);
  void LookAtRoom(Node& node) VOLFS_EXCLUDES(event_mu_);  // tells of what has changed
  // The states of a node and its volumes that the last events have told. Used by the node's
  // maintainer only.
  struct Told {
    bool node_ok = true;
    std::map<Id, std::string> troubles;  // of volumes
  };
  void TellTroubles(const Node& node, Told& told) VOLFS_EXCLUDES(mu_, event_mu_);
  void TidyUp(bool first);
  Result<bool> PunchGarbage(const Unpunched& what);
  void Notify();
  void Emit(std::string event, const std::string& volume, Id id, std::string status)
      VOLFS_EXCLUDES(event_mu_);
  void Emit(StoreEvent event) VOLFS_EXCLUDES(event_mu_);  // gets its number and time

  // Constant after Open.
  std::vector<std::unique_ptr<Node>> nodes_;
  const StoreOptions options_;
  uint32_t block_size_ = kDefaultBlockSize;
  std::vector<PeerRecord> absent_;  // known, but not mounted now

  LayerTable layers_;
  std::unique_ptr<Reclaimer> reclaimer_;
  std::unique_ptr<Hydrator> hydrator_;
  std::vector<std::unique_ptr<LayerMerger>> mergers_;            // one a node
  std::vector<std::unique_ptr<IdleCommitter>> idle_committers_;  // one a node

  Mutex naming_mu_;    // one change of a volume's name (rename, delete) at a time; held over I/O
  Mutex settings_mu_;  // one change of a setting at a time; held over its commit
  mutable Mutex mu_;
  std::map<std::string, std::shared_ptr<Volume>> by_name_ VOLFS_GUARDED_BY(mu_);
  std::map<Id, std::shared_ptr<Volume>> by_id_ VOLFS_GUARDED_BY(mu_);
  std::map<Id, Tombstone> tombstones_ VOLFS_GUARDED_BY(mu_);
  std::map<Id, SnapshotEntry> snapshots_ VOLFS_GUARDED_BY(mu_);
  std::map<Id, std::map<std::string, Id>> snapshot_names_ VOLFS_GUARDED_BY(mu_);  // by volume
  std::map<Id, CloneEntry> clones_ VOLFS_GUARDED_BY(mu_);
  std::set<std::string> reserved_names_ VOLFS_GUARDED_BY(mu_);
  std::map<Id, Id> locked_ VOLFS_GUARDED_BY(mu_);  // source -> clone; kNoId: a snapshot or clone
                                                   // request that is at work right now
  std::map<std::string, std::string> settings_ VOLFS_GUARDED_BY(mu_);
  std::vector<Unpunched> unpunched_ VOLFS_GUARDED_BY(mu_);  // after an unclean stop
  bool tidy_ VOLFS_GUARDED_BY(mu_) = false;                 // all that a crash left has been freed
  bool tidy_failed_ VOLFS_GUARDED_BY(mu_) = false;          // of something: for the next mount

  Mutex event_mu_;
  Condition event_changed_;
  Condition maintain_now_;
  std::deque<StoreEvent> events_ VOLFS_GUARDED_BY(event_mu_);
  std::function<void(const StoreEvent&)> listener_ VOLFS_GUARDED_BY(event_mu_);
  uint64_t event_seq_ VOLFS_GUARDED_BY(event_mu_) = 0;
  bool stopping_ VOLFS_GUARDED_BY(event_mu_) = false;
  bool closed_ = false;

  Thread notifier_;
  std::vector<Thread> maintainers_;  // one a node: one that hangs holds up no other
};

}  // namespace volfs
