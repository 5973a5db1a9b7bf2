#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/store/store.h"
#include "control/tree/held_texts.h"

namespace volfs {

// The options that the daemon was started with, shown in control/config (one `key=value` line
// each).
struct ControlConfig {
  std::vector<std::pair<std::string, std::string>> options;
  uint32_t uid = 0;  // the user who mounted; owner of all control files
  uint32_t gid = 0;
  std::optional<uint32_t> control_gid;  // if set, request files are 0660 of this group instead of
                                        // 0600
  bool is_private = false;              // only that user and that group may enter control/
};

// Returns whether `caller` may see everybody's volumes and refusals: the user who mounted, a member
// of the control group, or root.
bool Administers(const Caller& caller, uint32_t mount_uid, std::optional<uint32_t> control_gid);

// Inode numbers. Volumes, snapshots and nodes have an Id whose low byte is zero (units.h). The
// inode number of a file that belongs to one is that Id plus a facet, so numbers are stable and
// nothing is remembered.
namespace inode {
inline constexpr uint64_t kRoot = 1;
inline constexpr uint64_t kVolumes = 2;
inline constexpr uint64_t kSnapshots = 3;
inline constexpr uint64_t kNodes = 4;
inline constexpr uint64_t kControl = 5;
inline constexpr uint64_t kControlFirst =
    16;  // fixed files and directories below control/: 16..255
// Facets.
inline constexpr uint64_t kImage = 0;              // of a volume or snapshot id
inline constexpr uint64_t kSnapshotDirectory = 1;  // snapshots/VOLUME, of the volume's id
inline constexpr uint64_t kNodeDirectory = 2;      // nodes/NODE, of the node's id
inline constexpr uint64_t kControlDirectory = 16;  // control/volumes/NAME, control/nodes/NODE
inline constexpr uint64_t kControlFile = 17;       // the first file in that directory; the others
                                                   // follow
inline constexpr uint64_t kFacetMask = (uint64_t{1} << kIdFacetBits) - 1;
inline constexpr Id IdOf(uint64_t ino) { return ino & ~kFacetMask; }
inline constexpr uint64_t FacetOf(uint64_t ino) { return ino & kFacetMask; }
}  // namespace inode

struct ControlEntry {
  uint64_t ino = 0;
  std::string name;
  bool directory = false;
  uint32_t mode = 0;  // permission bits
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size_bytes = 0;       // of the text that a reader gets now, or of the image
  uint64_t allocated_bytes = 0;  // of an image: at most so many are data
  int64_t mtime_ns = 0;
};

// One open control file. All reads of one open file see the same text.
// Thread-safety: all methods from any thread.
class ControlFile {
 public:
  virtual ~ControlFile() = default;

  // Returns up to `max` bytes at `offset_bytes`, "" at the end. Returns nullopt for a file under
  // watch/ that has no news yet; the caller asks again after the tree's activity callback. Never
  // blocks.
  virtual Result<std::optional<std::string>> Read(size_t max, uint64_t offset_bytes) = 0;

  // Takes bytes and returns how many. May block for as long as a request takes, so never call it
  // from a thread that serves data. Offsets mean nothing to control files.
  virtual Result<size_t> Write(std::string_view data, const Caller& caller) = 0;

  // Returns whether Read would return something now, for poll(2).
  virtual bool Readable() = 0;

  // Returns the node that Read may wait for, null if it waits for none.
  [[nodiscard]] virtual const Node* node() const { return nullptr; }
};

// The files under control/, without FUSE: list, look up, open.
//
// Lookup, Stat, List and Open may need much memory for one caller; they return kNoMemory if it is
// not there.
//
// Thread-safety: all methods from any thread. Only ControlFile::Write blocks.
class ControlTree {
 public:
  ControlTree(Store& store, ControlConfig config);
  ~ControlTree();

  // These return kNotFound if there is no such entry. `parent` and `ino` are inode numbers of this
  // tree (kControl is its root).
  Result<ControlEntry> Lookup(uint64_t parent, std::string_view name);
  Result<ControlEntry> Stat(uint64_t ino);
  Result<std::vector<ControlEntry>> List(uint64_t ino);
  // Returns true for every inode number that this tree may answer for.
  [[nodiscard]] bool Owns(uint64_t ino) const;

  // Returns kNoMemory also if the caller holds too much open (held_texts.h).
  Result<std::unique_ptr<ControlFile>> Open(uint64_t ino, bool for_write, const Caller& caller);

  // Opens a file for which IsDiffImageIno (diff_place.h) is true: a sparse image. Returns kNoMemory
  // also if too many diffs are open.
  Result<std::shared_ptr<OpenDiff>> OpenDiffImage(uint64_t ino);

  // Returns the bounded texts. Directory listings are held in them, too.
  [[nodiscard]] HeldTexts& texts();

  // Records a refused file operation (unlink, truncate, ...) for control/last_error.
  void RecordRefusal(const Caller& caller, std::string_view operation, const Error& error);

  // Sets the callback that runs on the store's notifier thread whenever a file under watch/ may
  // have become readable.
  void SetActivityCallback(std::function<void()> callback);
  // Sets the callback that runs on the store's notifier thread after every event of the store; it
  // serves kernel invalidation.
  void SetEventCallback(std::function<void(const StoreEvent&)> callback);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace volfs
