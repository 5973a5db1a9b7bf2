#pragma once

#include <string>

namespace volfs {

// A node's disk: a filesystem of its own in a loop device, of which the power can be cut.
//
// Methods throw std::runtime_error if they do not work.
class BackingDisk {
 public:
  // `filesystem`: "ext4" or "xfs".
  BackingDisk(std::string device, std::string mountpoint)
      : device_(std::move(device)), mountpoint_(std::move(mountpoint)) {}

  // Makes it anew, and mounts it.
  void Make(const std::string& filesystem);
  void Mount();
  void Unmount();
  // The filesystem stops at once: what was not synced, and the end of its journal, never reach the
  // device. It stays mounted, and answers EIO.
  void Cut() const;
  // What its fsck has to say of the unmounted filesystem; "" if it is content.
  [[nodiscard]] std::string Fsck() const;

  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::string& filesystem() const { return filesystem_; }
  [[nodiscard]] const std::string& mountpoint() const { return mountpoint_; }

  // The least size that mkfs.xfs takes, and a little more.
  static constexpr char kSize[] = "320M";

 private:
  const std::string device_;
  const std::string mountpoint_;
  std::string filesystem_;
  bool mounted_ = false;
};

// As umount(8), for up to a second while somebody is on it, as udev may be for a moment.
void UnmountSoon(const std::string& mountpoint);

}  // namespace volfs
