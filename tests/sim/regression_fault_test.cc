// Goal: as regression_test.cc, for the bugs of other stores that need a disk which fails and then
// works again (R7, R8, R10).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <map>

#include "blockstore/base/str_cat.h"
#include "blockstore/node/opener.h"
#include "control/tree/control_tree.h"
#include "tests/sim/node.h"
#include "tests/sim/scenario.h"
#include "tests/sim/vfs.h"
#include "tests/support/forwarding_node.h"

namespace volfs::sim {
namespace {

using std::chrono::seconds;
using testing::AnyOf;
using testing::Each;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr unsigned kBothNodes = 3;

// --- nodes that fail -----------------------------------------------------------------------------

// A layer between the store and a node's disk. Returns the error of a call to a layer's file, if
// any.
using Hook = std::function<Status(Call call, const std::string& name, const ByteRange& range)>;

class HookedFile final : public ForwardingFile {
 public:
  HookedFile(std::unique_ptr<NodeFile> file, std::string name, const Hook& hook)
      : ForwardingFile(std::move(file)), name_(std::move(name)), hook_(hook) {}
  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) override {
    RETURN_IF_ERROR(hook_(Call::kRead, name_, {offset_bytes, out.size()}));
    return file_->ReadAt(out, offset_bytes);
  }
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) override {
    RETURN_IF_ERROR(hook_(Call::kWrite, name_, {offset_bytes, data.size()}));
    return file_->WriteAt(data, offset_bytes);
  }

 private:
  const std::string name_;
  const Hook& hook_;
};

class HookedNode final : public ForwardingNode {
 public:
  // `hook` must outlive the node. `vfs` serves its catalog.
  HookedNode(std::unique_ptr<NodeDirectory> node, const Hook& hook, const char* vfs)
      : ForwardingNode(std::move(node)), hook_(hook), vfs_(vfs) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    ASSIGN_OR_RETURN(auto file, node_->Open(name, mode));
    return std::unique_ptr<NodeFile>(std::make_unique<HookedFile>(std::move(file), name, hook_));
  }
  const char* sqlite_vfs() const override { return vfs_; }

 private:
  const Hook& hook_;
  const char* const vfs_;
};

// Opens a store of the test's own, in place of the simulation's.
Result<std::unique_ptr<Store>> OpenHooked(Machine& machine, const std::array<Hook, kDisks>& hooks,
                                          const char* vfs) {
  std::vector<std::unique_ptr<Node>> nodes;
  for (int disk = 0; disk < kDisks; ++disk) {
    const Hook& hook = hooks[static_cast<size_t>(disk)];
    ASSIGN_OR_RETURN(
        auto node, Node::Open(std::make_unique<HookedNode>(OpenSimNode(machine, disk), hook, vfs)));
    nodes.push_back(std::move(node));
  }
  RETURN_IF_ERROR(JoinNodes(nodes));
  StoreOptions options;
  options.copy_rate = kCopyNothing;
  options.copy_piece_bytes = 4 * kBlockBytes;
  options.commit_idle = kForever;  // a commit happens only on request
  return Store::Open(std::move(nodes), options);
}

VolumeInfo InfoOf(Store& store, const VolumeModel& model) {
  const auto info = store.Info(model.name);
  EXPECT_TRUE(info.ok());
  return info.ok() ? info.value() : VolumeInfo{};
}

// --- R7 ------------------------------------------------------------------------------------------

// A range of a disk's layers that fails reads or writes while it is set.
struct BadRange {
  ByteRange bytes{};
  bool reads = false;
  bool writes = false;
  int hits = 0;  // calls that it has failed

  Status Strike(Call call, const std::string& name, const ByteRange& range) {
    const bool armed = call == Call::kRead ? reads : writes;
    if (!armed || range.offset_bytes >= bytes.end() || range.end() <= bytes.offset_bytes) {
      return OkStatus();
    }
    ++hits;
    return Error{Errc::kIo, StrCat(NameOf(call), ' ', name, ": Input/output error (simulated)")};
  }
};

// The copier has met blocks 5 and 6 of the source (`reading`) or of the clone, which are bad.
void MeetBadBlocks(Simulation& world, Store& store, BadRange& bad, bool reading) {
  constexpr int kTries = 5;  // clone_job.cc
  Workload clients(world.machine(), world.oracle(), store, kBothNodes, 7,
                   world.findings().violations);
  (void)clients.Create(0, 12 * kBlockBytes);
  VolumeModel& source = *world.oracle().volumes().back();
  (void)clients.Write(source, 0, 12 * kBlockBytes);
  (void)clients.Sync(source);
  (void)clients.Clone(source, Workload::Place::kOther, 12 * kBlockBytes);
  VolumeModel& clone = *world.oracle().volumes().back();
  bad = {.bytes = {5 * kBlockBytes, 2 * kBlockBytes}, .reads = reading, .writes = !reading};
  store.hydrator().throttle().SetRate(Throttle::kUnlimited);
  SleepFor(seconds(20));

  // The clone reports the error with the node and the cause, and copying has stopped.
  VolumeInfo info = InfoOf(store, clone);
  EXPECT_EQ(info.status, "error");
  EXPECT_THAT(info.error, HasSubstr("Input/output error"));
  if (reading) {
    EXPECT_THAT(info.error, HasSubstr(" node a"));
    EXPECT_THAT(info.error, HasSubstr(source.name));
  }
  // There may be more attempts, if something else was copied between two of them.
  const int hits = bad.hits;
  EXPECT_GE(hits, kTries);
  SleepFor(seconds(60));
  EXPECT_EQ(bad.hits, hits) << "it tries for ever";

  // The clone is still served: the copied part, the part that the source can still give, and new
  // writes. So is the source.
  (void)clients.Read(clone, 0, 5 * kBlockBytes);
  (void)clients.Read(clone, 7 * kBlockBytes, 5 * kBlockBytes);
  (void)clients.Read(source, 7 * kBlockBytes, 5 * kBlockBytes);
  (void)clients.Write(clone, 0, 3 * kSectorBytes);
  (void)clients.Write(clone, 9 * kBlockBytes + 100, 50);
  if (reading) (void)clients.Write(clone, 5 * kBlockBytes, kBlockBytes);  // needs nothing of it
  (void)clients.Write(source, 0, kBlockBytes);
  (void)clients.Sync(clone);
  (void)clients.Sync(source);
  std::vector<std::byte> block(kBlockBytes);
  if (reading) {
    const auto got = store.Find(clone.id)->ReadAt(block, 6 * kBlockBytes);
    EXPECT_FALSE(got.ok()) << "zeros instead of an error";
  } else {
    (void)clients.Read(clone, 0, 12 * kBlockBytes);
  }
  EXPECT_EQ(InfoOf(store, clone).status, "error");

  // If it is resumed too early, copying stops again. On a mended disk it finishes.
  bad.hits = 0;
  ASSERT_TRUE(store.Resume(clone.name, Caller{}).ok());
  SleepFor(seconds(20));
  EXPECT_GE(bad.hits, kTries);
  EXPECT_EQ(InfoOf(store, clone).status, "error");
  bad.reads = bad.writes = false;
  ASSERT_TRUE(store.Resume(clone.name, Caller{}).ok());
  EXPECT_TRUE(clients.WaitUntilWhole());
  EXPECT_EQ(InfoOf(store, clone).status, "available");
  EXPECT_EQ(InfoOf(store, clone).error, "");
  world.oracle().Compare(store, kBothNodes, false, world.findings().violations);
}

// Copiers of other stores that met a read error went on forever, or failed the volume that they
// served.
TEST(RegressionTest, R7_TheCopierMeetsAnErrorSaysSoAndTheVolumeIsServed) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(StrCat("seed ", seed));
    const bool reading = seed % 2 == 0;
    Trace trace;
    Simulation world(seed, trace);
    world.Run([&] {
      std::array<BadRange, kDisks> bad;
      std::array<Hook, kDisks> hooks;
      for (size_t disk = 0; disk < kDisks; ++disk) {
        hooks[disk] = [&range = bad[disk]](Call call, const std::string& name,
                                           const ByteRange& bytes) {
          return range.Strike(call, name, bytes);
        };
      }
      auto store = OpenHooked(world.machine(), hooks, kVfsName);
      ASSERT_TRUE(store.ok()) << store.error().message;
      MeetBadBlocks(world, *store.value(), bad[reading ? 0 : 1], reading);
    });
    ASSERT_THAT(world.findings().violations, IsEmpty());
    ASSERT_FALSE(HasFailure());
  }
}

// --- R8 ------------------------------------------------------------------------------------------

// The room on the first disk. A write in place needs none, unless the disk never writes in place,
// as btrfs does. Removing and punching give some. (The machine's fault kNoSpace ignores this: it
// refuses every write for a while, and freeing space does not help.)
struct Room {
  Machine* machine = nullptr;
  uint64_t max_bytes = kNever;
  bool in_place = true;
  int refusals = 0;

  [[nodiscard]] uint64_t UsedBytes() const {
    uint64_t sectors = 0;
    for (const auto& [name, file] : machine->disk(0).names()) {
      const auto& allocated = file->now().allocated;
      sectors += static_cast<uint64_t>(std::count(allocated.begin(), allocated.end(), true));
    }
    return sectors * kSectorBytes;
  }
  bool Take(const std::string& name, const ByteRange& range) {
    const std::shared_ptr<DiskFile> file = machine->disk(0).Find(name);
    if (file == nullptr || max_bytes == kNever) return true;
    const auto& allocated = file->now().allocated;
    uint64_t more = 0;
    for (uint64_t s = range.offset_bytes / kSectorBytes; s * kSectorBytes < range.end(); ++s) {
      const bool has_place = in_place && s < allocated.size() && allocated[s];
      more += has_place ? 0 : kSectorBytes;
    }
    const bool fits = more == 0 || UsedBytes() + more <= max_bytes;
    refusals += fits ? 0 : 1;
    return fits;
  }
};

// The simulated VFS, with limited room on the first disk.
constexpr char kRoomVfsName[] = "volfs-sim-room";
Room* room_of_vfs = nullptr;
std::map<sqlite3_file*, std::string> files_in_room;  // those of the first disk
const sqlite3_io_methods* file_methods = nullptr;

int WriteIfThereIsRoom(sqlite3_file* file, const void* data, int length, sqlite3_int64 offset) {
  const auto found = files_in_room.find(file);
  const ByteRange range{static_cast<uint64_t>(offset), static_cast<uint64_t>(length)};
  if (found != files_in_room.end() && !room_of_vfs->Take(found->second, range)) return SQLITE_FULL;
  return file_methods->xWrite(file, data, length, offset);
}

int OpenInRoom(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  static sqlite3_io_methods methods;
  sqlite3_vfs* const under = sqlite3_vfs_find(kVfsName);
  files_in_room.erase(file);
  const int code = under->xOpen(under, path, file, flags, out_flags);
  if (code != SQLITE_OK) return code;
  file_methods = file->pMethods;
  methods = *file_methods;
  methods.xWrite = WriteIfThereIsRoom;
  file->pMethods = &methods;
  const std::string_view name(path);
  if (name.starts_with("/a/")) files_in_room[file] = name.substr(3);
  return SQLITE_OK;
}

void InstallRoomVfs() {
  static sqlite3_vfs vfs = *sqlite3_vfs_find(kVfsName);
  vfs.pNext = nullptr;
  vfs.zName = kRoomVfsName;
  vfs.xOpen = OpenInRoom;
  ASSERT_EQ(sqlite3_vfs_register(&vfs, 0), SQLITE_OK);
}

// Plays `body` over a store with limited room on its first disk, loses power and all unsynced data,
// mounts with unlimited room, and compares.
void PlayInRoom(uint64_t seed, const std::function<void(Simulation&, Store&, Room&)>& body) {
  Trace trace;
  Simulation world(seed, trace);
  world.Run([&] {
    Room room{.machine = &world.machine()};
    room_of_vfs = &room;
    const auto fine = [](Call, const std::string&, const ByteRange&) { return OkStatus(); };
    const auto roomy = [&](Call call, const std::string& name, const ByteRange& range) -> Status {
      if (call != Call::kWrite || room.Take(name, range)) return OkStatus();
      return Error{Errc::kNoSpace, StrCat("pwrite ", name, ": no space (simulated)")};
    };
    const std::array<Hook, kDisks> hooks = {roomy, fine};
    auto store = OpenHooked(world.machine(), hooks, kRoomVfsName);
    ASSERT_TRUE(store.ok()) << store.error().message;
    body(world, *store.value(), room);
    world.CutPower({true, true});
    store.value().reset();
    world.oracle().Closed(true);
    world.Boot({.keep = LossModel::Keep::kNothing}, true);
    if (world.Mount(kBothNodes, Throttle::kUnlimited)) world.Compare(true);
  });
  ASSERT_THAT(world.findings().violations, IsEmpty());
}

// dm-thin: without space for its metadata it aborted a transaction that held acknowledged data.
// Here a node fills up at any moment of a writer's life. Afterwards acknowledged data is there, no
// volume fails, and a call that frees space is never refused.
TEST(RegressionTest, R8_NoSpaceForTheCatalogLosesNothingAndDeletionWorks) {
  InstallRoomVfs();
  int refusals = 0;
  for (uint64_t sectors = 0; sectors < 80; ++sectors) {
    SCOPED_TRACE(StrCat("room for ", sectors, " sectors"));
    PlayInRoom(sectors + 1, [&](Simulation& world, Store& store, Room& room) {
      std::vector<std::string> complaints;
      Workload clients(world.machine(), world.oracle(), store, kBothNodes, sectors, complaints);
      (void)clients.Create(0, 20 * kBlockBytes);
      (void)clients.Create(0, 20 * kBlockBytes);
      VolumeModel& kept = *world.oracle().volumes().front();
      VolumeModel& victim = *world.oracle().volumes().back();
      for (VolumeModel* const model : {&kept, &victim}) {
        (void)clients.Write(*model, 0, 8 * kBlockBytes);
        (void)clients.Sync(*model);
      }
      (void)clients.TakeSnapshot(kept);  // from here on its writes need the catalog
      (void)clients.Write(kept, 0, kBlockBytes);
      (void)clients.Sync(kept);
      EXPECT_THAT(complaints, IsEmpty());

      room.max_bytes = room.UsedBytes() + sectors * kSectorBytes;
      for (uint64_t block = 1; block < 19; ++block) {
        (void)clients.Write(kept, block * kBlockBytes + kSectorBytes, kBlockBytes);
        (void)clients.Sync(kept);
        EXPECT_EQ(store.Find(kept.id)->state().failure(), "")
            << "no space is a refusal, not an end";
      }
      EXPECT_THAT(complaints, Each(AnyOf(HasSubstr("no space"), HasSubstr("is full"))));
      refusals += room.refusals;
      complaints.clear();

      // Reading, listing and deleting need no room, and deleting gives some.
      (void)clients.Look(kept);
      (void)clients.Delete(victim, false);
      EXPECT_EQ(victim.existence, Existence::kNo) << "a full node cannot be emptied";
      SnapshotModel& snapshot = *world.oracle().snapshots().front();
      (void)clients.ReadSnapshot(snapshot);
      (void)clients.DeleteSnapshot(snapshot);
      EXPECT_EQ(snapshot.existence, Existence::kNo) << "a full node cannot be emptied";
      SleepFor(seconds(10));  // in which the space of these is freed
      (void)clients.Sync(kept);
      EXPECT_THAT(complaints, IsEmpty());
    });
    if (HasFailure()) return;
  }
  EXPECT_GT(refusals, 0) << "the disk never was full";
}

// A sync that was refused for want of space acknowledges and forgets nothing. The next sync with
// room makes durable all writes before either sync.
TEST(RegressionTest, R8_ASyncThatWasRefusedForWantOfSpaceSucceedsLater) {
  InstallRoomVfs();
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(StrCat("seed ", seed));
    PlayInRoom(seed, [&](Simulation& world, Store& store, Room& room) {
      std::vector<std::string>& violations = world.findings().violations;
      Workload clients(world.machine(), world.oracle(), store, kBothNodes, seed, violations);
      clients.set_synchronous(Workload::Synchronous::kNone);
      (void)clients.Create(0, 12 * kBlockBytes);
      VolumeModel& model = *world.oracle().volumes().front();
      (void)clients.Write(model, 0, 12 * kBlockBytes);
      (void)clients.TakeSnapshot(model);
      const std::shared_ptr<Volume> volume = store.Find(model.id);
      (void)clients.Write(model, (seed % 5) * kBlockBytes, 3 * kBlockBytes + 200);
      (void)clients.Discard(model, 8 * kBlockBytes, (1 + seed % 3) * kBlockBytes);
      const ImageModel::Mark mark = model.image.Now();

      room.max_bytes = 0;
      room.in_place = false;
      const auto refused = [&] {
        const Status synced = volume->Sync();
        ASSERT_FALSE(synced.ok()) << "it needed no room";
        EXPECT_EQ(synced.error().code, Errc::kNoSpace) << synced.error().message;
      };
      Together({refused, refused});
      refused();
      EXPECT_EQ(volume->state().failure(), "");

      room.max_bytes = kNever;
      const Status synced = volume->Sync();
      EXPECT_TRUE(synced.ok()) << synced.error().message;
      if (synced.ok()) model.image.Synced(mark);
    });
    if (HasFailure()) return;
  }
}

// --- R10 -----------------------------------------------------------------------------------------

std::string ReadControl(ControlTree& tree, const std::vector<std::string>& path) {
  uint64_t ino = inode::kControl;
  for (const std::string& name : path) {
    const auto entry = tree.Lookup(ino, name);
    if (!entry.ok()) return entry.error().message;
    ino = entry.value().ino;
  }
  const auto file = tree.Open(ino, false, Caller{});
  if (!file.ok()) return file.error().message;
  const auto text = file.value()->Read(1 << 20, 0);
  return text.ok() ? text.value().value_or("") : text.error().message;
}

// Makes the volume's next sync fail at its disk sync number `which`. Returns false if it makes
// fewer.
bool FailSync(Simulation& world, VolumeModel& model, uint64_t which) {
  ControlTree control(world.store(), {});
  (void)world.clients().Write(model, 3 * kSectorBytes, 2 * kBlockBytes);
  CallPlan plan;
  plan.count_syncs = true;
  plan.fault_at = world.machine().syncs() + 1 + which;
  world.machine().SetPlan(plan);
  // The oracle objects to a success after a failure, and to a failure that the volume does not
  // report.
  (void)world.clients().Sync(model);
  if (!model.failed) return false;
  for (int i = 0; i < 3; ++i) (void)world.clients().Sync(model);

  // Answers as fusefs answers an fsync.
  const std::shared_ptr<Volume> volume = world.store().Find(model.id);
  const Status again = volume->Sync();
  EXPECT_FALSE(again.ok()) << "the second fsync acknowledges";
  if (again.ok()) return true;
  control.RecordRefusal(Caller{}, StrCat("fsync volumes/", model.name), again.error());
  EXPECT_THAT(ReadControl(control, {"last_error"}),
              HasSubstr(StrCat(" fsync:volumes/", model.name)));
  EXPECT_THAT(ReadControl(control, {"last_error"}), HasSubstr("read-only until the next mount"));
  EXPECT_EQ(InfoOf(world.store(), model).status, "error");
  EXPECT_NE(InfoOf(world.store(), model).error, "");
  EXPECT_EQ(ReadControl(control, {"volumes", model.name, "status"}), "error\n");
  EXPECT_EQ(ReadControl(control, {"volumes", model.name, "error"}),
            InfoOf(world.store(), model).error + "\n");
  const std::vector<std::byte> bytes(kBlockBytes);
  EXPECT_EQ(volume->WriteAt(bytes, 0).error().code, Errc::kReadOnly);
  EXPECT_EQ(volume->Discard({0, kBlockBytes}).error().code, Errc::kReadOnly);
  EXPECT_EQ(volume->opens().Add(Volume::Access::kWrite).error().code, Errc::kReadOnly);
  std::vector<std::byte> read(kBlockBytes);
  EXPECT_TRUE(volume->ReadAt(read, 0).ok()) << "it can still be read";
  return true;
}

// PostgreSQL's "fsyncgate", and the finding of "Can applications recover from fsync failures?"
// (ATC'20) about five applications: a failed fsync leaves the pages clean, so that the next one
// succeeds and acknowledges data that never reached the disk.
TEST(RegressionTest, R10_AFailedFsyncIsNotFollowedByOneThatSucceeds) {
  int places = 0;
  for (const bool of_clone : {false, true}) {
    bool any = true;
    for (uint64_t which = 0; any; ++which) {
      any = false;
      for (uint64_t seed = 1; seed <= 20; ++seed) {
        SCOPED_TRACE(StrCat(of_clone ? "clone" : "source", ", sync ", which, ", seed ", seed));
        Trace trace;
        Simulation world(seed, trace);
        world.Run([&] {
          if (!world.Mount(kBothNodes, kCopyNothing)) return;
          VolumeModel& source = MakeSource(world);
          VolumeModel& clone = MakeClone(world, source);
          VolumeModel& model = of_clone ? clone : source;
          // In some worlds the sync of another thread fails.
          if (!FailSync(world, model, which)) return;
          any = true;
          // After the end of the process, or of the machine, the next mount works again.
          const bool killed = seed % 2 == 0;
          if (!killed) world.CutPower({true, true});
          world.Unmount();
          world.Boot({.keep = killed ? LossModel::Keep::kEverything : LossModel::Keep::kNothing},
                     true);
          if (!world.Mount(kBothNodes, Throttle::kUnlimited)) return;
          world.Compare(true);
          if (!world.findings().violations.empty()) return;
          (void)world.clients().Write(model, 0, 4 * kBlockBytes);
          (void)world.clients().Sync(model);
          EXPECT_FALSE(model.failed);
          EXPECT_TRUE(world.clients().WaitUntilWhole());
          EXPECT_EQ(InfoOf(world.store(), model).status, "available");
          world.CutPower({true, true});
          world.Unmount();
          world.Boot({.keep = LossModel::Keep::kNothing}, true);
          if (world.Mount(kBothNodes, Throttle::kUnlimited)) world.Compare(true);
        });
        ASSERT_THAT(world.findings().violations, IsEmpty());
        ASSERT_FALSE(HasFailure());
      }
      places += any ? 1 : 0;
    }
  }
  EXPECT_GE(places, 3) << "the clone's data, its catalog, the source's data";
}

}  // namespace
}  // namespace volfs::sim
