#pragma once

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "tests/support/mount_command.h"

namespace volfs {

// A node's disk that fails on demand: an ext4 on a loop device, over a file that nbdkit serves
// through FUSE with injected errors.
class FaultyDisk {
 public:
  // Makes `path` and mounts the disk there. `size` is as for truncate(1). The disk's own files are
  // beside `path`, with other endings.
  FaultyDisk(std::string path, const std::string& size) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
    std::filesystem::create_directory(path_ + ".served");
    MustRun("truncate -s " + size + " " + path_ + ".img && mkfs.ext4 -q " + path_ + ".img");
    MustRun("nbdfuse " + path_ + ".served/disk --command nbdkit -s -P " + path_ +
            ".pid --filter=error file " + path_ + ".img error=EIO error-rate=100%" +
            " error-pread-file=" + path_ + ".pread error-pwrite-file=" + path_ + ".pwrite >" +
            path_ + ".log 2>&1 </dev/null &");
    const std::string disk = path_ + ".served/disk";
    for (int i = 0; i < 500 && !std::filesystem::exists(disk); ++i) ::usleep(20'000);
    device_ = MustRun("losetup --find --show " + disk);
    device_.pop_back();  // its LF
    MountIt();
  }
  ~FaultyDisk() {
    MendAll();
    (void)RunShell("umount " + path_ + "; losetup -d " + device_ + "; umount " + path_ + ".served");
  }
  FaultyDisk(const FaultyDisk&) = delete;
  FaultyDisk& operator=(const FaultyDisk&) = delete;

  // Makes pread or pwrite (`what`) fail.
  void Break(const std::string& what) const { std::ofstream(path_ + "." + what).put('x'); }
  void MendAll() const {
    std::filesystem::remove(path_ + ".pread");
    std::filesystem::remove(path_ + ".pwrite");
    Signal(SIGCONT);
  }
  void Signal(int number) const {
    int pid = 0;
    std::ifstream(path_ + ".pid") >> pid;
    if (pid > 0) ::kill(pid, number);
  }
  // Drops everything that was read from the page cache.
  void Forget() const {
    MustRun("for f in " + path_ + "/layers/*; do dd of=$f oflag=nocache conv=notrunc,fdatasync " +
            "count=0 status=none; done; blockdev --flushbufs " + device_);
  }
  // Mounts again, so that the kernel forgets the results of the errors, as after a restart.
  void MountAgain() const {
    MustRun("umount " + path_);
    MountIt();
  }

 private:
  void MountIt() const {
    MustRun("mount " + device_ + " " + path_ + " && rm -rf " + path_ + "/lost+found && chmod 700 " +
            path_);
  }

  const std::string path_;
  std::string device_;
};

}  // namespace volfs
