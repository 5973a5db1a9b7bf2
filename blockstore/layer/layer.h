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
#include "blockstore/layer/open_files.h"
#include "blockstore/map/extent_map.h"
#include "blockstore/map/presence.h"

namespace volfs {

class Node;

// One sparse file on a node: block N of a volume lives at offset N * block size of some layer.
//
// A block of a layer may be written only (a) by the volume whose head the layer is, or (b) by
// hydration while no map resolves that block to this layer. All else is frozen. Which of both holds
// is the caller's business (Volume); this class owns the file, its name's durability, and the
// pending set: blocks that were made here or zero since the last commit (design rule "data before
// map": an entry is made after its pwrite returned, never before).
//
// A layer whose node is not mounted, or which its node did not keep, is a Layer too: node() is null
// and every access fails with kIo naming the node, so that the ranges that need it are errors and
// nothing else is.
//
// Invariants:
//   L1  a flat layer (parent kNoId) has a file, of exactly size_bytes() bytes, and no pending set;
//   L2  a layer over another has a file before any of its blocks is here;
//   L3  pending blocks are in the file (kPresent) or need no file (kZero).
//
// The file is open when it is used, and as long as OpenFiles leaves it open: what has unsynced
// writes is not closed.
//
// Thread-safety: all methods from any thread. Locks, in order: sync_mu_ > mu_, a leaf but for
// opening the file.
// Cost of ReadAt, WriteAt once the file is open: that of an OpenFiles::Use, and one system call (of
// a write through the host's page cache: one for each 64 KiB, posix_file.cc).
class Layer {
 public:
  // `committed` is the record as it is in the catalog: all default if it is not there yet.
  Layer(OpenFiles& files, Node* node, LayerRef ref, LayerRecord record, LayerRecord committed);
  // Stands for layer `id` of a node where it cannot be read: why, is told by every access.
  Layer(OpenFiles& files, LayerRef ref, Id id, std::string missing_node, std::string why);
  ~Layer();
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  [[nodiscard]] Id id() const { return id_; }
  [[nodiscard]] LayerRef ref() const { return ref_; }
  [[nodiscard]] Node* node() const { return node_; }
  [[nodiscard]] std::string NodeName() const;  // of one that is not mounted too
  [[nodiscard]] std::string FileName() const { return LayerFileName(id_); }

  // What stands for a parent that nobody held: what that has now is not what it had. Set by
  // recovery, before anything else runs; null: nothing was lost.
  void MarkParentLost(Layer* stand_in) { lost_parent_ = stand_in; }
  [[nodiscard]] Layer* lost_parent() const { return lost_parent_; }

  [[nodiscard]] LayerRecord record() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] LayerRecord committed() const VOLFS_EXCLUDES(mu_);  // as it is in the catalog
  [[nodiscard]] bool flat() const { return flat_.load(std::memory_order_acquire); }

  // The last mount did not end in order, perhaps with a failed sync: when the file is opened, what
  // the page cache has of it and the disk may not is forgotten.
  void MarkCacheSuspect() VOLFS_EXCLUDES(mu_);
  // ... now, if nobody has opened it yet, and cuts what is past its size. Keeps no descriptor.
  Status ForgetCache() VOLFS_EXCLUDES(mu_);

  // Makes the file of a new flat layer, of size_bytes. The name is durable after SyncFile().
  Status CreateFile() VOLFS_EXCLUDES(mu_);

  // Bytes of this layer, zeros past the end of the file or if there is no file yet.
  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // Makes the file at the first write. The caller marks the blocks afterwards.
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // What the disk has, not what the page cache remembers.
  Status ReadBack(std::span<std::byte> out, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Result<bool> ShareFrom(Layer& source, const ByteRange& range) VOLFS_EXCLUDES(mu_);
  Result<bool> CloneFrom(Layer& source) VOLFS_EXCLUDES(mu_);
  // In calls of kPunchBytes at most, as the host holds the file's lock for as long as one takes;
  // where a larger range has no data there are none.
  static constexpr uint64_t kPunchBytes = uint64_t{64} << 20;
  Status Punch(const ByteRange& range) VOLFS_EXCLUDES(mu_);
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  Result<std::optional<uint64_t>> FirstData(uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // 0 if there is no file. Opens none: of one that is not open it asks once.
  Result<uint64_t> AllocatedBytes() VOLFS_EXCLUDES(mu_);
  // For the kernel to serve the file by itself: NodeFile::Duplicate, none if there is no file. Who
  // lets it write keeps `use` for as long as that may be: a file that we have not open counts as
  // one that has nothing to sync.
  struct Lent {
    Descriptor file;
    OpenFiles::Use use;
  };
  Result<Lent> ExportDescriptor(OpenFiles::For what) VOLFS_EXCLUDES(mu_);
  // Of a flat layer whose file others may have made longer: it has that size from now on. Of a
  // shorter one it keeps its own: that is an error of who opens the file.
  Result<NodeFile::State> TakeSizeFromFile() VOLFS_EXCLUDES(mu_);
  // As NodeFile's; before anything else opens the file. If so, it may become longer, and is not
  // cut.
  Result<bool> WrittenElsewhere() VOLFS_EXCLUDES(mu_);
  void DropWritten(const ByteRange& range) VOLFS_EXCLUDES(mu_);
  // Sets the file's and the layer's size; durable with the commit of record() after SyncFile().
  Status SetSize(uint64_t size_bytes) VOLFS_EXCLUDES(mu_);

  // It has fewer bytes, as the durable commit of `committed` says: cuts the file.
  Status Shrink(const LayerRecord& committed) VOLFS_EXCLUDES(mu_);

  // The pending set.
  void MarkPending(const BlockRange& blocks, BlockState state) VOLFS_EXCLUDES(mu_);
  // What the parent has in `blocks` is seen again, as far as to `parent_bytes` if it is more than
  // record().parent_bytes. Not while a batch is made.
  void ShowParent(const BlockRange& blocks, uint64_t parent_bytes) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] PresenceRuns TakePending() VOLFS_EXCLUDES(mu_);
  // Puts back what a refused commit had taken; newer entries win.
  void RestorePending(PresenceRuns older) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t pending_blocks() const VOLFS_EXCLUDES(mu_);

  // Makes the file's bytes, and its name if it is new, durable. An error is final: this layer
  // then refuses every write and sync until the next mount (failed()).
  Status SyncFile() VOLFS_EXCLUDES(mu_, sync_mu_);
  [[nodiscard]] bool failed() const { return failed_.load(std::memory_order_acquire); }
  void Fail() { failed_.store(true, std::memory_order_release); }

  // As NodeFile's. An error is final, as SyncFile's.
  Status WaitWritten(const ByteRange& range) VOLFS_EXCLUDES(mu_);

  // The record as it should be committed now, and whether it differs from what was committed last.
  // After the commit: Committed(the record).
  [[nodiscard]] bool RecordDirty() const VOLFS_EXCLUDES(mu_);
  void Committed(const LayerRecord& record) VOLFS_EXCLUDES(mu_);
  // The catalog knows it, with all the blocks that it has (of one that nobody writes any more).
  [[nodiscard]] bool Recorded() const VOLFS_EXCLUDES(mu_);
  // What it lies over, and how much of that it shows, has changed by the durable commit of
  // `committed`. Not while a batch is made.
  void Relink(const LayerRecord& committed) VOLFS_EXCLUDES(mu_);
  // The link to the parent was cut by the durable commit of `committed`. What has changed since
  // that was taken (a growth) is still to be committed.
  void BecomeFlat(const LayerRecord& committed) VOLFS_EXCLUDES(mu_);

  // Closes and removes the file, after the commit that deleted the record and the last reader.
  Status RemoveFile() VOLFS_EXCLUDES(mu_);

 private:
  using Use = OpenFiles::Use;
  // Empty: there is none yet. kWrite: of who changes what is there, but need not make it.
  Result<Use> FileForRead(OpenFiles::For what = OpenFiles::For::kRead) VOLFS_EXCLUDES(mu_);
  Result<Use> FileForWrite() VOLFS_EXCLUDES(mu_);  // makes it
  // What is open, and nothing else: what is closed has nothing to sync.
  Use FileIfOpen() VOLFS_EXCLUDES(mu_);
  Result<Use> OpenLocked(OpenMode mode, OpenFiles::For what) VOLFS_REQUIRES(mu_);
  // True if it was too long, and was cut.
  Result<bool> CheckSizeLocked(NodeFile& file) VOLFS_REQUIRES(mu_);
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
  OpenFiles& files_;
  OpenFiles::Slot slot_{*this};

  Mutex sync_mu_;  // one sync at a time
  mutable Mutex mu_;
  LayerRecord record_ VOLFS_GUARDED_BY(mu_);
  LayerRecord committed_ VOLFS_GUARDED_BY(mu_);
  PresenceRuns pending_ VOLFS_GUARDED_BY(mu_);
  bool name_durable_ VOLFS_GUARDED_BY(mu_) = false;
  bool distrust_cache_ VOLFS_GUARDED_BY(mu_) = false;
  // The last mount may have written what nobody has synced: who reads and syncs it relies on that.
  bool unsynced_before_ VOLFS_GUARDED_BY(mu_) = false;
  bool written_elsewhere_ VOLFS_GUARDED_BY(mu_) = false;
  // What the file takes, if that was asked and it was not opened since.
  std::optional<uint64_t> allocated_bytes_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
