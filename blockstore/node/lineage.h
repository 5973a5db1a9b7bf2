#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"

namespace volfs {

// The mounts that a node has been through. Each mount draws a random id and writes it into the
// node. The node keeps its last ones, and each node that is mounted with it keeps the last that it
// saw. These ids tell whether a directory is the node that its peers know, perhaps mounted more
// often since, or a copy that was left behind, or a copy that was mounted by itself (FORMAT.md,
// section 4.5). A count of mounts cannot tell, as a copy that is mounted alone catches up with it.
//
// Pure: no I/O, no lock.

using MountId = uint64_t;  // never 0

struct KnownLineage {             // the memory that a node has of a peer
  MountId told = 0;               // of its own mounts: the last that the peer saw; 0: none
  std::vector<MountId> mounts{};  // of the peer's: the last ones, oldest first
};

struct Lineage {
  // A peer recognises a node that was mounted more often than this without it all the same
  // (KnownLineage::told). Beyond this number a copy that was left behind so long ago cannot be told
  // from one that was mounted by itself any more. Both are refused.
  static constexpr size_t kKept = 1024;
  static constexpr size_t kKeptOfPeers = 256;

  std::vector<MountId> mounts{};                // the node's own, oldest first
  std::map<std::string, KnownLineage> known{};  // of its peers, by UUID

  [[nodiscard]] MountId newest() const { return mounts.empty() ? 0 : mounts.back(); }
};

// Fails with kCorrupt if a value has not the form that FORMAT.md says.
Result<Lineage> ReadLineage(const CatalogContents& contents);
// Removes the entries that ReadLineage has read, as none of them is a setting of the store.
void DropLineage(CatalogContents& contents);

// Return, as settings, the node's own mounts and its memory of a peer.
PutSetting LineageSetting(const Lineage& lineage);
PutSetting KnownSetting(const std::string& uuid, const KnownLineage& known);
DeleteSetting ForgetKnown(const std::string& uuid);

// Returns the id as "0123456789abcdef".
std::string MountText(MountId mount);

// How a node relates to the one that its peer remembers.
struct Kinship {
  enum class Kind {
    kNewest,   // the one that the peer knows, perhaps mounted since
    kOlder,    // that one as it was before: a copy that was left behind
    kForked,   // both went on from the same mount
    kUnknown,  // neither has a mount of the other's
  };
  Kind kind = Kind::kNewest;
  size_t mounts_here = 0;   // since the last mount in common, of the node
  size_t mounts_there = 0;  // ... and of the one that the peer knows, at least
};
// Compares a node with a peer's memory of it. `mounts` are the node's own. `told` is the last of
// them that the peer saw, as the node remembers it (0: none). `known` are those that the peer
// remembers.
Kinship Compare(const std::vector<MountId>& mounts, MountId told,
                const std::vector<MountId>& known);

// Returns a sentence for people that tells the kinship of the node named `node` to its peer, and
// the remedy. `last_at` is the path where the peer saw the node. Empty if the node is the newest.
std::string KinshipTrouble(const Kinship& kinship, const std::string& node, MountId newest,
                           const std::string& peer, const std::string& last_at);

}  // namespace volfs
