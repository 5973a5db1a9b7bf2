#pragma once

#include <memory>

#include "blockstore/io/node_directory.h"

namespace volfs {

// Returns a node directory that changes nothing: files are opened for reading only, whatever their
// OpenMode, and every change is refused with kReadOnly. The catalog opens as usual, with its
// recovery, whose writes stay in memory (catalog/overlay.h).
//
// A sync has nothing to do and succeeds. The page cache stays as it is. Its NodeCalls are those of
// `node`, which it owns.
std::unique_ptr<NodeDirectory> MakeReadOnly(std::unique_ptr<NodeDirectory> node);

}  // namespace volfs
