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

// One mounted node: its directory, its catalog, who it is, and the lock that keeps others out.
//
// Thread-safety: all methods from any thread; record() is constant after Open.
class Node {
 public:
  // Makes a new node in an empty directory. Durable when it returns.
  static Status Init(NodeDirectory& directory, NodeRecord record);

  // Opens a node. `lock` (null where nobody else can come, as in tests) is let go last.
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
  // Who may still use what its volumes' maps showed. A volume may show layers of another node, too:
  // those that a clone holds; who takes such a hold away waits for the readers of the clone's node.
  [[nodiscard]] Epoch& epoch() { return epoch_; }
  // Passed by who uses layers of this node, or a map of their blocks, that no point keeps: a
  // request that has found a snapshot's layer, who loads a map from the catalog. Merging closes it
  // while it changes which layer a block is in (layer_merge.h), and does not insist: nobody is kept
  // from passing, and it from closing, for longer than kTreePatience.
  Gate& tree_gate() { return tree_gate_; }
  static constexpr Nanoseconds kTreePatience = std::chrono::milliseconds(20);
  ForegroundLoad& foreground() { return foreground_; }
  UnsyncedVolumes& unsynced() { return unsynced_; }
  [[nodiscard]] const std::string& path() const { return directory_->display_path(); }

  // What Open loaded; the store takes it over and frees it.
  CatalogContents& contents() { return contents_; }

  // Its mounts, and what it remembers of those of its peers.
  [[nodiscard]] const Lineage& lineage() const { return lineage_; }
  // This node is being mounted: its generation grows by one, its lineage by an id. Durable when it
  // returns.
  Status GrowGeneration();
  // ... together with `others`, whose generations and ids are durable. One commit.
  Status RecordPeers(const std::vector<const Node*>& others);
  // Keeps other copies of this node from being mounted on this machine (node_lock.h).
  void Keep(std::unique_ptr<TwinLock> lock) { twin_lock_ = std::move(lock); }

  // kNodeDown while a call has been waiting for it for too long (node_calls.h).
  [[nodiscard]] Status CheckAnswers() const;

  // kReadOnly if it was opened for reading only, or this program may only read its catalog.
  [[nodiscard]] Status CheckChanges() const;

  // The lock; null where nobody else can come.
  NodeLock* lock() { return lock_.get(); }

  // Its filesystem's size, and what of it is free for volumes: not what the reserve still needs.
  Result<SpaceInfo> Space();

  // Compares what is free with the limits below and remembers the answer. Cost: one statvfs.
  Fullness LookAtRoom();
  [[nodiscard]] Fullness fullness() const { return fullness_.load(std::memory_order_relaxed); }

  // Can it be read and written? Also while it is full.
  [[nodiscard]] bool Works() const;

  // Looks whether this node is still the one that was opened (NodeDirectory::CheckPresent) and can
  // be written; fences it if not. For a background thread, about each second: what is committed
  // or synced is looked at by itself.
  void LookForLoss();

  // Notes that the catalog contradicts itself. A row that is wrong or missing may be the only one
  // that needs some layer, so until the next mount nothing of this node is freed: no
  // layer, block, hold or file. The first reason is kept, and logged. Cost of trusted(): one load.
  void Distrust(const std::string& why) VOLFS_EXCLUDES(doubt_mu_);
  [[nodiscard]] bool trusted() const { return trusted_.load(std::memory_order_acquire); }

  // "ok", or what is wrong with it: it does not answer, cannot be written, frees nothing, is
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
  Epoch epoch_;  // its own, so that one that hangs does not keep others from freeing
  ForegroundLoad foreground_;
  std::atomic<Fullness> fullness_{Fullness::kRoomy};
  UnsyncedVolumes unsynced_;
  std::atomic<bool> trusted_{true};
  mutable Mutex doubt_mu_;
  std::string doubt_ VOLFS_GUARDED_BY(doubt_mu_);
};

// A new id: 55 random bits, never kNoId. The caller checks it for collisions.
Id NewId();

}  // namespace volfs
