#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/node/node.h"

namespace volfs {

// Whether the copied bytes of a clone are read back and compared. kDone: all of them were.
enum class Verification : uint8_t { kNone, kWanted, kDone };

// The attributes of a volume that are to change (Attributes).
struct AttributeChange {
  std::optional<uint32_t> uid{};
  std::optional<uint32_t> gid{};
  std::optional<uint32_t> mode{};
  std::optional<int64_t> atime_ns{};
  std::optional<int64_t> mtime_ns{};
  std::optional<int64_t> ctime_ns{};
};

// The record of one volume as it is now, and the reason why the volume can no longer be written or
// read. The record may be newer than the catalog's, which Committer keeps. All parts of a volume
// ask this class, and it knows none of them.
//
// Invariants:
//   S1  a volume that has failed, was refused or was deleted stays so until the next mount;
//   S2  failure() tells the reason before CheckWritable refuses the first change for it.
//
// Thread-safety: all methods from any thread; SetDeleted by the thread that has the volume's sync
// slot. Locks: mu_, a leaf. Cost: CheckWritable, refused, deleted and Touch are atomic loads and
// stores, the others take mu_.
class VolumeState {
 public:
  VolumeState(Node& node, VolumeRecord record);
  VolumeState(const VolumeState&) = delete;
  VolumeState& operator=(const VolumeState&) = delete;

  [[nodiscard]] Id id() const { return id_; }
  [[nodiscard]] Node& node() const { return node_; }
  [[nodiscard]] std::string name() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] VolumeRecord record() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] Attributes attributes() const VOLFS_EXCLUDES(mu_);

  // Changes the record in memory only, as all setters below do; Committer makes it durable.
  void ChangeAttributes(const AttributeChange& change) VOLFS_EXCLUDES(mu_);
  void SetName(const std::string& name) VOLFS_EXCLUDES(mu_);
  void SetHead(Id head) VOLFS_EXCLUDES(mu_);
  void SetSize(uint64_t size_bytes) VOLFS_EXCLUDES(mu_);
  // As SetSize, but never makes the size smaller.
  void RaiseSize(uint64_t size_bytes) VOLFS_EXCLUDES(mu_);
  // Takes the head, the size and the times of `next`.
  void ReplaceHead(const VolumeRecord& next) VOLFS_EXCLUDES(mu_);

  // Notes that bytes changed now (to within a few milliseconds), or at `mtime_ns`.
  void Touch() { mtime_ns_.store(WallNowCoarse().count(), std::memory_order_relaxed); }
  void SetModified(int64_t mtime_ns) { mtime_ns_.store(mtime_ns); }
  // A value that changes with each write, discard and growth, to within a few milliseconds. For
  // comparing with an earlier value only.
  [[nodiscard]] int64_t last_change() const { return mtime_ns_.load(std::memory_order_relaxed); }

  [[nodiscard]] Verification verification() const { return verification_.load(); }
  void set_verification(Verification now) { verification_.store(now); }

  // Returns an error, for users, if the volume or its node takes no change.
  [[nodiscard]] Status CheckWritable() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool read_only() const { return read_only_.load(std::memory_order_acquire); }
  // Makes the volume read-only until the next mount: the bytes written since its last commit may or
  // may not be durable, so no sync may be acknowledged any more. Changes are refused with `refusal`
  // from now on. Keeps the first reason. Returns `error`.
  Error Fail(const Error& error, Errc refusal = Errc::kReadOnly) VOLFS_EXCLUDES(mu_);
  // Notes that the catalogs contradict themselves about this volume: no byte of it is read or
  // written from now on.
  void Refuse(const std::string& why) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool refused() const { return refused_.load(std::memory_order_acquire); }
  // Notes that the catalog does not know the volume any more.
  void SetDeleted() { deleted_.store(true); }
  [[nodiscard]] bool deleted() const { return deleted_.load(); }

  // Returns why this volume can no longer be written, or read: its own reason or its node's. Empty
  // if it can.
  [[nodiscard]] std::string failure() const VOLFS_EXCLUDES(mu_);
  // Returns what is wrong with it: failure(), or the reason for which the last commit, which is
  // tried again, was refused, or the damage that its reads meet. Empty if all is well. Users see it
  // as `error`.
  [[nodiscard]] std::string trouble() const VOLFS_EXCLUDES(mu_);
  // Notes the result of a commit of all that was pending.
  void NoteTrouble(const Status& commit) VOLFS_EXCLUDES(mu_);
  // Notes what is damaged in the layers under the volume, or that nothing is (empty). Cost if
  // nothing is, nor was: one load.
  void NoteDamage(const std::string& damage) VOLFS_EXCLUDES(mu_);

 private:
  [[nodiscard]] Errc refused_with() const VOLFS_EXCLUDES(mu_);

  Node& node_;
  const Id id_;
  std::atomic<int64_t> mtime_ns_;  // newer than the record's, if it is greater
  std::atomic<bool> read_only_{false};
  std::atomic<bool> refused_{false};
  std::atomic<bool> damaged_{false};
  std::atomic<bool> deleted_{false};
  std::atomic<Verification> verification_{Verification::kNone};

  mutable Mutex mu_;
  VolumeRecord record_ VOLFS_GUARDED_BY(mu_);
  std::string failure_ VOLFS_GUARDED_BY(mu_);
  Errc refused_with_ VOLFS_GUARDED_BY(mu_) = Errc::kReadOnly;
  std::string refusal_ VOLFS_GUARDED_BY(mu_);  // of the last commit
  std::string damage_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
