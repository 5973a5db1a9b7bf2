#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/block_pattern.h"

namespace volfs {

// Stamped writes to one image from several threads. For each write the load records when it was
// issued, when it was acknowledged, and whether a sync has covered it. The load outlives the daemon
// that serves the image: started again after a crash, it continues.
//
// Moments are ticks of one counter: a write that was acknowledged at 7 had ended before one that
// was issued at 8 began. The sequence of a write is the moment when it was issued. Each block has
// one writer.
//
// Thread-safety: one thread uses it; Now() may be called by any. Its results may be read only while
// it is stopped.
class BlockLoad {
 public:
  struct Options {
    std::string path;
    uint64_t volume = 1;
    uint64_t blocks = 0;
    int writers = 4;
    bool some_direct = true;  // every second writer uses O_DIRECT
    int sync_every = 0;       // writes between two fsyncs of a writer; 0: none
    // A writer may draw, at each start, a way to write synchronously (O_DSYNC, RWF_SYNC, ...)
    // instead of fsync.
    bool some_synchronous = false;
    int pause_us = 0;  // between two writes of a writer
    uint64_t seed = 1;
    const BlockLoad* begins_as = nullptr;  // this image is a clone of that one, as it is now
  };

  explicit BlockLoad(const Options& options);
  ~BlockLoad() { Stop(); }
  BlockLoad(const BlockLoad&) = delete;
  BlockLoad& operator=(const BlockLoad&) = delete;

  // Writes every block once and syncs. Returns the first errno.
  int Fill();
  // Opens the image anew and starts the writers, which write their own blocks until an error or
  // Stop().
  void Start();
  // Returns the first errno of a writer, or 0.
  int Stop();
  // Until the next start a sync that returns proves nothing: the disk may be dying under it.
  void DistrustSyncs() { trusted_ = false; }
  // The disk is dead: until the next start a sync that begins now must fail.
  void ExpectNoSync() { dead_ = true; }
  // Returns how many of these syncs have succeeded.
  [[nodiscard]] uint64_t false_syncs() const { return false_syncs_.load(); }
  // Opens the image anew and syncs it. From then on the state that the last check has found must
  // not be lost. Returns the first errno.
  [[nodiscard]] int SyncImage() const;
  uint64_t Now() { return clock_.fetch_add(1) + 1; }
  [[nodiscard]] uint64_t writes() const { return writes_.load(); }
  [[nodiscard]] uint64_t synced_writes() const { return synced_writes_.load(); }

  // Each check returns complaints, one per line, or "". A complaint that begins with "lost: " is
  // about a block that is right but too old. `contents` is all of an image.

  // Checks for the newest state of everything: nothing was lost.
  [[nodiscard]] std::string CheckNewest(const std::vector<std::byte>& contents) const;
  // Checks for one snapshot point between two moments. By the prefix rule, an image that holds a
  // write also holds each write that was acknowledged before that one was issued. It holds all that
  // was acknowledged before `asked`, and nothing that was issued after `answered`. Each block is
  // whole.
  [[nodiscard]] std::string CheckSnapshotPoint(const std::vector<std::byte>& contents,
                                               uint64_t asked, uint64_t answered) const;
  // Checks after a crash: each sector is as synced or newer, and as written or older. From then on
  // the state found must not be lost.
  std::string CheckAfterCrash(const std::vector<std::byte>& contents);

 private:
  struct Write {
    uint64_t issued = 0;  // also its sequence
    uint64_t acked = 0;   // 0: not acknowledged yet
  };
  struct Block {
    std::vector<Write> writes;  // in the order of issue
    uint64_t synced = 0;        // the sequence that a sync has covered
  };
  class Writer;

  [[nodiscard]] const Write* LastAckedBefore(uint64_t block, uint64_t moment) const;
  [[nodiscard]] bool IsOwn(const std::vector<std::byte>& contents, uint64_t number) const;
  struct Way;
  [[nodiscard]] Way Draw(int writer, uint64_t seed) const;
  void Work(int writer, uint64_t seed);

  const Options options_;
  std::atomic<uint64_t> clock_{0};
  std::atomic<uint64_t> writes_{0};
  std::atomic<uint64_t> synced_writes_{0};  // writes that a sync has covered
  std::atomic<bool> stop_{false};
  std::atomic<bool> trusted_{true};
  std::atomic<bool> dead_{false};
  std::atomic<uint64_t> false_syncs_{0};
  std::atomic<int> error_{0};
  std::vector<Block> blocks_;  // each belongs to its writer while writers run
  std::vector<std::thread> threads_;
  uint64_t starts_ = 0;
};

}  // namespace volfs
