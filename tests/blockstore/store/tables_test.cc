// Tests the tables of a store and its queue of events without a store.
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "blockstore/store/background/event_queue.h"
#include "blockstore/store/tables/clone_table.h"
#include "blockstore/store/tables/name_table.h"
#include "blockstore/store/tables/snapshot_table.h"
#include "blockstore/store/tables/store_tables.h"

namespace volfs {
namespace {

SnapshotEntry Snapshot(Id id, Id volume, const std::string& name, Id layer) {
  SnapshotEntry entry;
  entry.record.id = id;
  entry.record.volume = volume;
  entry.record.name = name;
  entry.record.layer = layer;
  return entry;
}

Tombstone TombstoneOf(Id id, const std::string& name) {
  Tombstone tombstone;
  tombstone.record.id = id;
  tombstone.record.name = name;
  return tombstone;
}

TEST(NameTableTest, AReservedNameIsTakenUntilItIsGivenBack) {
  NameTable names;
  names.Reserve("db");
  EXPECT_TRUE(names.InUse("db"));
  EXPECT_TRUE(names.Taken("db"));
  names.GiveBack("db");
  EXPECT_FALSE(names.Taken("db"));
}

TEST(NameTableTest, ATombstoneKeepsItsNameButDoesNotUseIt) {
  NameTable names;
  names.AddTombstone(TombstoneOf(7, "db"));
  EXPECT_TRUE(names.Taken("db"));
  EXPECT_FALSE(names.InUse("db"));
  EXPECT_EQ(names.NameOf(7), "db");
  EXPECT_EQ(names.Ids("db"), std::vector<Id>{7});
  names.RemoveTombstone(7);
  EXPECT_FALSE(names.Taken("db"));
  EXPECT_EQ(names.NameOf(7), "");
}

TEST(SnapshotTableTest, ASnapshotIsFoundByIdAndByNameOrNotAtAll) {
  SnapshotTable snapshots;
  snapshots.Add(Snapshot(1, 10, "monday", 100));
  ASSERT_NE(snapshots.Find(10, "monday"), nullptr);
  EXPECT_EQ(snapshots.Find(10, "monday"), snapshots.Find(1));
  EXPECT_EQ(snapshots.Find(11, "monday"), nullptr) << "another volume";
  snapshots.Rename(1, "tuesday");
  EXPECT_EQ(snapshots.Find(10, "monday"), nullptr);
  EXPECT_EQ(snapshots.Find(10, "tuesday"), snapshots.Find(1));
  snapshots.Remove(1);
  EXPECT_EQ(snapshots.Find(1), nullptr);
  EXPECT_EQ(snapshots.Find(10, "tuesday"), nullptr);
  EXPECT_EQ(snapshots.CountOf(10), 0U);
  EXPECT_TRUE(snapshots.VolumesWithSnapshots().empty());
}

TEST(SnapshotTableTest, TheMergerMovesSnapshotsToAnotherLayer) {
  SnapshotTable snapshots;
  snapshots.Add(Snapshot(1, 10, "monday", 100));
  snapshots.Add(Snapshot(2, 10, "tuesday", 101));
  ASSERT_EQ(snapshots.OnLayer(100).size(), 1U);
  snapshots.SetLayer(1, 101);
  EXPECT_TRUE(snapshots.OnLayer(100).empty());
  EXPECT_EQ(snapshots.OnLayer(101).size(), 2U);
}

TEST(CloneTableTest, ACloneThatIsOwedNeedsItsSourceNoMore) {
  CloneTable clones;
  CloneEntry entry;
  entry.lock = 10;
  clones.Put(1, entry);
  EXPECT_TRUE(clones.Needs(10));
  EXPECT_FALSE(clones.Needs(11));
  clones.Find(1)->owed = true;
  EXPECT_FALSE(clones.Needs(10));
}

TEST(CloneTableTest, OnlyTheHolderUnlocksASource) {
  CloneTable clones;
  clones.Lock(10, kNoId);
  clones.PassLock(10, 1);
  clones.UnlockOf(10, 2);
  EXPECT_TRUE(clones.Locked(10));
  clones.UnlockOf(10, 1);
  EXPECT_FALSE(clones.Locked(10));
}

TEST(ReservationTest, GivesBackWhatWasNotKept) {
  StoreTables tables;
  {
    Reservation reservation(tables);
    MutexLock lock(tables.mu);
    tables.ReserveName(reservation, "db");
    tables.ReserveSource(reservation, 10);
    EXPECT_EQ(tables.CheckUnlocked(10, "db").error().code, Errc::kBusy);
  }
  {
    MutexLock lock(tables.mu);
    EXPECT_FALSE(tables.names.Taken("db"));
    EXPECT_FALSE(tables.clones.Locked(10));
  }
}

TEST(ReservationTest, AbandonedItKeepsNameAndSource) {
  StoreTables tables;
  {
    Reservation reservation(tables);
    {
      MutexLock lock(tables.mu);
      tables.ReserveName(reservation, "db");
      tables.ReserveSource(reservation, 10);
    }
    reservation.Abandon();
  }
  MutexLock lock(tables.mu);
  EXPECT_TRUE(tables.names.Taken("db"));
  EXPECT_TRUE(tables.clones.Locked(10));
}

TEST(EventQueueTest, TellsAllEventsInOrderBeforeItStops) {
  std::vector<std::pair<uint64_t, std::string>> told;
  EventQueue events;
  events.SetListener([&](const StoreEvent& event) { told.emplace_back(event.seq, event.event); });
  events.Emit("created", "db", 1, "available");
  events.Start();
  events.Emit("deleted", "db", 1, "deleted");
  events.Stop();
  const std::vector<std::pair<uint64_t, std::string>> expected{{1, "created"}, {2, "deleted"}};
  EXPECT_EQ(told, expected);
}

}  // namespace
}  // namespace volfs
