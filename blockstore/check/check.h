#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"

namespace volfs {

// Checks a store: compares the claims of its nodes' catalogs and layer files with each other. The
// kinds below list the possible findings. Rows that the catalog refuses to read at all (a wrong
// checksum, a malformed name) are reported as kCatalog.

struct Finding {
  enum class Kind : uint8_t {
    // Nodes.
    kCatalog,         // a catalog is damaged: SQLite, a checksum, an impossible value
    kSameNode,        // two directories are copies of one node; nothing else is looked at then
    kNodeName,        // two nodes have one name
    kBlockSize,       // two nodes have blocks of different sizes
    kOlderCopy,       // a peer has seen a later mount of a node
    kForkedCopy,      // a node went another way than the copy of it that a peer knows
    kNodeUnfinished,  // a node whose making was cut off: nothing is in it, the next mount makes it
    kNodeAbsent,      // a node that others know was not given; said, never damage
    // Names and ids.
    kIdTwice,      // two things have one id
    kNameTwice,    // two nodes have volumes of one name
    kUnknownType,  // a volume has a type that its node does not offer
    // Volumes and snapshots.
    kHeadMissing,     // a volume's layer is not in its node's catalog
    kHeadShared,      // another one reads a layer that a volume writes
    kVolumeSize,      // volume and head have different sizes
    kEmptyTombstone,  // a deleted volume without snapshots
    kSnapshotVolume,  // a snapshot of no volume
    kSnapshotLayer,   // a snapshot's layer is not in its node's catalog
    kSnapshotSize,    // snapshot and layer have different sizes
    // Layers.
    kParentMissing,       // a layer lies over one that is not there
    kParentCycle,         // a layer lies over itself
    kParentBounds,        // a layer shows more of its parent than there is
    kPresenceOfFlat,      // presence rows of a flat layer
    kPresenceBounds,      // presence past a layer's end
    kPresentWithoutFile,  // blocks are here, but the record says that there is no file
    // Files.
    kFileMissing,   // (kTidy if nothing is in it)
    kFileShort,     // shorter than the layer
    kFileLong,      // longer: a growth that was never committed
    kFileUnusable,  // not a plain file, or it cannot be read
    kOrphanFile,    // a layer's file that no record knows
    kForeignFile,   // a file in layers/ that is not ours; left alone
    // Space that cannot be reached.
    kGarbage,          // data where the layer's presence does not say "present"
    kUnreachedLayer,   // a layer without a reference and without a child that is needed
    kUnreachedBlocks,  // blocks of an unreferenced layer that all its children hide
    // Clones and holds.
    kHoldMissing,      // a clone depends on a node that holds nothing for it
    kHoldMismatch,     // a hold for another layer or node than the clone's
    kHoldUnneeded,     // the clone's node is there and does not know it
    kHoldLayer,        // a hold on a layer that is not there
    kHoldSource,       // a hold that locks no volume or snapshot
    kCloneUnfinished,  // an intent, or a cancelled clone: the next mount removes it
    kCloneRelease,     // a whole clone whose hold is still to be released
    kCloneJob,         // a copy job and its volume do not fit together
    kCloneProgress,    // cursor or figures out of bounds
  };
  enum class Weight : uint8_t {
    kTidy,    // nothing is wrong: the next mount tidies it up, or it is only worth telling
    kDamage,  // something is wrong
  };
  Kind kind = Kind::kCatalog;
  Weight weight = Weight::kDamage;
  std::string node;  // its name
  std::string text;  // a sentence: the fault, its place, and what to do
  bool repaired = false;
};

inline constexpr int kFindingKinds = static_cast<int>(Finding::Kind::kCloneProgress) + 1;

// "head-missing"
std::string_view KindWord(Finding::Kind kind);

struct CheckOptions {
  // Repairs as far as possible without dropping an acknowledged block. Damage comes first. Garbage
  // and leftovers are removed only once no damage is left, as they are found from the same records.
  // Requires: the nodes are not mounted.
  bool repair = false;
  // Reads each database as a whole (Catalog::Verify). Without it damage of SQLite's own structure
  // and presence of layers that do not exist are not found.
  bool verify_catalogs = true;
};

// Checks these nodes against each other. Nodes that are not among them are known from the peer
// tables. Their absence is reported, and nothing that they may need is freed.
//
// Works through Node, Catalog and NodeDirectory only. Without `repair` it therefore also works on
// nodes that an open but idle Store has (unsynced work looks as after a crash: kTidy). The findings
// come in the same order each time. Changes nothing without `repair`. With it, repaired findings
// come first. A commit that fails ends the repairing, and its finding says so.
//
// Returns an error if the check is impossible: a fenced catalog, a directory that cannot be listed.
// Cost: one load of each catalog, one of each layer's presence, one open of each layer's file.
Result<std::vector<Finding>> CheckNodes(const std::vector<Node*>& nodes,
                                        const CheckOptions& options);

}  // namespace volfs
