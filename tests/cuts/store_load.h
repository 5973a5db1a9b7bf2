#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "tests/cuts/fio_load.h"
#include "tests/cuts/request_load.h"
#include "tests/cuts/tally.h"
#include "tests/support/block_load.h"
#include "tests/support/file_load.h"

namespace volfs {

// The load on one store whose power is cut, round after round: fsynced writes to volumes of both
// nodes, to a clone that is being copied and to its source; snapshots and clones; files in an ext4
// on a loop device; fio.
//
// Methods throw std::runtime_error if a step that they rely on does not work.
class StoreLoad {
 public:
  // The further loads of a round, besides writing to `db`.
  struct Choice {
    bool requests = false;
    bool away = false;
    bool files = false;
    bool fio = false;
  };
  // `attach` and `detach` make and remove a loop device over an image. `directory` holds
  // mountpoints and fio's files.
  struct Loops {
    std::function<std::string(const std::string&)> attach;
    std::function<void(const std::string&)> detach;
  };

  StoreLoad(std::string mnt, std::string directory, Loops loops, uint64_t seed);

  // Makes the volumes in a store that was just mounted for the first time.
  void Prepare();
  void Start(const Choice& choice);
  // Makes no later answer count as acknowledged. Call it at the last moment before a disk dies
  // under the load, if the daemon is alive. A sync that runs while a filesystem is shut down may
  // return 0 for lost data (seen on a plain XFS, without volfs). When the power fails, no program
  // is left to receive such an answer.
  void DistrustAnswers();
  // Expects, after that and with a living daemon, that writes to these nodes can no longer be
  // synced.
  void ExpectNoSync(bool on_a, bool on_b);
  // Stops the load; the mount may be dead or alive. Adds the acknowledged operations to the tally.
  void Stop(const std::string& where, Tally& tally);

  // Checks everything after a mount. `where` appears in complaints.
  void Check(const std::string& where, Tally& tally);
  // Checks the images alone, reading each.
  void CheckImages(const std::string& where, Tally& tally);
  // Calls fsync on each image, without reading any.
  void SyncImages(const std::string& where, Tally& tally);
  // Waits until the clone is whole. Returns its node; "" if there is no clone.
  std::string AwaitCopy();
  // Checks the clone alone, as its node has it without the other node.
  void CheckCopy(const std::string& where, Tally& tally);

 private:
  [[nodiscard]] std::string Volume(const std::string& name) const;
  [[nodiscard]] std::string Field(const std::string& volume, const std::string& field) const;
  void MustAsk(const std::string& file, const std::string& line) const;
  void MakeCopy();
  void DropCopy();
  void MakeFioImage();
  void CheckFiles(const std::string& where, Tally& tally);
  void MountDisk();
  void UnmountDisk();
  [[nodiscard]] uint64_t AcknowledgedSoFar() const;

  const std::string mnt_;
  const std::string folder_;
  const Loops loops_;
  std::mt19937_64 random_;
  BlockLoad db_;    // cloned
  BlockLoad snap_;  // snapshotted and cloned during writes
  BlockLoad away_;  // on the other node
  std::unique_ptr<BlockLoad> copy_;
  bool copy_was_whole_ = false;
  RequestLoad requests_;
  FileLoad files_;
  std::unique_ptr<FioLoad> fio_;
  Choice choice_;
  std::string db_node_;  // away, disk and the clone of db are on the other node
  std::string snap_node_;
  std::string device_;  // of the disk, while there is one
  uint64_t counted_ = 0;
  uint64_t of_others_ = 0;  // acknowledged, but not (or no longer) counted elsewhere
  uint64_t fio_number_ = 0;
};

}  // namespace volfs
