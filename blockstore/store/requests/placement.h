#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"
#include "blockstore/store/parts.h"
#include "blockstore/store/requests.h"
#include "blockstore/store/requests/clone_plan.h"

namespace volfs {

// Chooses the node of a new volume or clone. Called from any thread, with no lock held.

// Returns null if no mounted node has this name.
[[nodiscard]] Node* FindNode(const StoreParts& parts, const std::string& name);
// Returns kInvalid if no node offers `type`. Empty is the default type.
[[nodiscard]] Status CheckType(const StoreParts& parts, const std::string& type);
// Returns the node for a new volume. Fills in `type` if it is empty.
Result<Node*> PlaceNew(const StoreParts& parts, const CreateRequest& request, std::string& type);
// Returns the node for a clone: of all nodes that offer its type in its region, the one with most
// room after the running clones have taken theirs.
Result<Node*> PlaceClone(const StoreParts& parts, const ClonePlan& plan,
                         const CloneRequest& request);

}  // namespace volfs
