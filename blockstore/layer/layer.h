#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/layer/damage.h"
#include "blockstore/layer/open_files.h"
#include "blockstore/map/extent_map.h"
#include "blockstore/map/presence.h"

namespace volfs {

class Node;

// One sparse file on a node: block N of a volume lives at offset N * block size of some layer.
//
// A block of a layer may be written only (a) by the volume whose head the layer is, or (b) by
// hydration or merging while no map resolves that block to this layer. All else is frozen. The
// caller (Volume, LayerMerge) makes sure that one of both holds. This class owns the file, the
// durability of its name, and the pending set: the blocks that became present or zero since the
// last commit. An entry is made after its pwrite returned, never before ("data before map").
//
// A layer whose node is not mounted, or which its node did not keep, is a Layer too. Its node() is
// null and every access fails with kIo naming the node, so that only the ranges that need it are
// errors.
//
// Invariants:
//   L1  a flat layer (parent kNoId) has a file, of exactly size_bytes() bytes, and no pending set;
//   L2  a layer over another has a file before any of its blocks is present;
//   L3  pending blocks are in the file (kPresent) or need no file (kZero).
//
// OpenFiles opens the file when it is needed and may close it later, but never while it has
// unsynced writes.
//
// Thread-safety: all methods from any thread. Locks, in order: sync_mu_ > mu_, a leaf but for
// opening the file.
// Cost of ReadAt, WriteAt once the file is open: that of an OpenFiles::Use, and one system call (of
// a write through the host's page cache: one for each 64 KiB, posix_file.cc).
class Layer {
 public:
  // `committed` is the record as it is in the catalog: all default if it is not there yet.
  Layer(OpenFiles& files, Node* node, LayerRef ref, LayerRecord record, LayerRecord committed);
  // Makes a stand-in for layer `id` where it cannot be read. Every access fails and tells `why`.
  Layer(OpenFiles& files, LayerRef ref, Id id, std::string missing_node, std::string why);
  ~Layer();
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  [[nodiscard]] Id id() const { return id_; }
  [[nodiscard]] LayerRef ref() const { return ref_; }
  [[nodiscard]] Node* node() const { return node_; }
  [[nodiscard]] std::string NodeName() const;  // of one that is not mounted too
  [[nodiscard]] std::string FileName() const { return LayerFileName(id_); }

  // Sets the stand-in for a parent that no hold kept: that parent may have changed since. Called by
  // recovery, before anything else runs. Null: nothing was lost.
  void MarkParentLost(Layer* stand_in) { lost_parent_ = stand_in; }
  [[nodiscard]] Layer* lost_parent() const { return lost_parent_; }

  [[nodiscard]] LayerRecord record() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] LayerRecord committed() const VOLFS_EXCLUDES(mu_);  // as it is in the catalog
  [[nodiscard]] bool flat() const { return flat_.load(std::memory_order_acquire); }

  // Records that the last mount did not end in order, perhaps with a failed sync. When the file is
  // opened, the pages that are cached but may not be on the disk are dropped.
  void MarkCacheSuspect() VOLFS_EXCLUDES(mu_);
  // Does so now if the file is not open yet, and cuts it at its size. Keeps no descriptor.
  Status ForgetCache() VOLFS_EXCLUDES(mu_);

  // Makes the file of a new flat layer, size_bytes long. The name is durable after SyncFile().
  Status CreateFile() VOLFS_EXCLUDES(mu_);

  // Reads bytes of this layer: zeros past the end of the file or if there is no file yet.
  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // Makes the file at the first write. The caller marks the blocks afterwards.
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // Reads from the disk and not from the page cache.
  Status ReadBack(std::span<std::byte> out, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Result<bool> ShareFrom(Layer& source, const ByteRange& range) VOLFS_EXCLUDES(mu_);
  Result<bool> CloneFrom(Layer& source) VOLFS_EXCLUDES(mu_);
  // Punches in calls of kPunchBytes at most, as the host holds the file's lock for as long as one
  // takes. Makes no calls where a larger range has no data.
  static constexpr uint64_t kPunchBytes = uint64_t{64} << 20;
  Status Punch(const ByteRange& range) VOLFS_EXCLUDES(mu_);
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Result<std::optional<uint64_t>> FirstData(uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // Returns 0 if there is no file. Opens none; the answer for a closed file is remembered.
  Result<uint64_t> AllocatedBytes() VOLFS_EXCLUDES(mu_);
  // Returns a descriptor with which the kernel serves the file by itself (NodeFile::Duplicate),
  // none if there is no file or it is damaged. A caller that lets the kernel write the file keeps
  // `use` for as long as the kernel may do so, because a closed file counts as synced
  // (open_files.h, F2).
  struct Exported {
    Descriptor file;
    OpenFiles::Use use;
  };
  Result<Exported> ExportDescriptor(OpenFiles::For what) VOLFS_EXCLUDES(mu_);
  // Requires: a flat layer. Takes the size of its file, which others may have made longer. If the
  // file is shorter the layer keeps its size, and the open that finds this reports an error.
  Result<NodeFile::State> TakeSizeFromFile() VOLFS_EXCLUDES(mu_);
  // As NodeFile's. Requires: nothing else has opened the file yet. If true, the file may become
  // longer and is not cut.
  Result<bool> WrittenElsewhere() VOLFS_EXCLUDES(mu_);
  void DropWritten(const ByteRange& range) VOLFS_EXCLUDES(mu_);
  // Sets the file's and the layer's size; durable with the commit of record() after SyncFile().
  Status SetSize(uint64_t size_bytes) VOLFS_EXCLUDES(mu_);

  // Cuts the file to the smaller size that the durable commit of `committed` gave it.
  Status Shrink(const LayerRecord& committed) VOLFS_EXCLUDES(mu_);

  // The pending set.
  void MarkPending(const BlockRange& blocks, BlockState state) VOLFS_EXCLUDES(mu_);
  // Makes the parent's content visible in `blocks` again, up to `parent_bytes` if that is more than
  // record().parent_bytes. Requires: no batch is being made.
  void ShowParent(const BlockRange& blocks, uint64_t parent_bytes) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] PresenceRuns TakePending() VOLFS_EXCLUDES(mu_);
  // Puts back the entries that a refused commit had taken. Newer entries win.
  void RestorePending(PresenceRuns older) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t pending_blocks() const VOLFS_EXCLUDES(mu_);

  // Makes the file's bytes, and its name if it is new, durable. An error is final: this layer then
  // refuses every write and sync until the next mount (failed()).
  Status SyncFile() VOLFS_EXCLUDES(mu_, sync_mu_);
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }
  void Fail() { failed_.store(true, std::memory_order_release); }

  // As NodeFile's. An error is final, as SyncFile's.
  Status WaitWritten(const ByteRange& range) VOLFS_EXCLUDES(mu_);

  [[nodiscard]] const LayerDamage& damage() const { return damage_; }
  // Repeats the read that failed, if damage is known, then calls CheckNamed. Forgets the damage if
  // both succeed. Does nothing while the node is slow to answer.
  void LookForDamage() VOLFS_EXCLUDES(mu_);
  // Calls NodeFile::CheckNamed if the file is open, and notes an error as damage. Cost: one
  // stat(2), or nothing where it cannot find anything (NodeDirectory::ChecksNames).
  Status CheckNamed() VOLFS_EXCLUDES(mu_);

  // Returns whether record(), as it should be committed now, differs from the last commit. The
  // caller calls Committed(record) after the commit.
  [[nodiscard]] bool RecordDirty() const VOLFS_EXCLUDES(mu_);
  void Committed(const LayerRecord& record) VOLFS_EXCLUDES(mu_);
  // Returns whether the catalog knows the layer with all its blocks. Requires: no volume writes it
  // any more.
  [[nodiscard]] bool Recorded() const VOLFS_EXCLUDES(mu_);
  // Takes over another parent, or another visible part of it, from the durable commit of
  // `committed`. Requires: no batch is being made.
  void Relink(const LayerRecord& committed) VOLFS_EXCLUDES(mu_);
  // Cuts the link to the parent, as the durable commit of `committed` did. A later change (a
  // growth) is still to be committed.
  void BecomeFlat(const LayerRecord& committed) VOLFS_EXCLUDES(mu_);

  // Closes and removes the file, after the commit that deleted the record and after the last
  // reader.
  Status RemoveFile() VOLFS_EXCLUDES(mu_);

 private:
  using Use = OpenFiles::Use;
  // Returns an empty Use if there is no file yet. kWrite is for a caller that changes the file but
  // need not make it.
  Result<Use> FileForRead(OpenFiles::For what = OpenFiles::For::kRead) VOLFS_EXCLUDES(mu_);
  Result<Use> FileForWrite() VOLFS_EXCLUDES(mu_);  // makes the file
  // Returns the file if it is open, else an empty Use. A closed file has nothing to sync.
  Use FileIfOpen(OpenFiles::For what = OpenFiles::For::kRead) VOLFS_EXCLUDES(mu_);
  Result<Use> OpenLocked(OpenMode mode, OpenFiles::For what) VOLFS_REQUIRES(mu_);
  // Returns whether the file was too long and was cut.
  Result<bool> CheckSizeLocked(NodeFile& file) VOLFS_REQUIRES(mu_);
  // Notes an error of opening the file; returns it, or the one for users.
  Error OpenFailedLocked(Error error) VOLFS_REQUIRES(mu_);
  [[nodiscard]] Status MissingError() const;

  // Constant after construction.
  Node* const node_;
  const LayerRef ref_;
  const Id id_;
  const std::string missing_node_;
  const std::string why_missing_;
  Layer* lost_parent_ = nullptr;

  std::atomic<bool> flat_;
  std::atomic<bool> failed_{false};
  LayerDamage damage_;
  OpenFiles& files_;
  OpenFiles::Slot slot_{*this};

  Mutex sync_mu_;  // one sync at a time
  mutable Mutex mu_;
  LayerRecord record_ VOLFS_GUARDED_BY(mu_);
  LayerRecord committed_ VOLFS_GUARDED_BY(mu_);
  PresenceRuns pending_ VOLFS_GUARDED_BY(mu_);
  bool name_durable_ VOLFS_GUARDED_BY(mu_) = false;
  bool distrust_cache_ VOLFS_GUARDED_BY(mu_) = false;
  // The last mount may have left unsynced writes; until a sync the file counts as written.
  bool unsynced_before_ VOLFS_GUARDED_BY(mu_) = false;
  bool written_elsewhere_ VOLFS_GUARDED_BY(mu_) = false;
  // The allocated bytes if they were asked for and the file was not opened since.
  std::optional<uint64_t> allocated_bytes_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
