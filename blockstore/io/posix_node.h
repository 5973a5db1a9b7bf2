#pragma once

#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

// A node directory on an ordinary filesystem (contract: node_directory.h).
//
// Invariants:
//   P1  The directory is opened once. Every name is resolved beneath it, without following symbolic
//       links and without crossing a mount, so that neither a later change of the path nor a
//       planted file can lead the daemon elsewhere.
//   P2  Only plain files with exactly one name are opened: through a second name another program
//   could
//       change a frozen layer unnoticed.
//   P3  Files are made with mode 0600, directories with 0700.
//
// Thread-safety: all methods from any thread; no locks, and no allocation in ReadAt and WriteAt
// unless they fail. Durability: as in node_directory.h; `layers/` itself is durable when
// OpenPosixNode has returned.

// Opens the existing directory `path` (made absolute, so that a later chdir changes nothing) and
// makes `layers/` in it if it is missing. The files it opens may outlive it. With kReadOnly nothing
// is made, and no time of access changes where the kernel offers that; read_only_node.h refuses the
// changes.
Result<std::unique_ptr<NodeDirectory>> OpenPosixNode(const std::string& path,
                                                     NodeAccess access = NodeAccess::kReadWrite);

// Returns kDenied, with the remedy, if a third party could change or exchange files in the node
// directory `path`: the directory, `layers/`, the catalog or its log belongs to a user who is
// neither root nor the caller, or may be written by group or others. A missing file is no reason.
Status CheckTrusted(const std::string& path);
Status CheckOwners(const std::string& path);  // only to whom they belong

// The only table from errno to our own words for a file on a node.
Errc ErrcFromErrno(int os_errno);

}  // namespace volfs
