// Goal: if a program asks in any way that a change be durable when its call returns, it is
// (contract.md 8, "Durability, made exact").
// Method: each call of the table, then kill -9 at once, so that a map, a size or a record that only
// the daemon's memory had is gone. A kill cannot lose bytes that only the node's page cache has;
// tests/cuts/synchronous_cut_test.cc does.
#include <gtest/gtest.h>

#include "tests/mount/mount_fixture.h"
#include "tests/support/synchronous_calls.h"

namespace volfs {
namespace {

class SynchronousTest : public MountTest {
 protected:
  [[nodiscard]] bool KernelSaysSync() const {
    return RunShell("grep ' " + Mnt() +
                    " ' /proc/self/mountinfo | grep -qE ' - fuse.volfs [^ ]+ rw,sync'")
        .ok();
  }

  // Runs over a snapshot, where the daemon's end loses each write that is not committed.
  void ExpectAllKept(bool by_mount, const std::string& options) {
    Mount({"a", "b"}, options);
    for (const SynchronousCall& call : SynchronousCalls(by_mount)) {
      SCOPED_TRACE(call.name);
      call.Prepare(Path("volumes"));
      if (!call.new_volume()) MustAsk("snapshot", call.name + " before");
      SynchronousCall::Files open;
      const int error = call.Make(Path("volumes"), open);
      Kill();
      ASSERT_EQ(error, 0);
      Mount({"a", "b"}, options);
      EXPECT_EQ(call.Check(Path("volumes")), "");
    }
  }
};

TEST_F(SynchronousTest, ADescriptorOrACallThatAsksForItIsHeard) {
  ExpectAllKept(/*by_mount=*/false, "");
}

TEST_F(SynchronousTest, AMountThatAsksForItIsHeard) {
  ExpectAllKept(/*by_mount=*/true, "sync");
  EXPECT_TRUE(KernelSaysSync());
}

// mount(8) passes both options on. The last of sync and async counts.
TEST_F(SynchronousTest, AsyncUndoesSync) {
  Mount({"a", "b"}, "sync,async");
  EXPECT_FALSE(KernelSaysSync());
}

}  // namespace
}  // namespace volfs
