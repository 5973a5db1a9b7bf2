#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>

#include "blockstore/base/runtime.h"

namespace volfs {

// Reads of files below control/watch/ that have nothing to read yet, and polls of any control file.
// A waiting reader costs a record here and no thread. One thread asks all of them again whenever
// Wake says that something may have happened.
//
// This class knows nothing of FUSE: requests and files are names (addresses), and the functions of
// Read and Poll do the work. Its thread calls them, with no lock held.
//
// Invariants:
//   I1  Each parked read is answered exactly once: by try_answer returning true, or by abandon.
//   I2  A poll's notify is called at most once. A function may still run when Unwatch returns, so
//       each function owns the objects that it uses.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf.
class ParkedReads {
 public:
  static constexpr size_t kMaxReads = 1024;    // waiting at once; more are refused
  static constexpr size_t kMaxOfOthers = 768;  // the rest is for root and the user who mounted

  struct Read {
    const void* request = nullptr;      // its name, for Interrupt
    bool of_owner = false;              // the reader is root or the user who mounted
    std::function<bool()> try_answer;   // answers if there is text to read; false: not yet
    std::function<void()> abandon;      // answers that the read was interrupted
    std::function<bool()> interrupted;  // says whether it was, before it was parked
  };
  struct Poll {
    std::function<bool()> readable;
    std::function<void()> notify;  // tells the poller, which will ask again; called once
  };

  ParkedReads();
  ~ParkedReads();  // Stop()
  ParkedReads(const ParkedReads&) = delete;
  ParkedReads& operator=(const ParkedReads&) = delete;

  // Returns false, and keeps nothing, if too many wait already or after Stop.
  [[nodiscard]] bool Park(Read read) VOLFS_EXCLUDES(mu_);
  // Has that request abandoned; does nothing if it is not, or no more, parked here.
  void Interrupt(const void* request) VOLFS_EXCLUDES(mu_);
  void InterruptAll() VOLFS_EXCLUDES(mu_);

  // Keeps one poll per file; a second takes the place of the first.
  void Watch(const void* file, Poll poll) VOLFS_EXCLUDES(mu_);
  void Unwatch(const void* file) VOLFS_EXCLUDES(mu_);

  // Has the thread ask all again: something may have become readable. Never blocks.
  void Wake() VOLFS_EXCLUDES(mu_);

  // Abandons all reads, drops all polls, joins the thread.
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  struct Entry {
    Read read;
    bool claimed = false;      // a thread is working on it without the lock
    bool interrupted = false;  // that thread abandons it
  };
  using Entries = std::list<Entry>;

  void Work() VOLFS_EXCLUDES(mu_);
  void TryReads() VOLFS_EXCLUDES(mu_);
  void TryPolls() VOLFS_EXCLUDES(mu_);
  void WakeLocked() VOLFS_REQUIRES(mu_);

  Mutex mu_;
  Condition changed_;
  Entries entries_ VOLFS_GUARDED_BY(mu_);
  struct Watched {
    Poll poll;
    uint64_t serial;  // which Watch it is of
  };
  std::map<const void*, Watched> polls_ VOLFS_GUARDED_BY(mu_);
  uint64_t last_serial_ VOLFS_GUARDED_BY(mu_) = 0;
  bool woken_ VOLFS_GUARDED_BY(mu_) = false;
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace volfs
