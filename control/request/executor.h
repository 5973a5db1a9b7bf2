#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "blockstore/store/store.h"
#include "control/request/request.h"

namespace volfs {

// Carries out one well-formed request for `caller`; blocks for as long as it takes. The value is
// the reply's words after "ok " (PROTOCOL.md, "Reading replies"):
//   clone, restore, create, resize: volume= status= size= node=
//   snapshot:                       snapshot=VOLUME@SNAP size=
//   delete, cancel:                 volume= or snapshot=
// Errors: the store's, as they are; kNotSupported for what it cannot do yet.
Result<std::string> ExecuteRequest(Store& store, const Request& request, const Caller& caller);

}  // namespace volfs
