#pragma once

#include <memory>
#include <string>
#include <vector>

#include "blockstore/catalog.h"
#include "blockstore/error.h"
#include "blockstore/node.h"

namespace volfs {

struct NodeOpenOptions {
  bool may_init = true;                 // an empty directory becomes a new node ...
  std::vector<VolumeType> new_types{};  // ... which offers these; empty: "standard"
  // Where this machine remembers which paths are nodes ("UUID PATH" a line); empty: nowhere.
  std::string registry = "/var/lib/volfs/nodes";
};

// Opens the node directories of one mount, and only these (interface.md, "Which nodes").
//
// Refused by name, with the remedy, before anything is changed: what is not a directory; what group
// or others may write; what is neither empty nor a node; an empty directory that a peer or the
// registry knows as a node (a disk that did not come up); one given twice, or two with one UUID; a
// node whose generation is behind what a peer has seen (an older copy).
// Errors: kNotFound, kInvalid, kLocked, kCorrupt, kDenied, kIo.
//
// Takes each node's lock; call it after daemonizing. A node that is new is durable when this
// returns, and so are the grown generations.
Result<std::vector<std::unique_ptr<Node>>> OpenNodes(const std::vector<std::string>& paths,
                                                     const NodeOpenOptions& options);

// Nodes that are open become the nodes of one mount: refuses two of one name or UUID and an older
// copy of one that another has met, then records in each who it was mounted with; the generations
// grow. Durable when it returns.
Status JoinNodes(const std::vector<std::unique_ptr<Node>>& nodes);

// What a directory is, without opening or changing anything.
enum class DirectoryKind { kEmpty, kUnfinished, kNode, kOther };
Result<DirectoryKind> ClassifyDirectory(const std::string& path);

// Makes a new node in an empty directory (0700 from then on). An empty name in `record` becomes
// the directory's last component; no types: "standard"; no region: "default".
Status InitNode(const std::string& path, NodeRecord record);

// The registry's text as pairs of UUID and path; what is malformed is left out.
std::vector<std::pair<std::string, std::string>> ReadNodeRegistry(const std::string& file);

// Removes a node's line, if there is one. kIo.
Status ForgetInRegistry(const std::string& file, const std::string& uuid);

}  // namespace volfs
