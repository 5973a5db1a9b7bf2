#include "control/cli/doctor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "blockstore/log.h"
#include "blockstore/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/failure.h"
#include "control/cli/files.h"
#include "control/size.h"

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
  for (const std::string& folder : SplitAt(path == nullptr ? "" : path, ':')) {
    std::string file = Text(folder, "/", name);
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
    if (::access(file, X_OK) == 0) return Ok("mount.volfs", Text("is ", file));
  }
  return {Level::kNote, "mount.volfs", "is not in /sbin: fstab and mount -t volfs do not work",
          "ln -s \"$(command -v volfs)\" /sbin/mount.volfs"};
}

// ---- a mount

// Whether a file of the mount answers within a few seconds: 0, or the errno; ETIMEDOUT if not. A
// child asks, as nobody can be called back from a mount that hangs.
int ProbeMount(const std::string& mountpoint) {
  constexpr int kPatienceMs = 5000;
  const std::string file = mountpoint + "/control/status";
  const pid_t child = ::fork();
  if (child < 0) return errno;
  if (child == 0) {
    std::_Exit(::open(file.c_str(), O_RDONLY | O_CLOEXEC) >= 0 ? 0 : errno);
  }
  const Descriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd ended{pidfd.get(), POLLIN, 0};
  if (::poll(&ended, 1, kPatienceMs) <= 0) {
    ::kill(child, SIGKILL);  // and not waited for: it may never end
    return ETIMEDOUT;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

Finding ExamineDaemon(const std::string& mountpoint) {
  const int os_errno = ProbeMount(mountpoint);
  switch (os_errno) {
    case 0:
      return Ok(mountpoint, "answers");
    case ENOTCONN:
      return {Level::kProblem, mountpoint, "its daemon is gone: the mount is dead",
              Text("volfs umount ", mountpoint, ", then mount again; no data is lost by it")};
    case ETIMEDOUT:
      return {Level::kProblem, mountpoint, "its daemon does not answer",
              "see the log for a node that hangs; kill -9 of the daemon, then mount again"};
    case EACCES:
      return {Level::kNote, mountpoint, "is another user's, who did not mount with allow_other",
              ""};
    default:
      return {Level::kProblem, mountpoint, std::strerror(os_errno), "see the daemon's log"};
  }
}

// Whether the filesystem of `folder` gives space back when a file is punched; nothing if it cannot
// be tried here (another machine's, not our right).
std::optional<bool> CanPunch(const std::string& folder) {
  constexpr off_t kBytes = 65536;
  const Descriptor fd(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.ok()) return std::nullopt;
  const std::string data(kBytes, 'x');
  if (::write(fd.get(), data.data(), data.size()) != kBytes) return std::nullopt;
  return ::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kBytes) == 0;
}

void ExamineSpace(const Client& client, const std::string& node, std::vector<Finding>& findings) {
  constexpr uint64_t kLeastPart = 20;  // one in 20: 5 per cent
  const auto read = [&](const char* field) {
    const auto text = client.ReadControl(Text("nodes/", node, "/", field));
    return text.ok() ? ParseNumber(SplitLines(text.value())[0]) : std::nullopt;
  };
  const auto size = read("size_bytes");
  const auto free = read("free_bytes");
  if (!size || !free || *free >= *size / kLeastPart) return;
  findings.push_back({Level::kWarning, "node " + node, FormatSize(*free) + " are left",
                      "delete volumes or snapshots, or add a node; clones pause when it is full"});
}

void ExamineNode(const Client& client, const std::string& node, std::vector<Finding>& findings) {
  const auto read = [&](const char* field) {
    const auto text = client.ReadControl(Text("nodes/", node, "/", field));
    return text.ok() ? text.value().substr(0, text.value().find('\n')) : std::string();
  };
  const std::string state = read("state");
  const std::string subject = "node " + node;
  if (state == "ok") {
    findings.push_back(Ok(subject, "is ok"));
  } else {
    findings.push_back({Level::kProblem, subject, state, "see the daemon's log; mount again"});
  }
  ExamineSpace(client, node, findings);
  const std::string path = read("path");
  if (!path.empty() && CanPunch(path) == false) {
    findings.push_back({Level::kWarning, subject,
                        Text("the filesystem of ", path,
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
    findings.push_back({Level::kProblem, Text("volume ", words[0]),
                        reason.ok() ? reason.value() : "is in error",
                        Text("echo \"", words[0], " resume=1\" > ", client.PathOf("control/clone"),
                             " tries again; volfs cancel ", words[0], " gives the clone up")});
  }
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

std::vector<Finding> ExamineMount(const std::string& mountpoint) {
  std::vector<Finding> findings = {ExamineDaemon(mountpoint)};
  if (findings.front().level != Level::kOk) return findings;
  const Client client(mountpoint);
  const auto nodes = ListFolder(client.PathOf("control/nodes"));
  if (nodes.ok()) {
    for (const std::string& node : nodes.value()) ExamineNode(client, node, findings);
  }
  ExamineVolumes(client, findings);
  return findings;
}

}  // namespace volfs::cli
