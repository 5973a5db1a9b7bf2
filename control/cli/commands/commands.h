#pragma once

#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "control/cli/client.h"
#include "control/cli/frozen_request.h"
#include "control/cli/retention.h"
#include "control/text/json.h"

namespace volfs::cli {

// The commands, behind their options. Each prints its results on stdout and returns the reason of
// its failure, which the caller prints. With --json the result is JSON: of a command that shows
// something what it shows, of any other an object with what it made or changed.

struct Common {
  std::string mount;  // --mount; if empty, the command finds the mount itself
  bool json = false;
};

// Prints what a command has done as a line of JSON. Does nothing without --json: people are told
// nothing of a success.
void PrintDone(const Common& common, const JsonObject& done);

// Returns whether -J or --json is among the words. Of a command line that cannot be parsed nothing
// more is known.
bool AsksForJson(int argc, char** argv);

// Returns the words of a reply as members, a size as a number.
JsonObject ReplyObject(const Reply& reply);

// ---- requests (commands/request.cc)

struct CreateOptions {
  std::string name;
  std::string size;
  std::string type;
  std::string node;
  std::string io;
};
Status Create(const Common& common, const CreateOptions& options);

struct CloneOptions {  // of `clone` and `restore`; an empty value was not given
  std::string source;
  std::string name;
  std::string size;
  std::string type;
  std::string node;
  bool linked = false;
  bool verify = false;
  FreezeOptions freeze;  // of `clone` only
  bool wait = false;
};
Status Clone(const Common& common, const CloneOptions& options);
Status Restore(const Common& common, const CloneOptions& options);

Status Revert(const Common& common, const std::string& snapshot);
struct SnapshotOptions {
  std::string source;
  std::string name;
  FreezeOptions freeze;
};
Status Snapshot(const Common& common, const SnapshotOptions& options);
Status Resize(const Common& common, const std::string& name, const std::string& size);
Status Move(const Common& common, const std::string& from, const std::string& to);
Status Cancel(const Common& common, const std::string& name);
// Tries to remove all of them. Every failure is printed; the first one is returned.
Status Remove(const Common& common, const std::vector<std::string>& names);

// ---- looking (commands/show.cc)

struct ListOptions {
  bool details = false;
  bool snapshots = false;  // instead of volumes
  std::string volume;      // the owner of the snapshots; empty: all volumes
};
Status List(const Common& common, const ListOptions& options);
// Lists the snapshots of one volume, of all if `volume` is empty (commands/snapshots.cc).
Status ListSnapshots(const Common& common, const std::string& volume);
struct PruneOptions {
  std::string volume;
  KeepRules rules = NoKeepRules();
  bool dry_run = false;
};
// Deletes the volume's snapshots that no rule keeps. Tries all of them; prints every failure, and
// returns the first one (commands/snapshots.cc).
Status Prune(const Common& common, const PruneOptions& options);
struct StatusOptions {
  std::string name;  // of a volume or snapshot; empty: all volumes
  bool watch = false;
};
Status ShowStatus(const Common& common, const StatusOptions& options);
Status ShowMap(const Common& common, const std::string& name);  // commands/map.cc
Status ShowEvents(const Common& common);
// Prints the ranges that have changed from the snapshot `before` to `after`, a snapshot of the same
// volume, or to the volume as it is now (empty).
Status ShowDiff(const Common& common, const std::string& before,
                const std::string& after);  // commands/diff.cc

// ---- loop devices (commands/attach.cc)

Status Attach(const Common& common, const std::string& name, bool read_only);
Status Detach(const Common& common, const std::string& name);  // or /dev/loopN

// ---- mounts and nodes

// Returns kBusy if the mount is in use, kIo if written data cannot be made durable, and kNodeDown
// if a node or the daemon does not answer. After the last two the mount stays, unless `force` is
// set.
Status Unmount(const Common& common, const std::string& mountpoint,
               bool force);  // commands/umount.cc

Status ListNodes(const Common& common);  // commands/node.cc
struct NodeInitOptions {
  std::string directory;
  std::string name;
  std::string region;
  std::string types;  // NAME[:LEAST-GREATEST],...
};
Status InitNodeDirectory(const Common& common, const NodeInitOptions& options);
struct NodeSetOptions {
  std::string directory;
  std::vector<std::string> assignments;  // name=N, region=R, types=LIST
};
Status SetNode(const Common& common, const NodeSetOptions& options);  // commands/node_set.cc
std::vector<std::string> NodeSettings();  // "name=", ...: the keys of assignments
struct NodeForgetOptions {
  std::string uuid;
  std::vector<std::string> directories;  // of nodes besides those of this machine's list
  std::string registry;                  // file of this machine's list; empty: the usual one
};
// commands/node_forget.cc
Status ForgetLostNode(const Common& common, const NodeForgetOptions& options);

// Checks a store offline (commands/check.cc). Prints its errors itself and returns the exit code,
// which is that of fsck(8) (failure.h).
struct CheckStoreOptions {
  std::vector<std::string> directories;
  bool repair = false;
};
int CheckStore(const Common& common, const CheckStoreOptions& options);

Status Completion(const Common& common, const std::string& shell);  // commands/completion.cc

Status Doctor(const Common& common);  // commands/doctor.cc; kIo if there is a problem

}  // namespace volfs::cli
