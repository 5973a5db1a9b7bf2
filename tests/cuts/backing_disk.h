#pragma once

#include <string>

namespace volfs {

// A node's disk: a filesystem of its own in a loop device, whose power can be cut.
//
// Methods throw std::runtime_error if they do not work.
class BackingDisk {
 public:
  // `filesystem`: "ext4" or "xfs".
  BackingDisk(std::string device, std::string mountpoint)
      : device_(std::move(device)), mountpoint_(std::move(mountpoint)) {}

  // Makes the filesystem anew, and mounts it.
  void Make(const std::string& filesystem);
  void Mount();
  void Unmount();
  // Stops the filesystem at once: unsynced data, and the end of its journal, never reach the
  // device. It stays mounted, and answers EIO.
  void Cut() const;
  // Returns the complaints of fsck about the unmounted filesystem; "" if there are none.
  [[nodiscard]] std::string Fsck() const;

  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::string& filesystem() const { return filesystem_; }
  [[nodiscard]] const std::string& mountpoint() const { return mountpoint_; }

  // The minimum of mkfs.xfs, and a little more.
  static constexpr char kSize[] = "320M";

 private:
  const std::string device_;
  const std::string mountpoint_;
  std::string filesystem_;
  bool mounted_ = false;
};

// Unmounts as umount(8), and tries again for up to a second while another program uses it, such as
// udev.
void UnmountSoon(const std::string& mountpoint);

}  // namespace volfs
