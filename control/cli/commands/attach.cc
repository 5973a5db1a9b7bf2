#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/host/image_contents.h"
#include "control/cli/host/loop.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/host/users.h"
#include "control/cli/image_loops.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/target.h"
#include "control/text/json.h"

namespace volfs::cli {
namespace {

Error AttachedAlready(const std::string& name, const std::string& device) {
  return Failure(EBUSY, StrCat(name, ": is attached for writing as ", device,
                               "; use that, or volfs detach ", name, " first"));
}

Error OpenForWriting(const Client& client, const std::string& name) {
  std::string message = StrCat(name, ": is open for writing; close it first, or attach with --ro");
  const auto is_image = [&](std::string_view path) {
    return ImageBelow(client.mountpoint(), path) == name;
  };
  for (const User& user : FindUsers(is_image)) message += StrCat(kNoteBreak, UserText(user));
  return Failure(EBUSY, message);
}

// Two writers that do not know of each other destroy the image. A file that was closed a moment ago
// may still count as open, as the daemon hears of a close later than the process that closed it.
Status CheckNoWriter(const Client& client, const std::string& name) {
  constexpr int kPatienceMs = 2000;
  constexpr int kStepMs = 50;
  for (const LoopDevice& device : LoopsOf(client, name)) {
    if (!device.read_only) return AttachedAlready(name, device.path());
  }
  for (int waited = 0;; waited += kStepMs) {
    ASSIGN_OR_RETURN(const std::string status, client.Field(name, "status"));
    if (status != "in-use") return OkStatus();
    if (waited >= kPatienceMs) return OpenForWriting(client, name);
    ::poll(nullptr, 0, kStepMs);
  }
}

// Of two `attach` at once only one gets past here. The lock belongs to the open file, which the
// loop device keeps: it is held until the device is detached.
Status LockForWriting(const Client& client, const std::string& name, int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return OkStatus();
  for (const LoopDevice& device : LoopsOf(client, name)) {
    if (!device.read_only) return AttachedAlready(name, device.path());
  }
  return OpenForWriting(client, name);
}

Error OpenFailure(const std::string& name, int os_errno) {
  if (os_errno == ENOENT) return Failure(os_errno, StrCat(name, ": no such volume or snapshot"));
  if (os_errno == EROFS) {
    return Failure(os_errno, StrCat(name, ": is read-only; attach it with --ro"));
  }
  return Failure(os_errno, StrCat(name, ": ", std::strerror(os_errno)));
}

void WarnOfOddSize(const std::string& name, int fd) {
  constexpr off_t kSector = 512;
  struct stat info {};
  if (::fstat(fd, &info) != 0 || info.st_size % kSector == 0) return;
  PrintNote(StrCat("volfs attach: ", name, ": its last ", info.st_size % kSector,
                   " bytes are less than a sector, and not part of the device"));
}

constexpr std::chrono::seconds kTwinPatience{2};

struct Attached {
  LoopDevice device;
  std::string advice;  // if something else has its UUIDs; else empty
};

// A snapshot has its volume's UUIDs. No record says which volume a whole clone was made from, and
// `cp` never told, so the test is whether another attached image of this mount has the same UUID.
// Other devices are left alone: one that hangs would be waited for.
bool HasTwin(const Client& client, const std::string& name, const std::vector<Contents>& contents,
             const LoopDevice& device) {
  if (name.find('@') != name.npos) return true;
  const std::vector<LoopDevice> devices = ReadLoopDevices();
  return std::any_of(devices.begin(), devices.end(), [&](const LoopDevice& other) {
    if (other.number == device.number) return false;
    if (!IsAtOrBelow(other.backing_file, client.mountpoint())) return false;
    const Descriptor fd(::open(other.path().c_str(), O_RDONLY | O_CLOEXEC));
    return fd.ok() && AreTwins(contents, ContentsOf(fd.get()));
  });
}

Result<Attached> AttachImage(const Client& client, const std::string& name, bool read_only) {
  const bool snapshot = name.find('@') != name.npos;
  if (snapshot && !read_only) return OpenFailure(name, EROFS);
  if (!snapshot) RETURN_IF_ERROR(client.CheckVolume(name));
  if (!read_only) RETURN_IF_ERROR(CheckNoWriter(client, name));
  const std::string path = client.ImagePath(name);
  const Waiting waiting(client.mountpoint());  // for its first blocks, where partitions are told
  const Descriptor fd(::open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!fd.ok()) return OpenFailure(name, errno);
  if (!read_only) RETURN_IF_ERROR(LockForWriting(client, name, fd.get()));
  WarnOfOddSize(name, fd.get());
  ASSIGN_OR_RETURN(const LoopDevice device, ConfigureLoop(fd.get(), {path, read_only}));
  // It is attached. To look into it, or into others, may take long, and is not worth it.
  const auto advice = AnswerWithin(kTwinPatience, [&]() -> std::string {
    const Descriptor image(::open(path.c_str(), O_RDONLY | O_CLOEXEC));  // the child has no other
    const std::vector<Contents> contents =
        image.ok() ? ContentsOf(image.get()) : std::vector<Contents>();
    std::string text = AdviceFor(contents, device.path(), read_only);
    return text.empty() || !HasTwin(client, name, contents, device) ? "" : text;
  });
  return Attached{device, advice.value_or("")};
}

// Left over from a mount whose daemon has died.
Result<std::vector<LoopDevice>> StaleLoopsOf(const std::string& image) {
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  std::vector<LoopDevice> devices;
  for (const StaleLoop& stale : StaleLoops(mounts, {})) {
    if (stale.image == image) devices.push_back(stale.device);
  }
  return devices;
}

// The device that `name` (a volume, a snapshot, /dev/loopN) means.
Result<LoopDevice> AttachedDevice(const Common& common, const std::string& name) {
  if (const std::optional<int> number = LoopNumber(name); number && name.starts_with("/dev/")) {
    ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
    for (const LoopDevice& device : ReadLoopDevices()) {
      if (device.number != *number) continue;
      if (VolfsMountOf(mounts, device.backing_file)) return device;
      for (const StaleLoop& stale : StaleLoops(mounts, {})) {
        if (stale.device.number == *number) return device;
      }
      return UsageFailure(StrCat(name, ": is of ", device.backing_file,
                                 ", which is on no mounted volfs; see losetup -d"));
    }
    return Failure(ENOENT, StrCat(name, ": nothing is attached to it"));
  }
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string image, targets.Image(name));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  std::vector<LoopDevice> devices = LoopsOf(client, image);
  if (devices.empty()) {
    ASSIGN_OR_RETURN(devices, StaleLoopsOf(image));
  }
  if (devices.size() == 1) return devices.front();
  if (devices.empty()) return Failure(ENOENT, StrCat(image, ": is not attached"));
  std::string message = StrCat(image, ": is attached more than once; name the device");
  for (const LoopDevice& device : devices) message += StrCat(kNoteBreak, device.path());
  return UsageFailure(message);
}

}  // namespace

Status Attach(const Common& common, const std::string& name, bool read_only) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string image, targets.Image(name));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const Attached attached, AttachImage(client, image, read_only));
  const std::string device = attached.device.path();
  const std::string& advice = attached.advice;
  if (common.json) {
    Print(JsonLine({{"device", device},
                    {"image", image},
                    {"mode", read_only ? "ro" : "rw"},
                    {"advice", advice}}));
    return OkStatus();
  }
  Print(device + "\n");
  RETURN_IF_ERROR(FlushOutput());
  if (!advice.empty())
    PrintNote(StrCat(image, " has UUIDs that are in use elsewhere:", AsNoteLines(advice)));
  return OkStatus();
}

Status Detach(const Common& common, const std::string& name) {
  ASSIGN_OR_RETURN(const LoopDevice device, AttachedDevice(common, name));
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  const std::vector<std::string> holders = LoopHolders(device, mounts);
  if (holders.empty()) {
    const std::optional<MountEntry> mount = VolfsMountOf(mounts, device.backing_file);
    const Touching touching(device.path());
    const Waiting waiting(mount ? mount->mountpoint : "");  // for the mount's unwritten data
    const Status cleared = ClearLoop(device);
    if (cleared.ok()) {
      PrintDone(common, {{"device", device.path()}, {"image", device.backing_file}});
      return OkStatus();
    }
    if (cleared.error().code != Errc::kBusy) return cleared;
    return Failure(EBUSY, StrCat(device.path(),
                                 ": is in use by a process that cannot be seen from "
                                 "here (another mount namespace, a container?)"));
  }
  std::string message = StrCat(device.path(), ": is in use");
  for (const std::string& holder : holders) message += StrCat(kNoteBreak, holder);
  return Failure(EBUSY, message);
}

}  // namespace volfs::cli
