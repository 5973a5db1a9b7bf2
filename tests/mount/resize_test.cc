// Goal: a volume that is attached grows in one command, device and all, and the next command, which
// grows the filesystem, is named and works (contract.md 3).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class ResizeTest : public MountTest {
 protected:
  void TearDown() override {
    (void)RunShell("umount " + On());
    if (!device_.empty()) DetachLoop(device_);
    MountTest::TearDown();
  }
  void MakeAttached(const std::string& size) {
    Mount({"a"});
    MustAsk("create", "v " + size);
    device_ = LineOf(VolfsHere("attach v").output);
  }
  [[nodiscard]] std::string On() const { return directory() + "/on"; }
  void MountDevice() { MustRun("mkdir -p " + On() + " && mount " + device_ + " " + On()); }
  static std::string LineOf(const std::string& text) { return text.substr(0, text.find('\n')); }
  [[nodiscard]] std::string DeviceSize() const {
    return LineOf(MustRun("blockdev --getsize64 " + device_));
  }
  [[nodiscard]] int MebibytesOfFilesystem() const {
    return std::stoi(MustRun("df --output=size -m " + directory() + "/on | tail -1"));
  }
  [[nodiscard]] const std::string& device() const { return device_; }

 private:
  std::string device_;
};

TEST_F(ResizeTest, AnAttachedVolumeGrowsWithItsDeviceAndNamesTheNextCommand) {
  MakeAttached("512M");
  MustRun("mkfs.xfs -q " + device());
  MountDevice();
  const CommandResult grown = VolfsHere("resize v 1g");
  EXPECT_EQ(grown.exit_code, 0) << grown.output;
  EXPECT_EQ(DeviceSize(), "1073741824");
  EXPECT_THAT(grown.output, AllOf(HasSubstr("v, " + device() + ": 1G now"),
                                  HasSubstr("\n  xfs_growfs " + On() + "\n")));
  MustRun("xfs_growfs " + On() + " 2>&1");
  EXPECT_GT(MebibytesOfFilesystem(), 900);
}

TEST_F(ResizeTest, TheNextCommandOfJsonIsRunAsItStands) {
  MakeAttached("64M");
  MustRun("mkfs.ext4 -q " + device());
  const CommandResult grown = VolfsHere("resize v 128MiB --json");
  EXPECT_THAT(grown.output, HasSubstr("\"devices\":[\"" + device() + "\"]"));
  MustRun(
      "python3 -c 'import json, subprocess, sys\nfor line in json.loads(sys.argv[1])[\"next\"]: "
      "subprocess.run(line, shell=True, check=True)' " +
      Quoted(grown.output) + " 2>&1");
  MountDevice();
  EXPECT_GT(MebibytesOfFilesystem(), 100);
}

TEST_F(ResizeTest, AVolumeThatIsNotAttachedIsToldNothing) {
  Mount({"a"});
  MustAsk("create", "v 1M");
  const CommandResult grown = VolfsHere("resize v 2M");
  EXPECT_EQ(grown.exit_code, 0);
  EXPECT_EQ(grown.output, "");
}

}  // namespace
}  // namespace volfs
