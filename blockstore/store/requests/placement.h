#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "blockstore/node/node.h"
#include "blockstore/store/parts.h"
#include "blockstore/store/requests.h"
#include "blockstore/store/requests/clone_plan.h"

namespace volfs {

// Where a new volume or clone goes. Any thread, no lock held.

// Null if no node that is mounted has this name.
[[nodiscard]] Node* FindNode(const StoreParts& parts, const std::string& name);
// kInvalid if no node offers `type`. Empty is the default type.
[[nodiscard]] Status CheckType(const StoreParts& parts, const std::string& type);
// The node for a new volume. Fills in `type` if it is empty.
Result<Node*> PlaceNew(const StoreParts& parts, const CreateRequest& request, std::string& type);
// The node for a clone: of those that offer its type in its region the one with most room that no
// other clone is going to take.
Result<Node*> PlaceClone(const StoreParts& parts, const ClonePlan& plan,
                         const CloneRequest& request);

}  // namespace volfs
