#pragma once

#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

// A node directory on an ordinary filesystem (contract: node_directory.h).
//
// Invariants:
//   P1  the directory is opened once; everything after that is resolved beneath it, without
//       following symbolic links and without crossing a mount, so that what happens to the path
//       later, or what somebody put into the directory, cannot lead us elsewhere;
//   P2  only plain files with exactly one name are opened: a second name would let somebody change
//       a frozen layer behind our back;
//   P3  files are made with mode 0600, directories with 0700.
//
// Thread-safety: all methods from any thread; no locks, and no allocation in ReadAt and WriteAt
// unless they fail. Durability: as in node_directory.h; `layers/` itself is durable when
// OpenPosixNode has returned.

// Opens the existing directory `path` (made absolute, so that a later chdir changes nothing) and
// makes `layers/` in it if it is missing. The files it opens may outlive it. kReadOnly: nothing is
// made, and no time of access changes where the kernel lets us ask for that; read_only_node.h
// refuses the changes.
Result<std::unique_ptr<NodeDirectory>> OpenPosixNode(const std::string& path,
                                                     NodeAccess access = NodeAccess::kReadWrite);

// kDenied, with the remedy, if a third party could change or exchange what is in the node directory
// `path`: the directory, `layers/`, the catalog or its log belongs to a user who is neither root
// nor the one who asks, or may be written by group or others. What is not there is no reason.
Status CheckTrusted(const std::string& path);
Status CheckOwners(const std::string& path);  // only to whom they belong

// The only table from errno to our own words for a file on a node.
Errc ErrcFromErrno(int os_errno);

}  // namespace volfs
