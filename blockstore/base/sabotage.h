#pragma once

#include <string_view>

// Bugs that are planted on purpose, to show that the simulation finds them: a proof that never
// fails proves nothing. They exist in a build of their own only (CMake's target sim_sabotaged
// defines VOLFS_SABOTAGE); everywhere else Sabotaged() is false at compile time, and the daemon
// refuses to be compiled with the definition. At most one is active in a process.
//
// Each line has the enumerator, its name on the command line, and its effect. Most of them have
// been real bugs.
#define VOLFS_SABOTAGES(X)                                                                         \
  X(kNone, "none", "")                                                                             \
  X(kSkipDataSync, "skip-data-sync", "a layer is not synced before its blocks are committed")      \
  X(kCommitBeforeSync, "commit-before-sync", "the map is committed before the data is synced")     \
  X(kAckBeforeCommit, "ack-before-commit", "fsync returns before its commit")                      \
  X(kAckBeforeItsSync, "ack-before-its-sync", "a synchronous write returns before its sync")       \
  X(kSkipNameSync, "skip-name-sync", "the directory of a new layer's file is not synced")          \
  X(kPendingAfterSync, "pending-after-sync", "the pending set is taken after the data's sync")     \
  X(kMapBeforePending, "map-before-pending", "a block is in the map before the pending set")       \
  X(kSyncDoesNotWait, "sync-does-not-wait", "an fsync with nothing pending returns at once")       \
  X(kLosePendingOnRefusal, "lose-pending", "the blocks of a refused commit are forgotten")         \
  X(kRetrySync, "retry-sync", "a failed data sync is tried again and believed")                    \
  X(kBelieveCommit, "believe-commit", "a catalog commit that failed is taken for done")            \
  X(kRefuseUnknown, "refuse-unknown", "a commit of unknown outcome is told as refused")            \
  X(kCatalogNotSynced, "catalog-not-synced", "a commit does not sync the catalog's log")           \
  X(kSizeNotCommitted, "size-not-committed", "a commit leaves out the volume")                     \
  X(kTailNotCut, "tail-not-cut", "a file longer than its record keeps its tail")                   \
  X(kCopyWithoutLock, "copy-without-lock", "the copier takes no range lock")                       \
  X(kCopyOverNewer, "copy-over-newer", "the copier overwrites blocks that are here")               \
  X(kAbsentAtCommit, "absent-at-commit", "the copier asks who was first after its write")          \
  X(kPartialNotMerged, "partial-not-merged", "a partial first write does not merge the rest")      \
  X(kDiscardAsAbsent, "discard-as-absent", "a discarded block is recorded as absent")              \
  X(kZeroNotLoaded, "zero-not-loaded", "a zero block is taken for absent at the next mount")       \
  X(kFlatWithGarbage, "flat-with-garbage", "a clone is made flat with unacknowledged blocks")      \
  X(kFlatBeforeSync, "flat-before-sync", "a clone is made flat, its hold released, unsynced")      \
  X(kSkipDrain, "skip-drain", "a snapshot does not wait for the writes in flight")                 \
  X(kSnapshotUnflushed, "snapshot-unflushed", "a snapshot commits without the frozen blocks")      \
  X(kPunchUnchecked, "punch-unchecked", "garbage is punched without looking again")                \
  X(kFreeBeforeCommit, "free-before-commit", "space is freed before the deletion is durable")      \
  X(kFreeUnderReaders, "free-under-readers", "space is freed while requests may still read it")    \
  X(kIgnoreReferences, "ignore-points", "a layer's blocks are freed though a snapshot shows them") \
  X(kCloneBeforeHold, "clone-before-hold", "the clone is committed before the hold")               \
  X(kReleaseUnknown, "release-unknown", "the hold goes after a commit of unknown outcome")         \
  X(kReleaseForAbsent, "release-for-absent", "a hold goes as its clone's node is not mounted")     \
  X(kMissingIsZero, "missing-is-zero", "ranges of a node that is not mounted read as zeros")       \
  X(kIgnoreGeneration, "ignore-generation", "an older copy of a node is mounted")                  \
  X(kIgnoreLoss, "ignore-loss", "a node's directory that is gone is not noticed")                  \
  X(kTakeForks, "take-forks", "a copy of a node that went another way is mounted")                 \
  X(kSameMount, "same-mount", "a mount of a node draws no id of its own")                          \
  X(kDeleteUncommitted, "delete-uncommitted", "a deletion answers before it is durable")           \
  X(kRenameUncommitted, "rename-uncommitted", "a rename answers before it is durable")             \
  X(kCreateUnsynced, "create-unsynced", "a new volume's file is not synced before its record")     \
  X(kRevertUncommitted, "revert-uncommitted", "a new head is used before it is durable")           \
  X(kShrinkUnmerged, "shrink-unmerged", "the block that a shrink cuts in two is left inherited")   \
  X(kShareUnpinned, "share-unpinned", "shared layers are not kept until the commit")               \
  X(kShareLeavesGap, "share-leaves-gap", "bytes before a shared range are shown, too")             \
  X(kMergeUnsynced, "merge-unsynced", "a merge commits moved blocks before their sync")            \
  X(kMergeTail, "merge-tail", "a merge keeps bytes that were cut off")                             \
  X(kMergeForgetsZeros, "merge-forgets-zeros", "a merge moves no zero blocks")                     \
  X(kMergeInUse, "merge-in-use", "a merge moves blocks of an open image")                          \
  X(kMergeOldMaps, "merge-old-maps", "a merge leaves the maps of the volumes as they were")        \
  X(kMergeHeadWritten, "merge-head-written", "a head is merged while it is written")               \
  X(kMergeKeepsSnapshot, "merge-keeps-snapshot", "a snapshot still names the layer that went")     \
  X(kCloseUnsynced, "close-unsynced", "a file is closed with writes that were not synced")         \
  X(kGiveBackPending, "give-back-pending", "a map is given back with blocks that no commit has")   \
  X(kLogCutUnsynced, "log-cut-unsynced", "the log is cut before its empty header is synced")       \
  X(kLogUnbounded, "log-unbounded", "the log of a catalog grows for as long as it is written")     \
  X(kGrowFromReserve, "grow-from-reserve", "requests for new things may take the reserve")         \
  X(kDiffForgetsZeros, "diff-forgets-zeros", "a diff leaves out what became zeros")                \
  X(kDiffForgetsTail, "diff-forgets-tail", "a diff leaves out what was added at the end")          \
  X(kDiffCommittedOnly, "diff-committed-only", "a diff leaves out what no commit has yet")         \
  X(kProgressUncommitted, "progress-uncommitted", "progress counts uncommitted bytes")

namespace volfs {

enum class Sabotage {
#define VOLFS_SABOTAGE_ENUM(id, name, says) id,
  VOLFS_SABOTAGES(VOLFS_SABOTAGE_ENUM)
#undef VOLFS_SABOTAGE_ENUM
};

#if defined(VOLFS_SABOTAGE)
inline Sabotage active_sabotage = Sabotage::kNone;
inline bool Sabotaged(Sabotage bug) { return active_sabotage == bug; }
#else
constexpr bool Sabotaged(Sabotage) { return false; }
#endif

}  // namespace volfs
