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

// The progress of a clone. Bytes count data of the source that is committed on the clone's node.
struct CloneProgress {
  bool creating = false;
  uint64_t total_bytes = 0;  // 0 until counted
  bool total_known = false;
  uint64_t copied_bytes = 0;
  uint64_t rate_bytes = 0;               // per second, over a moving window
  std::optional<uint64_t> eta_seconds;   // empty: unknown (paused, stalled, not counted)
  [[nodiscard]] double percent() const;  // 100 only if !creating
};

// Makes one clone independent of its source: copies, in the background and a slice at a time, all
// data that the clone still shows through its source.
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
// The job walks the source's frozen image from `cursor` on and copies data, never holes. Blocks
// that a user has written or discarded meanwhile are skipped under the range lock
// (HydrationTarget). Places that readers ask for are copied first, within the same limits, and are
// counted when the walk passes them. Where the nodes' filesystem shares blocks between files,
// nothing is read (HydrateShared). The ForegroundLoad of both nodes says when a step may begin and
// how large it is.
//
// Durable: every second or 64 MiB the clone is synced, and presence, cursor and copied bytes are
// committed as one. So after a crash the job resumes there, and the figures never go backwards.
//
// Thread-safety: RunSlice by one thread at a time; the rest from any thread. Locks: mu_, a leaf.
class CloneJob {
 public:
  enum class State { kCounting, kCopying, kFinishing, kDone, kFailed, kCancelled };
  enum class Next { kAgain, kLater, kOver };  // kLater: not before resume_at()

  struct Context {  // shared by all jobs of one store
    Throttle& throttle;
    uint32_t block_size;
    uint64_t piece_bytes;  // the most to copy at once; a multiple of block_size
  };
  CloneJob(std::shared_ptr<Volume> clone, std::shared_ptr<const FrozenImage> source,
           Node& source_node, CloneRecord record, const Context& context);

  // Works for at most about 100 ms, a wait for the shared throttle included. If this clone's own
  // limit is used up it returns kLater, so that the worker can turn to other jobs.
  Next RunSlice() VOLFS_EXCLUDES(mu_);
  // Returns the time of MonotonicNow at which the next slice may run. Called after kLater, by the
  // thread of that slice.
  [[nodiscard]] Nanoseconds resume_at() const { return resume_at_; }

  // Sets this clone's own limit; the tighter one of it and the shared one counts. 0 pauses the
  // clone, Throttle::kUnlimited is no limit. In force within 0.2 s.
  void SetCopyRate(uint64_t bytes_per_second);
  [[nodiscard]] uint64_t copy_rate() const { return copy_rate_.load(); }
  // Makes the slice that runs end soon, and the next one return kOver. Stops no commit half way.
  void Cancel() VOLFS_EXCLUDES(mu_);
  void Stop() VOLFS_EXCLUDES(mu_);    // at shutdown: ends the slice, changes no state
  void Resume() VOLFS_EXCLUDES(mu_);  // from kFailed

  [[nodiscard]] State state() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] CloneProgress progress() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::string error() const VOLFS_EXCLUDES(mu_);  // or why copying pauses
  [[nodiscard]] CloneRecord record() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] const std::shared_ptr<Volume>& clone() const { return clone_; }

 private:
  Status CountSlice();
  Status CopySlice();
  // Copies the places that readers have asked for, with their neighbours up to a piece. Returns
  // false if `over` or a limit came before the end.
  Result<bool> CopyWanted(const std::function<bool()>& over);
  // Returns false if `over` came before the shared throttle let the piece pass, or if the job's own
  // throttle or ForegroundLoad did not (resume_at_).
  Result<bool> CopyPiece(const ByteRange& piece, const std::function<bool()>& over);
  // Returns false, and has taken nothing, if copying has to wait (resume_at_).
  bool PassThrottles(uint64_t bytes, const std::function<bool()>& over);
  // Names the node that has not answered for kPatience, and since when; empty if both answer.
  [[nodiscard]] std::string Hung() const;
  bool BeginStep();
  void EndStep(Nanoseconds began);
  Result<uint64_t> CopyRange(const BlockRange& blocks, const ByteRange& piece);
  // Returns the most bytes that may be copied at once just now, in whole blocks. That is at most a
  // burst of the tighter limit, as a larger piece would wait until it is paid for.
  [[nodiscard]] uint64_t StepBytes() const;
  Status CommitProgress();
  Result<bool> NothingLeft();
  Status Finish();
  Next OnError(const Error& error);
  void TransitionLocked(State next) VOLFS_REQUIRES(mu_);

  const std::shared_ptr<Volume> clone_;
  const std::shared_ptr<const FrozenImage> source_;
  ForegroundLoad& source_use_;  // of the source's node and of the clone's, which may be one
  ForegroundLoad& clone_use_;
  const Context context_;
  PriorityRanges& wanted_;  // the clone's

  // Used only by the thread in RunSlice.
  DataCursor data_;  // of the walks that count, copy, and check that nothing is left
  uint64_t count_offset_ = 0;
  uint64_t counted_bytes_ = 0;
  uint64_t cursor_bytes_ = 0;  // all data of the source below is dealt with
  uint64_t passed_bytes_ = 0;  // of data, below the cursor
  uint64_t committed_cursor_bytes_ = 0;
  uint64_t uncommitted_bytes_ = 0;  // written since the last commit
  Nanoseconds last_commit_{0};
  std::vector<std::byte> buffer_;
  std::vector<std::byte> read_back_;
  bool shares_ = true;  // until a HydrateShared has failed
  Nanoseconds resume_at_{0};
  bool moved_ = false;  // the slice has copied or passed something

  const bool verifies_;
  Throttle own_throttle_;
  std::atomic<uint64_t> copy_rate_{Throttle::kUnlimited};  // own_throttle_'s

  std::atomic<Nanoseconds> step_began_{Nanoseconds{0}};  // 0: none runs
  std::atomic<bool> step_reads_{false};                  // of the source; else writes or syncs
  std::atomic<bool> interrupted_{false};
  std::atomic<int> attempts_{0};  // failures in a row, with nothing copied between them

  mutable Mutex mu_;
  State state_ VOLFS_GUARDED_BY(mu_);
  CloneRecord record_ VOLFS_GUARDED_BY(mu_);  // as last committed
  std::string paused_ VOLFS_GUARDED_BY(mu_);  // why nothing is copied just now; empty if it is
  double rate_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
