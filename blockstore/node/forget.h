#pragma once

#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"

namespace volfs {

// A node that is lost for good: what the others, which are not mounted, have of it.
struct NodeTraces {
  bool known = false;                // as a peer, by a hold or by a clone
  std::string name;                  // the lost node's, as far as it is known
  std::string path;                  // where it was last
  std::vector<std::string> held;     // clones on it for which a layer is held here
  std::vector<std::string> needing;  // clones here that are not whole without it
};

// Of the node with that UUID in what `node` loaded when it was opened.
NodeTraces TracesOf(Node& node, const std::string& uuid);

// Makes `node` forget the node with that UUID, in one commit: that it was a peer, what is held for
// clones on it, and that a whole clone here still owes it a release. Durable when it returns.
//
// Clones here that need it stay: what was copied of them may be all that there is. If it comes back
// its own clones have no hold any more, and are in error (recovery.h).
Status ForgetNode(Node& node, const std::string& uuid);

}  // namespace volfs
