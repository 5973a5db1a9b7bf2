#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "control/request/request.h"
#include "tests/sim/machine.h"
#include "tests/sim/oracle.h"

namespace volfs::sim {

// Clients of one mounted store: each call is told to the oracle before, its answer after. Forbidden
// answers go to `violations`.
//
// Requests go through control's parser and executor, bytes through Volume, as fusefs does it.
class Workload {
 public:
  // `disks`: those that the store has, by bit.
  Workload(Machine& machine, Oracle& oracle, Store& store, unsigned disks, uint64_t seed,
           std::vector<std::string>& violations);

  // `clients` fibers do `operations` random ones between them; less if the power goes off.
  void RunClients(int clients, uint64_t operations);
  [[nodiscard]] uint64_t operations() const { return operations_; }

  // All writes, discards and shares from now on, instead of some.
  enum class Synchronous : uint8_t { kNone, kSome, kAll };
  void set_synchronous(Synchronous calls) { synchronous_ = calls; }

  // Single operations. Each does nothing if it makes no sense now (false).
  bool Create(int disk, uint64_t size_bytes);
  bool Write(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes);
  bool Discard(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes);
  bool Read(VolumeModel& model, uint64_t offset_bytes, uint64_t length_bytes);
  bool Sync(VolumeModel& model);
  bool Resize(VolumeModel& model, uint64_t size_bytes);
  bool Rename(VolumeModel& model);
  bool Shrink(VolumeModel& model, uint64_t size_bytes);
  bool Revert(SnapshotModel& model);
  // As cp does it with copy_file_range: by sharing if that is possible, else by writing.
  bool Copy(VolumeModel& model, uint64_t piece_bytes);
  bool Delete(VolumeModel& model, bool cancel);
  bool TakeSnapshot(VolumeModel& model);
  bool DeleteSnapshot(SnapshotModel& model);
  bool ReadSnapshot(SnapshotModel& model);
  enum class Place { kOther, kLinked, kSame };
  bool Clone(VolumeModel& model, Place place, uint64_t size_bytes);
  bool Restore(SnapshotModel& model, Place place);
  std::string PlaceKeys(Place place, int disk);  // of a request
  bool Look(VolumeModel& model);                 // at its progress
  void Wait(Nanoseconds duration);
  // Deletes all images on a full disk; something new can be made there then.
  void Empty(int disk);
  // Until no clone is being copied; false if that takes longer than any should.
  bool WaitUntilWhole();

  // A volume or snapshot that clients may use now; null: none.
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
  // May anything fail, as something was made to fail?
  [[nodiscard]] bool Troubled() const { return machine_.power_off() || machine_.faulted(); }
  void Check(const Error& error, const std::string& what, bool excused);
  // Is a part of the disk's reserve missing, with no room to make it whole?
  [[nodiscard]] bool Drained(int disk) const;
  [[nodiscard]] uint64_t MissingReserve(int disk) const;
  // Returns whether a disk is full and may refuse this for want of room. It may never refuse a
  // deletion, nor the record of an accepted request.
  [[nodiscard]] bool MayLackRoom(const std::string& what) const;
  // A request for something new on a disk that is drained from its begin to its end must not
  // succeed.
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
  // After a request for something new.
  void Answered(const Result<std::string>& reply, Existence& existence, const std::string& what,
                bool excused);
  // Of a clone just made: reads all of it, which decides what the instant was.
  void DecideClone(VolumeModel& clone);
  void Note(const std::string& what);

  Machine& machine_;
  Oracle& oracle_;
  Store& store_;
  const unsigned disks_;
  Random random_;
  const bool focus_;  // all clients on few blocks of few volumes: so races are met more often
  std::vector<std::string>& violations_;
  Synchronous synchronous_ = Synchronous::kSome;
  uint64_t operations_ = 0;
};

}  // namespace volfs::sim
