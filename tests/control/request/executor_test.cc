// Goal: each request does the operation that its file is named for, and replies with the result.
#include "control/request/executor.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using enum RequestKind;
constexpr size_t kData = size_t{256} << 10;

class ExecutorTest : public testing::Test {
 protected:
  Result<std::string> Ask(RequestKind kind, std::string_view line) {
    const Result<Request> request = ParseRequest(kind, line);
    EXPECT_TRUE(request.ok()) << line;
    if (!request.ok()) return request.error();
    return ExecuteRequest(fixture.store(), request.value(), caller);
  }
  std::string Words(RequestKind kind, std::string_view line) {
    const Result<std::string> words = Ask(kind, line);
    return words.ok() ? words.value() : "error: " + words.error().message;
  }
  Errc Refusal(RequestKind kind, std::string_view line) {
    const Result<std::string> words = Ask(kind, line);
    EXPECT_FALSE(words.ok()) << line;
    return words.ok() ? Errc::kIo : words.error().code;
  }

  StoreFixture fixture{StoreOptions{.hydrate = false}};
  Caller caller;
};

TEST_F(ExecutorTest, Create) {
  EXPECT_EQ(Words(kCreate, "db 1M"), "volume=db status=available size=1048576 node=a");
  EXPECT_EQ(Words(kCreate, "web 2M node=b type=sata"),
            "volume=web status=available size=2097152 node=b");
  EXPECT_EQ(Refusal(kCreate, "db 1M"), Errc::kExists);
  EXPECT_EQ(Refusal(kCreate, "x 1M node=z"), Errc::kNoNode);
  EXPECT_EQ(Refusal(kCreate, "x 1K type=sata"), Errc::kRange);
}

TEST_F(ExecutorTest, CloneStaysCreatingAndLocksItsSource) {
  fixture.MakeVolume("db.img", 1 << 20, kData);
  EXPECT_EQ(Words(kClone, "db.img"), "volume=db-clone.img status=creating size=1048576 node=b");
  EXPECT_EQ(Refusal(kClone, "db.img two"), Errc::kBusy);
  EXPECT_EQ(Refusal(kSnapshot, "db.img s"), Errc::kBusy);
  EXPECT_EQ(Refusal(kDelete, "db.img"), Errc::kBusy);
  EXPECT_EQ(Refusal(kClone, "db-clone.img three"), Errc::kBusy);
}

TEST_F(ExecutorTest, CloneTakesItsKeys) {
  fixture.MakeVolume("db", 1 << 20, kData);
  EXPECT_EQ(Words(kClone, "db big size=4M type=sata"),
            "volume=big status=creating size=4194304 node=b");
  EXPECT_EQ(Refusal(kClone, "nobody"), Errc::kNotFound);
}

TEST_F(ExecutorTest, LinkedCloneIsWholeAtOnce) {
  fixture.MakeVolume("db", 1 << 20, kData);
  EXPECT_EQ(Words(kClone, "db two linked=1"), "volume=two status=available size=1048576 node=a");
}

TEST_F(ExecutorTest, ARetryWithItsTokenGetsTheFirstResult) {
  fixture.MakeVolume("db", 1 << 20, kData);
  const std::string first = Words(kClone, "db two id=t1 size=2M");
  EXPECT_EQ(Words(kClone, "db two size=2048K id=t1"), first);
  EXPECT_EQ(Refusal(kClone, "db other id=t1"), Errc::kInvalid);
}

TEST_F(ExecutorTest, SnapshotRestoreDelete) {
  fixture.MakeVolume("db", 1 << 20, kData);
  EXPECT_EQ(Words(kSnapshot, "db monday"), "snapshot=db@monday size=1048576");
  EXPECT_EQ(Refusal(kSnapshot, "db monday"), Errc::kExists);
  EXPECT_EQ(Words(kRestore, "db@monday old linked=1"),
            "volume=old status=available size=1048576 node=a");
  EXPECT_EQ(Refusal(kRestore, "db@friday x"), Errc::kNotFound);
  EXPECT_EQ(Words(kDelete, "db@monday"), "snapshot=db@monday");
  EXPECT_EQ(Refusal(kDelete, "db@monday"), Errc::kNotFound);
}

TEST_F(ExecutorTest, CancelLeavesNothing) {
  fixture.MakeVolume("db", 1 << 20, kData);
  ASSERT_TRUE(Ask(kClone, "db").ok());
  EXPECT_EQ(Words(kCancel, "db-clone"), "volume=db-clone");
  EXPECT_EQ(fixture.store().Find("db-clone"), nullptr);
  EXPECT_EQ(Refusal(kCancel, "db-clone"), Errc::kNotFound);
  EXPECT_EQ(Refusal(kCancel, "db"), Errc::kInvalid);
  EXPECT_TRUE(Ask(kClone, "db").ok()) << "the lock is free again";
}

TEST_F(ExecutorTest, ResizeAndDelete) {
  fixture.MakeVolume("db", 1 << 20);
  EXPECT_EQ(Words(kResize, "db 2M"), "volume=db status=available size=2097152 node=a");
  EXPECT_EQ(Refusal(kResize, "db 1M"), Errc::kProtected);
  EXPECT_EQ(Words(kDelete, "db"), "volume=db");
  EXPECT_EQ(Refusal(kDelete, "db"), Errc::kNotFound);
}

TEST_F(ExecutorTest, RevertAnswersAsTheVolumeIsThen) {
  fixture.MakeVolume("db", 1 << 20);
  ASSERT_TRUE(Ask(kSnapshot, "db monday").ok());
  ASSERT_TRUE(Ask(kResize, "db 2M").ok());
  const Result<std::string> words = Ask(kRevert, "db@monday");
  ASSERT_TRUE(words.ok()) << words.error().message;
  EXPECT_EQ(words.value(), "volume=db status=available size=1048576 node=a");
  EXPECT_EQ(Refusal(kRevert, "db@tuesday"), Errc::kNotFound);
}

TEST_F(ExecutorTest, TheCallersRightsCount) {
  fixture.MakeVolume("db", 1 << 20);
  caller.uid = 1000;
  caller.gid = 1000;
  EXPECT_EQ(Refusal(kClone, "db"), Errc::kDenied);
  EXPECT_EQ(Refusal(kResize, "db 2M"), Errc::kDenied);
  EXPECT_EQ(Refusal(kDelete, "db"), Errc::kDenied);
}

TEST_F(ExecutorTest, AHydratedCloneBecomesAvailable) {
  fixture.Reopen();
  fixture.MakeVolume("db", 1 << 20, kData);
  ASSERT_TRUE(Ask(kClone, "db").ok());
  EXPECT_TRUE(fixture.WaitForStatus("db-clone", "available"));
}

}  // namespace
}  // namespace volfs
