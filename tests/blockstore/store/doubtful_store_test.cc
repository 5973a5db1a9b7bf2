// Goal: rows that contradict each other, each with its checksum and legal values, cost only the
// volumes and snapshots that they are about. These are refused by name, all others work, and
// nothing that may be needed is freed (row_relations.h, recovery.h).
// Method: plants such rows in a closed store, mounts it twice, and runs the check.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/blockstore/check/check_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class DoubtfulStoreTest : public CheckFixture {
 protected:
  static constexpr size_t kOtherBytes = 100'000;

  // Makes volumes that no planted row is about: "other" on both nodes.
  void MakeOthers() {
    fixture_.MakeVolume("other", kMiB, kOtherBytes);
    CreateRequest request;
    request.name = "other-b";
    request.size_bytes = kMiB;
    request.node = "b";
    const auto made = fixture_.store().Create(request, Caller{});
    ASSERT_TRUE(made.ok() && made.value()->WriteAt(Pattern(kOtherBytes), 0).ok());
  }
  void Close() {
    MakeOthers();
    fixture_.Close();
  }

  static std::string ErrorOf(Volume& volume) {
    std::vector<std::byte> bytes(4096);
    const Result<size_t> got = volume.ReadAt(bytes, 0);
    return got.ok() ? "" : got.error().message;
  }
  void ExpectOthersWork() {
    for (const char* name : {"other", "other-b"}) {
      const auto volume = fixture_.store().Find(name);
      ASSERT_NE(volume, nullptr) << name;
      std::vector<std::byte> bytes(kOtherBytes);
      ASSERT_TRUE(volume->ReadAt(bytes, 0).ok()) << name;
      EXPECT_TRUE(bytes == Pattern(kOtherBytes)) << name;
      EXPECT_TRUE(volume->WriteAt(bytes, 0).ok() && volume->Sync().ok()) << name;
      EXPECT_EQ(fixture_.store().Info(name).value().status, "available");
    }
  }
  void ExpectRefusedNow(const std::string& name, const std::string& why) {
    const auto volume = fixture_.store().Find(name);
    ASSERT_NE(volume, nullptr);
    EXPECT_THAT(ErrorOf(*volume), HasSubstr(why));
    EXPECT_FALSE(fixture_.store().Map(*volume).ok());
    const VolumeInfo info = fixture_.store().Info(name).value();
    EXPECT_EQ(info.status, "error");
    EXPECT_THAT(info.error, HasSubstr(why));
    EXPECT_FALSE(volume->opens().Add(Volume::Access::kWrite).ok());
    EXPECT_FALSE(fixture_.store().TakeSnapshot(name, "now", Caller{}).ok());
  }
  [[nodiscard]] std::string StateOf(const std::string& node) {
    for (const NodeInfo& info : fixture_.store().Nodes()) {
      if (info.name == node) return info.state;
    }
    return "";
  }
  // All files of layers/ are there, with the same bytes except in "other", which may be written.
  void ExpectKept(const std::map<std::string, std::string>& before) {
    const auto after = Bytes();
    for (const auto& [path, bytes] : before) {
      if (path.find("/layers/") == std::string::npos) continue;
      const auto found = after.find(path);
      ASSERT_NE(found, after.end()) << path << " was removed";
      EXPECT_TRUE(found->second == bytes) << path << " was changed";
    }
  }
  // Mounts the planted `node` twice: each mount refuses `volume` and frees nothing.
  void ExpectRefused(const std::string& node, const std::string& volume, const std::string& why) {
    const auto before = Bytes();
    for (int mounts = 0; mounts < 2; ++mounts) {
      fixture_.Reopen({.hydrate = false});
      ExpectRefusedNow(volume, why);
      EXPECT_THAT(StateOf(node), StartsWith("doubtful"));
      ExpectOthersWork();
      fixture_.Close();
      ExpectKept(before);
    }
    EXPECT_THAT(Found(), testing::Contains(StartsWith("damage")));
  }
};

TEST_F(DoubtfulStoreTest, AHalfCopiedCloneWithoutItsJobIsRefusedAndItsSourceKept) {
  MakeRunningClone();
  Close();
  Plant("b", {DeleteClone{VolumeOf("b", "copy").id}});
  ExpectRefused("b", "copy", "no copy job");
  EXPECT_EQ(Contents("a").holds.size(), 1U);
  fixture_.Reopen({.hydrate = false});
  const Status deleted = fixture_.store().Delete("src", Caller{});
  ASSERT_FALSE(deleted.ok());
  EXPECT_EQ(deleted.error().code, Errc::kBusy);
  EXPECT_TRUE(fixture_.store().Delete("copy", Caller{}).ok());
  // Opens once more: no row is doubtful any more.
  fixture_.Reopen();
  EXPECT_EQ(StateOf("b"), "ok");
  EXPECT_TRUE(fixture_.store().Delete("src", Caller{}).ok());
}

TEST_F(DoubtfulStoreTest, AJobWithoutItsVolumeKeepsTheSource) {
  MakeRunningClone();
  Close();
  Plant("b", {DeleteVolume{VolumeOf("b", "copy").id}});
  const auto before = Bytes();
  fixture_.Reopen();
  EXPECT_THAT(StateOf("b"), StartsWith("doubtful"));
  EXPECT_FALSE(fixture_.store().Delete("src", Caller{}).ok());
  ExpectOthersWork();
  fixture_.Close();
  ExpectKept(before);
  EXPECT_EQ(Contents("a").holds.size(), 1U);
}

TEST_F(DoubtfulStoreTest, AVolumeThatItsJobCallsUnmadeIsNotDeleted) {
  MakeRunningClone();
  Close();
  CloneRecord job = JobOf("copy");
  job.state = CloneState::kIntent;
  job.name = "copy";
  Plant("b", {PutClone{job}});
  ExpectRefused("b", "copy", "not made yet");
}

TEST_F(DoubtfulStoreTest, ACloneThatDependsOnAnotherNodeIsNotReleased) {
  MakeRunningClone();
  Close();
  CloneRecord job = JobOf("copy");
  job.state = CloneState::kReleasing;
  Plant("b", {PutClone{job}});
  ExpectRefused("b", "copy", "no copy job");
  EXPECT_EQ(Contents("a").holds.size(), 1U);
}

TEST_F(DoubtfulStoreTest, AJobOfAnotherSourceCopiesNothing) {
  MakeRunningClone();
  Close();
  CloneRecord job = JobOf("copy");
  job.source_bytes /= 2;
  Plant("b", {PutClone{job}});
  ExpectRefused("b", "copy", "does not lie over that");
}

TEST_F(DoubtfulStoreTest, FiguresPastTheEndCopyNothing) {
  MakeRunningClone();
  Close();
  CloneRecord job = JobOf("copy");
  job.cursor_block = uint64_t{1} << 62;
  Plant("b", {PutClone{job}});
  ExpectRefused("b", "copy", "figures");
}

TEST_F(DoubtfulStoreTest, AHoldOfAnotherLayerIsNoSource) {
  MakeVolumes();
  MakeRunningClone();
  Close();
  HoldRecord hold = Contents("a").holds.at(0);
  hold.layer = HeadOf("a", "db").parent;
  Plant("a", {PutHold{hold}});
  ExpectRefused("b", "copy", "holds");
}

TEST_F(DoubtfulStoreTest, ALostHoldIsToldAndItsLayerKept) {
  MakeRunningClone();
  Close();
  const HoldRecord hold = Contents("a").holds.at(0);
  Plant("a", {DeleteHold{hold.clone}});
  fixture_.Reopen();
  EXPECT_EQ(fixture_.store().Info("copy").value().status, "error");
  ASSERT_TRUE(fixture_.store().Delete("src", Caller{}).ok());
  fixture_.Close();
  EXPECT_TRUE(std::filesystem::exists(FileOf("a", hold.layer)));
}

TEST_F(DoubtfulStoreTest, AVolumeHasTheSizeOfItsLayer) {
  MakeVolumes();
  Close();
  for (const uint64_t bytes : {uint64_t{4096}, 3 * uint64_t{kMiB}, kMaxVolumeBytes}) {
    VolumeRecord db = VolumeOf("a", "db");
    db.size_bytes = bytes;
    Plant("a", {PutVolume{db}});
    ExpectRefused("a", "db", "bytes, and its layer");
  }
}

TEST_F(DoubtfulStoreTest, ALayerThatWasCutInItsRowIsNotCutOnDisk) {
  MakeVolumes();
  Close();
  LayerRecord plain = HeadOf("a", "plain");
  plain.size_bytes = 4096;
  Plant("a", {PutLayer{plain}});
  ExpectRefused("a", "plain", "bytes, and its layer");
}

TEST_F(DoubtfulStoreTest, AMissingParentRefusesAllAboveIt) {
  MakeVolumes();
  Close();
  Plant("a", {DeleteLayer{HeadOf("a", "db").parent}});
  ExpectRefused("a", "db", "not in the catalog");
}

TEST_F(DoubtfulStoreTest, ALayerOverItselfEndsNothing) {
  MakeVolumes();
  Close();
  LayerRecord under = LayerOf("a", HeadOf("a", "db").parent);
  under.parent = HeadOf("a", "db").id;
  under.parent_bytes = under.size_bytes;
  Plant("a", {PutLayer{under}});
  ExpectRefused("a", "db", "");
}

TEST_F(DoubtfulStoreTest, NoMoreOfAParentShowsThanThereIs) {
  MakeVolumes();
  Close();
  LayerRecord head = HeadOf("a", "db");
  head.parent_bytes = uint64_t{1} << 50;
  Plant("a", {PutLayer{head}});
  ExpectRefused("a", "db", "shows");
}

TEST_F(DoubtfulStoreTest, ALayerThatLostItsParentIsNotFlat) {
  MakeVolumes();
  Close();
  LayerRecord head = HeadOf("a", "db");
  head.parent = kNoId;
  Plant("a", {PutLayer{head}});
  ExpectRefused("a", "db", "lies over nothing");
  head.parent_bytes = 0;  // its presence contradicts that
  Plant("a", {PutLayer{head}});
  ExpectRefused("a", "db", "has a presence");
}

TEST_F(DoubtfulStoreTest, AFileThatTheRowDeniesIsNoOrphan) {
  MakeVolumes();
  Close();
  for (const char* volume : {"db", "plain"}) {
    LayerRecord head = HeadOf("a", volume);
    head.has_file = false;
    Plant("a", {PutLayer{head}});
    ExpectRefused("a", volume, "no file");
  }
}

TEST_F(DoubtfulStoreTest, AVolumeWithoutItsLayerIsListed) {
  MakeVolumes();
  Close();
  VolumeRecord plain = VolumeOf("a", "plain");
  plain.head = PlantedId(77);
  Plant("a", {PutVolume{plain}});
  ExpectRefused("a", "plain", "has no row");
}

TEST_F(DoubtfulStoreTest, TwoVolumesDoNotWriteOneLayer) {
  MakeVolumes();
  Close();
  VolumeRecord plain = VolumeOf("a", "plain");
  plain.head = VolumeOf("a", "db").head;
  plain.size_bytes = VolumeOf("a", "db").size_bytes;
  Plant("a", {PutVolume{plain}});
  ExpectRefused("a", "plain", "have one layer");
  ExpectRefused("a", "db", "have one layer");
}

TEST_F(DoubtfulStoreTest, ASnapshotsLayerIsNotWritten) {
  MakeVolumes();
  Close();
  VolumeRecord db = VolumeOf("a", "db");
  db.head = HeadOf("a", "db").parent;
  Plant("a", {PutVolume{db}});
  ExpectRefused("a", "db", "which a snapshot or hold reads");
}

TEST_F(DoubtfulStoreTest, ASnapshotOfAnotherSizeIsNotShown) {
  MakeVolumes();
  Close();
  SnapshotRecord monday = Contents("a").snapshots.at(0);
  monday.size_bytes /= 2;
  Plant("a", {PutSnapshot{monday}});
  const auto before = Bytes();
  fixture_.Reopen();
  const auto snapshots = fixture_.store().Snapshots(monday.volume);
  ASSERT_EQ(snapshots.size(), 1U);
  const auto image = fixture_.store().OpenSnapshotImage(monday.id);
  ASSERT_FALSE(image.ok());
  EXPECT_THAT(image.error().message, HasSubstr("bytes, and its layer"));
  EXPECT_EQ(ErrorOf(*fixture_.store().Find("db")), "");
  EXPECT_TRUE(fixture_.store().DeleteSnapshot("db", "monday", Caller{}).ok());
  fixture_.Close();
  ExpectKept(before);
}

TEST_F(DoubtfulStoreTest, APresencePastTheEndIsFoundWhenItIsRead) {
  MakeVolumes();
  Close();
  PresenceRuns runs;
  runs.Set({uint64_t{1} << 20, 4096}, BlockState::kZero);
  Plant("a", {SetPresence{HeadOf("a", "db").id, runs}});
  ExpectRefused("a", "db", "presence of blocks up to");
}

TEST_F(DoubtfulStoreTest, ALayerThatNothingNamesAnyMoreStaysWhereRowsAreMissing) {
  MakeVolumes();
  Close();
  // The volume's row is gone, so its layer has no reference, and its snapshot belongs to no volume.
  const Id head = HeadOf("a", "db").id;
  Plant("a", {DeleteVolume{VolumeOf("a", "db").id}});
  fixture_.Reopen();
  EXPECT_THAT(StateOf("a"), StartsWith("doubtful"));
  ExpectOthersWork();
  fixture_.Close();
  EXPECT_TRUE(std::filesystem::exists(FileOf("a", head)));
}

TEST_F(DoubtfulStoreTest, ANodeThatOffersNoTypeTakesNoVolume) {
  fixture_.Close();
  for (const char* node : {"a", "b"}) {
    NodeRecord record = Contents(node).node;
    record.types.clear();
    Plant(node, {PutNode{record}});
  }
  fixture_.Reopen();
  CreateRequest request;
  request.name = "new";
  const auto made = fixture_.store().Create(request, Caller{});
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(made.error().message, HasSubstr("no type"));
}

}  // namespace
}  // namespace volfs
