#pragma once

#include "blockstore/error.h"

namespace volfs {
class NodeDirectory;
}

// The ballast: a file of kBallastBytes on each node, there only to be removed when a commit of the
// catalog finds no room, so that what makes room (deleting) can still be committed on a full disk.
//
// Thread-safety: from any thread, one call at a time for one directory. It survives a crash or it
// does not: nothing depends on it, and a short one counts as none.
namespace volfs::catalog {

// Its bytes are random, so that no filesystem can store them in less room than they need.
// Ensures: on an error none is left behind, if the directory allows.
Status MakeBallast(NodeDirectory& directory);

[[nodiscard]] bool HasBallast(NodeDirectory& directory);

// True if there was one, and its room is free now.
[[nodiscard]] bool RemoveBallast(NodeDirectory& directory);

// True if there is so much free space that a ballast would not bring the node near to full.
[[nodiscard]] bool HasRoomForBallast(NodeDirectory& directory);

}  // namespace volfs::catalog
