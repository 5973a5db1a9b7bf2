#pragma once

#include <cstdint>

#include "blockstore/base/error.h"

namespace volfs {
class NodeDirectory;
}

// The ballast is a file of kBallastBytes on each node. It is given away piece by piece when a
// commit of the catalog finds no room, so that a deletion can still be committed on a full disk.
// Room (catalog.h) says which commits may take how much.
//
// Thread-safety: from any thread, one call at a time for one directory.
namespace volfs::catalog {

// Returns the size of the ballast in bytes, by the blocks that it really takes; 0 if there is none.
[[nodiscard]] uint64_t BallastBytes(NodeDirectory& directory);

// Makes the ballast whole. Its bytes are random, so that no filesystem can store them in less room.
// Durable when it returns: a power loss does not take the promise back. Errors: kNoSpace, kQuota
// (no room for it; the file is as it was before), kIo. Cost: writes and syncs the missing bytes.
Status FillBallast(NodeDirectory& directory);

// Frees the bytes of the ballast beyond `bytes`. Returns false if that failed.
bool ShrinkBallast(NodeDirectory& directory, uint64_t bytes);

// Why nothing new is made on the node, as an error that says what to do.
Error NothingNew(const NodeDirectory& directory, uint64_t missing_bytes);

}  // namespace volfs::catalog
