#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"
#include "blockstore/store/tables/store_tables.h"
#include "blockstore/sync/gate.h"

namespace volfs {

// A passage through the tree gate of the node that a volume or snapshot is on: no layer of it is
// merged meanwhile. As the name is looked up before the gate is entered, the caller looks it up
// again inside (CheckSameNode).
struct TreeLock {
  Node* node = nullptr;  // null: there is no such volume or snapshot
  Gate::Passage passage;
};
// `snapshot`: empty for the volume itself.
[[nodiscard]] TreeLock LockTreeOf(const StoreTables& tables, const std::string& volume,
                                  const std::string& snapshot) VOLFS_EXCLUDES(tables.mu);
// kBusy: the name leads to another node now.
[[nodiscard]] Status CheckSameNode(const Node* tree, const Node& node, const std::string& what);

}  // namespace volfs
