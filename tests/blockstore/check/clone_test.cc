// Goal: the check compares the copy jobs of the clones' nodes with the holds of the sources' nodes,
// as the table of recovery.h says (trap T44).
#include "tests/blockstore/check/check_fixture.h"

namespace volfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckCloneTest : public CheckFixture {
 protected:
  void SetUp() override {
    MakeRunningClone();
    fixture_.Close();
  }
  HoldRecord Hold() { return Contents("a").holds.at(0); }
  // Returns a hold for a clone that exists on no node.
  HoldRecord AnotherHold() {
    HoldRecord hold = Hold();
    hold.clone = PlantedId(1);
    hold.clone_name = "planted";
    return hold;
  }
};

TEST_F(CheckCloneTest, ARunningCloneIsClean) {
  EXPECT_THAT(Found(), IsEmpty());
  // A node that is checked alone reports its dependence on the other.
  for (const char* node : {"a", "b"}) {
    const auto findings = Check({node}, {.repair = true});
    EXPECT_THAT(Words(findings), ElementsAre("tidy node-absent"));
    EXPECT_THAT(findings.at(0).text, HasSubstr("clone copy"));
  }
  EXPECT_THAT(Found(), IsEmpty());
  fixture_.Reopen();
  EXPECT_TRUE(fixture_.WaitForStatus("copy", "available"));
}

TEST_F(CheckCloneTest, HoldMissing) {
  Plant("a", {DeleteHold{Hold().clone}});
  ExpectLeft({"damage hold-missing"});
}

TEST_F(CheckCloneTest, HoldMismatch) {
  HoldRecord hold = Hold();
  hold.clone_node = "uuid-c";
  Plant("a", {PutHold{hold}});
  ExpectLeft({"damage hold-mismatch"});
}

TEST_F(CheckCloneTest, HoldUnneeded) {
  Plant("a", {PutHold{AnotherHold()}});
  ExpectMended("tidy hold-unneeded");
  EXPECT_EQ(Contents("a").holds.size(), 1U);
}

// The clone of this hold may be on the absent node, so the hold and its layer stay.
TEST_F(CheckCloneTest, AHoldForAnAbsentNodeIsKept) {
  HoldRecord hold = AnotherHold();
  hold.clone_node = "uuid-c";
  Plant("a", {PutHold{hold}});
  ExpectLeft({"tidy node-absent"});
}

TEST_F(CheckCloneTest, HoldLayer) {
  HoldRecord hold = AnotherHold();
  hold.clone_node = "uuid-c";
  hold.layer = PlantedId(9);
  Plant("a", {PutHold{hold}});
  ExpectLeft({"damage hold-layer", "tidy node-absent"});
}

TEST_F(CheckCloneTest, HoldSource) {
  HoldRecord hold = Hold();
  hold.volume = PlantedId(9);
  Plant("a", {PutHold{hold}});
  ExpectLeft({"damage hold-source"});
}

TEST_F(CheckCloneTest, AnIntentIsUnfinished) {
  CloneRecord intent;
  intent.clone = PlantedId(1);
  intent.name = "new";
  intent.source_name = "src";
  intent.source_node = UuidOf("a");
  Plant("b", {PutClone{intent}});
  Plant("a", {PutHold{AnotherHold()}});
  ExpectMended("tidy clone-unfinished");
  EXPECT_EQ(Contents("a").holds.size(), 1U);
  EXPECT_EQ(Contents("b").clones.size(), 1U);
}

TEST_F(CheckCloneTest, AnIntentWithoutItsSourcesNodeIsKept) {
  CloneRecord intent;
  intent.clone = PlantedId(1);
  intent.name = "new";
  intent.source_node = "uuid-c";
  Plant("b", {PutClone{intent}});
  ExpectLeft({"tidy clone-unfinished"});
}

// The cancelled clone goes first, then the layers that only the clone reached.
TEST_F(CheckCloneTest, ACancelledCloneIsUnfinished) {
  CloneRecord job = JobOf("copy");
  job.state = CloneState::kDeleting;
  Plant("b", {PutClone{job}});
  EXPECT_THAT(Found(), ElementsAre("tidy clone-unfinished"));
  EXPECT_THAT(Repaired(),
              ElementsAre("repaired tidy clone-unfinished", "repaired tidy unreached-layer"));
  EXPECT_THAT(Found(), IsEmpty());
  EXPECT_THAT(Contents("a").holds, IsEmpty());
  EXPECT_THAT(Contents("b").volumes, IsEmpty());
  fixture_.Reopen();
  EXPECT_TRUE(fixture_.store().Clone({.source = "src", .name = "copy"}, Caller{}).ok());
}

TEST_F(CheckCloneTest, CloneRelease) {
  fixture_.Reopen();
  ASSERT_TRUE(fixture_.WaitForStatus("copy", "available"));
  fixture_.Close();
  CloneRecord job;
  job.clone = VolumeOf("b", "copy").id;
  job.state = CloneState::kReleasing;
  job.source_node = UuidOf("a");
  HoldRecord hold;
  hold.clone = job.clone;
  hold.clone_node = UuidOf("b");
  hold.clone_name = "copy";
  hold.volume = VolumeOf("a", "src").id;
  hold.layer = HeadOf("a", "src").parent;
  Plant("b", {PutClone{job}});
  Plant("a", {PutHold{hold}});
  ExpectMended("tidy clone-release");
  EXPECT_THAT(Contents("a").holds, IsEmpty());
  EXPECT_THAT(Contents("b").clones, IsEmpty());
  EXPECT_EQ(Contents("b").volumes.size(), 1U);
}

TEST_F(CheckCloneTest, AJobWithoutItsVolume) {
  CloneRecord job = JobOf("copy");
  job.clone = PlantedId(1);
  job.name = "lost";
  Plant("b", {PutClone{job}});
  ExpectLeft({"damage clone-job"});
}

TEST_F(CheckCloneTest, AJobForAnotherSource) {
  CloneRecord job = JobOf("copy");
  job.source_bytes -= 1;
  Plant("b", {PutClone{job}});
  ExpectLeft({"damage clone-job"});
}

// The clone has no job, so no node needs its hold. The hold stays, because the clone depends on it.
TEST_F(CheckCloneTest, ADependentCloneWithoutAJob) {
  Plant("b", {DeleteClone{Hold().clone}});
  ExpectLeft({"damage clone-job", "tidy hold-unneeded"});
}

TEST_F(CheckCloneTest, AnIntentOfAVolumeThatIsThere) {
  CloneRecord job = JobOf("copy");
  job.state = CloneState::kIntent;
  job.name = "another";
  Plant("b", {PutClone{job}});
  ExpectLeft({"damage clone-job"});
}

// A clone whose record says whole still depends on its source.
TEST_F(CheckCloneTest, AWholeCloneThatIsNot) {
  CloneRecord job = JobOf("copy");
  job.state = CloneState::kReleasing;
  Plant("b", {PutClone{job}});
  ExpectLeft({"damage clone-job", "tidy clone-release"});
}

TEST_F(CheckCloneTest, CloneProgress) {
  const CloneRecord right = JobOf("copy");
  std::vector<CloneRecord> wrong(3, right);
  wrong[0].cursor_block = kMiB / kDefaultBlockSize + 1;
  wrong[1].total_known = true;
  wrong[1].total_bytes = 2 * kMiB;
  wrong[2].total_known = true;
  wrong[2].total_bytes = kMiB;
  wrong[2].copied_bytes = kMiB + 1;
  for (const CloneRecord& job : wrong) {
    Plant("b", {PutClone{job}});
    ExpectMended("damage clone-progress");
    EXPECT_EQ(JobOf("copy").cursor_block, 0U);
  }
  fixture_.Reopen();
  EXPECT_TRUE(fixture_.WaitForStatus("copy", "available"));
}

// The source's node lost the layer, so the blocks that were not copied are lost.
TEST_F(CheckCloneTest, TheParentOfACloneIsMissing) {
  const Id held = Hold().layer;
  LayerRecord head = HeadOf("a", "src");
  head.parent = kNoId;  // so that only the clone misses it
  head.parent_bytes = 0;
  head.has_file = true;
  Plant("a", {DeleteLayer{held}, PutLayer{head}, ClearPresence{head.id}});
  std::filesystem::rename(FileOf("a", held), FileOf("a", head.id));
  ExpectLeft({"damage parent-missing"});
}

}  // namespace
}  // namespace volfs
