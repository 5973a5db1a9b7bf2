// Goal: changes to unmounted nodes hold in the next mount (contract.md 3).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class NodeCommandTest : public MountTest {
 protected:
  // Uses the test's own list of nodes, because other tests mount theirs meanwhile.
  [[nodiscard]] CommandResult Forget(const std::string& uuid, const std::string& nodes) const {
    return Volfs("node forget --registry " + directory() + "/nodes " + uuid + " " + nodes);
  }
  [[nodiscard]] static uint64_t AllocatedIn(const std::string& directory) {
    return std::stoull(MustRun("du -s -B1 " + directory + " | cut -f1"));
  }
};

// Sets a new name and region, and removes a type of which there is a volume. That volume keeps
// working, but no new one can be made (trap T16).
TEST_F(NodeCommandTest, SetHoldsInTheNextMount) {
  MustRun(Binary() + " node init " + NodePath("a") + " --types ssd,standard");
  MustRun(Binary() + " node init " + NodePath("b"));
  Mount();
  ASSERT_TRUE(VolfsHere("create v 1M --type ssd").ok());
  MustRun("head -c 100000 /dev/urandom > " + Volume("w"));
  const std::string before = ReadText(Volume("w"));
  const CommandResult mounted = Volfs("node set " + NodePath("a") + " name=first");
  EXPECT_EQ(mounted.exit_code, 8) << mounted.output;
  EXPECT_THAT(mounted.output, HasSubstr(std::to_string(pid())));
  EXPECT_EQ(Field("v", "node"), "a");
  Unmount();

  EXPECT_EQ(Volfs("node set " + NodePath("a") + " name=b").exit_code, 4);
  EXPECT_EQ(Volfs("node set " + NodePath("a") + " name=first region=west types=standard").exit_code,
            0);
  Mount();
  EXPECT_EQ(Field("v", "node"), "first");
  EXPECT_EQ(Field("v", "region"), "west");
  EXPECT_EQ(Field("v", "type"), "ssd");
  EXPECT_TRUE(Exists(Path("nodes/first/w")));
  EXPECT_EQ(ReadText(Volume("w")), before);
  MustRun("truncate -s 2M " + Volume("v"));
  MustRun("head -c 5000 /dev/urandom | dd of=" + Volume("v") + " conv=notrunc,fsync status=none");
  EXPECT_EQ(Ask("create", "x 1M type=ssd"), EINVAL);
  EXPECT_EQ(Ask("clone", "w"), ENODEV) << "b is in another region now";
  Unmount();
  EXPECT_TRUE(Volfs("check " + NodePath("a") + " " + NodePath("b")).ok());
}

// Two nodes have a clone each on the other, and b is lost. a's hold is released with its space, and
// a's own clone stays in error. When b comes back, its clone is in error, too: its uncopied bytes
// are an error, never zeros (trap T36).
TEST_F(NodeCommandTest, ForgetReleasesWhatALostNodeHolds) {
  constexpr uint64_t kBytes = 4 << 20;
  Mount();
  SetCopyRate("0");
  MustAsk("create", "v 4M node=a");
  MustAsk("create", "w 4M node=b");
  for (const char* const name : {"v", "w"}) {
    MustRun("head -c 4M /dev/urandom | dd of=" + Volume(name) +
            " bs=1M iflag=fullblock conv=notrunc,fsync status=none");
  }
  MustAsk("clone", "v on-b");
  MustAsk("clone", "w on-a");
  MustRun("dd if=/dev/zero bs=4096 count=1 seek=3 conv=notrunc,fsync status=none of=" +
          Volume("on-b"));
  MustRun("head -c 4M /dev/urandom | dd of=" + Volume("v") +
          " bs=1M count=3 iflag=fullblock conv=notrunc,fsync status=none");
  const std::string uuid = MustRun("tr -d '\\n' < " + Path("control/nodes/b/uuid"));
  EXPECT_EQ(Forget(uuid, NodePath("a")).exit_code, 8);
  Unmount();
  EXPECT_EQ(Forget(uuid, NodePath("a")).exit_code, 1) << "it is there";
  const std::string away = directory() + "/away";
  MustRun("mv " + NodePath("b") + " " + away);
  const uint64_t before = AllocatedIn(NodePath("a"));

  const CommandResult forgot = Forget(uuid, NodePath("a"));
  ASSERT_EQ(forgot.exit_code, 0) << forgot.output;
  EXPECT_THAT(forgot.output, AllOf(HasSubstr("on-a"), HasSubstr("on-b")));
  const CommandResult alone = TryMount({"a"});
  ASSERT_TRUE(alone.ok()) << alone.output;
  FindDaemon();
  EXPECT_EQ(alone.output.find("on-b"), std::string::npos);
  EXPECT_EQ(Field("on-a", "status"), "error");
  EXPECT_THAT(Field("on-a", "error"), HasSubstr("node b is not mounted"));
  EXPECT_EQ(Ask("snapshot", "v s"), 0) << "v is not locked any more";
  Unmount();
  EXPECT_LE(AllocatedIn(NodePath("a")) + 3 * kBytes / 4, before) << "what v has overwritten";

  MustRun("mv " + away + " " + NodePath("b"));
  Mount();
  EXPECT_EQ(Field("on-b", "status"), "error");
  EXPECT_THAT(Field("on-b", "error"), HasSubstr("no longer holds"));
  EXPECT_NE(RunShell("cat " + Volume("on-b")).exit_code, 0);
  EXPECT_NE(RunShell("dd if=" + Volume("on-b") + " bs=4096 skip=1000 of=/dev/null").exit_code, 0)
      << "of what a has still, nobody knows that it is as it was";
  EXPECT_TRUE(RunShell("dd if=" + Volume("on-b") + " bs=4096 skip=3 count=1 of=/dev/null").ok())
      << "this it has itself";
  EXPECT_EQ(Ask("clone", "on-b resume=1"), EHOSTDOWN);
  MustAsk("cancel", "on-b");
  EXPECT_TRUE(WaitForStatus("on-a", "creating")) << "b holds what it needs";
  SetCopyRate("max");
  EXPECT_TRUE(WaitForStatus("on-a", "available"));
  MustRun("cmp " + Volume("w") + " " + Volume("on-a"));
  Unmount();
  EXPECT_TRUE(Volfs("check " + NodePath("a") + " " + NodePath("b")).ok());
}

}  // namespace
}  // namespace volfs
