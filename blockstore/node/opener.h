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
  // kReadOnly: nothing is made, recorded or remembered; what must be new is refused.
  NodeAccess access = NodeAccess::kReadWrite;
  LockWait lock_wait = {};  // for a daemon that is on its way out
  // Called with what is about to be touched ("node directory /x"), and whether it will be synced,
  // which may take its time: a caller that cannot be kept waiting for ever says what did not
  // answer.
  std::function<void(const std::string& what, bool syncs)> touching = {};
  bool may_init = true;                 // an empty directory becomes a new node ...
  std::vector<VolumeType> new_types{};  // ... which offers these; empty: "standard"
  // Where this machine remembers which paths are nodes ("UUID PATH" a line); empty: nowhere.
  std::string registry = "/var/lib/volfs/nodes";
  // Whether a path of the registry is certainly gone, and needs no protection any more. Unset: the
  // path is looked at, which may hang as any other node than the ones asked for.
  std::function<bool(const std::string&)> is_gone = {};
  // Where this machine's daemons hold the TwinLock of each node that they have mounted; empty:
  // nowhere.
  std::string locks{};
  // Copies that are to be mounted although a peer knows another one, by their last mount
  // (MountText).
  std::vector<std::string> accept{};
};

// Opens the node directories of one mount, and only these (contract.md, "Which nodes").
//
// Refused by name, with the remedy, before anything is changed: what is not a directory; what
// others could change or exchange (CheckTrusted); what is neither empty nor a node; an empty
// directory that a peer or the registry knows as a node (a disk that did not come up); one given
// twice, or two with one UUID; an older copy of a node, or one that went another way than the one
// that a peer knows (lineage.h); a copy of a node that is mounted on this machine now. Errors:
// kNotFound, kInvalid, kLocked, kCorrupt, kDenied, kIo.
//
// Takes each node's lock; call it after daemonizing. A node that is new is durable when this
// returns, and so are the grown generations.
Result<std::vector<std::unique_ptr<Node>>> OpenNodes(const std::vector<std::string>& paths,
                                                     const NodeOpenOptions& options);

// Nodes that are open become the nodes of one mount: refuses two of one name or UUID and copies
// that are not what another one knows, but for those of `accept`; then records in each who it was
// mounted with; generations and lineages grow. Durable when it returns.
Status JoinNodes(const std::vector<std::unique_ptr<Node>>& nodes,
                 const std::vector<std::string>& accept = {});

// What a directory is, without opening or changing anything.
enum class DirectoryKind { kEmpty, kUnfinished, kNode, kOther };
Result<DirectoryKind> ClassifyDirectory(const std::string& path);

// Makes a new node in an empty directory (0700 from then on). An empty name in `record` becomes
// the directory's last component; no types: "standard"; no region: "default".
Status InitNode(const std::string& path, NodeRecord record);

// The registry's text as pairs of UUID and path; what is malformed is left out.
std::vector<std::pair<std::string, std::string>> ReadNodeRegistry(const std::string& file);

// The registry has at most so many: of more, those that were mounted longest ago are forgotten.
inline constexpr size_t kMaxKnownNodes = 256;

// Removes a node's line, if there is one. kIo.
Status ForgetInRegistry(const std::string& file, const std::string& uuid);

}  // namespace volfs
