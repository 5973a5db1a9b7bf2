#include "control/cli/target.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "blockstore/base/str_cat.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

bool IsPath(std::string_view argument) { return argument.find('/') != argument.npos; }

// Returns the mount of a path as it stands, else of its directory's real path behind symbolic
// links; `path` is then that.
std::optional<MountEntry> FindMount(const std::vector<MountEntry>& mounts, std::string& path) {
  if (auto mount = VolfsMountOf(mounts, path)) return mount;
  const Touching touching(path);
  std::error_code error;
  const std::filesystem::path given(path);
  const std::filesystem::path directory = std::filesystem::canonical(given.parent_path(), error);
  if (error) return std::nullopt;
  std::string real = (directory / given.filename()).string();
  auto mount = VolfsMountOf(mounts, real);
  if (mount) path = real;
  return mount;
}

Result<std::string> MountOption(const std::vector<MountEntry>& mounts, const std::string& option) {
  std::string path = AbsolutePath(option);
  const std::optional<MountEntry> mount = FindMount(mounts, path);
  if (mount) return mount->mountpoint;
  return Failure(ENOENT, StrCat(option, ": no volfs is mounted here"));
}

Result<std::string> TheOnlyMount(const std::vector<MountEntry>& mounts) {
  const std::vector<MountEntry> all = VolfsMounts(mounts);
  if (all.size() == 1) return all.front().mountpoint;
  if (all.empty()) return Failure(ENOENT, "no volfs is mounted; see `volfs mount --help`");
  std::string message = "several volfs are mounted; say which with --mount MNT";
  for (const MountEntry& mount : all) message += StrCat(kNoteBreak, mount.mountpoint);
  return UsageFailure(message);
}

}  // namespace

std::string DefaultMount() {
  const char* mount = std::getenv("VOLFS_MOUNT");
  return mount == nullptr ? "" : mount;
}

std::optional<std::string> ImageName(std::string_view relative) {
  const std::vector<std::string> parts = SplitAt(relative, '/');
  if (parts.size() == 2 && parts[0] == "volumes") return parts[1];
  if (parts.size() == 3 && parts[0] == "nodes") return parts[2];
  if (parts.size() == 3 && parts[0] == "snapshots") return StrCat(parts[1], "@", parts[2]);
  return std::nullopt;
}

std::string AbsolutePath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  std::string text = (error ? std::filesystem::path(path) : absolute).lexically_normal().string();
  while (text.size() > 1 && text.ends_with('/')) text.pop_back();
  return text;
}

Result<std::string> Targets::NameFromPath(const std::string& argument) {
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  std::string path = AbsolutePath(argument);
  const std::optional<MountEntry> mount = FindMount(mounts, path);
  if (!mount) return Failure(ENOENT, StrCat(argument, ": this path is not on a volfs"));
  if (!mountpoint_.empty() && mountpoint_ != mount->mountpoint) {
    return UsageFailure(StrCat(argument, ": is on the mount ", mount->mountpoint,
                               ", not on that of ", mountpoint_));
  }
  mountpoint_ = mount->mountpoint;
  std::optional<std::string> name = ImageName(path.substr(mountpoint_.size()));
  if (!name) return UsageFailure(StrCat(argument, ": is not a volume's or snapshot's image"));
  return *name;
}

Result<std::string> Targets::Image(const std::string& argument) {
  std::string name = argument;
  if (IsPath(argument)) {
    ASSIGN_OR_RETURN(name, NameFromPath(argument));
  }
  const size_t at = name.find('@');
  RETURN_IF_ERROR(CheckName(std::string_view(name).substr(0, at), "volume"));
  if (at != name.npos)
    RETURN_IF_ERROR(CheckName(std::string_view(name).substr(at + 1), "snapshot"));
  return name;
}

Result<std::string> Targets::Volume(const std::string& argument) {
  ASSIGN_OR_RETURN(std::string name, Image(argument));
  if (name.find('@') == name.npos) return name;
  return UsageFailure(StrCat(name, ": is a snapshot; this command takes a volume"));
}

Result<std::string> Targets::NewVolume(const std::string& argument) {
  if (!IsPath(argument)) {
    RETURN_IF_ERROR(CheckName(argument, "volume"));
    return argument;
  }
  ASSIGN_OR_RETURN(std::string name, Volume(argument));
  const std::string directory =
      AbsolutePath(std::filesystem::path(argument).parent_path().string());
  if (directory.ends_with("/volumes")) return name;
  return UsageFailure(StrCat(argument, ": give the new volume's name, and its node with --node"));
}

Result<Client> Targets::Mount() {
  Result<Client> client = FindClient();
  // The calls that follow ask this mount.
  if (client.ok()) {
    Touching::Note(StrCat("the daemon of ", client.value().mountpoint()), kSilentDaemonRemedy);
  }
  return client;
}

Result<Client> Targets::FindClient() {
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  if (!mount_option_.empty()) {
    ASSIGN_OR_RETURN(const std::string mountpoint, MountOption(mounts, mount_option_));
    if (!mountpoint_.empty() && mountpoint_ != mountpoint) {
      return UsageFailure(StrCat("--mount says ", mountpoint, ", but a path is on ", mountpoint_));
    }
    return Client(mountpoint);
  }
  if (!mountpoint_.empty()) return Client(mountpoint_);
  if (const std::string set = DefaultMount(); !set.empty()) {
    ASSIGN_OR_RETURN(const std::string mountpoint, MountOption(mounts, set));
    return Client(mountpoint);
  }
  if (const auto here = VolfsMountOf(mounts, AbsolutePath("."))) return Client(here->mountpoint);
  ASSIGN_OR_RETURN(const std::string only, TheOnlyMount(mounts));
  return Client(only);
}

}  // namespace volfs::cli
