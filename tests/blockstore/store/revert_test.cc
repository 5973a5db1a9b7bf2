// A volume put back to one of its snapshots.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Bytes = std::vector<std::byte>;

class RevertTest : public ::testing::Test {
 protected:
  Status Revert(const std::string& snapshot, const Caller& caller = {}) {
    return fixture_.store().Revert("db", snapshot, caller);
  }
  void Snapshot(const std::string& name) {
    ASSERT_TRUE(fixture_.store().TakeSnapshot("db", name, Caller{}).ok());
  }
  void ExpectNoFindings() { EXPECT_THAT(LastingFindings(fixture_.store()), testing::IsEmpty()); }

  StoreFixture fixture_;
};

// A revert gives the volume the contents and the size of the snapshot, at once and after a remount.
// Later writes do not change the snapshot.
TEST_F(RevertTest, PutsTheVolumeBack) {
  auto db = fixture_.MakeVolume("db", 2 * kMiB + 5, 2 * kMiB);
  const Bytes then = ReadBack(*db);
  Snapshot("s");
  ASSERT_TRUE(db->WriteAt(Bytes(kMiB, std::byte{1}), 4000).ok());
  ASSERT_TRUE(db->Grow(3 * kMiB).ok());
  const Status done = Revert("s");
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_TRUE(ReadBack(*db) == then);
  Bytes mine(100, std::byte{2});
  ASSERT_TRUE(db->WriteAt(mine, 50).ok());
  ASSERT_TRUE(Revert("s").ok());
  EXPECT_TRUE(ReadBack(*db) == then);
  ExpectNoFindings();
  db.reset();
  fixture_.Reopen();
  EXPECT_TRUE(ReadBack(*fixture_.store().Find("db")) == then);
}

// Reverting back and forth between several snapshots loses none of them. Blocks that only the
// abandoned head had are freed.
TEST_F(RevertTest, KeepsOtherSnapshots) {
  auto db = fixture_.MakeVolume("db", 4 * kMiB);
  std::vector<Bytes> images;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(db->WriteAt(Bytes(kMiB, static_cast<std::byte>(i + 1)), i * kMiB).ok());
    Snapshot("s" + std::to_string(i));
    images.push_back(ReadBack(*db));
  }
  for (const int i : {1, 2, 0, 2}) {
    ASSERT_TRUE(db->WriteAt(Bytes(100'000, std::byte{99}), 3 * kMiB).ok());
    ASSERT_TRUE(Revert("s" + std::to_string(i)).ok());
    EXPECT_TRUE(ReadBack(*db) == images[i]) << i;
  }
  ExpectNoFindings();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "s" + std::to_string(i), Caller{}).ok());
  }
  EXPECT_TRUE(ReadBack(*db) == images[2]);
  ExpectNoFindings();
}

// An open volume is not reverted, not even if it is open for reading: its bytes must not change.
TEST_F(RevertTest, IsRefusedWhileItIsOpen) {
  auto db = fixture_.MakeVolume("db", kMiB, kMiB);
  Snapshot("s");
  for (const auto access : {Volume::Access::kRead, Volume::Access::kWrite}) {
    ASSERT_TRUE(db->opens().Add(access).ok());
    EXPECT_EQ(Revert("s").error().code, Errc::kBusy);
    db->opens().Remove(access);
  }
  EXPECT_TRUE(Revert("s").ok());
  EXPECT_TRUE(db->opens().Add(Volume::Access::kWrite).ok());
  db->opens().Remove(Volume::Access::kWrite);
}

// A volume that is the source of a running copy is not reverted, and the copy goes on untouched.
TEST_F(RevertTest, IsRefusedWhileItIsCloned) {
  auto db = fixture_.MakeVolume("db", 2 * kMiB, 2 * kMiB);
  Snapshot("s");
  fixture_.store().hydrator().throttle().SetRate(0);
  ASSERT_TRUE(fixture_.store().Clone({.source = "db", .name = "x"}, Caller{}).ok());
  EXPECT_EQ(Revert("s").error().code, Errc::kBusy);
  fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_TRUE(Revert("s").ok());
}

TEST_F(RevertTest, NeedsASnapshotAndTheRightToWrite) {
  auto db = fixture_.MakeVolume("db", kMiB);
  Snapshot("s");
  EXPECT_EQ(Revert("t").error().code, Errc::kNotFound);
  EXPECT_EQ(fixture_.store().Revert("dc", "s", Caller{}).error().code, Errc::kNotFound);
  EXPECT_EQ(Revert("s", Caller{1234, 1234, {}}).error().code, Errc::kDenied);
  db->state().ChangeAttributes({.mode = 0444});
  EXPECT_EQ(Revert("s").error().code, Errc::kProtected);
}

// A deleted volume cannot be reverted. The refusal names `restore`, which makes it again.
TEST_F(RevertTest, OfADeletedVolumeSaysHowToBringItBack) {
  fixture_.MakeVolume("db", kMiB, kMiB);
  Snapshot("s");
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  const Status done = Revert("s");
  EXPECT_EQ(done.error().code, Errc::kNotFound);
  EXPECT_NE(done.error().message.find("restore db@s db"), std::string::npos);
}

// A renamed snapshot is found by its new name, and its old name is free again.
TEST_F(RevertTest, ToARenamedSnapshot) {
  auto db = fixture_.MakeVolume("db", kMiB, kMiB);
  const Bytes then = ReadBack(*db);
  Snapshot("s");
  ASSERT_TRUE(fixture_.store().RenameSnapshot("db", "s", "monday").ok());
  ASSERT_TRUE(db->Discard({0, kMiB}).ok());
  EXPECT_EQ(Revert("s").error().code, Errc::kNotFound);
  Snapshot("s");
  EXPECT_EQ(fixture_.store().RenameSnapshot("db", "s", "monday").error().code, Errc::kExists);
  EXPECT_EQ(fixture_.store().RenameSnapshot("db", "t", "u").error().code, Errc::kNotFound);
  fixture_.Reopen();
  ASSERT_TRUE(Revert("monday").ok());
  EXPECT_TRUE(ReadBack(*fixture_.store().Find("db")) == then);
}

}  // namespace
}  // namespace volfs
