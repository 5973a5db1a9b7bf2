#include "fusefs/mount/mount.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "blockstore/base/log.h"
#include "blockstore/base/log_limiter.h"
#include "blockstore/base/memory.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/io/node_lock.h"
#include "blockstore/node/opener.h"
#include "blockstore/store/store.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/host/state_directory.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/text/json.h"
#include "control/tree/control_tree.h"
#include "fusefs/mount/commit.h"
#include "fusefs/mount/config_file.h"
#include "fusefs/mount/daemon.h"
#include "fusefs/mount/final_stop.h"
#include "fusefs/mount/log_place.h"
#include "fusefs/mount/mountpoint.h"
#include "fusefs/mount/options.h"
#include "fusefs/mount/remount.h"
#include "fusefs/mount/service_manager.h"
#include "fusefs/mount/session.h"
#include "fusefs/mount/start_report.h"
#include "fusefs/mount/stopper.h"
#include "fusefs/serve/filesystem.h"

namespace volfs {
namespace {

using Nodes = std::vector<std::unique_ptr<Node>>;

// Everything that is known before anything is opened.
struct Plan {
  std::vector<std::string> node_paths;  // absolute
  std::vector<VolumeType> new_types;    // of nodes that this mount makes
  Mountpoint mountpoint;
  MountOptions options;
  bool may_init = true;
  bool allow_other = false;
  bool json = false;              // print results as JSON
  std::vector<std::string> gone;  // paths of this machine's list of nodes where nothing is any more
};

// --- before the fork
// ------------------------------------------------------------------------------

bool FuseConfAllowsOther() {
  std::ifstream in("/etc/fuse.conf");
  std::string word;
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find_first_not_of(" \t");
    const size_t last = line.find_last_not_of(" \t\r");
    if (first == std::string::npos) continue;
    if (line.substr(first, last - first + 1) == "user_allow_other") return true;
  }
  return false;
}

NodeAccess AccessOf(const MountOptions& options) {
  return options.read_only ? NodeAccess::kReadOnly : NodeAccess::kReadWrite;
}

// The nodes that this machine remembers: a node that is gone is forgotten, and one that does not
// answer does not keep this mount from starting.
std::vector<std::string> LookAtKnownNodes(const Plan& plan) {
  constexpr auto kLimit = std::chrono::seconds(2);
  std::vector<std::string> paths;
  for (const auto& [uuid, path] : ReadNodeRegistry(cli::NodeRegistryFile())) {
    const bool asked_for =
        std::find(plan.node_paths.begin(), plan.node_paths.end(), path) != plan.node_paths.end();
    if (!asked_for) paths.push_back(path);
  }
  cli::PathsFound found = cli::LookAtPaths(paths, kLimit);
  for (const std::string& path : found.silent) {
    cli::PrintNote(StrCat("volfs: warning: node directory ", path,
                          ", which was mounted here before, does not answer; going on without it"));
  }
  return std::move(found.gone);
}

// Another daemon serves this mountpoint already. If it has the same nodes, their lock tells its
// process. Not tried by opening them, as that would make nodes of empty directories.
Error WhoServes(const Plan& plan) {
  for (const std::string& path : plan.node_paths) {
    const Result<DirectoryKind> kind = ClassifyDirectory(path);
    if (!kind.ok() || kind.value() != DirectoryKind::kNode) continue;
    const cli::Touching touching(StrCat("node directory ", path));
    const auto lock = NodeLock::Take(path, AccessOf(plan.options));
    if (!lock.ok()) return lock.error();
  }
  return Error{Errc::kBusy, StrCat("mountpoint ", plan.mountpoint.path,
                                   ": volfs is mounted there already; `volfs umount` it first")};
}

Result<Plan> MakePlan(const MountArguments& arguments) {
  Plan plan;
  ConfigFile config;
  if (!arguments.config_file.empty()) {
    ASSIGN_OR_RETURN(config, ReadConfigFile(arguments.config_file));
  }
  // The command line wins.
  std::vector<std::string> words = config.options;
  words.insert(words.end(), arguments.options.begin(), arguments.options.end());
  ASSIGN_OR_RETURN(plan.options, ParseOptions(words));
  const std::vector<std::string>& nodes = arguments.nodes.empty() ? config.nodes : arguments.nodes;
  if (nodes.empty()) {
    return Error{Errc::kInvalid, StrCat("configuration file ", arguments.config_file,
                                        ": it has no `nodes`, and the command line names none")};
  }
  plan.new_types = config.types;
  const std::string& mountpoint =
      arguments.mountpoint.empty() ? config.mountpoint : arguments.mountpoint;
  if (mountpoint.empty()) {
    return Error{Errc::kInvalid,
                 StrCat("configuration file ", arguments.config_file,
                        ": it has no `mountpoint`, and the command line names none")};
  }
  ASSIGN_OR_RETURN(plan.mountpoint, CheckMountpoint(mountpoint, nodes));
  cli::Touching::Note("");
  for (const std::string& node : nodes) {
    plan.node_paths.push_back(std::filesystem::absolute(node).lexically_normal().string());
  }
  const bool by_a_person = !arguments.through_helper && !ServiceManager::Asked();
  plan.may_init = plan.options.init || by_a_person;
  const bool possible = ::geteuid() == 0 || FuseConfAllowsOther();
  if (plan.options.allow_other && !possible) {
    return Error{Errc::kDenied,
                 "mount option allow_other: put `user_allow_other` into /etc/fuse.conf first"};
  }
  plan.allow_other = possible;
  plan.json = arguments.json;
  if (plan.mountpoint.state == MountpointState::kLiveVolfs) return WhoServes(plan);
  return plan;
}

std::vector<std::string> MountpointsOfVolfs() {
  std::vector<std::string> paths;
  const auto mounts = cli::ReadMountInfo();
  if (!mounts.ok()) return paths;
  for (const auto& mount : cli::VolfsMounts(mounts.value())) paths.push_back(mount.mountpoint);
  return paths;
}

// Touches the same directories as a mount, and changes nothing.
Status Probe(const MountArguments& arguments) {
  ASSIGN_OR_RETURN(const Plan plan, MakePlan(arguments));
  for (const std::string& path : plan.node_paths) {
    ASSIGN_OR_RETURN(const DirectoryKind kind, ClassifyDirectory(path));
    if (kind != DirectoryKind::kNode) continue;
    LockWait not_at_all;
    not_at_all.most = {};
    RETURN_IF_ERROR(NodeLock::Take(path, AccessOf(plan.options), not_at_all));
  }
  return OkStatus();
}

// --- the daemon
// -----------------------------------------------------------------------------------

std::string NamesOf(const Nodes& nodes, const char* separator,
                    const std::string& (Node::*name)() const) {
  std::string names;
  for (const auto& node : nodes) {
    if (!names.empty()) names += separator;
    names += ((*node).*name)();
  }
  return names;
}

std::string NameOfClone(const CatalogContents& contents, const CloneRecord& clone) {
  for (const VolumeRecord& volume : contents.volumes) {
    if (volume.id == clone.clone) return volume.name;
  }
  return clone.name;
}

// One line about nodes that these have been mounted with and that are not here now.
std::string AbsentNodes(const Nodes& nodes) {
  std::map<std::string, std::string> absent;  // UUID -> its name and path
  for (const auto& node : nodes) {
    for (const PeerRecord& peer : node->contents().peers) {
      absent.emplace(peer.uuid, StrCat("node ", peer.name, " (", peer.path, ")"));
    }
  }
  for (const auto& node : nodes) absent.erase(node->uuid());
  std::map<std::string, std::string> needed_by;
  for (const auto& node : nodes) {
    for (const CloneRecord& clone : node->contents().clones) {
      if (clone.state != CloneState::kCopying) continue;
      needed_by[clone.source_node] += " " + NameOfClone(node->contents(), clone);
    }
  }
  std::string line;
  for (const auto& [uuid, text] : absent) {
    line += StrCat(line.empty() ? "" : "; ", text, " is not mounted");
    const auto clones = needed_by.find(uuid);
    if (clones != needed_by.end()) line += StrCat(", but needed by the clones", clones->second);
  }
  return line;
}

ControlConfig ConfigOf(const Plan& plan, const Nodes& nodes) {
  ControlConfig config;
  config.options = {{"pid", std::to_string(::getpid())},
                    {"version", VOLFS_VERSION},
                    {"mountpoint", plan.mountpoint.path},
                    {"nodes", NamesOf(nodes, ":", &Node::path)}};
  if (!Commit().empty()) config.options.emplace_back("commit", Commit());
  for (const auto& option : plan.options.given) {
    if (option.first != "allow_other") config.options.push_back(option);
  }
  config.options.emplace_back("allow_other", plan.allow_other ? "1" : "0");
  config.uid = ::geteuid();
  config.gid = ::getegid();
  config.control_gid = plan.options.control_gid;
  config.is_private = plan.options.is_private;
  return config;
}

// The lock on every node proves that the daemon of a dead mount is gone.
Status TakeDeadMountAway(const Plan& plan, StartReport& report) {
  if (plan.mountpoint.state != MountpointState::kDead) return OkStatus();
  RETURN_IF_ERROR(UnmountLazily(plan.mountpoint.path));
  ASSIGN_OR_RETURN(const Mountpoint now, CheckMountpoint(plan.mountpoint.path, plan.node_paths));
  if (now.state != MountpointState::kFree) {
    return Error{Errc::kBusy, StrCat("mountpoint ", now.path,
                                     ": more than one mount lies on it; "
                                     "`volfs umount` it first")};
  }
  report.Warn(StrCat(now.path, " was a mount whose daemon had died; it was taken away"));
  return OkStatus();
}

std::string ReadyText(const std::string& nodes, const std::string& mountpoint, size_t volumes) {
  return StrCat("mounted ", nodes, " on ", mountpoint, " (", volumes,
                volumes == 1 ? " volume)" : " volumes)");
}

// The same for programs, without an LF.
std::string ReadyJson(Store& store, const std::string& mountpoint, size_t volumes) {
  std::vector<std::string> names;
  for (const auto& node : store.nodes()) names.push_back(node->name());
  std::string line = JsonLine(
      {{"mountpoint", mountpoint}, {"nodes", JsonStrings(names)}, {"volumes", uint64_t{volumes}}});
  line.pop_back();
  return line;
}

// As many threads as all limiters together may hold, and as many as one for requests about no node:
// no node has more than half of them.
int ThreadsFor(size_t nodes) { return NodeLimiter::kMax * (static_cast<int>(nodes) + 1); }

// While it lives, the locks of the nodes say which mount they are served at; then, that it has
// ended.
class MountedNodes {
 public:
  MountedNodes(Store& store, const std::string& mountpoint) : store_(store) {
    const std::optional<uint32_t> minor = cli::DeviceMinorOf(mountpoint);
    for (const auto& node : store_.nodes()) {
      if (minor && node->lock() != nullptr) node->lock()->Serve(*minor);
    }
  }
  ~MountedNodes() {
    for (const auto& node : store_.nodes()) {
      if (node->lock() != nullptr) node->lock()->StopServing();
    }
  }
  MountedNodes(const MountedNodes&) = delete;
  MountedNodes& operator=(const MountedNodes&) = delete;

 private:
  Store& store_;
};

// All that a mount has from its start (ARCHITECTURE.md, "Threads"), and some of the session's.
// Asked for before anything is done: a limit that is met later costs speed, one that is met here
// the mount.
Status CheckThreads(size_t nodes) {
  constexpr size_t kAlways = 36;
  constexpr size_t kOfNode = 3;
  const size_t count = kAlways + kOfNode * nodes;
  if (CanStartThreads(count)) return OkStatus();
  return Error{
      Errc::kNoMemory,
      StrCat("a mount of ", nodes, nodes == 1 ? " node" : " nodes", " needs ", count,
             " threads at its start, which it cannot have: raise the limit (ulimit -u or -v, "
             "pids.max of the control group, TasksMax= of the service) or end something")};
}

Status ServeUntilStopped(const std::string& mountpoint, Filesystem& fs, Session& session,
                         ServiceManager& service, FinalStop& final_stop) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Stopper> stopper,
                   Stopper::Start(fs, session, service, mountpoint));
  final_stop.Follow(&session);
  return session.Serve();
}

// Returns the nodes as the command line of mount(8) names them. Where that is longer than the
// kernel takes, or where other users shall not see names, it is "volfs".
std::string SourceOf(const Plan& plan) {
  constexpr size_t kMaxBytes = 2000;  // of a page, with the kernel's and libfuse's escapes
  std::string source;
  for (const std::string& path : plan.node_paths) {
    source += StrCat(source.empty() ? "" : ":", path);
  }
  return plan.options.is_private || source.size() > kMaxBytes ? "volfs" : source;
}

Status ServeMount(const Plan& plan, Filesystem& fs, ServiceManager& service,
                  FinalStop& final_stop) {
  ASSIGN_OR_RETURN(std::unique_ptr<Session> session,
                   Session::Mount(fs, {.mountpoint = plan.mountpoint.path,
                                       .source = SourceOf(plan),
                                       .allow_other = plan.allow_other,
                                       .read_only = plan.options.read_only,
                                       .synchronous = plan.options.synchronous,
                                       .kernel = plan.options.kernel,
                                       .max_threads = ThreadsFor(plan.node_paths.size())}));
  const MountedNodes mounted(fs.store, plan.mountpoint.path);
  fs.invalidator.Start(session->raw());
  fs.mapped_pages.Start(session->raw());
  const Status served = ServeUntilStopped(plan.mountpoint.path, fs, *session, service, final_stop);
  service.Stopping("writing out what is not durable yet");
  final_stop.Follow(nullptr);
  fs.Stop();
  return served;
}

Result<Nodes> OpenPlanned(const Plan& plan, StartReport& report) {
  NodeOpenOptions options;
  options.may_init = plan.may_init;
  options.new_types = plan.new_types;
  options.registry = cli::NodeRegistryFile();
  options.locks = cli::NodeLockDirectory();
  options.accept = plan.options.accept;
  options.access = AccessOf(plan.options);
  options.is_gone = [&plan](const std::string& path) {
    return std::find(plan.gone.begin(), plan.gone.end(), path) != plan.gone.end();
  };
  options.lock_wait.tell = [&report](const std::string& text) { report.Warn(text); };
  std::optional<cli::Waiting> for_syncs;
  options.touching = [&for_syncs](const std::string& what, bool syncs) {
    cli::Touching::Note(what);
    if (syncs && !for_syncs) for_syncs.emplace(cli::Waiting::For::kSync);
  };
  ASSIGN_OR_RETURN(Nodes nodes, OpenNodes(plan.node_paths, options));
  const std::string absent = AbsentNodes(nodes);
  if (!absent.empty()) report.Warn(absent);
  return nodes;
}

Status Run(const Plan& plan, ServiceManager& service, StartReport& report) {
  service.Status("opening the nodes");
  ASSIGN_OR_RETURN(Nodes nodes, OpenPlanned(plan, report));
  RETURN_IF_ERROR(TakeDeadMountAway(plan, report));
  const std::string names = NamesOf(nodes, ", ", &Node::name);
  ControlConfig config = ConfigOf(plan, nodes);
  FilesystemOptions options{config.uid, config.gid, config.control_gid};
  options.node_timeout = plan.options.node_timeout;
  options.synchronous = plan.options.synchronous;
  options.no_poll = plan.options.no_poll;
  options.is_private = plan.options.is_private;
  StoreOptions store_options;
  store_options.read_only = plan.options.read_only;
  store_options.copy_rate = 0;
  store_options.allow_shrink = plan.options.allow_shrink;
  store_options.native = plan.options.native;
  store_options.open_files = MaxLayerFiles(nodes.size());
  const cli::Waiting for_syncs(cli::Waiting::For::kSync);
  cli::Touching::Note(StrCat("a node (", names, ")"));
  service.Status(StrCat("recovering ", names));
  ASSIGN_OR_RETURN(std::unique_ptr<Store> store, Store::Open(std::move(nodes), store_options));
  cli::Touching::Note(StrCat("the kernel, asked to mount on ", plan.mountpoint.path, ","));
  auto control = std::make_unique<ControlTree>(*store, std::move(config));
  Filesystem fs(*store, *control, options);
  fs.on_ready = [&] {
    if (!plan.allow_other) {
      report.Warn(
          "only you can use this mount; to open it to others, put `user_allow_other` into "
          "/etc/fuse.conf");
    }
    const size_t volumes = store->Volumes().size();
    const std::string text = ReadyText(names, plan.mountpoint.path, volumes);
    report.Ready(text, plan.json ? ReadyJson(*store, plan.mountpoint.path, volumes)
                                 : StrCat("volfs: ", text));
    service.Ready(text);
  };
  FinalStop final_stop(*store, fs.watchdog);
  const Status served = ServeMount(plan, fs, service, final_stop);
  final_stop.LeaveStoreAlone();
  // In this order: see Filesystem::Stop. The store commits everything.
  control.reset();
  const Status closed = store->Close();
  store.reset();
  return served.ok() ? closed : served;
}

int RunAndReport(const Plan& plan, StartReport& report) {
  Stopper::BlockSignals();
  PrepareProcess();
  const AllocationScope scope(Allocations::kWait);
  ServiceManager service;
  Status status = MemoryToSpare() ? CheckThreads(plan.node_paths.size()) : NoMemory();
  if (status.ok()) status = Run(plan, service, report);
  if (status.ok()) {
    LogInfo(StrCat("unmounted ", plan.mountpoint.path));
    return 0;
  }
  service.Status(status.error().message);
  report.Fail(status.error());
  return ExitCodeOf(status.error().code);
}

}  // namespace

int Mount(const MountArguments& arguments) {
  const auto exit_code = arguments.through_helper
                             ? cli::MountHelperExitCode
                             : +[](Errc code) -> int { return ExitCodeOf(code); };
  if (AsksForRemount(arguments.options)) {
    const Status remounted = Remount(arguments);
    if (remounted.ok()) return kExitOk;
    cli::PrintError("volfs mount", remounted.error());
    return exit_code(remounted.error().code);
  }
  // Another service that runs `volfs mount` has left its own; a daemon in the background is not it.
  if (!arguments.foreground) ServiceManager::Disregard();
  // One in the foreground has no watcher (supervisor.h), so it looks with a limit first.
  if (arguments.foreground && !cli::AnswerWithin(std::chrono::seconds(cli::kPatienceSeconds), [&] {
        (void)Probe(arguments);
        return std::string();
      })) {
    const Error error{Errc::kNodeDown,
                      StrCat("a node directory or the mountpoint does not answer (",
                             cli::kPatienceSeconds, " s)")};
    cli::PrintError("volfs mount", error);
    return ExitCodeOf(error.code);
  }
  Result<Plan> plan = MakePlan(arguments);
  if (!plan.ok()) {
    cli::PrintError("volfs mount", Error{plan.error().code, plan.error().message});
    return exit_code(plan.error().code);
  }
  plan.value().gone = LookAtKnownNodes(plan.value());
  ::umask(077);  // logs and the list of nodes have paths that are nobody else's to read
  if (arguments.foreground) {
    LimitLog();
    StartReport report(-1);
    return RunAndReport(plan.value(), report);
  }
  const std::string log_file = LogFileFor(plan.value().mountpoint.path);
  if (!log_file.empty()) RemoveOldLogs(log_file, MountpointsOfVolfs());
  return RunAsDaemon(log_file, exit_code,
                     [&](StartReport& report) { return RunAndReport(plan.value(), report); });
}

}  // namespace volfs
