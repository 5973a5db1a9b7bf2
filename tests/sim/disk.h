#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"
#include "tests/sim/random.h"

namespace volfs::sim {

inline constexpr uint64_t kSectorBytes = 512;

// The damage that a power loss may do to unsynced effects.
struct LossModel {
  // Strict: any subset of the pending effects survives, each sector in any of its states, and names
  // independently of data. Ordered: creations, removals and sizes survive as a prefix of their
  // order, as in a journal, and data survives as in the strict model.
  bool ordered = false;
  bool killed = false;  // no power loss: the daemon is killed, and the page cache survives
  enum class Keep {
    kEverything,
    kNothing,
    kAllButOne,
    kSubset,  // of whole writes
    kTorn,    // of sectors
  };
  Keep keep = Keep::kSubset;
};
inline constexpr int kKeeps = 5;

// One call to a disk, as faults and power cuts count them.
enum class Call : uint8_t {
  kOpen,
  kRemove,
  kList,
  kRead,
  kWrite,
  kSync,
  kSyncNames,
  kPunch,
  kSetSize,
  kLook,
};
std::string_view NameOf(Call call);
bool Changes(Call call);

// Returns how much of a short write happens: up to the end of a sector.
uint64_t HalfOf(uint64_t offset_bytes, uint64_t length_bytes);

// A file of a simulated disk: the page cache (`now`), the durable contents, and the effects that
// only the page cache has, in order.
class DiskFile {
 public:
  struct Image {
    std::vector<std::byte> bytes;
    std::vector<bool> allocated;  // for each sector: data, not a hole
    void Resize(uint64_t size_bytes);
    void Put(uint64_t offset_bytes, std::span<const std::byte> data, bool is_data);
  };

  void Write(uint64_t seq, uint64_t offset_bytes, std::span<const std::byte> data);
  void Punch(uint64_t seq, uint64_t offset_bytes, uint64_t length_bytes);
  void SetSize(uint64_t seq, uint64_t size_bytes);
  // Makes everything pending durable. Returns the greatest number of a size change in it.
  uint64_t Sync();
  // Fails a sync: the pages are clean, but some of them never reached the disk.
  void LosePending(Random& random);
  // Drops the clean pages. Later reads come from the disk, or from pages that are not written yet.
  void DropCleanPages();
  [[nodiscard]] const Image& now() const { return now_; }
  [[nodiscard]] bool dirty() const { return !pending_.empty(); }
  // Leaves the durable image after a power loss. In the ordered model, size changes numbered up to
  // `sizes_upto` survive.
  void LosePower(const LossModel& model, uint64_t sizes_upto, Random& random);
  void Flip(uint64_t bit);  // at rest

 private:
  struct Effect {
    uint64_t seq = 0;
    enum class Kind : uint8_t { kWrite, kPunch, kSize } kind = Kind::kWrite;
    uint64_t offset_bytes = 0;  // kSize: the new size
    uint64_t length_bytes = 0;
    size_t data = 0;  // kWrite: where its bytes are in written_
  };
  void WriteBack(uint64_t from, uint64_t to);
  void NoteWrite(uint64_t seq, uint64_t from, uint64_t to);
  static void Apply(Image& image, const Effect& effect, std::span<const std::byte> data,
                    uint64_t from, uint64_t to);

  Image now_;
  Image durable_;
  std::vector<Effect> pending_;
  std::vector<std::byte> written_;  // the bytes of the pending writes, one after another
};

// One node's disk: files under names in two directories, `layers/` and the root. fsync of a file
// makes its data and size durable, not its name. fsync of a directory makes its names durable.
//
// Copyable: a copy is an independent disk in the same state, also of power.
class Disk {
 public:
  Disk() = default;
  Disk(const Disk& other);
  Disk& operator=(const Disk& other);

  // Returns the file without a fault or a watcher, or null if there is no such name.
  [[nodiscard]] std::shared_ptr<DiskFile> Find(const std::string& name) const;
  std::shared_ptr<DiskFile> Create(const std::string& name);
  void Remove(const std::string& name);
  void SyncName(const std::string& name);      // of one file, as SQLite does for its journals
  void SyncNames(std::string_view directory);  // "layers/" or "": the names in it
  void SyncFile(DiskFile& file);
  [[nodiscard]] const std::map<std::string, std::shared_ptr<DiskFile>>& names() const {
    return now_;
  }
  uint64_t NextSeq() { return ++seq_; }

  // Loses the power and brings it back: only the durable state exists.
  void LosePower(const LossModel& model, Random& random);

  [[nodiscard]] bool powered() const { return powered_; }
  void set_powered(bool powered) { powered_ = powered; }
  // Limits all files together to their present size and `more_bytes`, until Relieve and also over
  // power losses. Overwriting takes no room, removing and punching give room back.
  void Fill(uint64_t more_bytes) { max_bytes_ = UsedBytes() + more_bytes; }
  void Relieve() { max_bytes_ = kUnlimited; }
  [[nodiscard]] bool limited() const { return max_bytes_ != kUnlimited; }
  [[nodiscard]] uint64_t UsedBytes() const;
  [[nodiscard]] uint64_t FreeBytes() const;
  // Returns whether there is room for a write of this range.
  [[nodiscard]] bool Fits(const DiskFile& file, uint64_t offset_bytes, uint64_t length_bytes) const;

 private:
  struct NameEffect {
    uint64_t seq;
    std::string name;
    std::shared_ptr<DiskFile> file;  // null: removed
  };
  void NoteName(const std::string& name, std::shared_ptr<DiskFile> file);

  uint64_t seq_ = 0;
  uint64_t durable_metadata_ = 0;  // changes of names or sizes up to this number are durable
  std::map<std::string, std::shared_ptr<DiskFile>> now_;
  std::map<std::string, std::shared_ptr<DiskFile>> durable_;
  std::vector<NameEffect> pending_;
  static constexpr uint64_t kUnlimited = ~uint64_t{0};
  bool powered_ = true;
  uint64_t max_bytes_ = kUnlimited;
};

}  // namespace volfs::sim
