#pragma once

#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"

namespace volfs {

// The records that the remaining nodes, not mounted now, have of a node that is lost for good.
struct NodeTraces {
  bool known = false;                // as a peer, by a hold or by a clone
  std::string name;                  // the lost node's, as far as it is known
  std::string path;                  // where it was last
  std::vector<std::string> held;     // clones on it for which a layer is held here
  std::vector<std::string> needing;  // clones here that are not whole without it
};

// Returns the traces of the node with that UUID in the records that `node` loaded when it was
// opened.
NodeTraces TracesOf(Node& node, const std::string& uuid);

// Makes `node` forget the node with that UUID, in one commit: that it was a peer, the holds for
// clones on it, and the release that a whole clone here still owes it. Durable when it returns.
//
// Clones here that need it stay, as their copied blocks may be the last copy. If the lost node
// comes back, its own clones have no hold any more and are in error (recovery.h).
Status ForgetNode(Node& node, const std::string& uuid);

}  // namespace volfs
