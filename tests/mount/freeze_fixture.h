#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/mount/mount_fixture.h"

namespace volfs {

// An ext4 on a loop device over an image, with a writer. A slow request is one to a node whose own
// filesystem is frozen.
class FreezeTest : public MountTest {
 protected:
  [[nodiscard]] std::string Disk() const { return directory() + "/disk"; }

  void MountDisk() {
    device_ = AttachLoop(Volume("disk.img"));
    MustRun("mkdir -p " + Disk() + " && mount " + device_ + " " + Disk());
  }

  // Makes two nodes, and on the first a volume with an ext4 that a program keeps writing to.
  void Start() {
    Mount();
    MustRun("truncate -s 64M " + Volume("disk.img") + " && mkfs.ext4 -q -F " + Volume("disk.img"));
    MountDisk();
    StartWriter();
  }

  void StartWriter() {
    writer_.emplace(std::vector<std::string>{
        "sh", "-c",
        "cd " + Disk() +
            "; while :; do echo x >> log; head -c 3000 /dev/zero > f$((n=(n+1)%50)); " +
            "sleep 0.01; done"});
    ASSERT_TRUE(Grows(10'000)) << "the writer";
  }

  // Returns whether the file grows within the time.
  [[nodiscard]] bool Grows(int timeout_ms) const {
    constexpr int kStepMs = 20;
    const auto size = [this] {
      return Exists(Disk() + "/log") ? StatOf(Disk() + "/log").st_size : 0;
    };
    const auto before = size();
    for (int waited = 0; waited < timeout_ms; waited += kStepMs) {
      ::usleep(kStepMs * 1000);
      if (size() != before) return true;
    }
    return false;
  }

  [[nodiscard]] bool BecomesFrozen() const {
    constexpr int kQuietMs = 700;
    for (int i = 0; i < 60; ++i) {
      if (!Grows(kQuietMs)) return true;
    }
    return false;
  }

  // Puts node b on an ext4 of its own, so that its requests can be delayed.
  void PutNodeOnADisk() {
    MustRun("truncate -s 128M " + directory() + "/b.ext4 && mkfs.ext4 -q -F " + directory() +
            "/b.ext4 && mount -o loop " + directory() + "/b.ext4 " + NodePath("b") +
            " && chmod 700 " + NodePath("b"));
  }
  void TakeNodeOffItsDisk() {
    Unmount();
    MustRun("umount " + NodePath("b"));
  }
  void HoldNodeUp() { MustRun("fsfreeze -f " + NodePath("b")); }
  void LetNodeGo() { MustRun("fsfreeze -u " + NodePath("b")); }

  void Stop() {
    writer_.reset();
    MustRun("for i in 1 2 3 4 5 6 7 8 9; do umount " + Disk() +
            " 2>/dev/null && exit 0; sleep 0.2; done; umount " + Disk());
    DetachLoop(device_);
  }

  [[nodiscard]] static bool NeedsRecovery(const std::string& image) {
    const std::string header = MustRun("dumpe2fs -h " + image + " 2>&1");
    EXPECT_THAT(header, testing::HasSubstr("has_journal"));
    return header.find("needs_recovery") != std::string::npos;
  }

  std::string device_;
  std::optional<BackgroundProgram> writer_;
};

}  // namespace volfs
