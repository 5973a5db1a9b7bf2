#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/units.h"
#include "blockstore/map/presence.h"

namespace volfs {

class NodeDirectory;

// The records of a node's catalog. FORMAT.md says what each field means on disk. Times are
// nanoseconds since 1970. An id of kNoId means "none".

struct VolumeType {  // a class of storage that a node offers
  std::string name;
  uint64_t least_bytes = 0;
  uint64_t greatest_bytes = kMaxVolumeBytes;
  friend bool operator==(const VolumeType&, const VolumeType&) = default;
};

struct NodeRecord {
  std::string uuid;
  std::string name;
  std::string region;
  std::vector<VolumeType> types;
  uint32_t block_size = kDefaultBlockSize;
  uint64_t generation = 0;  // grows with every mount; a smaller one than a peer saw: an older copy
  friend bool operator==(const NodeRecord&, const NodeRecord&) = default;
};

struct PeerRecord {  // a node that this one was mounted with
  std::string uuid;
  std::string name;
  std::string path;
  uint64_t generation = 0;
  friend bool operator==(const PeerRecord&, const PeerRecord&) = default;
};

struct LayerRecord {
  Id id = kNoId;
  Id parent = kNoId;        // kNoId: the layer is flat
  std::string parent_node;  // UUID of the parent's node; empty: this node
  uint64_t size_bytes = 0;
  uint64_t parent_bytes = 0;  // how much of the parent shows through: [0, parent_bytes)
  bool has_file = false;      // false: no block is here, and no file need exist
  friend bool operator==(const LayerRecord&, const LayerRecord&) = default;
};

struct Attributes {
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0600;  // permission bits only
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  friend bool operator==(const Attributes&, const Attributes&) = default;
};

struct VolumeRecord {
  Id id = kNoId;
  std::string name;
  Id head = kNoId;  // kNoId: the volume was deleted, its snapshots keep the name
  uint64_t size_bytes = 0;
  std::string type;
  int64_t created_ns = 0;
  Attributes attributes;
  // Of the request that made it a clone, to know it again: id=TOKEN, and the words with it.
  std::string token{};
  std::string request{};
  friend bool operator==(const VolumeRecord&, const VolumeRecord&) = default;
};

struct SnapshotRecord {
  Id id = kNoId;
  Id volume = kNoId;
  std::string name;
  Id layer = kNoId;
  uint64_t size_bytes = 0;
  int64_t created_ns = 0;
  Attributes attributes;
  friend bool operator==(const SnapshotRecord&, const SnapshotRecord&) = default;
};

struct HoldRecord {  // on the source's node: a clone reads `layer`
  Id clone = kNoId;
  std::string clone_node;  // UUID
  std::string clone_name;  // for messages; may be stale after a rename
  Id layer = kNoId;
  Id volume = kNoId;    // whose lock the clone has ...
  Id snapshot = kNoId;  // ... or, if not kNoId, this snapshot's
  friend bool operator==(const HoldRecord&, const HoldRecord&) = default;
};

enum class CloneState : uint8_t {  // the numbers are on disk
  kIntent = 1,                     // the name is reserved; there is no volume yet
  kCopying = 2,                    // the volume is usable and depends on its source
  kReleasing = 3,  // independent; the hold on the source's node is still to be released
  kDeleting = 4,   // being cancelled: the hold is released next, then the rest forgotten
};

struct CloneRecord {  // on the clone's node: the job that makes it independent
  Id clone = kNoId;   // the id of the clone's volume
  CloneState state = CloneState::kIntent;
  std::string name;         // the reserved name while kIntent
  std::string source_name;  // "db.img" or "db.img@monday", as requested
  std::string source_node;  // UUID
  std::string source_node_name;
  Id source_layer = kNoId;
  uint64_t source_bytes = 0;  // the source's size at the instant
  uint64_t total_bytes = 0;   // of data to be copied; 0 until counted
  bool total_known = false;
  uint64_t copied_bytes = 0;  // of these, committed
  uint64_t cursor_block = 0;  // everything below is here, zero, or a hole of the source
  std::string error;          // empty, or why copying stopped
  friend bool operator==(const CloneRecord&, const CloneRecord&) = default;
};

// A set of changes that becomes durable as one. Applied in order. Put adds the record or takes the
// place of the one with its key; deleting what is not there does nothing.
// clang-format off
struct PutNode { NodeRecord record; };
struct PutPeer { PeerRecord record; };
struct DeletePeer { std::string uuid; };
struct PutLayer { LayerRecord record; };
struct DeleteLayer { Id id; };  // and its presence
struct PutVolume { VolumeRecord record; };
struct DeleteVolume { Id id; };
struct PutSnapshot { SnapshotRecord record; };
struct DeleteSnapshot { Id id; };
struct PutHold { HoldRecord record; };
struct DeleteHold { Id clone; };
struct PutClone { CloneRecord record; };
struct DeleteClone { Id clone; };
struct SetPresence { Id layer; PresenceRuns runs; };
struct ClearPresence { Id layer; };  // the layer became flat
struct PutSetting { std::string key; std::string value; };  // limits and the like
struct DeleteSetting { std::string key; };
struct NoteLineage {};  // the bit of `feature_ignore` that says that the lineage is kept
// clang-format on

using CatalogOp =
    std::variant<PutNode, PutPeer, DeletePeer, PutLayer, DeleteLayer, PutVolume, DeleteVolume,
                 PutSnapshot, DeleteSnapshot, PutHold, DeleteHold, PutClone, DeleteClone,
                 SetPresence, ClearPresence, PutSetting, DeleteSetting, NoteLineage>;
using CatalogChange = std::vector<CatalogOp>;

struct CatalogContents {  // everything but presence
  NodeRecord node;
  std::vector<PeerRecord> peers;
  std::vector<LayerRecord> layers;
  std::vector<VolumeRecord> volumes;
  std::vector<SnapshotRecord> snapshots;
  std::vector<HoldRecord> holds;
  std::vector<CloneRecord> clones;
  std::vector<std::pair<std::string, std::string>> settings;
};

// After a commit that failed with `error` it is certain that nothing of it happened.
inline bool RefusedCleanly(const Error& error) {
  return error.code != Errc::kIo && error.code != Errc::kCorrupt;
}

// How much of the node's reserve (FORMAT.md, section 8) a commit may take where it finds no other
// room.
enum class Room : uint8_t {
  kGrow,    // nothing, and it is refused while the reserve is not whole: it makes something new
  kRecord,  // all but the last quarter: it records what was accepted before
  kFree,    // all: it makes room, or a node could not be mounted without it
};

// One node's catalog: a SQLite database that only this file pair knows. It describes the whole node
// except the bytes of layers.
//
// Durability: when Commit returns ok, all of the change is durable, and so is every change that
// returned ok before. Concurrent commits share one transaction and one sync (group commit: the
// first caller applies the queued changes of the others). A change of a group that is refused
// before anything was written (constraint, malformed) is refused alone. Errors: kExists (a name is
// taken: among volumes and intents, or snapshots of one volume), kInvalid (malformed; presence of
// an unknown layer), kNoSpace, kQuota, kReadOnly: nothing happened. After kIo or kCorrupt the
// outcome of that commit is unknown and the catalog is fenced. Every later call then returns kIo
// without touching the disk. Opening the catalog again recovers either the state before or the one
// after. The same holds if the node turns out to be gone after a commit.
//
// Room: a commit that finds none uses the log from its beginning, after a checkpoint, and then, as
// far as its Room allows, pieces of the reserve. The log is bounded: LogIsLong says when a
// background thread should shorten it, and a commit that finds it four times as long does that
// itself.
//
// Thread-safety: all methods from any thread. Locks: one Mutex for the connection, one for the
// queue; leaves of the lock order. Cost: a commit is one write and one sync of the WAL.
class Catalog {
 public:
  // Makes the database of a new node. kExists if there is a complete one.
  static Result<std::unique_ptr<Catalog>> Create(NodeDirectory& directory, const NodeRecord& node);
  // Opens it. kNotFound if there is none (or one whose creation did not finish); kCorrupt if it is
  // damaged; kNotSupported if its format or a feature flag in it is newer than this program.
  static Result<std::unique_ptr<Catalog>> Open(NodeDirectory& directory);
  ~Catalog();  // checkpoints all commits unless it is fenced

  Result<CatalogContents> Load();  // kCorrupt names the first row whose checksum or value is wrong
  // All runs of a layer that are not absent, ascending, as they were at one instant. `visit` is
  // called without a lock.
  Status LoadPresence(Id layer, const std::function<void(const PresenceRun&)>& visit);
  // One chunk (kChunkBlocks blocks from chunk * kChunkBlocks on).
  Result<PresenceChunk> LoadChunk(Id layer, uint64_t chunk, uint64_t* alike = nullptr);
  // Every layer id that presence rows name, ascending. Cost: one look-up for each.
  Result<std::vector<Id>> LayersWithPresence();

  Status Commit(const CatalogChange& change, Room room = Room::kRecord);

  // Moves the transactions in the log into the database, frees the unneeded end of the log's file,
  // and makes the reserve whole if it can. Not part of a commit; called from a background thread
  // now and then.
  Status Checkpoint();
  // Only the first of these. Call it when LogIsLong.
  Status ShortenLog();
  [[nodiscard]] bool LogIsLong() const;  // any time, without a lock
  // Called by a commit after which LogIsLong, with no lock of the catalog held. Set it before the
  // first commit that shall call it.
  void OnLogLong(std::function<void()> wake);

  // --- the reserve: room on the node's filesystem that is kept for commits
  // kNoSpace says what to do: something new cannot be made, as the reserve is not whole, or would
  // not be after it. Before a request for something new changes anything.
  Status CheckMayGrow();
  // The same for a caller that takes room of the node without the catalog. Returns kNoSpace while
  // the reserve is not whole and cannot be made so. Cost: one load if it is whole.
  Status CheckReserve();
  // How much of it is missing. Any time, without a lock.
  [[nodiscard]] uint64_t missing_reserve_bytes() const;
  // Makes the reserve whole if there is room, and returns whether it is. Cheap if it is whole or
  // there is no room; else it writes and syncs the missing bytes.
  bool RestoreReserve();

  // Checks everything, presence and SQLite's own structure included: kCorrupt names the first thing
  // that is wrong. Slow; holds up commits.
  Status Verify();

  // Nothing is committed any more until the node is mounted again. `lost`: not for an error of the
  // catalog's, but as the node is not reachable any more (NodeDirectory::CheckPresent). The first
  // reason stays. Waits for nothing.
  void Fence(const std::string& why, bool lost);
  // NodeDirectory::CheckPresent; fences the node if it is gone. A commit looks by itself.
  Status CheckPresent();
  [[nodiscard]] bool fenced() const;
  [[nodiscard]] bool lost() const;
  [[nodiscard]] std::string fence_reason() const;  // empty: it is not fenced
  // From now on every Commit is refused with kReadOnly. Of a node that is open for reading only,
  // whose recovery was committed to memory (read_only_node.h).
  void BecomeReadOnly();
  [[nodiscard]] bool read_only() const;    // ... or it has a feature with which we may only read it
  [[nodiscard]] uint64_t commits() const;  // transactions since it was opened; for benchmarks

 private:
  explicit Catalog(NodeDirectory& directory);
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace volfs
