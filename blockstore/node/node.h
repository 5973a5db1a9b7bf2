#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/io/node_lock.h"
#include "blockstore/node/lineage.h"
#include "blockstore/sync/epoch.h"
#include "blockstore/sync/foreground_load.h"
#include "blockstore/sync/gate.h"
#include "blockstore/sync/unsynced_volumes.h"

namespace volfs {

// The setting of a node that says whether its last mount ended in order: "1", else "0".
inline constexpr char kCleanKey[] = "clean";

// How much room is left on a node.
enum class Fullness : uint8_t {
  kRoomy,
  kLow,   // less than a twentieth of its filesystem, or than 16 MiB, and less than 1 GiB
  kFull,  // less than 1 MiB, or a part of its reserve is missing: nothing new is made
};

// One mounted node: its directory, its catalog, its record, and the lock that keeps other processes
// out.
//
// Thread-safety: all methods from any thread; record() is constant after Open.
class Node {
 public:
  // Makes a new node in an empty directory. Durable when it returns.
  static Status Init(NodeDirectory& directory, NodeRecord record);

  // Opens a node. `lock` is released last (null where no other process can come, as in tests).
  static Result<std::unique_ptr<Node>> Open(std::unique_ptr<NodeDirectory> directory,
                                            std::unique_ptr<NodeLock> lock = nullptr);

  [[nodiscard]] const NodeRecord& record() const { return contents_.node; }
  [[nodiscard]] const std::string& uuid() const { return record().uuid; }
  [[nodiscard]] const std::string& name() const { return record().name; }
  [[nodiscard]] Id id() const { return id_; }  // derived from the UUID: stable
  [[nodiscard]] uint32_t block_size() const { return record().block_size; }
  [[nodiscard]] const VolumeType* FindType(const std::string& name) const;

  NodeDirectory& directory() { return *directory_; }
  Catalog& catalog() { return *catalog_; }
  // Counts the readers of this node that may still use blocks their volumes' maps showed. A volume
  // may also show layers of another node, kept by a clone's hold. A caller that removes such a hold
  // waits for the readers of the clone's node.
  [[nodiscard]] Epoch& epoch() { return epoch_; }
  // Serialises changes of this node's layer tree against lookups in it. A thread enters the gate
  // before it uses a layer, or a map of its blocks, that no reference keeps alive (a request that
  // has found a snapshot's layer, a thread that loads a map from the catalog). LayerMerger closes
  // the gate while it changes which layer holds a block (layer_merge.h), and gives up after
  // kTreePatience, so neither side delays the other for longer.
  Gate& tree_gate() { return tree_gate_; }
  static constexpr Nanoseconds kTreePatience = std::chrono::milliseconds(20);
  ForegroundLoad& foreground() { return foreground_; }
  UnsyncedVolumes& unsynced() { return unsynced_; }
  [[nodiscard]] const std::string& path() const { return directory_->display_path(); }

  // Returns the records that Open loaded. The store takes them over and frees them.
  CatalogContents& contents() { return contents_; }

  // The node's own mounts, and its memory of those of its peers.
  [[nodiscard]] const Lineage& lineage() const { return lineage_; }
  // Records a new mount: the generation grows by one, the lineage by an id. Durable when it
  // returns.
  Status GrowGeneration();
  // Records the mount together with `others`, whose generations and ids are durable. One commit.
  Status RecordPeers(const std::vector<const Node*>& others);
  // Keeps other copies of this node from being mounted on this machine (node_lock.h).
  void Keep(std::unique_ptr<TwinLock> lock) { twin_lock_ = std::move(lock); }

  // Returns kNodeDown while a call on the node is over its limit (node_calls.h).
  [[nodiscard]] Status CheckAnswers() const;

  // Returns kReadOnly if the node was opened for reading only, or this program may only read its
  // catalog.
  [[nodiscard]] Status CheckChanges() const;

  // The lock; null where no other process can come.
  NodeLock* lock() { return lock_.get(); }

  // Returns its filesystem's size, and the room that is free for volumes: not the part that the
  // reserve still needs.
  Result<SpaceInfo> Space();

  // Compares the free room with the limits of Fullness and remembers the answer. Cost: one statvfs.
  Fullness LookAtRoom();
  [[nodiscard]] Fullness fullness() const { return fullness_.load(std::memory_order_relaxed); }

  // Returns whether the node can be read and written. A full node works, too.
  [[nodiscard]] bool Works() const;

  // Checks whether this node is still the one that was opened (NodeDirectory::CheckPresent) and can
  // be written, and fences it if not. Called by a background thread about once per second. Commits
  // and syncs report their own failures.
  void LookForLoss();

  // Notes that the catalog contradicts itself. A wrong or missing row may be the only one that
  // needs some layer, so until the next mount nothing of this node is freed: no layer, block, hold
  // or file. The first reason is kept and logged. Cost of trusted(): one load.
  void Distrust(const std::string& why) VOLFS_EXCLUDES(doubt_mu_);
  [[nodiscard]] bool trusted() const { return trusted_.load(std::memory_order_acquire); }

  // Counts its layers that were found damaged (LayerDamage). Cost: one load.
  void NoteDamage(int more) { damaged_layers_ += more; }
  [[nodiscard]] int damaged_layers() const { return damaged_layers_; }

  // Returns "ok", or the trouble: the node does not answer, cannot be written, frees nothing, is
  // (nearly) full. Waits for nothing.
  [[nodiscard]] std::string State() const;

 private:
  Node(std::unique_ptr<NodeDirectory> directory, std::unique_ptr<NodeLock> lock);

  std::unique_ptr<NodeLock> lock_;  // the first members: destroyed last
  std::unique_ptr<TwinLock> twin_lock_;
  std::unique_ptr<NodeDirectory> directory_;
  std::unique_ptr<Catalog> catalog_;
  CatalogContents contents_;
  Lineage lineage_;
  Id id_ = kNoId;
  bool was_read_only_ = false;  // its filesystem, when it was opened
  Gate tree_gate_;
  Epoch epoch_;  // one per node, so that a hung node does not keep others from freeing
  ForegroundLoad foreground_;
  std::atomic<Fullness> fullness_{Fullness::kRoomy};
  UnsyncedVolumes unsynced_;
  std::atomic<bool> trusted_{true};
  std::atomic<int> damaged_layers_{0};
  mutable Mutex doubt_mu_;
  std::string doubt_ VOLFS_GUARDED_BY(doubt_mu_);
};

// Returns a new id: 55 random bits, never kNoId. The caller checks it for collisions.
Id NewId();

}  // namespace volfs
