#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/sim/image_model.h"

namespace volfs::sim {

// Whether something exists. kMaybe: a request to make or delete it was cut off, or failed with an
// error that leaves its outcome open. The next recovery decides.
enum class Existence { kYes, kMaybe, kNo };

// Requests that must be the only one of their source: clone, snapshot, restore.
struct Claims {
  int now = 0;
  uint64_t ever = 0;
};

struct SnapshotModel {
  uint32_t key = 0;
  uint32_t volume = 0;  // the key of its volume
  std::string name;
  Existence existence = Existence::kMaybe;
  bool deleting = false;
  bool decided = false;  // its contents have been read once
  int users = 0;         // clients at work with it
  Claims claims;
  ImageModel image;
};

struct VolumeModel {
  uint32_t key = 0;
  Id id = kNoId;  // kNoId: unknown, because its creation was not answered
  std::string name;
  std::string new_name;  // of a rename whose outcome is open; else empty
  int disk = 0;
  Existence existence = Existence::kMaybe;
  bool decided = false;
  bool failed = false;  // a sync failed: none may succeed until the next mount
  ImageModel image;
  std::optional<ImageModel>
      or_image;  // after a revert or shrink of unknown outcome: the other possible image
  // Of a clone that was made on another node: may be `creating`.
  int source_disk = -1;
  uint32_t source = 0;           // the key of the volume, 0: not a clone ...
  uint32_t source_snapshot = 0;  // ... or of this snapshot of it, 0: not of one
  bool whole = true;             // it was seen `available`, or is no such clone
  uint64_t copied = 0;           // the greatest copied_bytes reported
  int users = 0;                 // clients at work with it
  int requests = 0;              // ... of them by its name, which must not change meanwhile
  Claims claims;
  bool exclusive = false;  // one of them must be alone
  bool growing = false;
  uint64_t last_write = 0;  // its offset
};

// The truth about a store after any events: the names that exist, and the contents of every image.
// Clients report each call and each answer to it. After a recovery Compare checks everything.
class Oracle {
 public:
  ContentPool& pool() { return pool_; }
  uint64_t Tick() { return ++tick_; }
  [[nodiscard]] uint64_t tick() const { return tick_; }

  VolumeModel& AddVolume(std::string name, int disk);
  SnapshotModel& AddSnapshot(uint32_t volume, std::string name);
  [[nodiscard]] std::vector<std::unique_ptr<VolumeModel>>& volumes() { return volumes_; }
  [[nodiscard]] std::vector<std::unique_ptr<SnapshotModel>>& snapshots() { return snapshots_; }
  [[nodiscard]] VolumeModel* Volume(uint32_t key);
  // Returns whether a model that exists, or may exist, has this name.
  [[nodiscard]] bool MayBeTaken(const std::string& name) const;
  [[nodiscard]] bool HasSnapshots(uint32_t volume) const;

  // Reports that the store was closed. `lost`: not in order, so unsynced data may be gone.
  void Closed(bool lost);

  // Reads everything in `store`, which has these disks (by bit), and compares it with the model.
  // The state found is the truth from now on. `durable` says that the store was just mounted, so
  // the state is on disk. Clones that need an absent disk may answer EIO. Appends the violations.
  // Requires: no client is running.
  void Compare(Store& store, unsigned disks, bool durable, std::vector<std::string>& violations);

  // Reports that bits have changed at rest, so kCorrupt is a right answer, too.
  void set_damaged() { damaged_ = true; }
  // Makes Compare compare diffs, too.
  void set_compares_diffs(bool compares) { compares_diffs_ = compares; }

  // Returns a copy that shares nothing. The exhaustive runs recover from many moments of one run.
  [[nodiscard]] std::unique_ptr<Oracle> Copy() const;

 private:
  void CompareNames(Store& store, unsigned disks, std::vector<std::string>& violations);
  void CompareImages(Store& store, unsigned disks, bool durable,
                     std::vector<std::string>& violations);
  void CompareSnapshots(Store& store, unsigned disks, std::vector<std::string>& violations);
  // Compares each pair of images of one volume that were read.
  void CompareDiffs(Store& store, std::vector<std::string>& violations);

  [[nodiscard]] bool Excused(const Error& error) const {
    return damaged_ && error.code == Errc::kCorrupt;
  }

  // An image that was read in the present Compare.
  struct Read {
    uint32_t volume = 0;  // the key
    Id snapshot = kNoId;  // none: the volume itself
    std::string name;
    std::vector<std::byte> bytes;
  };

  bool damaged_ = false;
  bool compares_diffs_ = true;
  std::vector<Read> read_;
  ContentPool pool_;
  uint64_t tick_ = 0;
  std::vector<std::unique_ptr<VolumeModel>> volumes_;
  std::vector<std::unique_ptr<SnapshotModel>> snapshots_;
};

// Reads the whole of an image in one go.
Result<std::vector<std::byte>> ReadAll(Volume& volume);
Result<std::vector<std::byte>> ReadAll(const FrozenImage& image);

// Returns what is wrong with a diff of two images with these bytes, or nothing: each byte that
// differs is in a range, zeros are zeros, and the ranges are in order.
std::optional<std::string> CheckDiff(const OpenDiff& diff, std::span<const std::byte> before,
                                     std::span<const std::byte> after);

}  // namespace volfs::sim
