#pragma once

#include <memory>
#include <string>

#include "blockstore/error.h"
#include "blockstore/node_directory.h"

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
// makes `layers/` in it if it is missing. The files it opens may outlive it.
Result<std::unique_ptr<NodeDirectory>> OpenPosixNode(const std::string& path);

// The only table from errno to our own words for a file on a node.
Errc ErrcFromErrno(int os_errno);

}  // namespace volfs
