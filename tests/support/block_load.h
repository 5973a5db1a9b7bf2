#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/block_pattern.h"

namespace volfs {

// Stamped writes to one image from several threads, with the known state of each: when it was
// issued, when it was acknowledged, whether a sync has covered it. The load outlives the daemon
// that serves the image: started again after a crash it goes on.
//
// Moments are ticks of one counter: a write that was acknowledged at 7 was over before one that was
// issued at 8 began. The sequence of a write is the moment when it was issued. Each block has one
// writer.
//
// Thread-safety: one thread uses it; Now() is for all. Its results are looked at only while it is
// stopped.
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
    const BlockLoad* begins_as = nullptr;  // the image is a clone of that one's, as it is now
  };

  explicit BlockLoad(const Options& options);
  ~BlockLoad() { Stop(); }
  BlockLoad(const BlockLoad&) = delete;
  BlockLoad& operator=(const BlockLoad&) = delete;

  // Writes every block once and syncs. Returns the first errno.
  int Fill();
  // The writers open the image anew and write random blocks of theirs until an error or Stop().
  void Start();
  // Returns the first errno that a writer met: 0 if it had none.
  int Stop();
  // Until the next start a sync that returns proves nothing: the disk may be dying under it.
  void DistrustSyncs() { trusted_ = false; }
  // The disk is dead: until the next start a sync that begins now must fail.
  void ExpectNoSync() { dead_ = true; }
  // How many have not failed.
  [[nodiscard]] uint64_t false_syncs() const { return false_syncs_.load(); }
  // Opens the image anew and syncs it. The state that the last check has found may not be lost from
  // then on. Returns the first errno.
  [[nodiscard]] int SyncImage() const;
  uint64_t Now() { return clock_.fetch_add(1) + 1; }
  [[nodiscard]] uint64_t writes() const { return writes_.load(); }
  [[nodiscard]] uint64_t synced_writes() const { return synced_writes_.load(); }

  // Each returns complaints, a line each; "" if all is well. Those that begin with "lost: " tell of
  // blocks that are right but too old. `contents` is all of an image.

  // The newest state of everything: nothing was lost.
  [[nodiscard]] std::string CheckNewest(const std::vector<std::byte>& contents) const;
  // One instant between two moments, by the prefix rule: if the image holds a write, it holds every
  // one that was acknowledged before that was issued; it holds all that was acknowledged before
  // `asked` and nothing that was issued after `answered`; each block is whole.
  [[nodiscard]] std::string CheckSnapshotPoint(const std::vector<std::byte>& contents,
                                               uint64_t asked, uint64_t answered) const;
  // After a crash: each sector is as synced or newer, as written or older. The state found may not
  // be lost from then on.
  std::string CheckAfterCrash(const std::vector<std::byte>& contents);

 private:
  struct Write {
    uint64_t issued = 0;  // also its sequence
    uint64_t acked = 0;   // 0: not (yet)
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
  std::atomic<uint64_t> synced_writes_{0};  // those that a sync has covered
  std::atomic<bool> stop_{false};
  std::atomic<bool> trusted_{true};
  std::atomic<bool> dead_{false};
  std::atomic<uint64_t> false_syncs_{0};
  std::atomic<int> error_{0};
  std::vector<Block> blocks_;  // each is its writer's own while there are writers
  std::vector<std::thread> threads_;
  uint64_t starts_ = 0;
};

}  // namespace volfs
