// Goal: a node directory keeps the ids of its mounts. A peer that was mounted with another copy of
// the node sees by them how the copies relate: this one went on, was left behind, or went another
// way.
#include "blockstore/node/lineage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace volfs {
namespace {

using Kind = Kinship::Kind;
using testing::AllOf;
using testing::HasSubstr;

std::string Saying(const Kinship& kinship) {
  return KinshipTrouble(kinship, "b", 0xb, "a", "/data/b");
}

TEST(LineageTest, WhatThePeerSawLastOrThatGoneOnIsTheNewest) {
  EXPECT_EQ(Compare({1, 2, 3}, 0, {1, 2, 3}).kind, Kind::kNewest);
  EXPECT_EQ(Compare({1, 2, 3, 4, 5}, 0, {1, 2, 3}).kind, Kind::kNewest);
  EXPECT_EQ(Compare({1, 2, 3}, 0, {}).kind, Kind::kNewest) << "the peer knows nothing of it";
  EXPECT_EQ(Saying({}), "");
}

TEST(LineageTest, OneWithoutTheMountsThatThePeerSawIsOlder) {
  const Kinship kinship = Compare({1, 2}, 0, {1, 2, 3, 4});
  EXPECT_EQ(kinship.kind, Kind::kOlder);
  EXPECT_EQ(kinship.mounts_there, 2U);
  EXPECT_THAT(Saying(kinship), AllOf(HasSubstr("an older copy of node b"), HasSubstr("/data/b"),
                                     HasSubstr("2 times"), HasSubstr("mount the newest copy")));
  EXPECT_EQ(Compare({}, 0, {3, 4}).kind, Kind::kOlder) << "of before there were ids";
}

// The number of mounts since then does not matter.
TEST(LineageTest, OneThatWentOnByItselfFromAnOlderMountIsAFork) {
  const Kinship kinship = Compare({1, 2, 7, 8, 9}, 2, {1, 2, 3, 4});
  EXPECT_EQ(kinship.kind, Kind::kForked);
  EXPECT_EQ(kinship.mounts_here, 3U);
  EXPECT_EQ(kinship.mounts_there, 2U);
  EXPECT_THAT(Saying(kinship),
              AllOf(HasSubstr("two copies of node b"), HasSubstr("this one was mounted 3 times"),
                    HasSubstr("(last at /data/b) 2 times"), HasSubstr("accept=000000000000000b")));
}

// The id that the peer saw is remembered separately, however many mounts come after it.
TEST(LineageTest, OneThatWasMountedAloneForeverIsTheNewestStill) {
  std::vector<MountId> mounts;
  for (MountId id = 100; id < 100 + Lineage::kKept; ++id) mounts.push_back(id);
  EXPECT_EQ(Compare(mounts, 3, {1, 2, 3}).kind, Kind::kNewest);
  EXPECT_EQ(Compare(mounts, 2, {1, 2, 3}).kind, Kind::kUnknown);
  EXPECT_THAT(Saying(Compare(mounts, 2, {1, 2, 3})), HasSubstr("no mount in common"));
}

TEST(LineageTest, IsKeptInSettingsAndReadBack) {
  CatalogContents contents;
  Lineage lineage;
  lineage.mounts = {1, 0xffffffffffffffff};
  const PutSetting own = LineageSetting(lineage);
  const PutSetting known = KnownSetting("some-uuid", {7, {8, 9}});
  EXPECT_EQ(own.value, "0000000000000001 ffffffffffffffff");
  contents.settings = {{own.key, own.value}, {"copy_rate", "1"}, {known.key, known.value}};
  const Result<Lineage> read = ReadLineage(contents);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read.value().mounts, lineage.mounts);
  EXPECT_EQ(read.value().known.at("some-uuid").told, 7U);
  EXPECT_EQ(read.value().known.at("some-uuid").mounts, (std::vector<MountId>{8, 9}));
  DropLineage(contents);
  EXPECT_EQ(contents.settings.size(), 1U) << "nothing else";
}

TEST(LineageTest, WhatIsNoListOfMountsIsDamage) {
  for (const char* const value :
       {"1", "000000000000000g", "0000000000000001 ", "0000000000000001,0000000000000002",
        "0x00000000000001", "00000000000000010000000000000002"}) {
    CatalogContents contents;
    contents.settings = {{"lineage", value}};
    const Result<Lineage> read = ReadLineage(contents);
    ASSERT_FALSE(read.ok()) << value;
    EXPECT_EQ(read.error().code, Errc::kCorrupt) << value;
  }
}

}  // namespace
}  // namespace volfs
