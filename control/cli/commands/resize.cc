#include <fcntl.h>

#include <cerrno>
#include <chrono>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/host/growth.h"
#include "control/cli/host/image_contents.h"
#include "control/cli/host/loop.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/image_loops.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/target.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

// Returns the devices that have the image's size now. The others are reported: the volume has its
// size all the same.
std::vector<std::string> ResizeLoops(const Client& client, const std::string& volume) {
  const Waiting waiting(client.mountpoint());  // for the filesystem on a device
  std::vector<std::string> devices;
  for (const LoopDevice& device : LoopsOf(client, volume)) {
    const Status resized = ResizeLoop(device, client.ImagePath(volume));
    if (resized.ok()) {
      devices.push_back(device.path());
    } else {
      PrintNote(StrCat("volfs resize: ", ErrorText(resized.error()), "; ", volume,
                       " has its new size, the device has it after `losetup -c ", device.path(),
                       "`"));
    }
  }
  return devices;
}

std::string MountpointOfDevice(const std::string& device) {
  const Result<std::vector<MountEntry>> mounts = ReadMountInfo();
  if (!mounts.ok()) return "";
  for (const MountEntry& mount : mounts.value()) {
    if (mount.source == device) return mount.mountpoint;
  }
  return "";
}

// Returns nothing if the image cannot be read, or if its node makes us wait.
std::vector<std::string> NextCommands(const Client& client, const std::string& volume,
                                      const std::string& device) {
  constexpr std::chrono::seconds kLookPatience{2};
  const auto said = AnswerWithin(kLookPatience, [&] {
    const Descriptor fd(::open(client.ImagePath(volume).c_str(), O_RDONLY | O_CLOEXEC));
    std::string lines;
    const auto contents = fd.ok() ? ContentsOf(fd.get()) : std::vector<Contents>();
    for (const std::string& command : GrowthCommands(contents, device, MountpointOfDevice)) {
      lines += command + "\n";
    }
    return lines;
  });
  return SplitAt(said.value_or(""), '\n');
}

void TellOfDevices(const std::string& volume, uint64_t bytes,
                   const std::vector<std::string>& devices, const std::vector<std::string>& next) {
  std::string text = volume;
  for (const std::string& device : devices) text += StrCat(", ", device);
  text += StrCat(": ", FormatSize(bytes), " now");
  if (!next.empty()) text += "; to grow the contents:";
  for (const std::string& command : next) text += StrCat(kNoteBreak, command);
  PrintNote(text);
}

}  // namespace

Status Resize(const Common& common, const std::string& name, const std::string& size) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const std::string volume, targets.Volume(name));
  ASSIGN_OR_RETURN(const uint64_t bytes, ParseSize(size));
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  const Result<uint64_t> before = client.ImageSize(volume);  // a refusal tells what is wrong
  ASSIGN_OR_RETURN(const Reply reply, client.Ask("resize", StrCat(volume, " ", bytes)));
  const std::vector<std::string> devices = ResizeLoops(client, volume);
  const bool grown = before.ok() && bytes > before.value();
  std::vector<std::string> next;
  if (grown && !devices.empty()) next = NextCommands(client, volume, devices.front());
  if (!devices.empty() && !common.json) TellOfDevices(volume, bytes, devices, next);
  JsonObject done = ReplyObject(reply);
  done.push_back({"devices", JsonStrings(devices)});
  done.push_back({"next", JsonStrings(next)});
  PrintDone(common, done);
  return OkStatus();
}

}  // namespace volfs::cli
