#include "blockstore/store/tables/tree_lock.h"

#include "blockstore/base/str_cat.h"

namespace volfs {

TreeLock LockTreeOf(const StoreTables& tables, const std::string& volume,
                    const std::string& snapshot) {
  TreeLock tree;
  {
    MutexLock lock(tables.mu);
    if (!snapshot.empty()) {
      if (const auto* found = tables.FindSnapshot(volume, snapshot)) tree.node = found->node;
    } else if (const std::shared_ptr<Volume> found = tables.names.Find(volume)) {
      tree.node = &found->node();
    }
  }
  if (tree.node != nullptr) tree.passage = tree.node->tree_gate().Enter();
  return tree;
}

Status CheckSameNode(const Node* tree, const Node& node, const std::string& what) {
  if (tree == &node) return OkStatus();
  return Error{Errc::kBusy, StrCat(what, ": its name has come from another just now; try again")};
}

}  // namespace volfs
