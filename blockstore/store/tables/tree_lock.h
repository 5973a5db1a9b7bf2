#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"
#include "blockstore/store/tables/store_tables.h"
#include "blockstore/sync/gate.h"

namespace volfs {

// A passage through the tree gate of the node that a volume or snapshot is on. While it lives, no
// layer of that node is merged. The name is looked up before the gate is entered, so the caller
// looks it up again inside, and checks the node with CheckSameNode.
struct TreeLock {
  Node* node = nullptr;  // null: there is no such volume or snapshot
  Gate::Passage passage;
};
// Waits while LayerMerger has the gate closed (20 ms at most). `snapshot` is empty for the volume
// itself.
[[nodiscard]] TreeLock LockTreeOf(const StoreTables& tables, const std::string& volume,
                                  const std::string& snapshot) VOLFS_EXCLUDES(tables.mu);
// Returns kBusy if the name leads to another node now.
[[nodiscard]] Status CheckSameNode(const Node* tree, const Node& node, const std::string& what);

}  // namespace volfs
