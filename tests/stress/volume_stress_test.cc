// Everything at once, on threads, for the thread sanitizer. The big test runs requests of all kinds
// against one volume whose blocks name their writers. The small tests repeat, in a loop, two
// requests that collide.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "tests/stress/stress_fixture.h"
#include "tests/stress/told_blocks.h"

namespace volfs {
namespace {

using std::chrono::milliseconds;

#if defined(__SANITIZE_THREAD__)
constexpr milliseconds kBigTest(8000);
#else
constexpr milliseconds kBigTest(4000);
#endif

constexpr int kWriters = 3;
constexpr uint64_t kBlocksAtFirst = 256;
constexpr uint64_t kBlocksAtLast = 1024;
constexpr size_t kClonesKept = 6;
constexpr char kVolume[] = "db.img";

// --- the big test --------------------------------------------------------------------------------

// One volume, its writers' own account, and every snapshot point that was kept.
class BigStressTest : public VolumeStressTest {
 protected:
  // A snapshot point: it holds every write acknowledged before `asked`, and none issued after
  // `answered`.
  struct SnapshotPoint {
    uint64_t asked = 0;
    uint64_t answered = 0;
    uint64_t blocks = 0;  // of the volume when the request began; the snapshot has at least these
  };

  BigStressTest() : blocks_(kBlocksAtLast) {
    db_ = fixture_.MakeVolume(kVolume, kBlocksAtFirst * kTold + 777);
    grown_blocks_ = kBlocksAtFirst;
  }

  void Write(uint32_t writer);
  void Read(uint32_t seed);
  void ExpectData(uint64_t number, uint64_t sequence);
  void Grow();
  void Snapshot();
  void CloneAndLetGo();
  void UseOtherVolumes();
  void Look();
  void EvictMaps();

  void OneClone(std::mt19937& random, int n);
  bool KeepClone(const std::string& name, const SnapshotPoint& instant);
  void CheckSnapshotNow(Id id);
  [[nodiscard]] SnapshotPoint Ask() const { return {clock_.load(), 0, grown_blocks_.load()}; }

  using Reader = std::function<Status(std::span<std::byte>, uint64_t offset_bytes)>;
  void CheckVolume();
  void CheckSnapshotPoint(const Reader& read, uint64_t size_bytes, const SnapshotPoint& instant);
  void CheckAll();

  std::shared_ptr<Volume> db_;
  std::vector<ToldBlock> blocks_;  // each has one writer: its number modulo kWriters
  std::atomic<uint64_t> clock_{1};
  std::atomic<uint64_t> grown_blocks_{0};  // whole blocks that the volume surely has

  Mutex kept_mu_;
  std::map<Id, SnapshotPoint> snapshots_ VOLFS_GUARDED_BY(kept_mu_);
  std::map<std::string, SnapshotPoint> clones_
      VOLFS_GUARDED_BY(kept_mu_);  // never written directly
};

void BigStressTest::Write(uint32_t writer) {
  std::mt19937 random(writer);
  for (int n = 0; !over(); ++n) {
    const uint64_t have = grown_blocks_.load();
    const uint64_t number = random() % (have / kWriters) * kWriters + writer;
    ToldBlock& block = blocks_[number];
    const uint64_t sequence = block.Begin(clock_);
    const Told told(number, sequence);
    Status done = OkStatus();
    if (told.is_discard()) {
      done = db_->Discard({number * kTold, kTold});
    } else {
      done = db_->WriteAt(told.Bytes(), number * kTold + told.sectors().first * kSector);
    }
    EXPECT_TRUE(done.ok()) << done.error().message;
    block.End(clock_);
    if (n % 16 == 0) {
      const Status synced = db_->Sync();
      EXPECT_TRUE(synced.ok()) << synced.error().message;
    }
  }
}

// While no thread writes a block, the block has the contents of its last write.
void BigStressTest::Read(uint32_t seed) {
  std::mt19937 random(seed);
  Bytes found(kTold);
  while (!over()) {
    const uint64_t number = random() % grown_blocks_.load();
    const uint64_t before = blocks_[number].Steady();
    const Result<size_t> read = db_->ReadAt(found, number * kTold);
    EXPECT_TRUE(read.ok() && read.value() == kTold);
    if (before != ToldBlock::kInWork && before == blocks_[number].Steady()) {
      EXPECT_TRUE(found == ContentsAt(number, before)) << "block " << number;
      if (SequenceIn(found) != 0) ExpectData(number, before);
    }
  }
}

// A block with contents is never reported as a hole. It has contents until the next write begins.
void BigStressTest::ExpectData(uint64_t number, uint64_t sequence) {
  const Result<uint64_t> data = db_->SeekData(number * kTold);
  if (blocks_[number].Steady() != sequence) return;
  ASSERT_TRUE(data.ok()) << data.error().message;
  EXPECT_EQ(data.value(), number * kTold);
}

void BigStressTest::Grow() {
  while (!over()) {
    SleepFor(kBigTest / 200);
    const uint64_t blocks = std::min(grown_blocks_.load() + 5, kBlocksAtLast);
    const Status grown = db_->Grow(blocks * kTold + 123);
    EXPECT_TRUE(grown.ok()) << grown.error().message;
    grown_blocks_.store(blocks);
  }
}

void BigStressTest::Snapshot() {
  std::mt19937 random(100);
  std::vector<std::pair<std::string, Id>> taken;
  for (int n = 0; !over(); ++n) {
    const std::string name = "s" + std::to_string(n);
    SnapshotPoint instant = Ask();
    const Result<SnapshotInfo> info = store().TakeSnapshot(kVolume, name, Caller{});
    EXPECT_MAY_HAPPEN(info);
    instant.answered = clock_.load();
    if (info.ok()) {
      {
        MutexLock lock(kept_mu_);
        snapshots_[info.value().id] = instant;
      }
      taken.emplace_back(name, info.value().id);
      CheckSnapshotNow(info.value().id);
    } else {
      SleepFor(milliseconds(1));
    }
    if (taken.size() < 5) continue;
    const auto victim = taken.begin() + static_cast<long>(random() % taken.size());
    // Another thread may have the snapshot open: an open snapshot stays readable.
    const auto open = store().OpenSnapshotImage(victim->second);
    const Status gone = store().DeleteSnapshot(kVolume, victim->first, Caller{});
    EXPECT_MAY_HAPPEN(gone);
    if (!gone.ok()) continue;
    MutexLock lock(kept_mu_);
    snapshots_.erase(victim->second);
    taken.erase(victim);
    ASSERT_TRUE(open.ok());
    Bytes some(kTold);
    EXPECT_TRUE(open.value()->image().ReadAt(some, 17 * kTold).ok());
    EXPECT_TRUE(IsTold(some, 17));
  }
}

void BigStressTest::CheckSnapshotNow(Id id) {
  const auto open = store().OpenSnapshotImage(id);
  ASSERT_TRUE(open.ok()) << open.error().message;
  Bytes found(kTold);
  for (uint64_t number = 0; number < kBlocksAtFirst; number += 13) {
    ASSERT_TRUE(open.value()->image().ReadAt(found, number * kTold).ok());
    EXPECT_TRUE(IsTold(found, number));
  }
}

void BigStressTest::CloneAndLetGo() {
  std::mt19937 random(200);
  for (int n = 0; !over(); ++n) OneClone(random, n);
  store().hydrator().throttle().SetRate(Throttle::kUnlimited);
}

void BigStressTest::OneClone(std::mt19937& random, int n) {
  const bool slow = random() % 3 == 0;
  store().hydrator().throttle().SetRate(slow ? 1 << 20 : Throttle::kUnlimited);
  CloneRequest request;
  request.source = kVolume;
  request.name = "c" + std::to_string(n);
  request.linked = random() % 3 == 0;
  if (!request.linked && random() % 3 == 0) request.node = "a";  // a copy on the source's own node
  SnapshotPoint instant = Ask();
  const Result<std::shared_ptr<Volume>> clone = Clone(request);
  EXPECT_MAY_HAPPEN(clone);
  instant.answered = clock_.load();
  if (!clone.ok()) return SleepFor(milliseconds(1));
  const std::string renamed = request.name + "-renamed";
  EXPECT_MAY_HAPPEN(store().Rename(request.name, renamed));
  const uint32_t fate = random() % 4;
  if (fate == 0 && KeepClone(renamed, instant)) return;
  if (fate == 1) {
    EXPECT_MAY_HAPPEN(store().Cancel(renamed, Caller{}));  // kInvalid: the clone is whole already
  } else if (fate == 2) {
    // The clone now differs by its own writes, so only its end is checked.
    EXPECT_TRUE(clone.value()->WriteAt(Bytes(5000, std::byte{7}), 3 * kTold + 100).ok());
    EXPECT_TRUE(clone.value()->Sync().ok());
  } else if (!slow) {
    EXPECT_TRUE(fixture_.WaitForStatus(renamed, "available"));
  }
  EXPECT_MAY_HAPPEN(store().Delete(renamed, Caller{}));
}

bool BigStressTest::KeepClone(const std::string& name, const SnapshotPoint& instant) {
  MutexLock lock(kept_mu_);
  if (clones_.size() >= kClonesKept) return false;
  clones_[name] = instant;
  return true;
}

void BigStressTest::UseOtherVolumes() {
  for (int n = 0; !over(); ++n) {
    CreateRequest request;
    request.name = "other" + std::to_string(n % 3);
    request.size_bytes = 100'000;
    request.node = n % 2 == 0 ? "a" : "b";
    const Result<std::shared_ptr<Volume>> made = store().Create(request, Caller{});
    EXPECT_MAY_HAPPEN(made);
    if (made.ok()) {
      EXPECT_TRUE(made.value()->WriteAt(Pattern(50'001), 1000).ok());
      EXPECT_TRUE(made.value()->Sync().ok());
      made.value()->state().ChangeAttributes({.mode = 0640});
      EXPECT_TRUE(made.value()->commits().SyncAttributes().ok());
    }
    EXPECT_MAY_HAPPEN(store().Resize(request.name, 200'000, Caller{}));
    EXPECT_MAY_HAPPEN(store().Rename(request.name, "moved"));
    EXPECT_MAY_HAPPEN(store().Delete("moved", Caller{}));
    EXPECT_MAY_HAPPEN(store().Delete(request.name, Caller{}));
  }
}

void BigStressTest::Look() {
  while (!over()) {
    for (const auto& volume : store().Volumes()) {
      const VolumeInfo info = store().Info(*volume);
      EXPECT_NE(info.status, "error") << info.name << ": " << info.error;
      EXPECT_LE(info.progress.copied_bytes, std::max<uint64_t>(info.progress.total_bytes, 1));
    }
    for (const auto& directory : store().SnapshotDirectories())
      (void)store().Snapshots(directory.volume);
    EXPECT_EQ(store().Nodes().size(), 2U);
    EXPECT_TRUE(db_->SeekHole(0).ok());
    const Result<uint64_t> data = db_->SeekData(0);
    EXPECT_TRUE(data.ok() || data.error().code == Errc::kNoData);  // before the first write
    SleepFor(milliseconds(2));
  }
}

void BigStressTest::EvictMaps() {
  while (!over()) {
    for (const auto& volume : store().Volumes()) (void)volume->EvictMap(Nanoseconds{0});
    YieldThread();
  }
}

// --- the reckoning -------------------------------------------------------------------------------

void BigStressTest::CheckVolume() {
  Bytes found(kTold);
  for (uint64_t number = 0; number < grown_blocks_.load(); ++number) {
    ASSERT_TRUE(db_->ReadAt(found, number * kTold).ok());
    ASSERT_TRUE(found == ContentsAt(number, blocks_[number].Steady())) << "block " << number;
  }
}

// The prefix rule for a snapshot point, and its limits, the request and its answer: if the point
// holds a write, it holds every write that was acknowledged before that write was issued.
void BigStressTest::CheckSnapshotPoint(const Reader& read, uint64_t size_bytes,
                                       const SnapshotPoint& instant) {
  ASSERT_GE(size_bytes, instant.blocks * kTold);
  const uint64_t blocks = std::min(size_bytes / kTold, kBlocksAtLast);
  std::vector<Bytes> contents(blocks, Bytes(kTold));
  uint64_t newest = instant.asked;
  for (uint64_t number = 0; number < blocks; ++number) {
    ASSERT_TRUE(read(contents[number], number * kTold).ok());
    const uint64_t sequence = SequenceIn(contents[number]);
    if (sequence == 0) continue;
    ASSERT_LE(sequence, blocks_[number].Steady()) << "block " << number << " was never written so";
    newest = std::max(newest, blocks_[number].issued(sequence));
  }
  ASSERT_LE(newest, instant.answered);
  for (uint64_t number = 0; number < blocks; ++number) {
    const uint64_t least = blocks_[number].AcknowledgedBefore(newest);
    const uint64_t most = blocks_[number].IssuedBefore(instant.answered);
    bool legal = false;
    for (uint64_t s = least; s <= most && !legal; ++s) {
      legal = contents[number] == ContentsAt(number, s);
    }
    ASSERT_TRUE(legal) << "block " << number << " holds write " << SequenceIn(contents[number])
                       << ", and should one from " << least << " to " << most;
  }
}

void BigStressTest::CheckAll() {
  CheckVolume();
  MutexLock lock(kept_mu_);
  for (const auto& [id, instant] : snapshots_) {
    SCOPED_TRACE("snapshot");
    const auto open = store().OpenSnapshotImage(id);
    ASSERT_TRUE(open.ok()) << open.error().message;
    const FrozenImage& image = open.value()->image();
    CheckSnapshotPoint([&](auto out, uint64_t at) { return image.ReadAt(out, at); },
                       image.size_bytes(), instant);
  }
  for (const auto& [name, instant] : clones_) {
    SCOPED_TRACE(name);
    const auto clone = store().Find(name);
    ASSERT_NE(clone, nullptr);
    CheckSnapshotPoint([&](auto out, uint64_t at) { return StatusOf(clone->ReadAt(out, at)); },
                       clone->size_bytes(), instant);
  }
}

TEST_F(BigStressTest, AllRequestsAtOnce) {
  RunFor(kBigTest);
  std::vector<std::function<void()>> bodies;
  for (uint32_t w = 0; w < kWriters; ++w) bodies.emplace_back([this, w] { Write(w); });
  for (uint32_t r = 0; r < 2; ++r) bodies.emplace_back([this, r] { Read(300 + r); });
  bodies.emplace_back([this] { Grow(); });
  bodies.emplace_back([this] { Snapshot(); });
  bodies.emplace_back([this] { CloneAndLetGo(); });
  bodies.emplace_back([this] { UseOtherVolumes(); });
  bodies.emplace_back([this] { Look(); });
  bodies.emplace_back([this] { EvictMaps(); });
  AllAtOnce(std::move(bodies));
  if (HasFatalFailure()) return;

  CheckAll();
  ASSERT_TRUE(db_->Sync().ok());
  db_.reset();
  fixture_.Reopen();
  db_ = store().Find(kVolume);
  ASSERT_NE(db_, nullptr);
  CheckAll();
  std::vector<std::string> names;
  {
    MutexLock lock(kept_mu_);
    for (const auto& [name, instant] : clones_) names.push_back(name);
  }
  for (const std::string& name : names) EXPECT_TRUE(fixture_.WaitForStatus(name, "available"));
  CheckAll();
}

// --- two requests that collide

// A volume and its snapshot are deleted at the same time: each drops a reference in one layer tree.
TEST_F(VolumeStressTest, AVolumeAndItsSnapshotsAreDeletedAtOnce) {
  RunFor(kSmallTest);
  while (!over()) {
    CreateRequest request;
    request.name = "v";
    request.size_bytes = 40'000;
    const auto made = store().Create(request, Caller{});
    ASSERT_TRUE(made.ok()) << made.error().message;
    Volume& volume = *made.value();
    for (const char* name : {"s", "t"}) {
      ASSERT_TRUE(store().TakeSnapshot("v", name, Caller{}).ok());
      ASSERT_TRUE(volume.WriteAt(Pattern(9000), 5000).ok());
    }
    ASSERT_TRUE(volume.Sync().ok());
    AllAtOnce({[&] { EXPECT_MAY_HAPPEN(store().DeleteSnapshot("v", "s", Caller{})); },
               [&] { EXPECT_MAY_HAPPEN(store().DeleteSnapshot("v", "t", Caller{})); },
               [&] { EXPECT_MAY_HAPPEN(store().Delete("v", Caller{})); }});
    // All three deletions have run: nothing is left, not even the name.
    EXPECT_EQ(store().Find("v"), nullptr);
    ASSERT_TRUE(store().SnapshotDirectories().empty());
    ASSERT_TRUE(std::filesystem::is_empty(fixture_.NodePath("a") + "/layers"));
  }
}

// A clone is cancelled at the moment when it becomes whole.
TEST_F(VolumeStressTest, ACancelMeetsTheEndOfACopy) {
  fixture_.MakeVolume("v", 40'000, 30'000);
  std::mt19937 random(1);
  RunFor(kSmallTest);
  while (!over()) {
    CloneRequest request;
    request.source = "v";
    request.name = "c";
    ASSERT_TRUE(Clone(request).ok());
    SleepFor(std::chrono::microseconds(random() % 3000));
    const Status cancelled = store().Cancel("c", Caller{});
    EXPECT_TRUE(cancelled.ok() || cancelled.error().code == Errc::kInvalid);
    if (!cancelled.ok()) {
      ASSERT_TRUE(store().Delete("c", Caller{}).ok());
    }
    ASSERT_EQ(store().Find("c"), nullptr);
  }
}

// A clone grows until it is made flat: then the catalog agrees with itself about its size.
TEST_F(VolumeStressTest, AClonesGrowthMeetsTheEndOfItsCopy) {
  fixture_.MakeVolume("v", 40'000, 30'000);
  RunFor(kSmallTest);
  while (!over()) {
    CloneRequest request;
    request.source = "v";
    request.name = "c";
    const auto clone = Clone(request);
    ASSERT_TRUE(clone.ok()) << clone.error().message;
    Volume& volume = *clone.value();
    while (!volume.head()->flat()) {
      ASSERT_TRUE(volume.Grow(volume.size_bytes() + 1000).ok());
      // Stays outside of the gate most of the time, so that some clones do not grow again
      // afterwards.
      const Nanoseconds next = MonotonicNow() + std::chrono::microseconds(40);
      while (MonotonicNow() < next && !volume.head()->flat()) YieldThread();
    }
    ASSERT_TRUE(fixture_.WaitForStatus("c", "available"));
    ASSERT_TRUE(volume.Sync().ok());
    const Result<CatalogContents> contents = store().nodes()[1]->catalog().Load();
    ASSERT_TRUE(contents.ok());
    ASSERT_EQ(contents.value().volumes.size(), 1U);
    ASSERT_EQ(contents.value().layers.size(), 1U);
    ASSERT_EQ(contents.value().volumes[0].size_bytes, volume.size_bytes());
    ASSERT_EQ(contents.value().layers[0].size_bytes, volume.size_bytes());
    ASSERT_TRUE(store().Delete("c", Caller{}).ok());
  }
}

// A request by name has found its volume when the volume is deleted.
TEST_F(VolumeStressTest, AResizeMeetsADeletion) {
  RunFor(kSmallTest);
  while (!over()) {
    fixture_.MakeVolume("v", 40'000, 10'000);
    AllAtOnce({[&] {
                 for (uint64_t size = 50'000; size < 90'000; size += 1000) {
                   EXPECT_MAY_HAPPEN(store().Resize("v", size, Caller{}));
                 }
               },
               [&] { EXPECT_MAY_HAPPEN(store().Delete("v", Caller{})); }});
    (void)store().Delete("v", Caller{});
    ASSERT_TRUE(std::filesystem::is_empty(fixture_.NodePath("a") + "/layers"));
  }
}

// Renames and fsyncs share a volume's record: the last name that was acknowledged is on disk.
TEST_F(VolumeStressTest, ARenameMeetsFsyncs) {
  const auto volume = fixture_.MakeVolume("v0", 40'000, 10'000);
  ASSERT_TRUE(store().TakeSnapshot("v0", "s", Caller{}).ok());
  RunFor(kSmallTest);
  std::atomic<int> names{0};
  const auto sync = [&] {
    while (!over()) {
      EXPECT_TRUE(volume->WriteAt(Pattern(100), 5000).ok());
      EXPECT_TRUE(volume->Sync().ok());
    }
  };
  AllAtOnce({sync, sync, [&] {
               for (int n = 0; !over(); names = ++n) {
                 ASSERT_TRUE(
                     store().Rename("v" + std::to_string(n), "v" + std::to_string(n + 1)).ok());
                 // A name that was given up is free, on disk too.
                 CreateRequest request;
                 request.name = "v" + std::to_string(n);
                 request.node = "a";
                 const auto made = store().Create(request, Caller{});
                 ASSERT_TRUE(made.ok()) << made.error().message;
                 ASSERT_TRUE(store().Delete(request.name, Caller{}).ok());
               }
             }});
  fixture_.Reopen();
  EXPECT_NE(store().Find("v" + std::to_string(names.load())), nullptr);
}

}  // namespace
}  // namespace volfs
