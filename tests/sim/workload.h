#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "control/request/request.h"
#include "tests/sim/machine.h"
#include "tests/sim/oracle.h"

namespace volfs::sim {

// Clients of one mounted store. Each call is reported to the oracle before, its answer after.
// Forbidden answers go to `violations`.
//
// Requests go through control's parser and executor, bytes through Volume, as in fusefs.
class Workload {
 public:
  // `disks`: the disks of the store, by bit.
  Workload(Machine& machine, Oracle& oracle, Store& store, unsigned disks, uint64_t seed,
           std::vector<std::string>& violations);

  // Runs `clients` fibers that make `operations` random operations together, fewer if the power
  // goes off.
  void RunClients(int clients, uint64_t operations);
  [[nodiscard]] uint64_t operations() const { return operations_; }

  // Whether no, some or all writes, discards and shares are synchronous from now on.
  enum class Synchronous : uint8_t { kNone, kSome, kAll };
  void set_synchronous(Synchronous calls) { synchronous_ = calls; }

  // Single operations. Each returns false and does nothing if it makes no sense now.
  bool Create(int disk, uint64_t size_bytes);
  bool Write(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes);
  bool Discard(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes);
  bool Read(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes);
  bool Sync(VolumeModel& model);
  bool Resize(VolumeModel& model, uint64_t size_bytes);
  bool Rename(VolumeModel& model);
  bool Shrink(VolumeModel& model, uint64_t size_bytes);
  bool Revert(SnapshotModel& model);
  // Copies as cp does with copy_file_range: by sharing if that is possible, otherwise by writing.
  bool Copy(VolumeModel& model, uint64_t piece_bytes);
  bool Delete(VolumeModel& model, bool cancel);
  bool TakeSnapshot(VolumeModel& model);
  bool DeleteSnapshot(SnapshotModel& model);
  bool ReadSnapshot(SnapshotModel& model);
  bool Diff(SnapshotModel& model);  // with its volume as it is now
  enum class Place { kOther, kLinked, kSame };
  bool Clone(VolumeModel& model, Place place, uint64_t size_bytes);
  bool Restore(SnapshotModel& model, Place place);
  std::string PlaceKeys(Place place, int disk);  // of a request
  bool Look(VolumeModel& model);                 // at its progress
  void Wait(Nanoseconds duration);
  // Deletes all images on a full disk, so that something new can be made there.
  void Empty(int disk);
  // Waits until no clone is being copied. Returns false if that takes longer than any copy should.
  bool WaitUntilWhole();

  // Returns a volume or snapshot that clients may use now, or null.
  VolumeModel* PickVolume();
  SnapshotModel* PickSnapshot();

 private:
  void Client(uint64_t seed, uint64_t* left);
  void DoRandom(Random& random);
  VolumeModel& Make(int disk, uint64_t size_bytes);
  void Settle(VolumeModel& model);
  void Replaced(const Status& done, VolumeModel& model, ImageModel image);
  void CopyPiece(const std::shared_ptr<OpenSnapshot>& source, VolumeModel& target,
                 std::span<const std::byte> bytes, uint64_t offset_bytes);
  bool WriteOpen(Volume& volume, VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes);
  Volume::Durability DrawDurability();
  Status Conclude(Volume& volume, VolumeModel& model, Volume::Durability durability);
  void Acknowledged(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes,
                    Volume::Durability durability);

  Result<std::string> Ask(RequestKind kind, const std::string& line);
  [[nodiscard]] bool Usable(const VolumeModel& model) const;
  [[nodiscard]] bool Mounted(int disk) const { return (disks_ >> disk & 1) != 0; }
  // Returns whether any call may fail, because a fault was injected.
  [[nodiscard]] bool Troubled() const { return machine_.power_off() || machine_.faulted(); }
  void Check(const Error& error, const std::string& what, bool excused);
  // Returns whether a part of the disk's reserve is missing, with no room to complete it.
  [[nodiscard]] bool Drained(int disk) const;
  [[nodiscard]] uint64_t MissingReserve(int disk) const;
  // Returns whether a disk is full and may refuse this for want of room. It may never refuse a
  // deletion, nor the record of an accepted request.
  [[nodiscard]] bool MayLackRoom(const std::string& what) const;
  // A request for something new must not succeed on a disk that is drained from its begin to its
  // end.
  class Growth {
   public:
    Growth(Workload& workload, int disk);
    void Succeeded(const std::string& what);

   private:
    Workload& workload_;
    const int disk_;
    const bool drained_;
    const uint64_t frees_;
  };
  void Violation(std::string text);
  [[nodiscard]] bool IsCopied(uint32_t volume, uint32_t snapshot) const;
  [[nodiscard]] bool SourceAway(const VolumeModel& model) const;
  [[nodiscard]] bool SourceBusy(const VolumeModel& model) const;
  [[nodiscard]] std::string FreshName(const char* stem);
  // Records the answer to a request for something new.
  void Answered(const Result<std::string>& reply, Existence& existence, const std::string& what,
                bool excused);
  // Reads all of a new clone, and takes its bytes for those of its snapshot point from then on.
  void DecideClone(VolumeModel& clone);
  void Note(const std::string& what);

  Machine& machine_;
  Oracle& oracle_;
  Store& store_;
  const unsigned disks_;
  Random random_;
  const bool compares_;  // Diff; in some lives only, so that the others stay as they were
  const bool focus_;  // all clients use few blocks of few volumes, so that races are more frequent
  std::vector<std::string>& violations_;
  Synchronous synchronous_ = Synchronous::kSome;
  uint64_t operations_ = 0;
};

}  // namespace volfs::sim
