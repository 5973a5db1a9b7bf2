#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/io/node_lock.h"
#include "blockstore/node/node.h"

namespace volfs {

struct NodeOpenOptions {
  // kReadOnly: nothing is made, recorded or remembered, and a directory that is not a node is
  // refused.
  NodeAccess access = NodeAccess::kReadWrite;
  LockWait lock_wait = {};  // for a daemon that is about to exit
  // Called with the name of the next thing to be touched ("node directory /x"), and whether it will
  // be synced, which may take long. A caller that must not wait for ever can then say which one did
  // not answer.
  std::function<void(const std::string& what, bool syncs)> touching = {};
  bool may_init = true;                 // an empty directory becomes a new node ...
  std::vector<VolumeType> new_types{};  // ... which offers these; empty: "standard"
  // The file in which this machine remembers its nodes ("UUID PATH" per line); empty: none.
  std::string registry = "/var/lib/volfs/nodes";
  // Returns whether a path of the registry is certainly gone, and needs no protection any more.
  // Unset: the path itself is tested, which may hang as on any node.
  std::function<bool(const std::string&)> is_gone = {};
  // The directory where this machine's daemons hold the TwinLock of each mounted node; empty: none.
  std::string locks{};
  // Copies that are to be mounted although a peer knows another one, by their last mount
  // (MountText).
  std::vector<std::string> accept{};
};

// Opens the node directories of one mount, and only these (contract.md, "Which nodes").
//
// Refuses by name, with the remedy and before anything is changed: a path that is no directory; a
// directory that other users could change or exchange (CheckTrusted); one that is neither empty nor
// a node; an empty one that a peer or the registry knows as a node (a disk that did not come up);
// one given twice, or two with one UUID; an older copy of a node, or one that was mounted apart
// from the one that a peer knows (lineage.h); a copy of a node that is mounted on this machine now.
// Errors: kNotFound, kInvalid, kLocked, kCorrupt, kDenied, kIo.
//
// Takes each node's lock, so it is called after daemonizing. A new node is durable when this
// returns, and so are the grown generations.
Result<std::vector<std::unique_ptr<Node>>> OpenNodes(const std::vector<std::string>& paths,
                                                     const NodeOpenOptions& options);

// Makes open nodes the nodes of one mount. Refuses two of one name or UUID, and, except those of
// `accept`, copies that are not the one a peer knows. Then generations and lineages grow, and each
// node records the nodes it was mounted with. Durable when it returns.
Status JoinNodes(const std::vector<std::unique_ptr<Node>>& nodes,
                 const std::vector<std::string>& accept = {});

// Tells what a directory is, without opening or changing anything.
enum class DirectoryKind { kEmpty, kUnfinished, kNode, kOther };
Result<DirectoryKind> ClassifyDirectory(const std::string& path);

// Makes a new node in an empty directory (0700 from then on). An empty name in `record` becomes
// the directory's last component; no types: "standard"; no region: "default".
Status InitNode(const std::string& path, NodeRecord record);

// Returns the registry's text as pairs of UUID and path, without malformed lines.
std::vector<std::pair<std::string, std::string>> ReadNodeRegistry(const std::string& file);

// The largest number of nodes in the registry. Those that were mounted longest ago are forgotten.
inline constexpr size_t kMaxKnownNodes = 256;

// Removes a node's line, if there is one. Fails with kIo.
Status ForgetInRegistry(const std::string& file, const std::string& uuid);

}  // namespace volfs
