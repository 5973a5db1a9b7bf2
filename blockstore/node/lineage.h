#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"

namespace volfs {

// Which mounts a node has been through. Each mount draws a random id and writes it into the node;
// the node keeps its last ones, and each node that is mounted with it keeps the last that it saw.
// So it can be told whether a directory is the node that its peers know, gone on since, or a copy
// that was left behind, or one that went another way (FORMAT.md, section 4.5). A count of mounts
// cannot tell: a copy that is mounted alone catches up with it.
//
// Pure: no I/O, no lock.

using MountId = uint64_t;  // never 0

struct KnownLineage {             // what a node remembers of a peer
  MountId told = 0;               // of its own mounts: the last that the peer saw; 0: none
  std::vector<MountId> mounts{};  // of the peer's: the last ones, oldest first
};

struct Lineage {
  // A node that was mounted more often than this without a peer is recognised by that peer all the
  // same (KnownLineage::told). Beyond it only copies that were left behind so long ago can no more
  // be told from those that went another way; both are refused.
  static constexpr size_t kKept = 1024;
  static constexpr size_t kKeptOfPeers = 256;

  std::vector<MountId> mounts{};                // the node's own, oldest first
  std::map<std::string, KnownLineage> known{};  // of its peers, by UUID

  [[nodiscard]] MountId newest() const { return mounts.empty() ? 0 : mounts.back(); }
};

// kCorrupt: a value has not the form that FORMAT.md says.
Result<Lineage> ReadLineage(const CatalogContents& contents);
// Removes what ReadLineage has read: none of it is a setting of the store.
void DropLineage(CatalogContents& contents);

// As settings: the node's own mounts, and what it remembers of a peer.
PutSetting LineageSetting(const Lineage& lineage);
PutSetting KnownSetting(const std::string& uuid, const KnownLineage& known);
DeleteSetting ForgetKnown(const std::string& uuid);

// "0123456789abcdef"
std::string MountText(MountId mount);

// How a node relates to the one that its peer remembers.
struct Kinship {
  enum class Kind {
    kNewest,   // the one that the peer knows, or that one gone on
    kOlder,    // that one as it was before: a copy that was left behind
    kForked,   // both went on from the same mount
    kUnknown,  // neither has a mount of the other's
  };
  Kind kind = Kind::kNewest;
  size_t mounts_here = 0;   // since the last mount in common, of the node
  size_t mounts_there = 0;  // ... and of the one that the peer knows, at least
};
// `mounts`: the node's own. `told`: the last of them that the peer saw, as the node remembers it;
// 0: none. `known`: those that the peer remembers.
Kinship Compare(const std::vector<MountId>& mounts, MountId told,
                const std::vector<MountId>& known);

// A sentence for people: what `node` (its name) at `path` is to its peer, and what to do.
// `last_at`: where the peer saw it. Empty: it is the newest.
std::string KinshipTrouble(const Kinship& kinship, const std::string& node, MountId newest,
                           const std::string& peer, const std::string& last_at);

}  // namespace volfs
