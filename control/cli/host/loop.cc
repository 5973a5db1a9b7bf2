#include "control/cli/host/loop.h"

#include <algorithm>
#include <set>

#include "blockstore/base/str_cat.h"
#include "control/cli/host/users.h"
#include "control/cli/process/files.h"

namespace volfs::cli {
namespace {

constexpr std::string_view kLoop = "loop";
constexpr std::string_view kDev = "/dev/";

// Adds the devices that device mapper, md and the like have built on it or on a partition of it.
void AddBlockHolders(const std::string& directory, std::vector<std::string>& holders) {
  const auto names = ListDirectory(directory + "/holders");
  if (!names.ok()) return;
  holders.insert(holders.end(), names.value().begin(), names.value().end());
}

void AddSwap(const LoopDevice& device, std::vector<std::string>& holders) {
  const auto text = ReadFile("/proc/swaps");
  if (!text.ok()) return;
  for (const std::string_view line : SplitLines(text.value())) {
    const std::vector<std::string_view> words = SplitWords(line);
    if (!words.empty() && IsDeviceOf(words[0], device)) holders.emplace_back("swap");
  }
}

// Adds the numbers ("7:3") of a block device, of the devices built on it, and of its partitions
// with theirs.
void AddDeviceNumbers(const std::string& directory, std::set<std::string>& numbers) {
  const std::optional<std::string> number = ReadValue(directory + "/dev");
  if (!number || !numbers.insert(*number).second) return;
  if (const auto holders = ListDirectory(directory + "/holders"); holders.ok()) {
    for (const std::string& name : holders.value()) {
      AddDeviceNumbers(StrCat(directory, "/holders/", name), numbers);
    }
  }
  const auto names = ListDirectory(directory);
  if (!names.ok()) return;
  for (const std::string& name : names.value()) {
    if (name.starts_with(kLoop)) AddDeviceNumbers(StrCat(directory, "/", name), numbers);
  }
}

}  // namespace

std::string LoopDevice::path() const { return StrCat("/dev/loop", number); }

std::vector<LoopDevice> ReadLoopDevices(const std::string& sys_block) {
  constexpr std::string_view kDeleted = " (deleted)";
  std::vector<LoopDevice> devices;
  const auto names = ListDirectory(sys_block);
  if (!names.ok()) return devices;
  for (const std::string& name : names.value()) {
    const std::optional<int> number = LoopNumber(name);
    if (!number) continue;
    const std::string directory = StrCat(sys_block, "/", name);
    std::optional<std::string> file = ReadValue(directory + "/loop/backing_file");
    if (!file || file->empty()) continue;
    if (file->ends_with(kDeleted)) file->erase(file->size() - kDeleted.size());
    devices.push_back({*number, *file, ReadValue(directory + "/ro") == "1"});
  }
  std::sort(devices.begin(), devices.end(),
            [](const LoopDevice& a, const LoopDevice& b) { return a.number < b.number; });
  return devices;
}

std::optional<int> LoopNumber(std::string_view name) {
  if (name.starts_with(kDev)) name.remove_prefix(kDev.size());
  if (!name.starts_with(kLoop)) return std::nullopt;
  const std::optional<uint64_t> number = ParseNumber(name.substr(kLoop.size()));
  constexpr uint64_t kMaxLoops = uint64_t{1} << 20;  // the kernel's minor numbers
  if (!number || *number >= kMaxLoops) return std::nullopt;
  return static_cast<int>(*number);
}

bool IsDeviceOf(std::string_view path, const LoopDevice& device) {
  const std::string whole = device.path();
  if (!path.starts_with(whole)) return false;
  path.remove_prefix(whole.size());
  return path.empty() || (path.starts_with('p') && ParseNumber(path.substr(1)));
}

std::vector<std::string> LoopHolders(const LoopDevice& device,
                                     const std::vector<MountEntry>& mounts,
                                     const std::string& sys_block) {
  std::vector<std::string> holders;
  for (const MountEntry& mount : mounts) {
    if (IsDeviceOf(mount.source, device)) holders.push_back("mounted on " + mount.mountpoint);
  }
  const std::string name = StrCat(kLoop, device.number);
  const std::string directory = StrCat(sys_block, "/", name);
  AddBlockHolders(directory, holders);
  if (const auto parts = ListDirectory(directory); parts.ok()) {
    for (const std::string& part : parts.value()) {
      if (part.starts_with(name + "p")) AddBlockHolders(StrCat(directory, "/", part), holders);
    }
  }
  AddSwap(device, holders);
  const auto is_device = [&device](std::string_view path) { return IsDeviceOf(path, device); };
  for (const User& user : FindUsers(is_device)) {
    holders.push_back(StrCat(user.pid, " ", user.command, " (", user.path, ")"));
  }
  return holders;
}

std::vector<MountEntry> MountsOn(const LoopDevice& device, const std::vector<MountEntry>& mounts,
                                 const std::string& sys_block) {
  std::set<std::string> numbers;
  AddDeviceNumbers(StrCat(sys_block, "/", kLoop, device.number), numbers);
  std::vector<MountEntry> found;
  for (const MountEntry& mount : mounts) {
    const bool own_number = mount.device.starts_with("0:");
    if (own_number ? IsDeviceOf(mount.source, device) : numbers.contains(mount.device)) {
      found.push_back(mount);
    }
  }
  return found;
}

}  // namespace volfs::cli
