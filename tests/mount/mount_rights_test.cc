// Goal: the daemon reports the calls for which it lacks a right, with the remedy (contract.md 6,
// trap T52).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "tests/mount/mount_fixture.h"
#include "tests/mount/own_namespace.h"

namespace volfs {
namespace {

using testing::HasSubstr;
using testing::Not;

class MountRightsTest : public MountTest {
 protected:
  // Returns the daemon's log.
  std::string Log() {
    return RunShell("cat /var/log/volfs/*" + directory().substr(directory().rfind('.')) +
                    "-mnt.log")
        .output;
  }
  uint64_t Capabilities() {
    return std::stoull(
        MustRun("sed -n 's/^CapEff:[[:space:]]*//p' /proc/" + std::to_string(pid()) + "/status"),
        nullptr, 16);
  }
  uint64_t Flags() {
    return std::stoull(
        MustRun("sed 's/.*) //' /proc/" + std::to_string(pid()) + "/stat | cut -d ' ' -f 7"));
  }
};

// A user without the rights of root mounts for himself, and one line says so and names the remedy.
// The test runs in its own mount namespace, where every user may open /dev/fuse, as on most
// machines, and enter the test's directory.
TEST_F(MountRightsTest, AUserMountsForHimselfAndIsToldSo) {
  if (RunShell("grep -q '^user_allow_other' /etc/fuse.conf").ok()) {
    GTEST_SKIP() << "/etc/fuse.conf lets users ask for allow_other";
  }
  // Puts the binary where this user can reach it.
  MustRun("cd " + directory() + " && chmod 755 . && cp " + Binary() +
          " volfs && chown 65534 a mnt && mknod fuse c 10 229 && chmod 666 fuse");
  const CommandResult result = RunProgram(InOwnNamespace(directory(), R"sh(
mount --bind fuse /dev/fuse
mount --bind . /mnt && cd /mnt
user="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=$PWD"
$user ./volfs mount a mnt || exit 1
ls mnt/control 2> /dev/null && echo "root may look"
$user cat mnt/control/config
$user ./volfs umount mnt
)sh"));
  ASSERT_TRUE(result.ok()) << result.output;
  EXPECT_THAT(result.output, HasSubstr("only you can use this mount; to open it to others, put "
                                       "`user_allow_other` into /etc/fuse.conf"));
  EXPECT_THAT(result.output, Not(HasSubstr("root may look")));
  EXPECT_THAT(result.output, HasSubstr("allow_other=0"));
}

// To get memory, the kernel may ask the daemon to write. The daemon must not wait for that itself,
// so it asks to be an I/O flusher. Without the right to, the log says so (T52).
TEST_F(MountRightsTest, TheDaemonIsAnIoFlusherOrSaysThatItIsNot) {
  constexpr uint64_t kSysResource = uint64_t{1} << 24;
  constexpr uint64_t kNoIo = 0x00080000;  // PF_MEMALLOC_NOIO of the kernel
  Mount();
  if ((Capabilities() & kSysResource) != 0) {
    EXPECT_NE(Flags() & kNoIo, 0U);
    EXPECT_THAT(Log(), Not(HasSubstr("not granted: PR_SET_IO_FLUSHER")));
  } else {
    EXPECT_EQ(Flags() & kNoIo, 0U);
    EXPECT_THAT(Log(), HasSubstr("not granted: PR_SET_IO_FLUSHER"));
  }
}

// Nor must the daemon wait for its own pages to come back from swap (T52).
TEST_F(MountRightsTest, TheDaemonsMemoryIsLockedOrItSaysThatItIsNot) {
  Mount();
  std::ifstream status("/proc/" + std::to_string(pid()) + "/status");
  uint64_t locked_kib = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmLck:")) locked_kib = std::stoull(line.substr(6));
  }
  const bool refused = Log().find("not granted: locked memory") != std::string::npos;
  EXPECT_EQ(locked_kib == 0, refused);
  EXPECT_LT(locked_kib, 512U * 1024);  // memory in use, not reserved
}

}  // namespace
}  // namespace volfs
