// Goal: the users of a mount are the processes that have a file of it open, are in it, run from it
// or map it (contract.md, umount).
#include "control/cli/host/users.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "control/cli/host/mountinfo.h"
#include "tests/support/temp_dir.h"

namespace volfs::cli {
namespace {

namespace fs = std::filesystem;

class UsersTest : public testing::Test {
 protected:
  void AddProcess(const std::string& pid, const std::string& command) {
    fs::create_directories(proc_ / pid / "fd");
    std::ofstream(proc_ / pid / "comm") << command << "\n";
  }
  void Link(const std::string& name, const std::string& target) {
    fs::create_symlink(target, proc_ / name);
  }
  std::vector<std::string> Found() {
    std::vector<std::string> lines;
    const auto below = [](std::string_view path) { return IsAtOrBelow(path, "/mnt/v"); };
    for (const User& user : FindUsers(below, dir_.path())) lines.push_back(UserText(user));
    return lines;
  }

  const TempDir dir_;
  const fs::path proc_ = dir_.path();
};

TEST_F(UsersTest, EachWayToUseIsToldOnceForAPath) {
  AddProcess("200", "bash");
  Link("200/cwd", "/mnt/v/volumes");
  Link("200/root", "/");
  AddProcess("30", "qemu");
  Link("30/fd/0", "/dev/null");
  Link("30/fd/3", "/mnt/v/volumes/db");
  Link("30/fd/4", "/mnt/v/volumes/db");
  Link("30/fd/5", "/mnt/vv/x");
  Link("30/fd/6", "socket:[1]");
  std::ofstream(proc_ / "30/maps")
      << "7f00-7f01 r--p 00000000 00:34 5                          /mnt/v/volumes/a b (deleted)\n"
      << "7f01-7f02 rw-s 00000000 00:34 6                          /mnt/v/volumes/db\n"
      << "7f02-7f03 rw-p 00000000 00:00 0                          [heap]\n"
      << "7f03-7f04 rw-p 00000000 00:00 0\n";
  EXPECT_EQ(Found(), (std::vector<std::string>{"30 qemu: open /mnt/v/volumes/db",
                                               "30 qemu: mapped /mnt/v/volumes/a b",
                                               "200 bash: working directory /mnt/v/volumes"}));
}

TEST_F(UsersTest, ThisProcessAndWhatIsNoProcessAreLeftOut) {
  AddProcess(std::to_string(::getpid()), "me");
  Link(std::to_string(::getpid()) + "/cwd", "/mnt/v");
  AddProcess("self", "me");
  Link("self/cwd", "/mnt/v");
  EXPECT_TRUE(Found().empty());
}

TEST_F(UsersTest, AProcessThatEndsMeanwhileIsNoFault) {
  fs::create_directories(proc_ / "5");
  EXPECT_TRUE(Found().empty());
}

// A container that was started while the volfs was mounted may still have the mount.
TEST_F(UsersTest, NamespacesOfMountsThatHaveItToo) {
  const auto add = [this](const std::string& pid, const char* space, const char* device) {
    AddProcess(pid, "shell");
    fs::create_directory(proc_ / pid / "ns");
    Link(pid + "/ns/mnt", space);
    std::ofstream(proc_ / pid / "mountinfo")
        << "36 35 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n"
        << "37 36 " << device << " / /mnt/v rw - fuse.volfs volfs rw\n";
  };
  add("self", "mnt:[1]", "0:52");
  add("10", "mnt:[1]", "0:52");
  add("11", "mnt:[2]", "0:52");
  add("12", "mnt:[2]", "0:52");
  add("13", "mnt:[3]", "0:53");
  const std::vector<User> others = FindOtherNamespaces("0:52", dir_.path());
  ASSERT_EQ(others.size(), 1U);
  EXPECT_EQ(UserText(others[0]), "11 shell: mounted in its namespace /mnt/v");
}

}  // namespace
}  // namespace volfs::cli
