#pragma once

#include <cstdint>

#include "blockstore/base/error.h"

namespace volfs {
class NodeDirectory;
}

// The ballast: a file of kBallastBytes on each node, there only to be given away piece by piece
// when a commit of the catalog finds no room, so that what makes room (deleting) can still be
// committed on a full disk. Room (catalog.h) says which commits may take how much.
//
// Thread-safety: from any thread, one call at a time for one directory.
namespace volfs::catalog {

// Returns the size of the ballast in bytes, by the blocks that it really takes; 0 if there is none.
[[nodiscard]] uint64_t BallastBytes(NodeDirectory& directory);

// Makes it whole. Its bytes are random, so that no filesystem can store them in less room than they
// need. Durable when it returns: a power loss does not take the promise back.
// kNoSpace, kQuota: there is no room for it, and what there was is as it was. kIo.
// Cost: writes and syncs what is missing of it.
Status FillBallast(NodeDirectory& directory);

// Gives away what it has beyond `bytes`. False if that failed.
bool ShrinkBallast(NodeDirectory& directory, uint64_t bytes);

// Why nothing new is made on the node, as an error that says what to do.
Error NothingNew(const NodeDirectory& directory, uint64_t missing_bytes);

}  // namespace volfs::catalog
