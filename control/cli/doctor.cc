#include "control/cli/doctor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "blockstore/node/opener.h"
#include "control/cli/client.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/host/state_directory.h"
#include "control/cli/image_loops.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/supervisor.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

using Level = Finding::Level;

Finding Ok(std::string subject, std::string says) {
  return {Level::kOk, std::move(subject), std::move(says), ""};
}

// ---- the machine

Finding ExamineFuse() {
  constexpr const char* kDevice = "/dev/fuse";
  const Descriptor fd(::open(kDevice, O_RDWR | O_CLOEXEC));
  if (fd.ok()) return Ok(kDevice, "can be opened");
  const int os_errno = errno;
  std::string remedy = "modprobe fuse";
  if (os_errno == EACCES) remedy = "let your user open it: chmod 0666 /dev/fuse";
  if (os_errno == EPERM) remedy = "in a container: --device /dev/fuse --cap-add SYS_ADMIN";
  return {Level::kProblem, kDevice, std::strerror(os_errno), remedy};
}

std::optional<std::string> FindProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  for (const std::string& directory : SplitAt(path == nullptr ? "" : path, ':')) {
    std::string file = StrCat(directory, "/", name);
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return std::nullopt;
}

Finding ExamineHelper() {
  constexpr const char* kHelper = "fusermount3";
  const bool root = ::geteuid() == 0;
  const std::optional<std::string> file = FindProgram(kHelper);
  if (!file) {
    return {root ? Level::kNote : Level::kProblem, kHelper, "is not installed",
            "apt install fuse3; without it only root can mount"};
  }
  struct stat info {};
  const bool setuid = ::stat(file->c_str(), &info) == 0 && (info.st_mode & S_ISUID) != 0;
  if (setuid || root) return Ok(kHelper, "is " + *file);
  return {Level::kProblem, kHelper, *file + " is not setuid root", "chmod u+s " + *file};
}

Finding ExamineFuseConf() {
  constexpr const char* kFile = "/etc/fuse.conf";
  const Result<std::string> text = ReadFile(kFile);
  if (text.ok() && AllowsOther(text.value())) return Ok(kFile, "lets users mount for others");
  if (::geteuid() == 0) return Ok(kFile, "says nothing of others; root may mount for them anyway");
  return {Level::kWarning, kFile, "other users, root and loop devices will not see what you mount",
          "add the line user_allow_other to it"};
}

Finding ExamineLoop() {
  constexpr const char* kControl = "/dev/loop-control";
  if (::access(kControl, F_OK) != 0) {
    return {Level::kWarning, kControl, "is not there: no image can be attached", "modprobe loop"};
  }
  if (::access(kControl, R_OK | W_OK) == 0) return Ok(kControl, "can be opened");
  return {Level::kNote, kControl, "only root and its group may attach images", ""};
}

Finding ExamineMountHelper() {
  for (const char* file : {"/sbin/mount.volfs", "/usr/sbin/mount.volfs"}) {
    if (::access(file, X_OK) == 0) return Ok("mount.volfs", StrCat("is ", file));
  }
  return {Level::kNote, "mount.volfs", "is not in /sbin: fstab and mount -t volfs do not work",
          "ln -s \"$(command -v volfs)\" /sbin/mount.volfs"};
}

// ---- a mount

constexpr const char* kDeadMount = "its daemon is gone: the mount is dead";

Finding DaemonFinding(const std::string& mountpoint, int os_errno) {
  switch (os_errno) {
    case 0:
      return Ok(mountpoint, "answers");
    case ENOTCONN:
      return {Level::kProblem, mountpoint, kDeadMount,
              StrCat("volfs mount NODE_DIR... ", mountpoint,
                     " takes its place; all that fsync has acknowledged is there (volfs umount ",
                     mountpoint, " only takes it away)")};
    case EACCES:
      return {Level::kNote, mountpoint,
              "is private to another user (without allow_other, or with -o private)", ""};
    default:
      return {Level::kProblem, mountpoint, std::strerror(os_errno), "see the daemon's log"};
  }
}

// Whether the filesystem of `directory` gives space back when a file is punched; nothing if it
// cannot be tried here (another machine's, not our right).
std::optional<bool> CanPunch(const std::string& directory) {
  constexpr off_t kBytes = 65536;
  const Descriptor fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.ok()) return std::nullopt;
  const std::string data(kBytes, 'x');
  if (::write(fd.get(), data.data(), data.size()) != kBytes) return std::nullopt;
  return ::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kBytes) == 0;
}

void ExamineSpace(const Client& client, const std::string& node, std::vector<Finding>& findings) {
  constexpr uint64_t kMinPart = 20;  // one in 20: 5 per cent
  const auto read = [&](const char* field) {
    const auto text = client.ReadControl(StrCat("nodes/", node, "/", field));
    return text.ok() ? ParseNumber(SplitLines(text.value())[0]) : std::nullopt;
  };
  const auto size = read("size_bytes");
  const auto free = read("free_bytes");
  if (!size || !free || *free >= *size / kMinPart) return;
  findings.push_back({Level::kWarning, "node " + node, FormatSize(*free) + " are left",
                      "delete volumes or snapshots, or add a node; clones pause when it is full"});
}

// The node's path, if its filesystem can be asked and be written to.
std::string ExamineNode(const Client& client, const std::string& node,
                        std::vector<Finding>& findings) {
  const auto read = [&](const char* field) {
    const auto text = client.ReadControl(StrCat("nodes/", node, "/", field));
    return text.ok() ? text.value().substr(0, text.value().find('\n')) : std::string();
  };
  const std::string state = read("state");
  const std::string subject = "node " + node;
  const bool full = state.starts_with("full");
  if (state == "ok") {
    findings.push_back(Ok(subject, "is ok"));
  } else if (full || state.starts_with("nearly full")) {
    findings.push_back({full ? Level::kProblem : Level::kWarning, subject,
                        "is " + state.substr(0, state.find(':')),
                        "delete volumes or snapshots, or make its filesystem larger"});
  } else {
    findings.push_back({Level::kProblem, subject, state, "see the daemon's log; mount again"});
  }
  ExamineSpace(client, node, findings);
  const auto config = client.ReadControl("config");
  const bool may_write = config.ok() && config.value().find("\nro=") == std::string::npos;
  return may_write && !state.starts_with("does not answer") ? read("path") : std::string();
}

// Reports the findings about the node's filesystem itself.
void ExaminePath(const std::string& subject, const std::string& path,
                 std::vector<Finding>& findings) {
  if (!path.empty() && CanPunch(path) == false) {
    findings.push_back({Level::kWarning, subject,
                        StrCat("the filesystem of ", path,
                               " cannot punch holes: discarded space is "
                               "overwritten with zeros and not freed"),
                        "put the node on ext4, XFS, btrfs or NFS 4.2"});
  }
}

void ExamineVolumes(const Client& client, std::vector<Finding>& findings) {
  const Result<std::string> status = client.ReadControl("status");
  if (!status.ok()) return;
  for (const std::string_view line : SplitLines(status.value())) {
    const std::vector<std::string_view> words = SplitWords(line);
    if (words.size() < 2 || words[1] != "error") continue;
    const Result<std::string> reason = client.Field(words[0], "error");
    findings.push_back(
        {Level::kProblem, StrCat("volume ", words[0]), reason.ok() ? reason.value() : "is in error",
         StrCat("echo \"", words[0], " resume=1\" > ", client.PathOf("control/clone"),
                " tries again; volfs cancel ", words[0], " gives the clone up")});
  }
}

// ---- questions: a child sends its findings back as text, one per record

constexpr auto kPatience = std::chrono::milliseconds(1500);
constexpr char kField = '\x1f';
constexpr char kRecord = '\x1e';
constexpr char kNodeRecord = 'N';  // in the place of a level: the name of a node

void Say(const Question::Say& say, const std::vector<Finding>& findings) {
  for (const Finding& finding : findings) {
    const auto level = static_cast<char>('0' + static_cast<int>(finding.level));
    say(StrCat(std::string(1, level), finding.subject, std::string(1, kField), finding.says,
               std::string(1, kField), finding.remedy, std::string(1, kField),
               std::string(1, kRecord)));
  }
}

// The whole records of an answer that may have been cut off.
std::vector<std::string> Records(std::string_view said) {
  said = said.substr(0, said.rfind(kRecord) + 1);
  return SplitAt(said, kRecord);
}

void AddSaid(std::string_view said, std::vector<Finding>& findings) {
  for (const std::string& record : Records(said)) {
    if (record[0] == kNodeRecord) continue;
    Finding finding{static_cast<Level>(record[0] - '0'), "", "", ""};
    size_t begin = 1;
    for (std::string* const field : {&finding.subject, &finding.says, &finding.remedy}) {
      const size_t end = record.find(kField, begin);
      *field = record.substr(begin, end - begin);
      begin = end + 1;
    }
    findings.push_back(std::move(finding));
  }
}

std::vector<std::string> SaidNodes(std::string_view said) {
  std::vector<std::string> nodes;
  for (const std::string& record : Records(said)) {
    if (record[0] == kNodeRecord) nodes.push_back(record.substr(1));
  }
  return nodes;
}

// The daemon, its volumes in error, the names of its nodes.
void AskDaemon(const std::string& mountpoint, const Question::Say& say) {
  const std::string status = mountpoint + "/control/status";
  const Descriptor fd(::open(status.c_str(), O_RDONLY | O_CLOEXEC));
  Say(say, {DaemonFinding(mountpoint, fd.ok() ? 0 : errno)});
  if (!fd.ok()) return;
  const Client client(mountpoint);
  std::vector<Finding> findings;
  ExamineVolumes(client, findings);
  Say(say, findings);
  const auto nodes = ListDirectory(client.PathOf("control/nodes"));
  if (!nodes.ok()) return;
  for (const std::string& node : nodes.value()) {
    say(StrCat(std::string(1, kNodeRecord), node, std::string(1, kRecord)));
  }
}

// The way back, as commands: the filesystem that is on the device first.
Finding LoopFinding(const StaleLoop& loop, const std::vector<MountEntry>& mounts) {
  std::string remedy;
  for (const std::string& command : WayOut(loop, mounts)) remedy += command + "; ";
  return {Level::kProblem, loop.device.path(),
          StrCat("is of ", loop.image, " of a mount whose daemon is gone: it answers with errors"),
          StrCat(remedy, "and when the nodes are mounted again: volfs attach ", loop.image)};
}

struct NodeQuestion {
  std::string subject;
  Question question;
};

NodeQuestion AskNode(const std::string& mountpoint, const std::string& node) {
  const std::string subject = "node " + node;
  return {subject, Question([&](const Question::Say& say) {
            std::vector<Finding> findings;
            const std::string path = ExamineNode(Client(mountpoint), node, findings);
            Say(say, findings);
            findings.clear();
            ExaminePath(subject, path, findings);
            Say(say, findings);
          })};
}

}  // namespace

bool AllowsOther(std::string_view fuse_conf) {
  for (const std::string_view line : SplitLines(fuse_conf)) {
    const std::vector<std::string_view> words = SplitWords(line);
    if (!words.empty() && words[0] == "user_allow_other") return true;
  }
  return false;
}

std::vector<Finding> ExamineSystem() {
  return {ExamineFuse(), ExamineHelper(), ExamineFuseConf(), ExamineLoop(), ExamineMountHelper()};
}

std::vector<Finding> ExamineKnownNodes() {
  constexpr auto kLimit = std::chrono::milliseconds(1000);
  const auto known = ReadNodeRegistry(NodeRegistryFile());
  std::vector<std::string> paths;
  paths.reserve(known.size());
  for (const auto& [uuid, path] : known) paths.push_back(path);
  const PathsFound found = LookAtPaths(paths, kLimit);
  std::vector<Finding> findings;
  for (const auto& [uuid, path] : known) {
    const auto silent = std::find(found.silent.begin(), found.silent.end(), path);
    if (silent == found.silent.end()) continue;
    findings.push_back(
        {Level::kWarning, StrCat("node directory ", path),
         "was mounted here before, and does not answer now",
         StrCat("look at its disk or server; if it is lost for good: volfs node forget ", uuid)});
  }
  return findings;
}

std::vector<Finding> ExamineLoops(const std::vector<Finding>& of_mounts) {
  const Result<std::vector<MountEntry>> mounts = ReadMountInfo();
  if (!mounts.ok()) return {};
  std::vector<std::string> dead;
  for (const Finding& finding : of_mounts) {
    if (finding.says == kDeadMount) dead.push_back(finding.subject);
  }
  const auto text = AnswerWithin(kPatience, [&] {
    std::string said;
    for (const StaleLoop& loop : StaleLoops(mounts.value(), dead)) {
      Say([&said](std::string_view part) { said += part; }, {LoopFinding(loop, mounts.value())});
    }
    return said;
  });
  std::vector<Finding> findings;
  if (text) AddSaid(*text, findings);
  return findings;
}

std::vector<Finding> ExamineMounts(const std::vector<std::string>& mountpoints) {
  const auto first = Question::Clock::now() + kPatience;
  std::vector<Question> daemons;
  daemons.reserve(mountpoints.size());
  for (const std::string& mountpoint : mountpoints) {
    daemons.emplace_back([&](const Question::Say& say) { AskDaemon(mountpoint, say); });
  }
  std::vector<Finding> findings;
  std::vector<NodeQuestion> nodes;
  for (size_t i = 0; i < mountpoints.size(); ++i) {
    const Question::Answer answer = daemons[i].Await(first);
    AddSaid(answer.said, findings);
    if (!answer.whole) {
      findings.push_back({Level::kProblem, mountpoints[i], "its daemon does not answer",
                          std::string(kSilentDaemonRemedy)});
      continue;
    }
    for (const std::string& node : SaidNodes(answer.said)) {
      nodes.push_back(AskNode(mountpoints[i], node));
    }
  }
  const auto second = Question::Clock::now() + kPatience;
  for (NodeQuestion& node : nodes) {
    const Question::Answer answer = node.question.Await(second);
    AddSaid(answer.said, findings);
    if (answer.whole) continue;
    findings.push_back(
        {Level::kProblem, node.subject, "its filesystem does not answer",
         "look at its disk or server; its volumes can be used again when it answers"});
  }
  return findings;
}

}  // namespace volfs::cli
