#pragma once

#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

// A node of which nothing is changed: its files are opened for reading only, whatever OpenMode is
// asked for, and every change is refused with kReadOnly. The catalog can be opened as ever, its
// recovery included: what that writes stays in memory (catalog/overlay.h).
//
// A sync has nothing to do and succeeds. The page cache is left as it is: nothing is built on it.
// The calls that are at work are those of `node`, which it owns.
std::unique_ptr<NodeDirectory> MakeReadOnly(std::unique_ptr<NodeDirectory> node);

// Opens the node directory `path` for `access`: as OpenPosixNode does, and with kReadOnly as a node
// of which nothing is changed.
Result<std::unique_ptr<NodeDirectory>> OpenNodeDirectory(const std::string& path,
                                                         NodeAccess access);

}  // namespace volfs
