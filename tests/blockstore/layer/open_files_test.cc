// Goal: a store works with fewer descriptors than layers. A file is closed only while that loses
// nothing: not in use, and without writes whose error no caller would learn.
#include "blockstore/layer/open_files.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/io/posix_node.h"
#include "tests/support/forwarding_node.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

constexpr size_t kMax = 4;
constexpr int kVolumes = 20;

StoreOptions Few() {
  StoreOptions options;
  options.open_files = kMax;
  options.merge = false;
  return options;
}

std::string NameOf(int n) { return "v" + std::to_string(n); }

// Returns the number of this process's descriptors that lead to files of layers.
size_t OpenLayerFiles() {
  size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // of the iterator itself
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.find("/layers/") != std::string::npos) ++count;
  }
  return count;
}

// Unsynced writes to a file that was closed are there when it is opened again.
TEST(OpenFilesTest, ManyLayersNeedFewDescriptors) {
  StoreFixture fixture(Few());
  const std::vector<std::byte> data = Pattern(kMiB / 4);
  for (int n = 0; n < kVolumes; ++n) {
    const auto volume = fixture.MakeVolume(NameOf(n), kMiB);
    ASSERT_TRUE(volume->WriteAt(data, static_cast<uint64_t>(n) * 4096).ok());
    EXPECT_LE(OpenLayerFiles(), kMax);
  }
  for (int n = 0; n < kVolumes; ++n) {
    std::vector<std::byte> read(data.size());
    const auto volume = fixture.store().Find(NameOf(n));
    ASSERT_TRUE(volume->ReadAt(read, static_cast<uint64_t>(n) * 4096).ok());
    EXPECT_EQ(read, data) << NameOf(n);
    EXPECT_LE(OpenLayerFiles(), kMax);
  }
}

// One read goes through a chain that is longer than the number of files that may be open.
TEST(OpenFilesTest, AReadThroughManyLayersNeedsFewDescriptors) {
  StoreFixture fixture(Few());
  const auto volume = fixture.MakeVolume("db", kMiB, kMiB);
  std::vector<std::byte> expected = Pattern(kMiB);
  for (int n = 0; n < kVolumes; ++n) {
    ASSERT_TRUE(fixture.store().TakeSnapshot("db", NameOf(n), Caller{}).ok());
    const std::vector<std::byte> block(4096, std::byte(n + 1));
    const uint64_t at = static_cast<uint64_t>(n) * 3 * 4096;
    ASSERT_TRUE(volume->WriteAt(block, at).ok());
    std::copy(block.begin(), block.end(), expected.begin() + static_cast<ptrdiff_t>(at));
  }
  EXPECT_EQ(ReadBack(*volume), expected);
  EXPECT_LE(OpenLayerFiles(), kMax);
}

// Several threads that open, close and reopen all read back their own writes.
TEST(OpenFilesTest, ThreadsDoNotCloseWhatOthersUse) {
  StoreFixture fixture(Few());
  for (int n = 0; n < kVolumes; ++n) fixture.MakeVolume(NameOf(n), kMiB);
  std::atomic<int> wrong{0};
  std::vector<Thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back("user", [&, t] {
      std::vector<std::byte> read(4096);
      for (int round = 0; round < 400; ++round) {
        const auto volume = fixture.store().Find(NameOf((round * 7 + t * 3) % kVolumes));
        const std::vector<std::byte> block(4096, std::byte(round * 4 + t));
        const uint64_t at = static_cast<uint64_t>(t) * 4096;  // of this thread alone
        if (!volume->WriteAt(block, at).ok() || !volume->ReadAt(read, at).ok() || read != block) {
          ++wrong;
        }
      }
    });
  }
  for (Thread& thread : threads) thread.Join();
  EXPECT_EQ(wrong, 0);
  EXPECT_LE(OpenLayerFiles(), kMax + threads.size());
}

// `ls -l` and `status` ask each volume for its allocated bytes, which opens no file.
TEST(OpenFilesTest, AskingWhatAVolumeTakesOpensNothing) {
  StoreFixture fixture;
  for (int n = 0; n < kVolumes; ++n) fixture.MakeVolume(NameOf(n), kMiB, kMiB / 2);
  fixture.Reopen();
  for (int n = 0; n < kVolumes; ++n) {
    EXPECT_EQ(fixture.store().Info(NameOf(n)).value().allocated_bytes, kMiB / 2);
  }
  EXPECT_EQ(OpenLayerFiles(), 0U);
  // A remembered number does not outlive the next write.
  const auto volume = fixture.store().Find(NameOf(0));
  ASSERT_TRUE(volume->WriteAt(Pattern(kMiB / 2), kMiB / 2).ok());
  ASSERT_TRUE(volume->Sync().ok());
  EXPECT_EQ(fixture.store().Info(NameOf(0)).value().allocated_bytes, kMiB);
}

// How the disk answers a sync.
struct Disk {
  std::string fails;                 // the file whose sync fails
  std::atomic<bool> failing{false};  // the failing sync has begun and has not answered yet
  Nanoseconds takes{0};
};

class UnsyncableFile final : public ForwardingFile {
 public:
  UnsyncableFile(std::unique_ptr<NodeFile> file, std::string name, Disk& disk)
      : ForwardingFile(std::move(file)), name_(std::move(name)), disk_(disk) {}
  // Fails once, as the kernel reports a write-back error once.
  Status SyncData() override {
    if (disk_.fails != name_ || told_.exchange(true)) return ForwardingFile::SyncData();
    disk_.failing = true;
    SleepFor(disk_.takes);
    return Error{Errc::kIo, "fdatasync: Input/output error (made up)"};
  }

 private:
  const std::string name_;
  Disk& disk_;
  std::atomic<bool> told_{false};
};

class UnsyncableNode final : public ForwardingNode {
 public:
  UnsyncableNode(std::unique_ptr<NodeDirectory> node, Disk& disk)
      : ForwardingNode(std::move(node)), disk_(disk) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    ASSIGN_OR_RETURN(auto file, node_->Open(name, mode));
    return std::unique_ptr<NodeFile>(
        std::make_unique<UnsyncableFile>(std::move(file), name, disk_));
  }

 private:
  Disk& disk_;
};

class UnsyncableTest : public ::testing::Test {
 protected:
  UnsyncableTest() : fixture_(Few()) {
    for (int n = 0; n < kVolumes; ++n) fixture_.MakeVolume(NameOf(n), kMiB);
    fixture_.Close();
    auto directory = OpenPosixNode(fixture_.NodePath("a"));
    auto node = Node::Open(std::make_unique<UnsyncableNode>(std::move(directory.value()), disk_));
    std::vector<std::unique_ptr<Node>> nodes;
    nodes.push_back(std::move(node.value()));
    store_ = std::move(Store::Open(std::move(nodes), Few()).value());
    victim_ = store_->Find(NameOf(0));
    EXPECT_TRUE(victim_->WriteAt(Pattern(4096), 0).ok());
    disk_.fails = victim_->head()->FileName();
  }
  // Writes all of them, so that each closed file had something to sync.
  void WriteOthers() {
    std::vector<std::byte> block(4096);
    for (int n = 1; n < kVolumes; ++n) (void)store_->Find(NameOf(n))->WriteAt(block, 0);
  }

  StoreFixture fixture_;
  Disk disk_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<Volume> victim_;
};

// A file that is closed to make room is synced first. A failure of that sync fails the volume's
// next Sync, although the file itself reports it only once.
TEST_F(UnsyncableTest, AnErrorOfAFileThatHadToGoIsTold) {
  WriteOthers();
  const Status synced = victim_->Sync();
  EXPECT_FALSE(synced.ok());
  EXPECT_NE(victim_->state().failure(), "");
}

// The same while the failing sync is still running.
TEST_F(UnsyncableTest, ASyncThatMeetsTheFailingOneIsNotAcknowledged) {
  disk_.takes = std::chrono::milliseconds(200);
  Thread others("others", [this] { WriteOthers(); });
  while (!disk_.failing) SleepFor(std::chrono::milliseconds(1));
  const bool synced = victim_->Sync().ok();
  others.Join();
  EXPECT_FALSE(synced && victim_->head()->failed()) << "acknowledged, and the file has failed";
}

}  // namespace
}  // namespace volfs
