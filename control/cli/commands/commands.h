#pragma once

#include <string>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// What each command does, behind its options. Each prints what it has to tell on stdout and returns
// why it failed; the caller prints that.

struct Common {
  std::string mount;  // --mount; empty: to be found out
  bool json = false;
};

// ---- requests (commands/request.cc)

struct CreateOptions {
  std::string name;
  std::string size;
  std::string type;
  std::string node;
  std::string io;
};
Status Create(const Common& common, const CreateOptions& options);

struct CloneOptions {  // of `clone` and `restore`; what is empty was not given
  std::string source;
  std::string name;
  std::string size;
  std::string type;
  std::string node;
  bool linked = false;
  bool verify = false;
  bool freeze = false;  // of `clone` only
  bool wait = false;
};
Status Clone(const Common& common, const CloneOptions& options);
Status Restore(const Common& common, const CloneOptions& options);

Status Revert(const Common& common, const std::string& snapshot);
Status Snapshot(const Common& common, const std::string& source, const std::string& name);
Status Resize(const Common& common, const std::string& name, const std::string& size);
Status Move(const Common& common, const std::string& from, const std::string& to);
Status Cancel(const Common& common, const std::string& name);
// Tries all of them; every failure is printed, the first one decides.
Status Remove(const Common& common, const std::vector<std::string>& names);

// ---- looking (commands/show.cc)

Status List(const Common& common, bool details);
struct StatusOptions {
  std::string name;  // empty: all volumes
  bool watch = false;
};
Status ShowStatus(const Common& common, const StatusOptions& options);
Status ShowMap(const Common& common, const std::string& name);
Status ShowEvents(const Common& common);

// ---- loop devices (commands/attach.cc)

Status Attach(const Common& common, const std::string& name, bool read_only);
Status Detach(const Common& common, const std::string& name);  // or /dev/loopN

// ---- mounts and nodes

// kIo: not all that was written can be made durable, kNodeDown: a node or the daemon does not
// answer; both leave it mounted, unless `force`. kBusy: it is in use.
Status Unmount(const std::string& mountpoint, bool force);  // commands/umount.cc

Status ListNodes(const Common& common);  // commands/node.cc
struct NodeInitOptions {
  std::string directory;
  std::string name;
  std::string region;
  std::string types;  // NAME[:LEAST-GREATEST],...
};
Status InitNodeDirectory(const NodeInitOptions& options);
struct NodeSetOptions {
  std::string directory;
  std::vector<std::string> assignments;  // name=N, region=R, types=LIST
};
Status SetNode(const NodeSetOptions& options);  // commands/node_set.cc
struct NodeForgetOptions {
  std::string uuid;
  std::vector<std::string> directories;  // of nodes besides those of this machine's list
  std::string registry;                  // that list; empty: the usual one
};
Status ForgetLostNode(const NodeForgetOptions& options);  // commands/node_forget.cc

// The offline check of a store, commands/check.cc. Prints what went wrong by itself and returns the
// exit code, which is that of fsck(8) (failure.h).
struct CheckStoreOptions {
  std::vector<std::string> directories;
  bool repair = false;
};
int CheckStore(const Common& common, const CheckStoreOptions& options);

Status Doctor(const Common& common);  // commands/doctor.cc; kIo if there is a problem

}  // namespace volfs::cli
