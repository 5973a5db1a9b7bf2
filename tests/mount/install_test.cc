// Goal: what `cmake --install` installs works by itself: by its names, with the build folder out of
// reach.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/mount/mount_fixture.h"
#include "tests/mount/own_namespace.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class InstallTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (VOLFS_INSTALLABLE == 0) GTEST_SKIP() << "a sanitized command is not installed";
    MustRun("DESTDIR='" + Installed() + "'" + " " VOLFS_CMAKE " --install " VOLFS_BUILD_DIR);
  }

  [[nodiscard]] std::string Installed() const { return directory() + "/installed"; }
  [[nodiscard]] std::string Prefix() const { return Installed() + VOLFS_PREFIX; }

  // Runs the lines of a bash script as on a system where volfs is installed in /usr: in a namespace
  // of its own, in which the installed files lie over those of this system, and the build folder is
  // empty. $T is the test's folder.
  CommandResult RunInstalled(const std::string& lines) const {
    const std::string script =
        "set -euo pipefail\nmount -t overlay -o lowerdir=" + Prefix() +
        ":/usr none /usr\nmount -t tmpfs none " VOLFS_BUILD_DIR "\nT=$PWD\n" + lines;
    // Daemons of a script that fails end with it.
    return RunProgram(
        InOwnNamespace(directory(), script, {"--pid", "--fork", "--kill-child", "--mount-proc"}),
        {.timeout_ms = 180'000});
  }
};

TEST_F(InstallTest, HasNoPathOfTheMachineThatBuiltIt) {
  const std::string strings =
      MustRun("grep -rlaF " VOLFS_SOURCE_DIR " " + Installed() + " || true");
  EXPECT_EQ(strings, "");
  EXPECT_THAT(MustRun("readelf -d " + Prefix() + "/bin/volfs"),
              AllOf(HasSubstr("NEEDED"), Not(HasSubstr("RUNPATH")), Not(HasSubstr("RPATH"))));
}

TEST_F(InstallTest, HasManualPagesUnderTheNameOfEachCommand) {
  const std::string pages =
      "man1/volfs.1 man1/volfs-clone.1 man1/volfs-cancel.1 man5/volfs-control.5 man5/volfs-store.5 "
      "man5/volfs.toml.5 man8/mount.volfs.8 man8/mount.fuse.volfs.8";
  EXPECT_EQ(
      MustRun("cd " + Prefix() + "/share/man && cat " + pages + " | grep -ci '^.sh examples'"),
      "8\n");
}

TEST_F(InstallTest, TellsItsVersionAndCommit) {
  EXPECT_THAT(MustRun(Binary() + " --version"),
              MatchesRegex("volfs [0-9.]+( .commit [0-9a-f]+(-dirty)?.)?\n"));
}

TEST_F(InstallTest, MountsByBothTypesOfFstab) {
  const CommandResult result = RunInstalled(R"sh(
for type in volfs fuse.volfs; do
  mount -t $type -o init a:b mnt
  truncate -s 1M mnt/volumes/$type
  volfs clone --mount mnt $type --linked
  [ "$(command -v volfs)" = /usr/bin/volfs ]
  volfs umount mnt
done
mount -t volfs a:b mnt
ls mnt/volumes
umount mnt
)sh");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("fuse.volfs-clone"));
}

TEST_F(InstallTest, BashCompletesCommandsAndNames) {
  const CommandResult result = RunInstalled(R"sh(
volfs mount a b mnt
truncate -s 1M mnt/volumes/db.img
volfs snapshot --mount mnt db.img monday >/dev/null
. /usr/share/bash-completion/completions/volfs
compopt() { :; }
COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
tab() {
  COMP_LINE=$1 COMP_POINT=${#1}
  _volfs
  echo "<$1> ${COMPREPLY[*]}"
}
cd mnt
tab "volfs sna"
tab "volfs clone --li"
tab "volfs clone d"
tab "volfs clone db.img --node "
tab "volfs clone db.img --node=b"
tab "volfs restore db.img@"
tab "volfs umount $T/mn"
tab "volfs create x 1G --type "
tab "volfs check /us"
tab $'\n'
cd ..
mkdir -m 700 c d
mkdir 'blank $(touch hacked)' $'line\n:files'
volfs mount c 'blank $(touch hacked)'
volfs mount d $'line\n:files'
tab "volfs umount $T/bl"
tab "volfs umount $T/li"
volfs umount 'blank $(touch hacked)'
volfs umount $'line\n:files'
volfs umount mnt
)sh");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("<volfs sna> snapshot\n"));
  EXPECT_THAT(result.output, HasSubstr("<volfs clone --li> --linked\n"));
  EXPECT_THAT(result.output, HasSubstr("<volfs clone d> db.img db.img@\n"));
  EXPECT_THAT(result.output, HasSubstr("<volfs clone db.img --node > a b\n"));
  EXPECT_THAT(result.output, HasSubstr("<volfs clone db.img --node=b> b\n"));
  EXPECT_THAT(result.output, HasSubstr("<volfs restore db.img@> monday\n"));
  EXPECT_THAT(result.output, HasSubstr("/mn> " + Mnt() + "\n"));
  EXPECT_THAT(result.output, HasSubstr("--type > standard\n"));
  EXPECT_THAT(result.output, HasSubstr("<volfs check /us> /usr\n"));
  EXPECT_THAT(result.output, HasSubstr("/bl> " + directory() +
                                       R"(/blank\ \$\(touch\ hacked\))"
                                       "\n"));
  EXPECT_THAT(result.output, HasSubstr("/li> \n"));
}

// Where there is no zsh, nothing can be said of its script.
TEST_F(InstallTest, ZshReadsItsCompletion) {
  if (!RunShell("command -v zsh").ok()) GTEST_SKIP() << "there is no zsh";
  const CommandResult result = RunInstalled(R"sh(
zsh -f -c '
_files() { print "files $*" }
_describe() { print -l -- "${(@P)2}" }
compadd() { print "open $*" }
compdef() { }
. /usr/share/zsh/site-functions/_volfs
words=(volfs "$1") CURRENT=2
_volfs' zsh umou
)sh");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, HasSubstr("umount:Unmount; returns when the daemon is gone\n"));
}

TEST_F(InstallTest, TheTimerKeepsADayOfHoursAndAWeekOfDays) {
  const CommandResult result = RunInstalled(R"sh(
volfs mount a mnt
truncate -s 1M mnt/volumes/db.img
snapshot() { echo "db.img $1" >mnt/control/snapshot; }
for i in $(seq 10 35); do snapshot hour-2020-01-01T${i}Z; done
for i in $(seq 1 7); do snapshot day-2020-01-0$i; done
snapshot monday
snapshot hour-mine
snapshot day-1-of-migration
/usr/libexec/volfs/snapshot $T/mnt/volumes/db.img
/usr/libexec/volfs/snapshot $T/mnt/volumes/db.img
ls mnt/snapshots/db.img >all
echo hours $(grep -c '^hour-2' all) days $(grep -c ^day-20 all) all $(wc -l <all)
head -n 3 all
if /usr/libexec/volfs/snapshot db.img; then exit 1; fi
volfs umount mnt
)sh");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output,
              HasSubstr("hours 24 days 7 all 34\nday-1-of-migration\nday-2020-01-02\n"));
}

// systemd itself says whether it understands the units.
TEST_F(InstallTest, UnitsAreRight) {
  if (!RunShell("command -v systemd-analyze").ok()) GTEST_SKIP() << "there is no systemd-analyze";
  const CommandResult result = RunInstalled("mount -t overlay -o lowerdir=" + Prefix() +
                                            ":/usr/local none /usr/local\n" + R"sh(
systemd-analyze verify --man=no --recursive-errors=one /usr/lib/systemd/system/volfs@x.service \
  /usr/lib/systemd/system/volfs-snapshot@srv-v-volumes-x.timer \
  /usr/lib/systemd/system/volfs-snapshot@srv-v-volumes-x.service
systemd-analyze security --offline=yes --threshold=60 /usr/lib/systemd/system/volfs@.service |
  tail -n 1
)sh");
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_THAT(result.output, Not(HasSubstr("volfs@x.service:"))) << "a warning";
}

}  // namespace
}  // namespace volfs
