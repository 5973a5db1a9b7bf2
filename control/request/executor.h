#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "blockstore/store/store.h"
#include "control/request/request.h"

namespace volfs {

// Carries out one well-formed request for `caller`. Blocks for as long as the request takes.
// Returns the reply's words after "ok " (PROTOCOL.md, "Reading replies"):
//   clone, restore, create, resize: volume= status= size= node=
//   snapshot:                       snapshot=VOLUME@SNAP size=
//   delete, cancel:                 volume= or snapshot=
// Errors are the store's, unchanged; kNotSupported for a request that this build cannot carry out
// yet.
Result<std::string> ExecuteRequest(Store& store, const Request& request, const Caller& caller);

}  // namespace volfs
