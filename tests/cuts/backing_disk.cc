#include "tests/cuts/backing_disk.h"

#include <chrono>
#include <stdexcept>
#include <thread>

#include "tests/support/mount_command.h"

namespace volfs {

void UnmountSoon(const std::string& mountpoint) {
  CommandResult result;
  for (int i = 0; i < 50; ++i) {
    result = RunProgram({"umount", mountpoint});
    if (result.ok()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  throw std::runtime_error(result.output);
}

void BackingDisk::Make(const std::string& filesystem) {
  filesystem_ = filesystem;
  // A lazy mkfs would continue in the background.
  MustRun((filesystem == "xfs" ? "mkfs.xfs -q -f "
                               : "mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 ") +
          device_);
  Mount();
}

void BackingDisk::Mount() {
  MustRun("mount -t " + filesystem_ + " " + device_ + " " + Quoted(mountpoint_));
  mounted_ = true;
}

void BackingDisk::Unmount() {
  UnmountSoon(mountpoint_);
  mounted_ = false;
}

void BackingDisk::Cut() const {
  // Without -f: the journal is not flushed first. xfs_io shuts an ext4 down in the same way.
  const CommandResult result = RunProgram({"xfs_io", "-x", "-c", "shutdown", mountpoint_});
  if (!result.ok()) throw std::runtime_error("xfs_io shutdown: " + result.output);
}

std::string BackingDisk::Fsck() const {
  const CommandResult result =
      RunShell((filesystem_ == "xfs" ? "xfs_repair -n " : "e2fsck -fn ") + device_);
  return result.ok() ? "" : result.output;
}

}  // namespace volfs
