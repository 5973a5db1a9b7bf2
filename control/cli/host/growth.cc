#include "control/cli/host/growth.h"

#include <algorithm>

#include "blockstore/base/str_cat.h"

namespace volfs::cli {
namespace {

using enum ContentsKind;

bool IsTable(ContentsKind kind) { return kind == kGpt || kind == kMbr; }

// XFS and btrfs grow only while they are mounted.
std::string GrowMounted(const std::string& device, const std::string& mountpoint,
                        const std::string& command) {
  if (!mountpoint.empty()) return StrCat(command, " ", mountpoint);
  return StrCat("mount ", device, " DIR && ", command, " DIR");
}

std::string GrowthCommand(ContentsKind kind, const std::string& device,
                          const std::string& mountpoint) {
  switch (kind) {
    case kExt:
      return StrCat(mountpoint.empty() ? StrCat("e2fsck -fp ", device, " && ") : "", "resize2fs ",
                    device);
    case kXfs:
      return GrowMounted(device, mountpoint, "xfs_growfs");
    case kBtrfs:
      return GrowMounted(device, mountpoint, "btrfs filesystem resize max");
    case kLvm:
      return StrCat("pvresize ", device);
    case kMdRaid:
      return "mdadm --grow --size=max /dev/mdN";
    case kSwap:
      return StrCat("swapoff ", device, "; mkswap ", device, " && swapon ", device);
    case kLuks:
      return "cryptsetup resize NAME";
    case kGpt:
    case kMbr:
      break;
  }
  return "";
}

}  // namespace

std::vector<std::string> GrowthCommands(const std::vector<Contents>& contents,
                                        const std::string& device,
                                        const MountpointOf& mountpoint_of) {
  if (contents.empty()) return {};
  if (!IsTable(contents.front().kind)) {
    return {GrowthCommand(contents.front().kind, device, mountpoint_of(device))};
  }
  std::vector<std::string> commands;
  if (contents.front().kind == kGpt) commands.push_back(StrCat("sgdisk -e ", device));
  const auto last = std::max_element(
      contents.begin(), contents.end(),
      [](const Contents& a, const Contents& b) { return a.partition < b.partition; });
  if (last->partition == 0) {
    commands.push_back(StrCat("growpart ", device, " N"));
    return commands;
  }
  const std::string partition = StrCat(device, "p", last->partition);
  commands.push_back(StrCat("growpart ", device, " ", last->partition));
  commands.push_back(GrowthCommand(last->kind, partition, mountpoint_of(partition)));
  return commands;
}

}  // namespace volfs::cli
