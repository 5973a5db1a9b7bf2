// Goal: the check finds nothing in a sound store, and finds each kind of damage planted here in
// nodes, volumes, layers and files under its own word. A repair mends damage that can be mended
// without loss, and leaves the rest alone (contract.md 3, traps T31, T47).
#include "blockstore/check/check.h"

#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <set>

#include "blockstore/check/blocks.h"
#include "blockstore/store/recovery.h"
#include "tests/blockstore/check/check_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckTest : public CheckFixture {
 protected:
  void SetUp() override {
    MakeVolumes();
    fixture_.Close();
  }
  SnapshotRecord Monday() { return Contents("a").snapshots.at(0); }
  SnapshotRecord AnotherSnapshot() {
    SnapshotRecord snapshot = Monday();
    snapshot.id = PlantedId(50);
    snapshot.name = "planted";
    return snapshot;
  }
};

// --- right stores

TEST_F(CheckTest, AStoreWithSnapshotsIsClean) { EXPECT_THAT(Found(), IsEmpty()); }

TEST_F(CheckTest, AStoreWithClonesAndDeletionsIsClean) {
  fixture_.Reopen();
  Store& store = fixture_.store();
  ASSERT_TRUE(store.Clone({.source = "plain", .name = "whole"}, Caller{}).ok());
  ASSERT_TRUE(fixture_.WaitForStatus("whole", "available"));
  ASSERT_TRUE(store.Clone({.source = "db", .name = "link", .linked = true}, Caller{}).ok());
  ASSERT_TRUE(store.Find("link")->WriteAt(Pattern(20'000), 1000).ok());
  MakeRunningClone();
  ASSERT_TRUE(store.Find("copy")->WriteAt(Pattern(10'000), 5000).ok());
  ASSERT_TRUE(store.Find("copy")->Discard({100'000, 200'000}).ok());
  ASSERT_TRUE(store.Resize("plain", 3 * kMiB, Caller{}).ok());
  ASSERT_TRUE(store.TakeSnapshot("whole", "s", Caller{}).ok());
  ASSERT_TRUE(store.TakeSnapshot("db", "tuesday", Caller{}).ok());
  ASSERT_TRUE(store.Find("db")->WriteAt(Pattern(2 * kMiB), 0).ok());
  fixture_.Close();
  EXPECT_THAT(Found(), IsEmpty());
  fixture_.Reopen({.copy_rate = 0});
  ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "monday", Caller{}).ok());
  ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "tuesday", Caller{}).ok());
  ASSERT_TRUE(fixture_.store().Delete("link", Caller{}).ok());
  ASSERT_TRUE(fixture_.store().Delete("whole", Caller{}).ok());
  fixture_.Close();
  EXPECT_THAT(Found(), IsEmpty());
}

// Checks the nodes of an open store with unsynced writes, as the simulator does.
TEST_F(CheckTest, AnOpenStoreHasNoDamage) {
  fixture_.Reopen();
  ASSERT_TRUE(fixture_.store().Find("db")->WriteAt(Pattern(300'000), 2 * kMiB - 1000).ok());
  std::vector<Node*> nodes;
  for (const auto& node : fixture_.store().nodes()) nodes.push_back(node.get());
  const auto once = CheckNodes(nodes, {.verify_catalogs = false});
  const auto again = CheckNodes(nodes, {.verify_catalogs = false});
  ASSERT_TRUE(once.ok() && again.ok());
  EXPECT_THAT(Words(once.value()), Contains("tidy garbage"));
  EXPECT_THAT(Words(once.value()), testing::Each(HasSubstr("tidy ")));
  EXPECT_EQ(Words(once.value()), Words(again.value()));
}

// The check and the Reclaimer compute the unreachable blocks in two ways, which must agree. Random
// trees of snapshots and linked clones hold no damage; after a mount has tidied them up, they hold
// nothing unreachable. (Only then is a block freed that later writes have hidden.)
TEST_F(CheckTest, AgreesWithTheReclaimer) {
  constexpr uint64_t kSpan = 64 * kDefaultBlockSize;
  std::mt19937 random(7);
  size_t tidied = 0;
  StoreOptions options;
  options.merge = false;  // merging would free the blocks that are counted
  for (int round = 0; round < 6; ++round) {
    fixture_.Reopen(options);
    Store& store = fixture_.store();
    for (int step = 0; step < 40; ++step) {
      const auto volumes = store.Volumes();
      const std::shared_ptr<Volume> volume = volumes.at(random() % volumes.size());
      const auto snapshots = store.Snapshots(volume->id());
      const std::string fresh = "n" + std::to_string(round * 100 + step);
      const uint64_t at = random() % kSpan;
      switch (random() % 6) {
        case 0:
          (void)store.TakeSnapshot(volume->name(), fresh, Caller{});
          break;
        case 1:
          if (snapshots.empty()) break;
          (void)store.DeleteSnapshot(volume->name(), snapshots[random() % snapshots.size()].name,
                                     Caller{});
          break;
        case 2:
          (void)store.Clone({.source = volume->name(), .name = fresh, .linked = true}, Caller{});
          break;
        case 3:
          if (volumes.size() > 2) (void)store.Delete(volume->name(), Caller{});
          break;
        case 4:
          ASSERT_TRUE(volume->Discard({at, kSpan / 2}).ok());
          break;
        default:
          ASSERT_TRUE(volume->WriteAt(Pattern(1 + random() % (kSpan / 2)), at).ok());
          break;
      }
    }
    fixture_.Close();
    const std::vector<std::string> found = Found();
    EXPECT_THAT(found, testing::Each(std::string("tidy unreached-blocks")));
    tidied += found.size();
    fixture_.Reopen(options);
    fixture_.Close();
    EXPECT_THAT(Found(), IsEmpty()) << "round " << round;
  }
  EXPECT_GT(tidied, 0U) << "a test of nothing";
}

TEST_F(CheckTest, AWordForEachKind) {
  std::set<std::string_view> words;
  for (int kind = 0; kind < kFindingKinds; ++kind) {
    words.insert(KindWord(static_cast<Finding::Kind>(kind)));
  }
  EXPECT_EQ(words.size(), static_cast<size_t>(kFindingKinds));
  EXPECT_FALSE(words.contains(""));
  EXPECT_EQ(KindWord(Finding::Kind::kCloneProgress), "clone-progress");
  EXPECT_EQ(KindWord(Finding::Kind::kPresentWithoutFile), "present-without-file");
  EXPECT_EQ(KindWord(Finding::Kind::kHoldMissing), "hold-missing");
}

TEST(CheckBlocksTest, SetsOfBlocks) {
  BlockSet one;
  for (const BlockRange& range : {BlockRange{0, 4}, BlockRange{4, 2}, BlockRange{10, 5}}) {
    one.Append(range);
  }
  BlockSet other;
  for (const BlockRange& range : {BlockRange{2, 1}, BlockRange{5, 7}, BlockRange{20, 1}}) {
    other.Append(range);
  }
  EXPECT_THAT(one.ranges(), ElementsAre(BlockRange{0, 6}, BlockRange{10, 5}));
  EXPECT_THAT(one.Union(other).ranges(), ElementsAre(BlockRange{0, 15}, BlockRange{20, 1}));
  EXPECT_THAT(one.Intersection(other).ranges(),
              ElementsAre(BlockRange{2, 1}, BlockRange{5, 1}, BlockRange{10, 2}));
  EXPECT_THAT(one.Without(other).ranges(),
              ElementsAre(BlockRange{0, 2}, BlockRange{3, 2}, BlockRange{12, 3}));
  EXPECT_EQ(one.count(), 11U);
  EXPECT_EQ(one.end(), 15U);
  EXPECT_TRUE(one.Without(one).empty());
  EXPECT_TRUE(one.Intersection(BlockSet{}).empty());
}

// --- nodes

TEST_F(CheckTest, Catalog) {
  EditByHand("a", "UPDATE presence SET state = 2, bits = x''");
  (void)Open("a");  // the sqlite3 program removes the WAL's file; opening the node recreates it
  ExpectLeft({"damage catalog"});
  EXPECT_THAT(Words(Check({"a", "b"}, {.verify_catalogs = false})), ElementsAre("damage catalog"));
}

TEST_F(CheckTest, SameNode) {
  fs::copy(fixture_.NodePath("a"), fixture_.NodePath("c"), fs::copy_options::recursive);
  const auto findings = Check({"a", "c"}, {.repair = true});
  EXPECT_THAT(Words(findings), ElementsAre("damage same-node"));
  EXPECT_THAT(findings.at(0).text, HasSubstr(fixture_.NodePath("c")));
}

TEST_F(CheckTest, NodeName) {
  NodeRecord record = Contents("b").node;
  record.name = "a";
  Plant("b", {PutNode{record}});
  ExpectLeft({"damage node-name"});
}

TEST_F(CheckTest, BlockSize) {
  NodeRecord record = Contents("b").node;
  record.block_size = 2048;
  Plant("b", {PutNode{record}});
  ExpectLeft({"damage block-size"});
}

TEST_F(CheckTest, OlderCopy) {
  Plant("a", {PutPeer{{UuidOf("b"), "b", fixture_.NodePath("b"), 1000}}});
  ExpectLeft({"damage older-copy"});
}

TEST_F(CheckTest, ForkedCopy) {
  Plant("a", {PutPeer{{UuidOf("b"), "b", fixture_.NodePath("b"), 1}},
              KnownSetting(UuidOf("b"), {.told = 0, .mounts = {1, 2}})});
  Plant("b", {LineageSetting({.mounts = {1, 3}})});
  ExpectLeft({"damage forked-copy"});
}

TEST_F(CheckTest, NodeAbsent) {
  Plant("a", {PutPeer{{"uuid-c", "c", "/srv/c", 3}}});
  ExpectLeft({"tidy node-absent"});
  EXPECT_THAT(Check({"a"}, {}).at(0).text, HasSubstr("node c (last at /srv/c)"));
}

// A row that seems to be left over may be needed by an absent node.
TEST_F(CheckTest, NothingIsFreedWhileANodeIsAbsent) {
  Plant("a", {PutPeer{{"uuid-c", "c", "/srv/c", 3}}, PutLayer{PlantedLayer(1, kNoId, true)}});
  WriteFile(FileOf("a", PlantedId(1)), "x", kMiB - 1);
  ExpectLeft({"tidy node-absent", "tidy unreached-layer"});
}

// --- names, ids, volumes, snapshots

TEST_F(CheckTest, IdTwice) {
  SnapshotRecord snapshot = AnotherSnapshot();
  snapshot.id = VolumeOf("a", "plain").id;
  Plant("a", {PutSnapshot{snapshot}});
  ExpectLeft({"damage id-twice"});
}

TEST_F(CheckTest, NameTwice) {
  fixture_.Reopen();
  CreateRequest request;
  request.name = "other";
  request.node = "b";
  ASSERT_TRUE(fixture_.store().Create(request, Caller{}).ok());
  fixture_.Close();
  VolumeRecord volume = VolumeOf("b", "other");
  volume.name = "db";
  Plant("b", {PutVolume{volume}});
  ExpectLeft({"damage name-twice"});
}

TEST_F(CheckTest, UnknownType) {
  VolumeRecord volume = VolumeOf("a", "plain");
  volume.type = "gold";
  Plant("a", {PutVolume{volume}});
  ExpectLeft({"tidy unknown-type"});
}

// The record of the head is lost. Its file is all that is left of the volume, so the file stays.
TEST_F(CheckTest, HeadMissing) {
  Plant("a", {DeleteLayer{VolumeOf("a", "plain").head}});
  ExpectLeft({"damage head-missing", "tidy orphan-file"});
  EXPECT_EQ(fs::file_size(FileOf("a", VolumeOf("a", "plain").head)), kMiB);
}

TEST_F(CheckTest, HeadShared) {
  SnapshotRecord snapshot = AnotherSnapshot();
  const VolumeRecord plain = VolumeOf("a", "plain");
  snapshot.volume = plain.id;
  snapshot.layer = plain.head;
  snapshot.size_bytes = plain.size_bytes;
  Plant("a", {PutSnapshot{snapshot}});
  ExpectLeft({"damage head-shared"});
}

TEST_F(CheckTest, HeadSharedWithAVolumeOrUnderALayer) {
  VolumeRecord second = VolumeOf("a", "plain");
  second.id = PlantedId(1);
  second.name = "second";
  Plant("a", {PutVolume{second}});
  ExpectLeft({"damage head-shared"});
  second.head = PlantedId(2);
  Plant("a", {PutVolume{second}, PutLayer{PlantedLayer(2, VolumeOf("a", "plain").head, false)}});
  ExpectLeft({"damage head-shared"});
}

TEST_F(CheckTest, VolumeSizeTheLargerOneWins) {
  for (const uint64_t size : {3 * kMiB, kMiB}) {  // db has 2 MiB
    VolumeRecord volume = VolumeOf("a", "db");
    volume.size_bytes = size;
    Plant("a", {PutVolume{volume}});
    ExpectMended("damage volume-size");
    EXPECT_EQ(VolumeOf("a", "db").size_bytes, 3 * kMiB);
    EXPECT_EQ(HeadOf("a", "db").size_bytes, 3 * kMiB);
    EXPECT_EQ(fs::file_size(FileOf("a", HeadOf("a", "db").id)), 3 * kMiB);
  }
}

TEST_F(CheckTest, EmptyTombstone) {
  VolumeRecord tombstone = VolumeOf("a", "plain");
  tombstone.id = PlantedId(1);
  tombstone.name = "gone";
  tombstone.head = kNoId;
  Plant("a", {PutVolume{tombstone}});
  ExpectMended("tidy empty-tombstone");
}

TEST_F(CheckTest, SnapshotVolume) {
  SnapshotRecord snapshot = AnotherSnapshot();
  snapshot.volume = PlantedId(9);
  Plant("a", {PutSnapshot{snapshot}});
  ExpectLeft({"damage snapshot-volume"});
}

TEST_F(CheckTest, SnapshotLayer) {
  SnapshotRecord snapshot = AnotherSnapshot();
  snapshot.layer = PlantedId(9);
  Plant("a", {PutSnapshot{snapshot}});
  ExpectLeft({"damage snapshot-layer"});
}

TEST_F(CheckTest, SnapshotSize) {
  SnapshotRecord snapshot = AnotherSnapshot();
  snapshot.size_bytes += 1;
  Plant("a", {PutSnapshot{snapshot}});
  ExpectLeft({"damage snapshot-size"});
}

// --- layers

TEST_F(CheckTest, ParentMissing) {
  LayerRecord head = HeadOf("a", "db");
  head.parent = PlantedId(9);
  Plant("a", {PutLayer{head}});
  ExpectLeft({"damage parent-missing"});
}

TEST_F(CheckTest, ParentCycle) {
  SnapshotRecord snapshot = AnotherSnapshot();
  snapshot.layer = PlantedId(1);
  snapshot.size_bytes = kMiB;
  Plant("a", {PutSnapshot{snapshot}, PutLayer{PlantedLayer(1, PlantedId(2), false)},
              PutLayer{PlantedLayer(2, PlantedId(1), false)}});
  ExpectLeft({"damage parent-cycle"});
}

TEST_F(CheckTest, ParentBounds) {
  LayerRecord head = HeadOf("a", "db");
  head.parent_bytes = head.size_bytes + 1;
  Plant("a", {PutLayer{head}});
  ExpectLeft({"damage parent-bounds"});
}

TEST_F(CheckTest, PresenceOfFlat) {
  PresenceRuns runs;
  runs.Set({3, 1}, BlockState::kZero);
  Plant("a", {SetPresence{VolumeOf("a", "plain").head, runs}});
  ExpectLeft({"damage presence-of-flat"});
}

TEST_F(CheckTest, PresenceBounds) {
  PresenceRuns runs;
  runs.Set({2 * kMiB / kDefaultBlockSize, 1}, BlockState::kPresent);
  Plant("a", {SetPresence{VolumeOf("a", "db").head, runs}});
  ExpectLeft({"damage presence-bounds"});
}

TEST_F(CheckTest, HereWithoutFile) {
  for (const char* volume : {"db", "plain"}) {
    LayerRecord head = HeadOf("a", volume);
    head.has_file = false;
    Plant("a", {PutLayer{head}});
    ExpectMended("damage present-without-file");
    EXPECT_TRUE(HeadOf("a", volume).has_file);
  }
  LayerRecord head = HeadOf("a", "plain");
  head.has_file = false;
  Plant("a", {PutLayer{head}});
  fs::remove(FileOf("a", head.id));
  ExpectLeft({"damage present-without-file"});
}

// --- files

TEST_F(CheckTest, FileMissing) {
  fs::remove(FileOf("a", HeadOf("a", "plain").id));
  ExpectLeft({"damage file-missing"});
}

TEST_F(CheckTest, FileMissingInWhichNothingWas) {
  fixture_.Reopen();
  fixture_.MakeVolume("empty", 0);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("plain", "s", Caller{}).ok());
  fixture_.Close();
  LayerRecord idle = HeadOf("a", "plain");
  ASSERT_FALSE(idle.has_file);
  idle.has_file = true;
  Plant("a", {PutLayer{idle}});
  ExpectMended("tidy file-missing");
  EXPECT_FALSE(HeadOf("a", "plain").has_file);
  fs::remove(FileOf("a", HeadOf("a", "empty").id));
  ExpectMended("tidy file-missing");
}

TEST_F(CheckTest, FileShort) {
  fs::resize_file(FileOf("a", HeadOf("a", "plain").id), kMiB - 1);
  ExpectLeft({"damage file-short"});
}

TEST_F(CheckTest, FileLong) {
  fs::resize_file(FileOf("a", HeadOf("a", "plain").id), kMiB + 1);
  ExpectMended("tidy file-long");
  EXPECT_EQ(fs::file_size(FileOf("a", HeadOf("a", "plain").id)), kMiB);
}

TEST_F(CheckTest, FileUnusable) {
  const std::string file = FileOf("a", HeadOf("a", "plain").id);
  fs::create_hard_link(file, fixture_.NodePath("a") + "/second-name");
  ExpectLeft({"damage file-unusable"});
  fs::remove(fixture_.NodePath("a") + "/second-name");
  fs::rename(file, file + ".away");
  fs::create_symlink(file + ".away", file);
  ExpectLeft({"damage file-unusable", "tidy foreign-file"});
  fs::remove(file);
  fs::create_directory(file);
  ExpectLeft({"damage file-unusable", "tidy foreign-file"});
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  ExpectLeft({"damage file-unusable", "tidy foreign-file"});
}

TEST_F(CheckTest, OrphanFile) {
  WriteFile(FileOf("b", PlantedId(7)), "left over");
  ExpectMended("tidy orphan-file");
  EXPECT_FALSE(fs::exists(FileOf("b", PlantedId(7))));
}

// A first write made the head's file but was never committed.
TEST_F(CheckTest, OrphanFileOfALayerThatHasNone) {
  fixture_.Reopen();
  ASSERT_TRUE(fixture_.store().TakeSnapshot("plain", "s", Caller{}).ok());
  fixture_.Close();
  WriteFile(FileOf("a", HeadOf("a", "plain").id), "not committed");
  ExpectMended("tidy orphan-file");
}

TEST_F(CheckTest, ForeignFile) {
  WriteFile(fixture_.NodePath("a") + "/layers/README", "notes");
  ExpectLeft({"tidy foreign-file"});
}

// --- unreachable rows, files and blocks

TEST_F(CheckTest, Garbage) {
  const Id head = HeadOf("a", "db").id;
  const std::string noise(8192, 'x');
  WriteFile(FileOf("a", head), noise, 1 << 20);
  EXPECT_THAT(Check({"a", "b"}, {}).at(0).text, HasSubstr("in 2 blocks"));
  EXPECT_THAT(Check({"a", "b"}, {}).at(0).text, HasSubstr("a repair removes it"));
  Plant("a", {PutSetting{kCleanKey, "0"}});
  EXPECT_THAT(Check({"a", "b"}, {}).at(0).text, HasSubstr("the next mount removes it"));
  ExpectMended("tidy garbage");
  EXPECT_EQ(Bytes().at(FileOf("a", head)).substr(1 << 20, 8192), std::string(8192, '\0'));
  fixture_.Reopen();
  std::vector<std::byte> read(100'000);
  ASSERT_TRUE(fixture_.store().Find("db")->ReadAt(read, 50'000).ok());
  EXPECT_TRUE(read == Pattern(100'000)) << "what is its own stays";
}

TEST_F(CheckTest, UnreachedLayers) {
  Plant("a",
        {PutLayer{PlantedLayer(1, kNoId, true)}, PutLayer{PlantedLayer(2, PlantedId(1), true)}});
  for (const uint64_t n : {1, 2}) WriteFile(FileOf("a", PlantedId(n)), "x", kMiB - 1);
  EXPECT_THAT(Found(), ElementsAre("tidy unreached-layer", "tidy unreached-layer"));
  EXPECT_THAT(Repaired(),
              ElementsAre("repaired tidy unreached-layer", "repaired tidy unreached-layer"));
  EXPECT_THAT(Found(), IsEmpty());
  EXPECT_FALSE(fs::exists(FileOf("a", PlantedId(1))));
  EXPECT_FALSE(fs::exists(FileOf("a", PlantedId(2))));
}

// A crash right after the commit that deleted a snapshot leaves a layer without a reference. The
// blocks of it that the head hides are free, the others still show through.
TEST_F(CheckTest, UnreachedBlocks) {
  fixture_.Reopen();
  std::vector<std::byte> before(2 * kMiB);
  ASSERT_TRUE(fixture_.store().Find("db")->ReadAt(before, 0).ok());
  fixture_.Close();
  const Id frozen = HeadOf("a", "db").parent;
  Plant("a", {DeleteSnapshot{Monday().id}});
  EXPECT_THAT(Check({"a"}, {}).at(0).text, HasSubstr("nothing reaches 25 blocks"));
  ExpectMended("tidy unreached-blocks");
  const std::string file = Bytes().at(FileOf("a", frozen));
  EXPECT_EQ(file.substr(12 * 4096, 25 * 4096), std::string(25 * 4096, '\0'));
  EXPECT_NE(file[12 * 4096 - 1], '\0');
  EXPECT_NE(file[37 * 4096], '\0');
  fixture_.Reopen();
  std::vector<std::byte> after(2 * kMiB);
  ASSERT_TRUE(fixture_.store().Find("db")->ReadAt(after, 0).ok());
  EXPECT_TRUE(before == after);
}

// Blocks are hidden through two layers without a snapshot. One of the two has a presence, and a
// second child needs some of its blocks.
TEST_F(CheckTest, UnreachedBlocksOfAChain) {
  fixture_.Reopen();
  Store& store = fixture_.store();
  const auto db = store.Find("db");
  ASSERT_TRUE(store.TakeSnapshot("db", "tuesday", Caller{}).ok());
  ASSERT_TRUE(
      store.Clone({.source = "db", .snapshot = "tuesday", .name = "x", .linked = true}, Caller{})
          .ok());
  ASSERT_TRUE(db->WriteAt(Pattern(2 * kMiB), 0).ok());
  ASSERT_TRUE(store.Find("x")->Discard({0, 80 * 1024}).ok());
  fixture_.Close();
  EXPECT_THAT(Found(), IsEmpty());
  const CatalogContents contents = Contents("a");
  for (const SnapshotRecord& snapshot : contents.snapshots) {
    Plant("a", {DeleteSnapshot{snapshot.id}});
  }
  // Tuesday's layer has blocks 12 to 36, and x hides 12 to 19 of them. Of Monday's layer x hides 0
  // to 19, and Tuesday's layer hides 12 to 36.
  const auto findings = Check({"a", "b"}, {});
  ASSERT_THAT(Words(findings), ElementsAre("tidy unreached-blocks", "tidy unreached-blocks"));
  EXPECT_THAT(findings.at(0).text, HasSubstr("nothing reaches 8 blocks"));
  EXPECT_THAT(findings.at(1).text, HasSubstr("nothing reaches 37 blocks"));
  EXPECT_THAT(Repaired(),
              ElementsAre("repaired tidy unreached-blocks", "repaired tidy unreached-blocks"));
  EXPECT_THAT(Found(), IsEmpty());
  fixture_.Reopen();
  std::vector<std::byte> read(2 * kMiB);
  ASSERT_TRUE(fixture_.store().Find("x")->ReadAt(read, 0).ok());
  std::vector<std::byte> expected = Pattern(kMiB);
  const std::vector<std::byte> newer = Pattern(100'000);
  std::copy(newer.begin(), newer.end(), expected.begin() + 50'000);
  std::fill_n(expected.begin(), 80 * 1024, std::byte{0});
  expected.resize(2 * kMiB);
  EXPECT_TRUE(read == expected);
}

// A commit of a repair that fails is reported. Here the catalog has a feature that allows only
// reading.
TEST_F(CheckTest, ARepairThatFailsIsTold) {
  const Id head = HeadOf("a", "plain").id;
  VolumeRecord volume = VolumeOf("a", "plain");
  volume.size_bytes -= 1;
  Plant("a", {PutVolume{volume}});
  // Sets the bit 2^40, and the row's checksum to match (catalog/damage_test.cc).
  EditByHand("a",
             "UPDATE meta SET value = 1099511627776, crc = 3507383200 "
             "WHERE key = 'feature_read_only'");
  const auto findings = Check({"a", "b"}, {.repair = true});
  EXPECT_THAT(Words(findings), ElementsAre("damage volume-size"));
  EXPECT_THAT(findings.at(0).text, HasSubstr("; it was to be repaired, but: "));
  EXPECT_EQ(fs::file_size(FileOf("a", head)), kMiB);
}

// Nothing is removed while damage is left. A repair mends first, and tidies after that.
TEST_F(CheckTest, DamageIsMendedBeforeAnythingIsRemoved) {
  WriteFile(FileOf("b", PlantedId(7)), "left over");
  VolumeRecord volume = VolumeOf("a", "db");
  volume.size_bytes = 3 * kMiB;
  Plant("a", {PutVolume{volume}});
  const std::string plain = FileOf("a", HeadOf("a", "plain").id);
  fs::rename(plain, plain + ".away");
  EXPECT_THAT(Repaired(), ElementsAre("damage file-missing", "repaired damage volume-size",
                                      "tidy foreign-file", "tidy orphan-file"));
  fs::rename(plain + ".away", plain);
  EXPECT_THAT(Repaired(), ElementsAre("repaired tidy orphan-file"));
  EXPECT_THAT(Found(), IsEmpty());
}

}  // namespace
}  // namespace volfs
