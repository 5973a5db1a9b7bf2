#include "fusefs/mount/remount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/target.h"
#include "fusefs/mount/options.h"

namespace volfs {
namespace {

constexpr std::string_view kRemount = "remount";

// mount(8) hands back what the kernel shows of a FUSE mount.
constexpr std::array<std::string_view, 8> kShownByKernel = {
    "user_id=", "group_id=", "default_permissions", "max_read=", "blksize=", "fsname=",
    "subtype=", "init"};

std::vector<std::string> WordsOf(const std::vector<std::string>& options) {
  std::vector<std::string> words;
  for (const std::string& several : options) {
    const std::vector<std::string> some = cli::SplitAt(several, ',');
    words.insert(words.end(), some.begin(), some.end());
  }
  return words;
}

struct Flag {
  std::string_view on;
  std::string_view off;
  unsigned long mount;  // of mount(2)
  unsigned long shown;  // of statvfs(2)
};
constexpr std::array<Flag, 8> kFlags = {{
    {"ro", "rw", MS_RDONLY, ST_RDONLY},
    {"nosuid", "", MS_NOSUID, ST_NOSUID},
    {"nodev", "", MS_NODEV, ST_NODEV},
    {"noexec", "exec", MS_NOEXEC, ST_NOEXEC},
    {"noatime", "atime", MS_NOATIME, ST_NOATIME},
    {"nodiratime", "diratime", MS_NODIRATIME, ST_NODIRATIME},
    {"relatime", "norelatime", MS_RELATIME, ST_RELATIME},
    {"sync", "async", MS_SYNCHRONOUS, ST_SYNCHRONOUS},
}};

// The flags of the mount as it is, changed by the words; of two opposite words the last one counts.
unsigned long FlagsOf(unsigned long shown, const std::vector<std::string>& words) {
  unsigned long flags = 0;
  for (const Flag& flag : kFlags) {
    bool on = (shown & flag.shown) != 0;
    for (const std::string& word : words) {
      if (word == flag.on) on = true;
      if (!flag.off.empty() && word == flag.off) on = false;
    }
    if (on) flags |= flag.mount;
  }
  return flags;
}

std::string ValueIn(const std::string& config, std::string_view key) {
  for (const std::string_view line : cli::SplitLines(config)) {
    if (line.starts_with(key) && line.substr(key.size()).starts_with('=')) {
      return std::string(line.substr(key.size() + 1));
    }
  }
  return "";
}

bool IsLimit(std::string_view key) { return key == "copy_rate" || key == "copy_jobs"; }

// The daemon keeps the options that it was started with.
Status CheckUnchanged(const MountOptions& options, const std::string& config, bool writable) {
  for (const auto& [key, value] : options.given) {
    if (IsLimit(key) || ValueIn(config, key) == value) continue;
    return Error{Errc::kInvalid, StrCat("mount option ", key,
                                        ": it cannot change while volfs is mounted; unmount, "
                                        "then mount with the options that you want")};
  }
  if (!writable || ValueIn(config, "ro").empty()) return OkStatus();
  return Error{Errc::kInvalid,
               "mount option rw: the nodes are open for reading only; unmount, then mount without "
               "`ro`"};
}

Status SetLimit(const std::string& mountpoint, const std::string& name, const std::string& value) {
  if (value.empty()) return OkStatus();
  const std::string path = StrCat(mountpoint, "/control/limits/", name);
  const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string line = value + "\n";
  if (file.ok() && ::write(file.get(), line.data(), line.size()) > 0) return OkStatus();
  return cli::SystemFailure(path);
}

Status SetFlags(const std::string& mountpoint, const std::vector<std::string>& words) {
  struct statvfs now {};
  if (::statvfs(mountpoint.c_str(), &now) != 0) return cli::SystemFailure(mountpoint);
  const unsigned long flags = FlagsOf(now.f_flag, words);
  if (::mount(nullptr, mountpoint.c_str(), nullptr, MS_REMOUNT | flags, nullptr) == 0) {
    return OkStatus();
  }
  if (errno != EBUSY) return cli::SystemFailure(StrCat("remounting ", mountpoint));
  return cli::Failure(EBUSY, StrCat(mountpoint,
                                    ": files on it are open for writing; close them "
                                    "first (`fuser -vm` shows the processes)"));
}

Result<std::string> LiveMount(const std::string& argument) {
  ASSIGN_OR_RETURN(const auto mounts, cli::ReadMountInfo());
  const std::string path = cli::AbsolutePath(argument);
  for (const cli::MountEntry& mount : mounts) {
    if (mount.mountpoint == path && mount.type == cli::kVolfsType) return path;
  }
  return cli::Failure(ENOENT, StrCat(argument, ": no volfs is mounted here; mount it first"));
}

}  // namespace

bool AsksForRemount(const std::vector<std::string>& options) {
  const std::vector<std::string> words = WordsOf(options);
  return std::find(words.begin(), words.end(), kRemount) != words.end();
}

Status Remount(const MountArguments& arguments) {
  std::vector<std::string> words = WordsOf(arguments.options);
  std::erase_if(words, [](const std::string& word) {
    return word == kRemount ||
           std::any_of(kShownByKernel.begin(), kShownByKernel.end(),
                       [&](std::string_view shown) { return word.starts_with(shown); });
  });
  ASSIGN_OR_RETURN(const std::string mountpoint, LiveMount(arguments.mountpoint));
  const cli::Touching touching(StrCat("the daemon of ", mountpoint), cli::kSilentDaemonRemedy);
  ASSIGN_OR_RETURN(const std::string config, cli::ReadFile(mountpoint + "/control/config"));
  const bool writable = (FlagsOf(ST_RDONLY, words) & MS_RDONLY) == 0;
  std::vector<std::string> others = words;
  std::erase(others, "ro");
  ASSIGN_OR_RETURN(const MountOptions options, ParseOptions(others));
  RETURN_IF_ERROR(CheckUnchanged(options, config, writable));
  RETURN_IF_ERROR(SetLimit(mountpoint, "copy_rate", options.copy_rate));
  RETURN_IF_ERROR(SetLimit(mountpoint, "copy_jobs", options.copy_jobs));
  return SetFlags(mountpoint, words);
}

}  // namespace volfs
