#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/image.h"
#include "blockstore/sync/throttle.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// How far a clone is. Bytes are bytes of data of the source that are committed on the clone's node.
struct CloneProgress {
  bool creating = false;
  uint64_t total_bytes = 0;  // 0 until counted
  bool total_known = false;
  uint64_t copied_bytes = 0;
  uint64_t rate_bytes = 0;               // a second, over a moving window
  std::optional<uint64_t> eta_seconds;   // nothing: unknown (paused, stalled, not counted)
  [[nodiscard]] double percent() const;  // 100 only if !creating
};

// Makes one clone independent of its source, in the background, a slice at a time.
//
//   kCounting --source's data counted--> kCopying --all here or zero--> kFinishing --> kDone
//       |                                  |   ^ \---something is left----/
//       +------------error-----------------+   | Resume
//       |                                  v   |
//       |                                 kFailed
//       +--Cancel, at the next slice--> kCancelled (from any but kDone)
//
// kDone and kCancelled are final. Every arrow is one call to TransitionLocked, which aborts on an
// arrow that is not drawn here.
//
// Only data is copied, never holes: the source's frozen image is walked from `cursor` on; what the
// user has written or discarded meanwhile is skipped under the range lock (HydrationTarget). What
// readers ask for is copied before that, within the same limits, and counts when the walk passes.
// Where the nodes' filesystem shares blocks between files, nothing is read (HydrateShared).
// Both nodes' ForegroundLoad says when and how much.
// Every second or 64 MiB the clone is synced and (presence, cursor, copied bytes) committed as one,
// so a crash resumes there and the figures never go backwards.
//
// Thread-safety: RunSlice by one thread at a time; the rest from any thread. Locks: mu_, a leaf.
class CloneJob {
 public:
  enum class State { kCounting, kCopying, kFinishing, kDone, kFailed, kCancelled };
  enum class Next { kAgain, kLater, kOver };  // kLater: nothing can be done before resume_at()

  struct Context {  // what all jobs of one store share
    Throttle& throttle;
    uint32_t block_size;
    uint64_t piece_bytes;  // the most that is copied at once; a multiple of block_size
  };
  CloneJob(std::shared_ptr<Volume> clone, std::shared_ptr<const FrozenImage> source,
           Node& source_node, CloneRecord record, const Context& context);

  // Does at most about 100 ms of work (a wait of the shared throttle included; what this clone's
  // own limit holds up is kLater, so that it keeps no worker from others).
  Next RunSlice() VOLFS_EXCLUDES(mu_);
  // After kLater, by the thread of that slice: there is no space, or the clone's own limit is used.
  [[nodiscard]] Nanoseconds resume_at() const { return resume_at_; }

  // This clone's own limit, beside the shared one: of the two the tighter one counts. Bytes a
  // second, 0 pauses, Throttle::kUnlimited. In force within 0.2 s.
  void SetCopyRate(uint64_t bytes_per_second);
  [[nodiscard]] uint64_t copy_rate() const { return copy_rate_.load(); }
  // The slice in progress ends soon; the next one says kOver. Stops no commit half way.
  void Cancel() VOLFS_EXCLUDES(mu_);
  void Stop() VOLFS_EXCLUDES(mu_);    // for shutdown: ends the slice, changes no state
  void Resume() VOLFS_EXCLUDES(mu_);  // from kFailed

  [[nodiscard]] State state() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] CloneProgress progress() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::string error() const VOLFS_EXCLUDES(mu_);  // or why copying pauses
  [[nodiscard]] CloneRecord record() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] const std::shared_ptr<Volume>& clone() const { return clone_; }

 private:
  Status CountSlice();
  Status CopySlice();
  // What readers have asked for goes first, with its neighbours up to a piece.
  Result<bool> CopyWanted(const std::function<bool()>& over);
  // False if `over` came before the throttles let it pass, or if the own one or the nodes' other
  // users did not (resume_at_).
  Result<bool> CopyPiece(const ByteRange& piece, const std::function<bool()>& over);
  // False if copying is to wait (resume_at_), and nothing was taken.
  bool PassThrottles(uint64_t bytes, const std::function<bool()>& over);
  // Who does not answer (kPatience after a step began), and since when; empty if nobody.
  [[nodiscard]] std::string Hung() const;
  bool BeginStep();
  void EndStep(Nanoseconds began);
  Result<uint64_t> CopyRange(const BlockRange& blocks, const ByteRange& piece);
  // The most that may be copied at once just now, in whole blocks: no more than the tighter limit
  // grants in a burst, as a larger piece would have to wait until it is paid for.
  [[nodiscard]] uint64_t StepBytes() const;
  Status CommitProgress();
  Result<bool> NothingLeft();
  Status Finish();
  Next OnError(const Error& error);
  void TransitionLocked(State next) VOLFS_REQUIRES(mu_);

  const std::shared_ptr<Volume> clone_;
  const std::shared_ptr<const FrozenImage> source_;
  ForegroundLoad& source_use_;  // of the source's node, and of the clone's: may be the same
  ForegroundLoad& clone_use_;
  const Context context_;
  PriorityRanges& wanted_;  // the clone's

  // Of the slice that runs; RunSlice's thread only.
  DataCursor data_;  // of the walks: they count, copy, and look that nothing is left
  uint64_t count_offset_ = 0;
  uint64_t counted_bytes_ = 0;
  uint64_t cursor_bytes_ = 0;  // everything of the source below is dealt with
  uint64_t passed_bytes_ = 0;  // of data, below the cursor
  uint64_t committed_cursor_bytes_ = 0;
  uint64_t uncommitted_bytes_ = 0;  // written since the last commit
  Nanoseconds last_commit_{0};
  std::vector<std::byte> buffer_;
  std::vector<std::byte> read_back_;
  bool shares_ = true;  // as far as we know
  Nanoseconds resume_at_{0};
  bool moved_ = false;  // the slice came forward

  const bool verifies_;
  Throttle own_throttle_;
  std::atomic<uint64_t> copy_rate_{Throttle::kUnlimited};  // own_throttle_'s

  std::atomic<Nanoseconds> step_began_{Nanoseconds{0}};  // 0: none runs
  std::atomic<bool> step_reads_{false};                  // the source; else it writes or syncs
  std::atomic<bool> interrupted_{false};
  std::atomic<int> attempts_{0};  // failures in a row, with nothing copied between them

  mutable Mutex mu_;
  State state_ VOLFS_GUARDED_BY(mu_);
  CloneRecord record_ VOLFS_GUARDED_BY(mu_);  // as committed last
  std::string paused_ VOLFS_GUARDED_BY(mu_);  // why nothing is copied just now; empty if it is
  double rate_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
