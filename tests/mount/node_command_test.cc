// Goal: what is changed at nodes that are not mounted holds in the next mount (interface.md 3).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;

class NodeCommandTest : public MountTest {};

// A new name and region, and a type that goes although a volume has it: that volume keeps working,
// but there are no new ones (trap T16).
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

}  // namespace
}  // namespace volfs
