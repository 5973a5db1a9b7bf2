// Cloning through the Store: the snapshot point, the copy, and the state that a stop leaves.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Bytes = std::vector<std::byte>;

class CloneTest : public ::testing::Test {
 protected:
  Result<std::shared_ptr<Volume>> Clone(const std::string& source, const std::string& name) {
    CloneRequest request;
    request.source = source;
    request.name = name;
    return fixture_.store().Clone(request, Caller{});
  }
  // Copying stands still until Go().
  void Pause() { fixture_.store().hydrator().throttle().SetRate(0); }
  void Go() { fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited); }
  std::string StatusOf(const std::string& name) {
    return fixture_.store().Info(name).value().status;
  }

  StoreFixture fixture_;
};

// contract.md 5.2, 5.3, 5.5: the clone shows the snapshot point, is usable while `creating`, and is
// whole at the end.
TEST_F(CloneTest, IsTheInstantPlusItsOwnWrites) {
  auto db = fixture_.MakeVolume("db", 8 * kMiB + 777, 5 * kMiB);
  Bytes expected = ReadBack(*db);
  Pause();
  auto clone = Clone("db", "db-clone");
  ASSERT_TRUE(clone.ok()) << clone.error().message;
  EXPECT_EQ(StatusOf("db-clone"), "creating");
  EXPECT_EQ(&clone.value()->node(), fixture_.store().nodes()[1].get());

  // Later writes to the source do not show in the clone, nor the other way round.
  const Bytes newer(100'000, std::byte{0xee});
  ASSERT_TRUE(db->WriteAt(newer, 12'345).ok());
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
  const Bytes own(70'001, std::byte{0x55});
  ASSERT_TRUE(clone.value()->WriteAt(own, 3 * kMiB + 5).ok());
  std::memcpy(expected.data() + 3 * kMiB + 5, own.data(), own.size());
  ASSERT_TRUE(clone.value()->Discard({kMiB + 100, 500'000}).ok());
  std::memset(expected.data() + kMiB + 100, 0, 500'000);
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);

  Go();
  ASSERT_TRUE(fixture_.WaitForStatus("db-clone", "available"));
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
  EXPECT_TRUE(clone.value()->head()->flat());
  EXPECT_EQ(fixture_.store().Info("db-clone").value().progress.percent(), 100);
}

// contract.md 5.10: a block that the user writes, whole or in part, while the copier is at work is
// never overwritten (Longhorn bcde63a5, #4354).
TEST_F(CloneTest, KeepsEveryUserWriteThatRacesTheCopier) {
  auto db = fixture_.MakeVolume("db", 32 * kMiB, 32 * kMiB);
  Bytes expected = ReadBack(*db);
  auto clone = Clone("db", "x");
  ASSERT_TRUE(clone.ok());
  std::mt19937 random(5);
  for (int i = 0; i < 4000; ++i) {
    const uint64_t length = random() % 2 ? 512 : random() % 9000 + 1;
    const uint64_t offset = random() % (32 * kMiB - length);
    const Bytes data(length, static_cast<std::byte>(random()));
    ASSERT_TRUE(clone.value()->WriteAt(data, offset).ok());
    std::memcpy(expected.data() + offset, data.data(), length);
  }
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
}

// contract.md 5.10: a read of a block that is not copied yet is answered from the source. That
// block and its neighbours are then copied before their turn.
TEST_F(CloneTest, CopiesFirstWhatIsRead) {
  fixture_.MakeVolume("db", 32 * kMiB, 32 * kMiB);
  fixture_.store().hydrator().throttle().SetRate(4 * kMiB);
  auto clone = Clone("db", "x");
  ASSERT_TRUE(clone.ok());
  const auto inherited = [&](uint64_t offset) {
    return clone.value()->hydration().AnyInherited({offset / 4096, 1}).value();
  };
  Bytes one(1);
  ASSERT_TRUE(clone.value()->ReadAt(one, 24 * kMiB + 12'345).ok());
  for (int tries = 0;
       tries < 1000 && (inherited(24 * kMiB + 12'345) || inherited(24 * kMiB + 500'000)); ++tries) {
    SleepFor(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(inherited(24 * kMiB + 12'345));
  EXPECT_FALSE(inherited(24 * kMiB + 500'000)) << "its neighbours come with it";
  EXPECT_TRUE(inherited(23 * kMiB));
  EXPECT_TRUE(inherited(26 * kMiB));
  Go();
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_TRUE(ReadBack(*clone.value()) == Pattern(32 * kMiB));
}

// contract.md 5.7, T7, T8: a source has at most one clone or snapshot in the making, and a clone
// that is `creating` has none.
TEST_F(CloneTest, LocksItsSource) {
  fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  Pause();
  ASSERT_TRUE(Clone("db", "one").ok());
  EXPECT_EQ(Clone("db", "two").error().code, Errc::kBusy);
  EXPECT_EQ(fixture_.store().TakeSnapshot("db", "s", Caller{}).error().code, Errc::kBusy);
  EXPECT_EQ(Clone("one", "three").error().code, Errc::kBusy);
  EXPECT_EQ(fixture_.store().Delete("db", Caller{}).error().code, Errc::kBusy);
  EXPECT_EQ(fixture_.store().Find("two"), nullptr);
  Go();
  ASSERT_TRUE(fixture_.WaitForStatus("one", "available"));
  EXPECT_TRUE(Clone("db", "two").ok());
}

// contract.md 5.1, 5.6, 6: refusals leave nothing behind.
TEST_F(CloneTest, RefusesBeforeItChangesAnything) {
  fixture_.MakeVolume("db", 4 * kMiB);
  fixture_.MakeVolume("taken", kMiB);
  EXPECT_EQ(Clone("db", "taken").error().code, Errc::kExists);
  EXPECT_EQ(Clone("nothing", "x").error().code, Errc::kNotFound);
  CloneRequest smaller{.source = "db", .name = "x", .size_bytes = kMiB};
  EXPECT_EQ(fixture_.store().Clone(smaller, Caller{}).error().code, Errc::kRange);
  CloneRequest type{.source = "db", .name = "x", .type = "gold"};
  EXPECT_EQ(fixture_.store().Clone(type, Caller{}).error().code, Errc::kInvalid);
  CloneRequest node{.source = "db", .name = "x", .node = "nowhere"};
  EXPECT_EQ(fixture_.store().Clone(node, Caller{}).error().code, Errc::kNoNode);
  EXPECT_EQ(fixture_.store().Volumes().size(), 2U);
  EXPECT_TRUE(Clone("db", "x").ok());  // no lock was left
}

// contract.md 5.6, T15: a larger clone reads zeros past the source's end, also within the source's
// last block.
TEST_F(CloneTest, MayBeLarger) {
  auto db = fixture_.MakeVolume("db", 10'001, 10'001);
  Bytes expected = ReadBack(*db);
  CloneRequest request{.source = "db", .name = "big", .size_bytes = 50'000};
  auto clone = fixture_.store().Clone(request, Caller{});
  ASSERT_TRUE(clone.ok()) << clone.error().message;
  expected.resize(50'000);
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
  ASSERT_TRUE(fixture_.WaitForStatus("big", "available"));
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
}

// T11, 5.9: cancelling removes the clone's name, space and hold, and unlocks the source.
TEST_F(CloneTest, CanBeCancelled) {
  auto db = fixture_.MakeVolume("db", 8 * kMiB, 8 * kMiB);
  Pause();
  ASSERT_TRUE(Clone("db", "x").ok());
  ASSERT_TRUE(fixture_.store().Cancel("x", Caller{}).ok());
  EXPECT_EQ(fixture_.store().Find("x"), nullptr);
  EXPECT_TRUE(std::filesystem::is_empty(fixture_.NodePath("b") + "/layers"));
  EXPECT_EQ(fixture_.store().Cancel("db", Caller{}).error().code, Errc::kInvalid);
  EXPECT_TRUE(Clone("db", "x").ok());
}

// contract.md 5.5, 5.10: after a remount a clone goes on where it was, never backwards, and ends
// independent.
TEST_F(CloneTest, GoesOnAfterARemount) {
  auto db = fixture_.MakeVolume("db", 24 * kMiB, 24 * kMiB);
  const Bytes expected = ReadBack(*db);
  fixture_.store().hydrator().throttle().SetRate(8 * kMiB);
  ASSERT_TRUE(Clone("db", "x").ok());
  while (fixture_.store().Info("x").value().progress.copied_bytes == 0) SleepFor(Nanoseconds(1000));
  db.reset();
  const uint64_t before = fixture_.store().Info("x").value().progress.copied_bytes;
  fixture_.Reopen({.hydrate = false});
  const VolumeInfo info = fixture_.store().Info("x").value();
  EXPECT_EQ(info.status, "creating");
  EXPECT_GE(info.progress.copied_bytes, before);
  EXPECT_LT(info.progress.copied_bytes, info.progress.total_bytes);
  EXPECT_TRUE(ReadBack(*fixture_.store().Find("x")) == expected);
  fixture_.Reopen();
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_TRUE(ReadBack(*fixture_.store().Find("x")) == expected);
}

// 5.12: a linked clone shares everything and is available at once. Both volumes may then diverge.
TEST_F(CloneTest, CanBeLinked) {
  auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  Bytes expected = ReadBack(*db);
  CloneRequest request{.source = "db", .name = "x", .linked = true};
  auto clone = fixture_.store().Clone(request, Caller{});
  ASSERT_TRUE(clone.ok()) << clone.error().message;
  EXPECT_EQ(StatusOf("x"), "available");
  const Bytes newer(100'000, std::byte{0xee});
  ASSERT_TRUE(db->WriteAt(newer, 1000).ok());
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
  const Bytes source = ReadBack(*db);
  ASSERT_TRUE(clone.value()->WriteAt(newer, 2 * kMiB).ok());
  EXPECT_TRUE(ReadBack(*db) == source);
  db.reset();
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  std::memcpy(expected.data() + 2 * kMiB, newer.data(), newer.size());
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
}

// 5.1, 5.7: a clone of a snapshot takes the snapshot's contents and lock, not the volume's.
TEST_F(CloneTest, CanBeMadeOfASnapshot) {
  auto db = fixture_.MakeVolume("db", 2 * kMiB, 2 * kMiB);
  const Bytes expected = ReadBack(*db);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "monday", Caller{}).ok());
  const Bytes newer(kMiB, std::byte{1});
  ASSERT_TRUE(db->WriteAt(newer, 0).ok());
  Pause();
  CloneRequest request{.source = "db", .snapshot = "monday", .name = "x"};
  auto clone = fixture_.store().Clone(request, Caller{});
  ASSERT_TRUE(clone.ok()) << clone.error().message;
  EXPECT_EQ(fixture_.store().DeleteSnapshot("db", "monday", Caller{}).error().code, Errc::kBusy);
  EXPECT_TRUE(Clone("db", "y").ok());
  Go();
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
}

// The snapshots of a deleted volume keep its name, and a clone of one brings the volume back.
TEST_F(CloneTest, BringsADeletedVolumeBack) {
  auto db = fixture_.MakeVolume("db", kMiB, kMiB);
  const Bytes expected = ReadBack(*db);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "s", Caller{}).ok());
  db.reset();
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  CreateRequest create;
  create.name = "db";
  EXPECT_EQ(fixture_.store().Create(create, Caller{}).error().code, Errc::kExists);
  fixture_.Reopen();
  CloneRequest request{.source = "db", .snapshot = "s", .name = "db"};
  auto back = fixture_.store().Clone(request, Caller{});
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_TRUE(ReadBack(*back.value()) == expected);
}

// A restored volume and the snapshots that kept its name share one name, also on one node.
TEST_F(CloneTest, SharesTheNameWithTheSnapshotsThatBroughtItBack) {
  for (const bool linked : {false, true}) {
    const std::string name = linked ? "here" : "there";
    auto db = fixture_.MakeVolume(name, kMiB, kMiB);
    ASSERT_TRUE(fixture_.store().TakeSnapshot(name, "s", Caller{}).ok());
    db.reset();
    ASSERT_TRUE(fixture_.store().Delete(name, Caller{}).ok());
    CloneRequest request{.source = name, .snapshot = "s", .name = name, .linked = linked};
    const auto back = fixture_.store().Clone(request, Caller{});
    ASSERT_TRUE(back.ok()) << back.error().message;
    ASSERT_TRUE(fixture_.WaitForStatus(name, "available"));
    EXPECT_EQ(fixture_.store().TakeSnapshot(name, "s", Caller{}).error().code, Errc::kExists);
    ASSERT_TRUE(fixture_.store().TakeSnapshot(name, "t", Caller{}).ok());
    EXPECT_EQ(fixture_.store().Snapshots(back.value()->id()).size(), 2U);
    EXPECT_TRUE(fixture_.store().DeleteSnapshot(name, "s", Caller{}).ok());
    EXPECT_EQ(fixture_.store().Snapshots(back.value()->id()).size(), 1U);
  }
  fixture_.Reopen();
  EXPECT_EQ(fixture_.store().SnapshotDirectories().size(), 2U);
}

// T65: a clone that is cancelled while a reader has it open shows the same bytes until it is
// closed, also when its source is changed and deleted meanwhile.
TEST_F(CloneTest, IsReadableToTheLastCloseWhenItIsCancelled) {
  auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  const Bytes expected = ReadBack(*db);
  Pause();
  const auto clone = Clone("db", "x");
  ASSERT_TRUE(clone.ok());
  ASSERT_TRUE(clone.value()->opens().Add(Volume::Access::kRead).ok());
  ASSERT_TRUE(fixture_.store().Cancel("x", Caller{}).ok());
  const Bytes newer(kMiB, std::byte{0xee});
  ASSERT_TRUE(db->WriteAt(newer, 0).ok());
  ASSERT_TRUE(db->Sync().ok());
  db.reset();
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  EXPECT_TRUE(ReadBack(*clone.value()) == expected);
  clone.value()->opens().Remove(Volume::Access::kRead);
  EXPECT_TRUE(std::filesystem::is_empty(fixture_.NodePath("a") + "/layers"));
  EXPECT_TRUE(std::filesystem::is_empty(fixture_.NodePath("b") + "/layers"));
}

// Only data is copied: a terabyte with 4 MiB of data has 4 MiB to copy, and takes no more.
TEST_F(CloneTest, CopiesDataAndKeepsHoles) {
  auto db = fixture_.MakeVolume("db", uint64_t{1} << 40, 4 * kMiB);
  ASSERT_TRUE(Clone("db", "x").ok());
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  const uint64_t taken = fixture_.store().Find("x")->AllocatedBytes().value();
  EXPECT_GE(taken, 4 * kMiB);
  EXPECT_LE(taken, 5 * kMiB);
}

}  // namespace
}  // namespace volfs
