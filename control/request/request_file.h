#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "control/request/request.h"

namespace volfs {

// Carries a request out. Returns the words that follow "ok " in the reply ("volume=db-clone ..."),
// which may be none.
using Executor = std::function<Result<std::string>(const Request&)>;

// Is told of every line that the grammar or the executor refused. `line` is ready to be printed:
// escaped, and cut if it is long.
using RefusalListener =
    std::function<void(RequestKind kind, const std::string& line, const Error& error)>;

// One open request file. It cuts the written bytes into lines, has them executed in order, and
// keeps the replies for the readers of the same open file (PROTOCOL.md, "Writing" and "Reading").
//
// Invariants:
//   I1  Lines are executed one at a time, in the order of their bytes. Two concurrent writes on one
//       open file (a descriptor that was dup'ed or inherited) are executed one after the other.
//   I2  Every executed or refused line queues exactly one reply.
//   I3  Exactly one Write returns an error: the one whose first line was refused or, if lines went
//       before it, the next one, which does nothing else.
//   I4  At most kMaxReplies replies are kept. A further reply drops the oldest one, and the reader
//       is told how many it lost.
//
// Thread-safety: all methods from any thread. Locks: mu_ is a leaf and is not held while the
// callbacks run. Read never waits for a Write. Write blocks for as long as its requests take.
// Offsets, O_APPEND and O_TRUNC mean nothing here; the caller drops them.
class RequestFile {
 public:
  static constexpr size_t kMaxReplies = 1000;
  // The kernel passes a write(2) on in pieces of its own limit (128 KiB or more), so a longer write
  // that ends within a line may have been cut there. Such a tail is not executed: the writer gets a
  // short count and sends it again.
  static constexpr size_t kMaxUncutBytes = size_t{64} << 10;

  explicit RequestFile(RequestKind kind) : kind_(kind) {}

  // Executes the lines in `bytes`. Returns how many bytes were taken: all of them, or those before
  // the first refused line. The callbacks run without a lock and may take long.
  Result<size_t> Write(std::string_view bytes, const Executor& execute,
                       const RefusalListener& refused) VOLFS_EXCLUDES(mu_);

  // Returns at most `max` bytes of the oldest reply, "" if there is none. One call never spans two
  // replies. The first reply of a file that was not written to is its usage line.
  std::string Read(size_t max) VOLFS_EXCLUDES(mu_);

 private:
  struct Line {
    std::string_view text;  // without the LF
    bool ended = false;     // whether an LF ended it
    [[nodiscard]] size_t bytes() const { return text.size() + (ended ? 1 : 0); }
  };
  class Turn;  // the right to be the one Write that executes

  static Line NextLine(std::string_view bytes);
  static size_t ExecutableBytes(std::string_view bytes);
  Status RunLine(const Line& line, const Executor& execute, const RefusalListener& refused)
      VOLFS_EXCLUDES(mu_);
  [[nodiscard]] Result<std::string> Execute(const Line& line, const Executor& execute) const;
  void FinishLine(const Line& line, std::string reply) VOLFS_EXCLUDES(mu_);
  size_t BeginLines(std::string_view bytes) VOLFS_EXCLUDES(mu_);
  std::optional<Error> TakePending() VOLFS_EXCLUDES(mu_);
  void SetPending(const Error& error) VOLFS_EXCLUDES(mu_);
  void QueueLocked(std::string reply) VOLFS_REQUIRES(mu_);

  const RequestKind kind_;

  Mutex mu_;
  Condition turn_free_;
  bool turn_taken_ VOLFS_GUARDED_BY(mu_) = false;
  bool written_ VOLFS_GUARDED_BY(mu_) = false;
  bool usage_told_ VOLFS_GUARDED_BY(mu_) = false;
  bool line_feed_owed_ VOLFS_GUARDED_BY(mu_) = false;  // the last line came without its LF
  std::optional<Error> pending_ VOLFS_GUARDED_BY(mu_);
  std::deque<std::string> replies_ VOLFS_GUARDED_BY(mu_);
  size_t cursor_ VOLFS_GUARDED_BY(mu_) = 0;  // how much of the first reply was read
  size_t lost_ VOLFS_GUARDED_BY(mu_) = 0;    // replies that were dropped and not yet reported
};

}  // namespace volfs
